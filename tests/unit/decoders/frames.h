/* Builds pgoutput frames for tests, field by field. */
#ifndef WALFERRY_TESTS_DECODERS_FRAMES_H
#define WALFERRY_TESTS_DECODERS_FRAMES_H

#include "bridge/base/lsn.h"
#include "bridge/base/slice.h"

struct frame {
  char bytes[2048];
  size_t len;
};

static inline void put(struct frame *f, uint64_t value, int width) {
  for (int shift = (width - 1) * 8; shift >= 0; shift -= 8)
    f->bytes[f->len++] = (char)(unsigned char)(value >> shift & 0xff);
}

static inline void put_string(struct frame *f, const char *text) {
  memcpy(f->bytes + f->len, text, strlen(text) + 1);
  f->len += strlen(text) + 1;
}

static inline void put_text(struct frame *f, const char *text) {
  put(f, 't', 1);
  put(f, strlen(text), 4);
  memcpy(f->bytes + f->len, text, strlen(text));
  f->len += strlen(text);
}

static inline struct frame frame_of(char letter) {
  return (struct frame){.bytes = {letter}, .len = 1};
}

static inline struct frame frame_begin(lsn_t commit_lsn, int64_t postgres_us, uint32_t xid) {
  struct frame f = frame_of('B');
  put(&f, commit_lsn, 8);
  put(&f, (uint64_t)postgres_us, 8);
  put(&f, xid, 4);
  return f;
}

static inline struct frame frame_commit(int flags, lsn_t commit_lsn, lsn_t end_lsn, int64_t postgres_us) {
  struct frame f = frame_of('C');
  put(&f, (uint64_t)flags, 1);
  put(&f, commit_lsn, 8);
  put(&f, end_lsn, 8);
  put(&f, (uint64_t)postgres_us, 8);
  return f;
}

/* names ends with NULL; the types are 100, 101, ... */
static inline struct frame frame_relation(uint32_t oid, const char *schema, const char *table,
                                          const char *const *names) {
  int count = 0;
  while (names[count] != NULL)
    count++;
  struct frame f = frame_of('R');
  put(&f, oid, 4);
  put_string(&f, schema);
  put_string(&f, table);
  put(&f, 'd', 1);
  put(&f, (uint64_t)count, 2);
  for (int i = 0; i < count; i++) {
    put(&f, i == 0, 1);
    put_string(&f, names[i]);
    put(&f, (uint64_t)(100 + i), 4);
    put(&f, 0xffffffff, 4);
  }
  return f;
}

/* values ends with NULL; "\1" stands for SQL NULL and "\2" for an unchanged value. */
static inline void put_tuple(struct frame *f, char mark, const char *const *values) {
  int count = 0;
  while (values[count] != NULL)
    count++;
  put(f, (uint64_t)mark, 1);
  put(f, (uint64_t)count, 2);
  for (int i = 0; i < count; i++) {
    if (values[i][0] == '\1')
      put(f, 'n', 1);
    else if (values[i][0] == '\2')
      put(f, 'u', 1);
    else
      put_text(f, values[i]);
  }
}

static inline struct frame frame_row(char letter, uint32_t oid, char mark, const char *const *values) {
  struct frame f = frame_of(letter);
  put(&f, oid, 4);
  put_tuple(&f, mark, values);
  return f;
}

static inline struct frame frame_message(int flags, lsn_t lsn, const char *prefix, const char *content) {
  struct frame f = frame_of('M');
  put(&f, (uint64_t)flags, 1);
  put(&f, lsn, 8);
  put_string(&f, prefix);
  put(&f, strlen(content), 4);
  memcpy(f.bytes + f.len, content, strlen(content));
  f.len += strlen(content);
  return f;
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})
#define SQL_NULL "\1"
#define UNCHANGED "\2"

#endif
