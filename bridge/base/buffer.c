/* See buffer.h. */
#include "bridge/base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "bridge/base/memory.h"

void buffer_init(struct buffer *buf, size_t max) {
  *buf = (struct buffer){.max = max};
}

void buffer_free(struct buffer *buf) {
  free(buf->data);
  *buf = (struct buffer){.max = buf->max};
}

void buffer_reuse(struct buffer *buf) {
  if (buf->capacity > BUFFER_KEEP)
    buffer_free(buf);
  buffer_clear(buf);
}

void buffer_clear(struct buffer *buf) {
  buf->len = 0;
  buf->overflow = false;
}

/* Room for len more bytes, or NULL and the latch. */
static char *reserve(struct buffer *buf, size_t len) {
  if (buf->overflow || len > buf->max - buf->len) {
    buf->overflow = true;
    return NULL;
  }
  size_t needed = buf->len + len;
  if (needed > buf->capacity) {
    size_t capacity = buf->capacity < 256 ? 256 : buf->capacity;
    while (capacity < needed)
      capacity *= 2;
    if (capacity > buf->max)
      capacity = buf->max;
    buf->data = memory_resize(buf->data, capacity + 1); /* one to spare for the NUL of vsnprintf */
    buf->capacity = capacity;
  }
  return buf->data + buf->len;
}

void buffer_append(struct buffer *buf, const void *data, size_t len) {
  if (len == 0)
    return;
  char *to = reserve(buf, len);
  if (to == NULL)
    return;
  memcpy(to, data, len);
  buf->len += len;
}

void buffer_append_slice(struct buffer *buf, struct slice s) {
  buffer_append(buf, s.data, s.len);
}

void buffer_append_text(struct buffer *buf, const char *text) {
  buffer_append(buf, text, strlen(text));
}

void buffer_append_char(struct buffer *buf, char c) {
  buffer_append(buf, &c, 1);
}

void buffer_printf(struct buffer *buf, const char *format, ...) {
  va_list args;
  va_start(args, format);
  va_list again;
  va_copy(again, args);
  int len = vsnprintf(NULL, 0, format, args);
  va_end(args);
  char *to = len <= 0 ? NULL : reserve(buf, (size_t)len);
  if (to != NULL) {
    vsnprintf(to, (size_t)len + 1, format, again);
    buf->len += (size_t)len;
  }
  va_end(again);
}

void buffer_append_json(struct buffer *buf, struct slice s) {
  buffer_append_char(buf, '"');
  size_t from = 0;
  for (size_t i = 0; i < s.len; i++) {
    unsigned char c = (unsigned char)s.data[i];
    if (c >= 0x20 && c != '"' && c != '\\')
      continue;
    buffer_append(buf, s.data + from, i - from);
    from = i + 1;
    switch (c) {
    case '"':
      buffer_append_text(buf, "\\\"");
      break;
    case '\\':
      buffer_append_text(buf, "\\\\");
      break;
    case '\n':
      buffer_append_text(buf, "\\n");
      break;
    case '\r':
      buffer_append_text(buf, "\\r");
      break;
    case '\t':
      buffer_append_text(buf, "\\t");
      break;
    default:
      buffer_printf(buf, "\\u%04x", c);
    }
  }
  if (from < s.len) /* absent data takes no arithmetic */
    buffer_append(buf, s.data + from, s.len - from);
  buffer_append_char(buf, '"');
}

void buffer_append_base64(struct buffer *buf, struct slice s) {
  static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < s.len; i += 3) {
    size_t left = s.len - i;
    uint32_t word = (uint32_t)(unsigned char)s.data[i] << 16;
    if (left > 1)
      word |= (uint32_t)(unsigned char)s.data[i + 1] << 8;
    if (left > 2)
      word |= (uint32_t)(unsigned char)s.data[i + 2];
    char quad[4] = {alphabet[word >> 18 & 63], alphabet[word >> 12 & 63], left > 1 ? alphabet[word >> 6 & 63] : '=',
                    left > 2 ? alphabet[word & 63] : '='};
    buffer_append(buf, quad, sizeof quad);
  }
}
