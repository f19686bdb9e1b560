/* A growing byte buffer with a mandatory maximum, for wire texts and JSON. */
#ifndef WALFERRY_BASE_BUFFER_H
#define WALFERRY_BASE_BUFFER_H

#include "bridge/base/slice.h"

struct buffer {
  char *data;
  size_t len;
  size_t capacity;
  size_t max;    /* bytes */
  bool overflow; /* latched: something did not fit; the content is then incomplete and must not be used */
};

#define BUFFER_MAX_ROW ((size_t)1 << 30) /* Postgres' own limit of a value */
#define BUFFER_KEEP ((size_t)1 << 20)    /* what is kept from row to row of the memory that a large one took */

void buffer_init(struct buffer *buf, size_t max);
void buffer_free(struct buffer *buf);
/* Empties it and keeps the memory. */
void buffer_clear(struct buffer *buf);
/* Empties it for the next row and keeps the memory, unless it is more than BUFFER_KEEP: what a large row took does not
 * stay for the process' life. */
void buffer_reuse(struct buffer *buf);

/* Room for len bytes behind the content, which the caller fills and then adds to buf->len; NULL, and the latch, when
 * they do not fit. */
char *buffer_reserve(struct buffer *buf, size_t len);

static inline void buffer_append(struct buffer *buf, const void *data, size_t len) {
  if (len == 0)
    return;
  bool roomy = !buf->overflow && len <= buf->capacity - buf->len;
  char *to = roomy ? buf->data + buf->len : buffer_reserve(buf, len);
  if (to == NULL)
    return;
  memcpy(to, data, len);
  buf->len += len;
}

static inline void buffer_append_slice(struct buffer *buf, struct slice s) {
  buffer_append(buf, s.data, s.len);
}

static inline void buffer_append_text(struct buffer *buf, const char *text) {
  buffer_append(buf, text, strlen(text));
}

static inline void buffer_append_char(struct buffer *buf, char c) {
  buffer_append(buf, &c, 1);
}

void buffer_printf(struct buffer *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* As a JSON string with its quotes (RFC 8259): escapes ", \ and control characters, passes UTF-8 through. */
void buffer_append_json(struct buffer *buf, struct slice s);
/* As base64 (RFC 4648, padded). */
void buffer_append_base64(struct buffer *buf, struct slice s);
/* The bytes that such a text stands for; false where it is none. What was appended before that showed stays. */
bool buffer_append_base64_bytes(struct buffer *buf, struct slice text);

static inline struct slice buffer_slice(const struct buffer *buf) {
  return slice_from(buf->data == NULL ? "" : buf->data, buf->len);
}

#endif
