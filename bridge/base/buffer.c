/* See buffer.h. */
#include "bridge/base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "bridge/base/jsonstring.h"
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

char *buffer_reserve(struct buffer *buf, size_t len) {
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

void buffer_printf(struct buffer *buf, const char *format, ...) {
  va_list args;
  va_start(args, format);
  va_list again;
  va_copy(again, args);
  int len = vsnprintf(NULL, 0, format, args);
  va_end(args);
  char *to = len <= 0 ? NULL : buffer_reserve(buf, (size_t)len);
  if (to != NULL) {
    vsnprintf(to, (size_t)len + 1, format, again);
    buf->len += (size_t)len;
  }
  va_end(again);
}

static void append_escaped(struct buffer *buf, char c) {
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
    buffer_printf(buf, "\\u%04x", (unsigned char)c);
  }
}

void buffer_append_json(struct buffer *buf, struct slice s) {
  buffer_append_char(buf, '"');
  while (s.len > 0) {
    size_t plain = (size_t)(jsonstring_plain_end(s.data, s.data + s.len, true) - s.data);
    buffer_append(buf, s.data, plain);
    if (plain == s.len)
      break;
    append_escaped(buf, s.data[plain]);
    s = slice_from(s.data + plain + 1, s.len - plain - 1);
  }
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

/* The six bits of a character of the alphabet; -1 for any other. */
static int base64_bits(char c) {
  if (c >= 'A' && c <= 'Z')
    return c - 'A';
  if (c >= 'a' && c <= 'z')
    return c - 'a' + 26;
  if (c >= '0' && c <= '9')
    return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool buffer_append_base64_bytes(struct buffer *buf, struct slice text) {
  if (text.len % 4 != 0)
    return false;
  for (size_t i = 0; i < text.len; i += 4) {
    const char *quad = text.data + i;
    bool last = i + 4 == text.len;
    int bytes = last && quad[3] == '=' ? (quad[2] == '=' ? 1 : 2) : 3;
    uint32_t word = 0;
    for (int k = 0; k <= bytes; k++) {
      int bits = base64_bits(quad[k]);
      if (bits < 0)
        return false;
      word |= (uint32_t)bits << (18 - 6 * k);
    }
    if ((word & (bytes == 1 ? 0xffffu : bytes == 2 ? 0xffu : 0u)) != 0) /* bits that stand for nothing */
      return false;
    char out[3] = {(char)(word >> 16 & 255), (char)(word >> 8 & 255), (char)(word & 255)};
    buffer_append(buf, out, (size_t)bytes);
  }
  return true;
}
