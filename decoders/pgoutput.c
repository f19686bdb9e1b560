/* The frames of Postgres' built-in output plugin, protocol version 1, without streaming, two-phase and binary.
 * Wire formats: PostgreSQL documentation, "Logical Replication Message Formats"; what the values may be was taken from
 * src/backend/replication/logical/proto.c and worker.c. Integers are big-endian, strings end with a NUL byte.
 * Must not know which tables anybody wants, nor put anything of a row into an error. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "bridge/base/clock.h"
#include "bridge/base/memory.h"
#include "decoders/plugin.h"
#include "decoders/reader.h"
#include "decoders/relation.h"

struct pgoutput {
  struct decoder base; /* first */
  struct relation_cache *relations;
  struct value *values; /* of the last tuple; grows to the widest table and is reused */
  int values_capacity;
  bool in_transaction; /* between B and C */
  lsn_t begin_lsn;     /* of the open transaction: the commit LSN that its B announced */
};

/* One frame on its way through a parser. */
struct message {
  struct pgoutput *state;
  struct reader reader;
  char letter;
  struct error *err;
};

static bool malformed(const struct message *m, size_t at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* at is an offset in the frame; the message letter stands at 0. */
static bool malformed(const struct message *m, size_t at, const char *format, ...) {
  char detail[512];
  va_list args;
  va_start(args, format);
  vsnprintf(detail, sizeof detail, format, args);
  va_end(args);
  return error_set(m->err, ERROR_FATAL, "pgoutput message '%c', byte %zu of %zu: %s", m->letter, at,
                   m->reader.bytes.len, detail);
}

/* The reader's own failure. */
static bool unreadable(const struct message *m) {
  return malformed(m, m->reader.at, "the message %s", m->reader.failure);
}

/* Was all there, and nothing more? */
static bool finish(const struct message *m) {
  if (reader_failed(&m->reader))
    return unreadable(m);
  size_t left = reader_left(&m->reader);
  return left == 0 || malformed(m, m->reader.at, "%zu bytes behind the end of the message", left);
}

static bool require_transaction(const struct message *m) {
  return m->state->in_transaction || malformed(m, 0, "not between a begin and a commit");
}

/* i64, microseconds since 2000-01-01; yields Unix microseconds. */
static bool read_timestamp(struct message *m, int64_t *unix_us) {
  size_t at = m->reader.at;
  int64_t postgres_us = reader_i64(&m->reader);
  return !__builtin_add_overflow(postgres_us, CLOCK_POSTGRES_EPOCH_US, unix_us) ||
         malformed(m, at, "the timestamp is out of range");
}

/* Begin:
 *   'B'
 *   u64  commit LSN of the transaction, never 0
 *   i64  commit time
 *   u32  xid */
static bool parse_begin(struct message *m, struct change *change) {
  if (m->state->in_transaction)
    return malformed(m, 0, "a begin inside a transaction");
  lsn_t commit_lsn = reader_u64(&m->reader);
  int64_t commit_time_us;
  if (!read_timestamp(m, &commit_time_us))
    return false;
  uint32_t xid = reader_u32(&m->reader);
  if (!finish(m))
    return false;
  if (commit_lsn == 0)
    return malformed(m, 1, "the commit LSN is 0/0");
  m->state->in_transaction = true;
  m->state->begin_lsn = commit_lsn;
  *change = (struct change){
      .kind = CHANGE_BEGIN,
      .begin = {.commit_lsn = commit_lsn, .commit_time_us = commit_time_us, .xid = xid},
  };
  return true;
}

/* Commit:
 *   'C'
 *   u8   flags, unused, 0
 *   u64  commit LSN: the one of the begin
 *   u64  end LSN: just behind the commit record
 *   i64  commit time */
static bool parse_commit(struct message *m, struct change *change) {
  if (!require_transaction(m))
    return false;
  uint8_t flags = reader_u8(&m->reader);
  lsn_t commit_lsn = reader_u64(&m->reader);
  lsn_t end_lsn = reader_u64(&m->reader);
  int64_t commit_time_us;
  if (!read_timestamp(m, &commit_time_us) || !finish(m))
    return false;
  if (flags != 0)
    return malformed(m, 1, "unknown flags 0x%02x", flags);
  if (commit_lsn != m->state->begin_lsn)
    return malformed(m, 2, "commits at %s what was begun for %s", lsn_format(commit_lsn).text,
                     lsn_format(m->state->begin_lsn).text);
  if (end_lsn <= commit_lsn)
    return malformed(m, 10, "the commit record at %s ends at %s", lsn_format(commit_lsn).text,
                     lsn_format(end_lsn).text);
  m->state->in_transaction = false;
  *change = (struct change){
      .kind = CHANGE_COMMIT,
      .commit = {.commit_lsn = commit_lsn, .end_lsn = end_lsn, .commit_time_us = commit_time_us},
  };
  return true;
}

/* Origin:
 *   'O'
 *   u64     LSN of the commit on the origin server
 *   string  name of the origin */
static bool parse_origin(struct message *m) {
  if (!require_transaction(m))
    return false;
  reader_u64(&m->reader);
  reader_string(&m->reader);
  return finish(m);
}

/* Type, sent before a relation that uses a type which is not built in:
 *   'Y'
 *   u32     OID of the type
 *   string  schema, empty for pg_catalog
 *   string  name */
static bool parse_type(struct message *m) {
  reader_u32(&m->reader);
  reader_string(&m->reader);
  reader_string(&m->reader);
  return finish(m);
}

/* Relation, sent before the first change to a table and again after each change to its definition:
 *   'R'
 *   u32     OID of the table
 *   string  schema, empty for pg_catalog
 *   string  name
 *   u8      replica identity: 'd' default, 'n' nothing, 'f' full, 'i' index
 *   i16     number of columns, each:
 *     u8      flags: 1 = part of the key
 *     string  name
 *     u32     OID of the type
 *     i32     type modifier */
static bool parse_relation(struct message *m) {
  enum { COLUMN_BYTES_MIN = 1 + 1 + 4 + 4 };
  struct reader *r = &m->reader;
  uint32_t oid = reader_u32(r);
  struct slice schema = reader_string(r);
  struct slice table = reader_string(r);
  size_t identity_at = r->at;
  uint8_t identity = reader_u8(r);
  size_t count_at = r->at;
  uint16_t count = reader_u16(r);
  if (reader_failed(r))
    return unreadable(m);
  if (identity != 'd' && identity != 'n' && identity != 'f' && identity != 'i')
    return malformed(m, identity_at, "unknown replica identity 0x%02x", identity);
  /* Before anything is allocated by that number. */
  if (count > INT16_MAX || count > reader_left(r) / COLUMN_BYTES_MIN)
    return malformed(m, count_at, "%u columns do not fit the message", count);

  struct relation *relation = relation_new(oid, schema, table, count);
  for (int i = 0; i < count && !reader_failed(r); i++) {
    reader_u8(r);
    struct slice name = reader_string(r);
    uint32_t type_oid = reader_u32(r);
    reader_u32(r);
    relation_set_column(relation, i, name, type_oid);
  }
  if (!finish(m)) {
    relation_free(relation);
    return false;
  }
  relation_cache_replace(m->state->relations, slice_from((const char *)&oid, sizeof oid), relation);
  return true;
}

/* u32, OID of a table that a relation message has described. NULL when the read failed or there is none. */
static const struct relation *read_relation(struct message *m) {
  size_t at = m->reader.at;
  uint32_t oid = reader_u32(&m->reader);
  if (reader_failed(&m->reader)) {
    unreadable(m);
    return NULL;
  }
  const struct relation *relation =
      relation_cache_find(m->state->relations, slice_from((const char *)&oid, sizeof oid));
  if (relation == NULL)
    malformed(m, at, "no relation message has described the table with OID %u", oid);
  return relation;
}

/* u8 kind, and what follows it. */
static bool read_value(struct message *m, struct value *value) {
  size_t at = m->reader.at;
  uint8_t kind = reader_u8(&m->reader);
  if (reader_failed(&m->reader))
    return unreadable(m);
  switch (kind) {
  case 'n':
    *value = (struct value){.kind = VALUE_NULL, .text = SLICE_ABSENT};
    return true;
  case 'u':
    *value = (struct value){.kind = VALUE_UNCHANGED, .text = SLICE_ABSENT};
    return true;
  case 't': {
    uint32_t len = reader_u32(&m->reader); /* a negative i32 is more than any frame holds */
    *value = (struct value){.kind = VALUE_TEXT, .text = reader_bytes(&m->reader, len)};
    return !reader_failed(&m->reader) || unreadable(m);
  }
  case 'b':
    return malformed(m, at, "a value in binary form: the option binary is on, walferry reads text");
  default: /* the letter is not named: out of step, it may be a byte of a row */
    return malformed(m, at, "a value of unknown kind");
  }
}

/* TupleData, into state->values:
 *   i16  number of columns: as in the relation, each:
 *     'n'               NULL
 *     'u'               an unchanged TOASTed value, not sent
 *     't' i32 bytes     length and text
 *     'b' i32 bytes     length and binary form: refused */
static bool read_tuple(struct message *m, const struct relation *relation) {
  struct pgoutput *state = m->state;
  size_t at = m->reader.at;
  int count = reader_u16(&m->reader);
  if (reader_failed(&m->reader))
    return unreadable(m);
  if (count != relation->column_count)
    return malformed(m, at, "%d values for the %d columns of the table with OID %u", count, relation->column_count,
                     relation->oid);
  if (count > state->values_capacity) {
    state->values = memory_resize(state->values, (size_t)count * sizeof *state->values);
    state->values_capacity = count;
  }
  for (int i = 0; i < count; i++) {
    if (!read_value(m, &state->values[i]))
      return false;
  }
  return true;
}

/* u8, one of the letters that may stand before a tuple; 0 when it is none of them, and err filled. */
static char read_tuple_mark(struct message *m, const char *allowed) {
  size_t at = m->reader.at;
  uint8_t mark = reader_u8(&m->reader);
  if (reader_failed(&m->reader))
    unreadable(m);
  else if (mark != 0 && strchr(allowed, mark) != NULL)
    return (char)mark;
  else
    malformed(m, at, "expected one of \"%s\" before a tuple", allowed);
  return 0;
}

/* Insert:
 *   'I'
 *   u32  OID of the table
 *   'N'
 *   TupleData: the new row */
static bool parse_insert(struct message *m, struct change *change) {
  if (!require_transaction(m))
    return false;
  const struct relation *relation = read_relation(m);
  if (relation == NULL || read_tuple_mark(m, "N") == 0 || !read_tuple(m, relation) || !finish(m))
    return false;
  *change = (struct change){
      .kind = CHANGE_INSERT,
      .insert = {.relation = relation, .values = m->state->values},
  };
  return true;
}

/* Update:
 *   'U'
 *   u32  OID of the table
 *   optionally 'K' TupleData: the old key, or 'O' TupleData: the old row (replica identity full)
 *   'N'
 *   TupleData: the new row */
static bool parse_update(struct message *m) {
  if (!require_transaction(m))
    return false;
  const struct relation *relation = read_relation(m);
  if (relation == NULL)
    return false;
  char mark = read_tuple_mark(m, "KON");
  if (mark == 'K' || mark == 'O') {
    if (!read_tuple(m, relation))
      return false;
    mark = read_tuple_mark(m, "N");
  }
  return mark != 0 && read_tuple(m, relation) && finish(m);
}

/* Delete:
 *   'D'
 *   u32  OID of the table
 *   'K' TupleData: the old key, or 'O' TupleData: the old row (replica identity full) */
static bool parse_delete(struct message *m) {
  if (!require_transaction(m))
    return false;
  const struct relation *relation = read_relation(m);
  return relation != NULL && read_tuple_mark(m, "KO") != 0 && read_tuple(m, relation) && finish(m);
}

/* Truncate:
 *   'T'
 *   u32  number of tables
 *   u8   options: 1 = CASCADE, 2 = RESTART IDENTITY
 *   u32  OID, for each table */
static bool parse_truncate(struct message *m) {
  if (!require_transaction(m))
    return false;
  struct reader *r = &m->reader;
  uint32_t count = reader_u32(r);
  reader_u8(r);
  if (reader_failed(r))
    return unreadable(m);
  if (count > reader_left(r) / 4)
    return malformed(m, 1, "%u tables do not fit the message", count);
  for (uint32_t i = 0; i < count; i++) {
    if (read_relation(m) == NULL)
      return false;
  }
  return finish(m);
}

/* Message, of pg_logical_emit_message (with the option messages):
 *   'M'
 *   u8      flags: 1 = transactional
 *   u64     LSN of the message
 *   string  prefix
 *   u32     length of the content, and the content
 * A transactional one comes within its transaction, any other when the server passes it, which is never within. */
static bool parse_message(struct message *m, struct change *change) {
  struct reader *r = &m->reader;
  uint8_t flags = reader_u8(r);
  lsn_t lsn = reader_u64(r);
  struct slice prefix = reader_string(r);
  uint32_t len = reader_u32(r);
  struct slice content = reader_bytes(r, len);
  if (!finish(m))
    return false;
  if (flags > 1)
    return malformed(m, 1, "unknown flags 0x%02x", flags);
  bool transactional = flags == 1;
  if (transactional && !m->state->in_transaction)
    return malformed(m, 1, "a transactional message outside of a transaction");
  if (!transactional && m->state->in_transaction)
    return malformed(m, 1, "a non-transactional message inside a transaction");
  *change = (struct change){
      .kind = CHANGE_MESSAGE,
      .message = {.transactional = transactional, .lsn = lsn, .prefix = prefix, .content = content},
  };
  return true;
}

static bool refuse_option(const struct message *m, const char *options) {
  malformed(m, 0, "sent only with %s on, and walferry streams without", options);
  error_remedy(m->err, "a walferry of this version never asks for it: look for what changed the options of its stream");
  return false;
}

static bool parse(struct message *m, struct change *change) {
  *change = (struct change){.kind = CHANGE_NONE};
  switch (m->letter) {
  case 'I':
    return parse_insert(m, change);
  case 'B':
    return parse_begin(m, change);
  case 'C':
    return parse_commit(m, change);
  case 'M':
    return parse_message(m, change);
  case 'R':
    return parse_relation(m);
  case 'Y':
    return parse_type(m);
  case 'O':
    return parse_origin(m);
  case 'U':
    return parse_update(m);
  case 'D':
    return parse_delete(m);
  case 'T':
    return parse_truncate(m);
  case 'S': /* stream start */
  case 'E': /* stream stop */
  case 'c': /* stream commit */
  case 'A': /* stream abort */
    return refuse_option(m, "the option streaming");
  case 'b': /* begin prepare */
  case 'P': /* prepare */
  case 'K': /* commit prepared */
  case 'r': /* rollback prepared */
    return refuse_option(m, "the option two_phase");
  case 'p': /* stream prepare */
    return refuse_option(m, "the options streaming and two_phase");
  default:
    return error_set(m->err, ERROR_FATAL, "pgoutput message 0x%02x, byte 0 of %zu: unknown message",
                     (unsigned char)m->letter, m->reader.bytes.len);
  }
}

static bool pgoutput_decode(struct decoder *dec, struct span frame, struct change *change, struct error *err) {
  if (frame.len == 0)
    return error_set(err, ERROR_FATAL, "pgoutput message, byte 0 of 0: an empty frame");
  struct message m = {.state = (struct pgoutput *)dec, .reader = reader_over(span_slice(frame)), .err = err};
  m.letter = (char)reader_u8(&m.reader);
  struct change parsed;
  if (!parse(&m, &parsed))
    return false;
  *change = parsed;
  return true;
}

static struct decoder *pgoutput_create(void) {
  struct pgoutput *state = memory_alloc(sizeof *state);
  state->relations = relation_cache_new();
  return &state->base;
}

static void pgoutput_destroy(struct decoder *dec) {
  struct pgoutput *state = (struct pgoutput *)dec;
  relation_cache_free(state->relations);
  free(state->values);
  free(state);
}

/* Messages are asked for always: with the prefixes of today a transaction of yesterday could fail to come again. */
static void pgoutput_options(const char *publication, struct decoder_options *options) {
  char *names = memory_format("\"%s\"", publication);
  decoder_options_add(options, "proto_version", "1");
  decoder_options_add(options, "publication_names", names);
  decoder_options_add(options, "messages", "true");
  free(names);
}

const struct decoder_class pgoutput_class = {
    .plugin = "pgoutput",
    .reads_publication = true,
    .sends_server_encoding = false,
    .options = pgoutput_options,
    .create = pgoutput_create,
    .decode = pgoutput_decode,
    .destroy = pgoutput_destroy,
};
