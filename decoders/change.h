/* What a decoder yields: begin, insert, message, commit. Everything in a change is borrowed from the decoder and the
 * frame, and valid until the decoder's next call. */
#ifndef WALFERRY_DECODERS_CHANGE_H
#define WALFERRY_DECODERS_CHANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "bridge/base/lsn.h"
#include "bridge/base/slice.h"

struct column {
  char *name;
  uint32_t type_oid; /* pg_type OID; 114 json, 3802 jsonb, 17 bytea, ... */
};

/* What a plugin writes in front of a column's value in each row. Only that plugin's business. */
struct written {
  char *text;
  size_t len;
};

/* A table's shape as the stream last described it. */
struct relation {
  uint32_t oid;    /* 0 from a plugin that does not tell it */
  uint64_t serial; /* unique per description: a new one means that columns may have moved */
  char *schema;
  char *table;
  int column_count;
  struct column *columns;
  struct written *written; /* for each column, if that is a plugin's way; else NULL */
};

enum value_kind {
  VALUE_NULL = 1,
  VALUE_TEXT,     /* Postgres' text output of the type */
  VALUE_UNCHANGED /* an unchanged TOASTed value: not sent, so not known; not the same as NULL */
};

struct value {
  enum value_kind kind;
  struct slice text;
};

enum change_kind {
  CHANGE_NONE = 1, /* the frame held nothing of interest (a relation, an origin, an update) */
  CHANGE_BEGIN,
  CHANGE_INSERT,
  CHANGE_MESSAGE,
  CHANGE_COMMIT
};

struct change {
  enum change_kind kind;
  union {
    struct {
      lsn_t commit_lsn;       /* where the commit record starts */
      int64_t commit_time_us; /* Unix microseconds */
      uint32_t xid;
      uint64_t first_index; /* of the first change that will be counted; 0 from a decoder */
    } begin;
    struct {
      const struct relation *relation;
      const struct value *values; /* relation->column_count of them */
    } insert;
    struct {
      bool transactional;
      lsn_t lsn;
      struct slice prefix;
      struct slice content;
    } message;
    struct {
      lsn_t commit_lsn;
      lsn_t end_lsn; /* just behind the commit record: what is acknowledged */
      int64_t commit_time_us;
    } commit;
  };
};

#endif
