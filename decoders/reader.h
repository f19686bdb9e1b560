/* Reads big-endian wire data from a slice. A read that does not fit latches the reader: it and all later reads yield
 * zero or an empty slice and move nothing, so that a parser checks once, when it is through with a message. */
#ifndef WALFERRY_DECODERS_READER_H
#define WALFERRY_DECODERS_READER_H

#include "bridge/base/slice.h"

struct reader {
  struct slice bytes;  /* borrowed */
  size_t at;           /* bytes read so far */
  const char *failure; /* static, NULL as long as all is well; `at` is then where the failed read began */
};

static inline struct reader reader_over(struct slice bytes) {
  return (struct reader){.bytes = bytes};
}

static inline bool reader_failed(const struct reader *r) {
  return r->failure != NULL;
}

static inline size_t reader_left(const struct reader *r) {
  return r->bytes.len - r->at;
}

/* len bytes, borrowed; never absent, also when len is 0 or the read fails. */
static inline struct slice reader_bytes(struct reader *r, size_t len) {
  if (r->failure == NULL && len > reader_left(r))
    r->failure = "ends too early";
  if (r->failure != NULL || len == 0)
    return slice_from(r->bytes.data == NULL ? "" : r->bytes.data + r->at, 0);
  struct slice taken = slice_from(r->bytes.data + r->at, len);
  r->at += len;
  return taken;
}

static inline uint64_t reader_unsigned(struct reader *r, size_t width) {
  struct slice raw = reader_bytes(r, width);
  uint64_t value = 0;
  for (size_t i = 0; i < raw.len; i++)
    value = value << 8 | (unsigned char)raw.data[i];
  return value;
}

static inline uint8_t reader_u8(struct reader *r) {
  return (uint8_t)reader_unsigned(r, 1);
}

static inline uint16_t reader_u16(struct reader *r) {
  return (uint16_t)reader_unsigned(r, 2);
}

static inline uint32_t reader_u32(struct reader *r) {
  return (uint32_t)reader_unsigned(r, 4);
}

static inline uint64_t reader_u64(struct reader *r) {
  return reader_unsigned(r, 8);
}

static inline int64_t reader_i64(struct reader *r) {
  return (int64_t)reader_unsigned(r, 8);
}

/* A NUL-terminated string without its NUL, borrowed; never absent. */
struct slice reader_string(struct reader *r);

#endif
