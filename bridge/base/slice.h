/* A borrowed run of bytes: pointer and length. Wire data travels as slices; nothing here is NUL-terminated. */
#ifndef WALFERRY_BASE_SLICE_H
#define WALFERRY_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* data is NULL when there is no value at all (SQL NULL, an absent field); an empty value has data and len 0. */
struct slice {
  const char *data;
  size_t len;
};

#define SLICE_ABSENT ((struct slice){.data = NULL, .len = 0})
/* For printf: "%.*s", SLICE_ARG(s) */
#define SLICE_ARG(s) (int)((s).len > 1000000 ? 1000000 : (s).len), (s).data == NULL ? "" : (s).data

static inline struct slice slice_from(const char *data, size_t len) {
  return (struct slice){.data = data, .len = len};
}

/* Of a C string; NULL gives SLICE_ABSENT. */
static inline struct slice slice_of(const char *text) {
  return text == NULL ? SLICE_ABSENT : slice_from(text, strlen(text));
}

/* Borrowed bytes that the borrower may overwrite. */
struct span {
  char *data;
  size_t len;
};

static inline struct slice span_slice(struct span s) {
  return slice_from(s.data, s.len);
}

static inline bool slice_present(struct slice s) {
  return s.data != NULL;
}

static inline bool slice_equal(struct slice a, struct slice b) {
  if (a.data == NULL || b.data == NULL)
    return a.data == b.data;
  return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool slice_is(struct slice s, const char *text) {
  return slice_equal(s, slice_of(text));
}

#endif
