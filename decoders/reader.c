/* See reader.h. */
#include "decoders/reader.h"

struct slice reader_string(struct reader *r) {
  size_t left = reader_left(r);
  if (r->failure != NULL || left == 0)
    return reader_bytes(r, 1); /* cannot succeed: latches "ends too early", yields an empty slice */
  const char *from = r->bytes.data + r->at;
  const char *nul = memchr(from, '\0', left);
  if (nul == NULL) {
    r->failure = "has a string without its NUL";
    return slice_from(from, 0);
  }
  size_t len = (size_t)(nul - from);
  r->at += len + 1;
  return slice_from(from, len);
}
