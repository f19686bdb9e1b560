/* A stream of wal2json frames, one a line, fed to one decoder until it refuses one. */
#include "tests/fuzz/decoder_frames.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
  struct decoder *dec = decoder_new(decoder_class_find("wal2json"));
  const char *at = (const char *)data, *end = at + size;
  bool ok = true;
  while (ok && at < end) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    struct slice frame = slice_from(at, (size_t)((newline == NULL ? end : newline) - at));
    at = newline == NULL ? end : newline + 1;
    ok = decode_and_read(dec, frame);
  }
  decoder_free(dec);
  return 0;
}
