/* The frames of the output plugin wal2json 2.5, format version 2: one JSON object a frame.
 *   {"action":"B","xid":728,"timestamp":"2026-11-21 11:53:41.276897+00","lsn":"0/152C6C8","nextlsn":"0/152C6F8"}
 *   {"action":"C", as B}
 *   {"action":"I","xid":...,"timestamp":...,"lsn":...,"schema":"public","table":"outbox","columns":[
 *      {"name":"id","typeoid":2950,"value":"6c61..."}, ...]}
 *   {"action":"M","xid":...,"timestamp":...,"lsn":...,"transactional":true,"prefix":"walferry","content":"{...}"}
 * lsn is of the commit record in B and C, with nextlsn as its end, else of the change. What the values may be was taken
 * from its source, wal2json.c, and from a real server. Strings are Postgres' own JSON strings; what they hold need not
 * be UTF-8 (the content of a message).
 * Must not know which tables anybody wants, nor put anything of a row into an error. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "bridge/base/buffer.h"
#include "bridge/base/jsontext.h"
#include "bridge/base/memory.h"
#include "bridge/base/number.h"
#include "bridge/base/timestamp.h"
#include "decoders/plugin.h"
#include "decoders/relation.h"

#define OID_BYTEA 17
#define RELATIONS_MAX 1000 /* of all tables of the database; more are not worth their memory */
#define KEY_MAX 1000       /* bytes: two names of at most 63, escaped, and ample */

struct wal2json {
  struct decoder base; /* first */
  struct relation_cache *relations;
  struct slice *names; /* of the last row's columns; these three grow to the widest table and are reused */
  uint32_t *type_oids;
  struct value *values;
  int capacity;
  struct buffer key;   /* of the last row's table in relations */
  bool in_transaction; /* between B and C */
  lsn_t begin_lsn;     /* of the open transaction: the commit LSN that its B announced */
};

#define NAME(text)                                                                                                     \
  { .data = (text), .len = sizeof(text) - 1 }

/* The members of a frame. */
enum member {
  MEMBER_ACTION = 0,
  MEMBER_XID,
  MEMBER_TIMESTAMP,
  MEMBER_LSN,
  MEMBER_NEXTLSN,
  MEMBER_SCHEMA,
  MEMBER_TABLE,
  MEMBER_COLUMNS,
  MEMBER_TRANSACTIONAL,
  MEMBER_PREFIX,
  MEMBER_CONTENT,
  MEMBER_COUNT
};
static const struct slice member_names[MEMBER_COUNT] = {
    NAME("action"), NAME("xid"),     NAME("timestamp"),     NAME("lsn"),    NAME("nextlsn"), NAME("schema"),
    NAME("table"),  NAME("columns"), NAME("transactional"), NAME("prefix"), NAME("content")};

/* And of a column. */
enum column_member { COLUMN_NAME = 0, COLUMN_TYPE_OID, COLUMN_VALUE, COLUMN_MEMBER_COUNT };
static const struct slice column_member_names[COLUMN_MEMBER_COUNT] = {NAME("name"), NAME("typeoid"), NAME("value")};

/* One frame on its way through the parser. */
struct message {
  struct wal2json *state;
  struct slice frame;
  char *bytes;                        /* the same, where texts are brought into their form */
  struct jsontext_reader reader;      /* of the frame */
  struct slice members[MEMBER_COUNT]; /* as written; absent where the frame has none */
  const struct relation *relation;    /* of the columns */
  char action;                        /* '?' until it is known */
  struct error *err;
};

static bool malformed(const struct message *m, const char *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* at points into the frame. */
static bool malformed(const struct message *m, const char *at, const char *format, ...) {
  char detail[512];
  va_list args;
  va_start(args, format);
  vsnprintf(detail, sizeof detail, format, args);
  va_end(args);
  return error_set(m->err, ERROR_FATAL, "wal2json message '%c', byte %zu of %zu: %s", m->action,
                   (size_t)(at - m->frame.data), m->frame.len, detail);
}

static bool not_json(const struct message *m) {
  return malformed(m, m->reader.at, "the message is not JSON");
}

/* To the value of the next member that is in names, and its place there; the others are passed over. At the object's
 * end *place is count. values: what was read before, absent where nothing was. */
static bool next_member(struct message *m, const struct slice *names, int count, const struct slice *values,
                        int *place) {
  struct slice name, ignored;
  while (jsontext_read_member(&m->reader, &name)) {
    for (int i = 0; i < count; i++) {
      if (!slice_equal(name, names[i]))
        continue;
      *place = i;
      return !slice_present(values[i]) || malformed(m, name.data, "the member \"%s\" stands twice", names[i].data);
    }
    jsontext_read_value(&m->reader, &ignored);
  }
  *place = count;
  return !m->reader.failed || not_json(m);
}

static bool read_member(struct message *m, struct slice *value) {
  return jsontext_read_value(&m->reader, value) || not_json(m);
}

/* A member that has to be there and of a kind. */
static bool require(const struct message *m, struct slice value, const char *name, enum jsontext_kind kind) {
  if (!slice_present(value))
    return malformed(m, m->frame.data, "the member \"%s\" is missing", name);
  return jsontext_kind_of(value) == kind || malformed(m, value.data, "the member \"%s\" is of another kind", name);
}

static bool require_member(const struct message *m, enum member member, enum jsontext_kind kind) {
  return require(m, m->members[member], member_names[member].data, kind);
}

/* In the frame itself: nothing there is read twice. */
static struct slice string_text(const struct message *m, struct slice string) {
  struct slice body = jsontext_string_body(string);
  if (memchr(body.data, '\\', body.len) == NULL)
    return body;
  char *to = m->bytes + (body.data - m->frame.data);
  return slice_from(to, jsontext_unescape(body, to));
}

/* wal2json cuts off the \x that bytea's text begins with. It takes the place of the quote and of the colon or blank in
 * front of that. */
static struct slice bytea_text(const struct message *m, struct slice string) {
  struct slice text = string_text(m, string);
  char *from = m->bytes + (text.data - m->frame.data) - 2;
  memcpy(from, "\\x", 2);
  return slice_from(from, text.len + 2);
}

static bool read_lsn(const struct message *m, enum member member, lsn_t *lsn) {
  struct slice value = m->members[member];
  return require_member(m, member, JSONTEXT_STRING) &&
         (lsn_parse(jsontext_string_body(value), lsn) ||
          malformed(m, value.data, "the member \"%s\" is no LSN", member_names[member].data));
}

static bool read_timestamp(const struct message *m, int64_t *unix_us) {
  struct slice value = m->members[MEMBER_TIMESTAMP];
  return require_member(m, MEMBER_TIMESTAMP, JSONTEXT_STRING) &&
         (timestamp_parse(jsontext_string_body(value), unix_us) ||
          malformed(m, value.data, "the member \"timestamp\" is no timestamp"));
}

static bool read_xid(const struct message *m, uint32_t *xid) {
  struct slice value = m->members[MEMBER_XID];
  uint64_t number;
  if (!require_member(m, MEMBER_XID, JSONTEXT_NUMBER))
    return false;
  if (!number_parse_u64(value, UINT32_MAX, &number))
    return malformed(m, value.data, "the member \"xid\" is no transaction id");
  *xid = (uint32_t)number;
  return true;
}

static bool require_transaction(const struct message *m) {
  return m->state->in_transaction || malformed(m, m->frame.data, "not between a begin and a commit");
}

/* What B and C have in common. */
struct bounds {
  lsn_t commit_lsn;
  lsn_t end_lsn;
  int64_t commit_time_us;
};

static bool read_bounds(const struct message *m, struct bounds *b) {
  if (!read_lsn(m, MEMBER_LSN, &b->commit_lsn) || !read_lsn(m, MEMBER_NEXTLSN, &b->end_lsn) ||
      !read_timestamp(m, &b->commit_time_us))
    return false;
  if (b->commit_lsn == 0)
    return malformed(m, m->members[MEMBER_LSN].data, "the commit LSN is 0/0");
  return b->end_lsn > b->commit_lsn ||
         malformed(m, m->members[MEMBER_NEXTLSN].data, "the commit record at %s ends at %s",
                   lsn_format(b->commit_lsn).text, lsn_format(b->end_lsn).text);
}

static bool parse_begin(const struct message *m, struct change *change) {
  if (m->state->in_transaction)
    return malformed(m, m->frame.data, "a begin inside a transaction");
  struct bounds b;
  uint32_t xid = 0;
  if (!read_bounds(m, &b) || !read_xid(m, &xid))
    return false;
  m->state->in_transaction = true;
  m->state->begin_lsn = b.commit_lsn;
  *change = (struct change){
      .kind = CHANGE_BEGIN,
      .begin = {.commit_lsn = b.commit_lsn, .commit_time_us = b.commit_time_us, .xid = xid},
  };
  return true;
}

static bool parse_commit(const struct message *m, struct change *change) {
  struct bounds b;
  if (!require_transaction(m) || !read_bounds(m, &b))
    return false;
  if (b.commit_lsn != m->state->begin_lsn)
    return malformed(m, m->members[MEMBER_LSN].data, "commits at %s what was begun for %s",
                     lsn_format(b.commit_lsn).text, lsn_format(m->state->begin_lsn).text);
  m->state->in_transaction = false;
  *change = (struct change){
      .kind = CHANGE_COMMIT,
      .commit = {.commit_lsn = b.commit_lsn, .end_lsn = b.end_lsn, .commit_time_us = b.commit_time_us},
  };
  return true;
}

/* As Postgres' own text: numbers stand bare in the frame, booleans as words; NaN and the infinities have become null
 * and cannot be told from NULL. */
static bool read_value(const struct message *m, struct slice written, uint32_t type_oid, struct value *value) {
  switch (jsontext_kind_of(written)) {
  case JSONTEXT_NULL:
    *value = (struct value){.kind = VALUE_NULL, .text = SLICE_ABSENT};
    return true;
  case JSONTEXT_STRING:
    *value = (struct value){.kind = VALUE_TEXT,
                            .text = type_oid == OID_BYTEA ? bytea_text(m, written) : string_text(m, written)};
    return true;
  case JSONTEXT_NUMBER:
    *value = (struct value){.kind = VALUE_TEXT, .text = written};
    return true;
  case JSONTEXT_BOOL:
    *value = (struct value){.kind = VALUE_TEXT, .text = slice_from(written.data[0] == 't' ? "t" : "f", 1)};
    return true;
  case JSONTEXT_OBJECT:
  case JSONTEXT_ARRAY:
    break;
  }
  return malformed(m, written.data, "a value that is neither text, number, boolean nor null");
}

static void reserve_columns(struct wal2json *state, int count) {
  if (count <= state->capacity)
    return;
  int capacity = count < 32 ? 32 : 2 * count;
  state->names = memory_resize(state->names, (size_t)capacity * sizeof *state->names);
  state->type_oids = memory_resize(state->type_oids, (size_t)capacity * sizeof *state->type_oids);
  state->values = memory_resize(state->values, (size_t)capacity * sizeof *state->values);
  state->capacity = capacity;
}

/* If what stands in front of the value is, byte for byte, what stood there in the row before, it is not taken apart. */
static bool take_known(struct message *m, const struct relation *known, int index, struct slice *members) {
  if (known == NULL || index >= known->column_count)
    return false;
  struct slice written = slice_from(known->written[index].text, known->written[index].len);
  if (!jsontext_read_text(&m->reader, written))
    return false;
  members[COLUMN_NAME] = members[COLUMN_TYPE_OID] = written;
  m->state->names[index] = slice_of(known->columns[index].name);
  m->state->type_oids[index] = known->columns[index].type_oid;
  return true;
}

static bool take_told(const struct message *m, const char *at, int index, const struct slice *members) {
  for (int i = 0; i < COLUMN_MEMBER_COUNT; i++)
    if (!slice_present(members[i]))
      return malformed(m, at, "a column without \"%s\"", column_member_names[i].data);
  if (!require(m, members[COLUMN_NAME], "name", JSONTEXT_STRING))
    return false;
  int64_t oid; /* written as a signed number */
  if (!number_parse(members[COLUMN_TYPE_OID], INT32_MIN, UINT32_MAX, &oid))
    return malformed(m, members[COLUMN_TYPE_OID].data, "the member \"typeoid\" is no OID");
  m->state->names[index] = string_text(m, members[COLUMN_NAME]);
  m->state->type_oids[index] = (uint32_t)oid;
  return true;
}

/* {"name":"id","typeoid":2950,"value":...} into the place `index` of names, type_oids and values. *as_known
 * stays if known has just that column there. */
static bool read_column(struct message *m, const struct relation *known, int index, bool *as_known) {
  struct wal2json *state = m->state;
  const char *at = m->reader.at;
  struct slice members[COLUMN_MEMBER_COUNT] = {SLICE_ABSENT, SLICE_ABSENT, SLICE_ABSENT};
  bool same = take_known(m, known, index, members);
  *as_known = *as_known && same;
  if (same) {
    if (!read_member(m, &members[COLUMN_VALUE]))
      return false;
  } else if (!jsontext_read_open(&m->reader, JSONTEXT_OBJECT)) {
    return malformed(m, at, "a column that is no object");
  }
  for (int i;;) {
    if (!next_member(m, column_member_names, COLUMN_MEMBER_COUNT, members, &i))
      return false;
    if (i == COLUMN_MEMBER_COUNT)
      break;
    if (!read_member(m, &members[i]))
      return false;
  }
  return (same || take_told(m, at, index, members)) &&
         read_value(m, members[COLUMN_VALUE], state->type_oids[index], &state->values[index]);
}

/* The same columns in the same order, by name and type? */
static bool same_columns(const struct wal2json *state, const struct relation *relation, int count) {
  for (int i = 0; i < count; i++)
    if (relation->columns[i].type_oid != state->type_oids[i] || !slice_is(state->names[i], relation->columns[i].name))
      return false;
  return true;
}

/* The table's key among the relations: its names as written. */
static bool read_key(const struct message *m, struct slice *key) {
  if (!require_member(m, MEMBER_SCHEMA, JSONTEXT_STRING) || !require_member(m, MEMBER_TABLE, JSONTEXT_STRING))
    return false;
  struct buffer *buf = &m->state->key;
  buffer_clear(buf);
  buffer_append_slice(buf, m->members[MEMBER_SCHEMA]);
  buffer_append_slice(buf, m->members[MEMBER_TABLE]);
  *key = buffer_slice(buf);
  return !buf->overflow || malformed(m, m->members[MEMBER_TABLE].data, "the table's name is too long");
}

static struct relation *new_relation(const struct message *m, int count) {
  const struct wal2json *state = m->state;
  struct relation *relation =
      relation_new(0, string_text(m, m->members[MEMBER_SCHEMA]), string_text(m, m->members[MEMBER_TABLE]), count);
  struct buffer written;
  buffer_init(&written, BUFFER_MAX_ROW);
  for (int i = 0; i < count; i++) {
    relation_set_column(relation, i, state->names[i], state->type_oids[i]);
    buffer_clear(&written);
    buffer_append_text(&written, "{\"name\":");
    buffer_append_json(&written, state->names[i]);
    buffer_printf(&written, ",\"typeoid\":%" PRId32 ",\"value\":", (int32_t)state->type_oids[i]);
    relation_set_written(relation, i, buffer_slice(&written));
  }
  buffer_free(&written);
  return relation;
}

/* wal2json describes the table with each row. A relation is made anew only when its columns are not those of the row
 * before, so that its serial says the same as pgoutput's. schema and table have to stand in front of the columns. */
static bool read_columns(struct message *m, struct slice *written) {
  struct wal2json *state = m->state;
  const char *from = m->reader.at;
  struct slice key;
  if (!read_key(m, &key))
    return false;
  if (!jsontext_read_open(&m->reader, JSONTEXT_ARRAY))
    return malformed(m, from, "the member \"columns\" is of another kind");
  const struct relation *known = relation_cache_find(state->relations, key);
  bool as_known = true;
  int count = 0;
  for (; jsontext_read_element(&m->reader); count++) {
    reserve_columns(state, count + 1);
    if (!read_column(m, known, count, &as_known))
      return false;
  }
  if (m->reader.failed)
    return not_json(m);
  if (known == NULL || known->column_count != count || (!as_known && !same_columns(state, known, count))) {
    struct relation *relation = new_relation(m, count);
    if (known == NULL && relation_cache_count(state->relations) >= RELATIONS_MAX)
      relation_cache_clear(state->relations);
    relation_cache_replace(state->relations, key, relation);
    known = relation;
  }
  m->relation = known;
  *written = slice_from(from, (size_t)(m->reader.at - from));
  return true;
}

static bool parse_insert(const struct message *m, struct change *change) {
  if (!require_transaction(m) || !require_member(m, MEMBER_COLUMNS, JSONTEXT_ARRAY))
    return false;
  *change = (struct change){
      .kind = CHANGE_INSERT,
      .insert = {.relation = m->relation, .values = m->state->values},
  };
  return true;
}

/* Of pg_logical_emit_message. A transactional one comes within its transaction, any other when the server passes it,
 * which is never within, and with null for xid and timestamp. */
static bool parse_message(const struct message *m, struct change *change) {
  lsn_t lsn;
  if (!require_member(m, MEMBER_TRANSACTIONAL, JSONTEXT_BOOL) || !require_member(m, MEMBER_PREFIX, JSONTEXT_STRING) ||
      !require_member(m, MEMBER_CONTENT, JSONTEXT_STRING) || !read_lsn(m, MEMBER_LSN, &lsn))
    return false;
  struct slice flag = m->members[MEMBER_TRANSACTIONAL];
  bool transactional = flag.data[0] == 't';
  if (transactional && !m->state->in_transaction)
    return malformed(m, flag.data, "a transactional message outside of a transaction");
  if (!transactional && m->state->in_transaction)
    return malformed(m, flag.data, "a non-transactional message inside a transaction");
  *change = (struct change){
      .kind = CHANGE_MESSAGE,
      .message = {.transactional = transactional,
                  .lsn = lsn,
                  .prefix = string_text(m, m->members[MEMBER_PREFIX]),
                  .content = string_text(m, m->members[MEMBER_CONTENT])},
  };
  return true;
}

static bool read_action(struct message *m) {
  if (!require_member(m, MEMBER_ACTION, JSONTEXT_STRING))
    return false;
  struct slice action = jsontext_string_body(m->members[MEMBER_ACTION]);
  if (action.len != 1 || memchr("BCIM", action.data[0], 4) == NULL)
    return malformed(m, action.data, "an action that is none of B, C, I and M");
  m->action = action.data[0];
  return true;
}

/* All of the frame into members, its columns also into the state. */
static bool read_frame(struct message *m) {
  if (!jsontext_read_open(&m->reader, JSONTEXT_OBJECT))
    return malformed(m, m->reader.at, "the message is no JSON object");
  for (int i;;) {
    if (!next_member(m, member_names, MEMBER_COUNT, m->members, &i))
      return false;
    if (i == MEMBER_COUNT)
      return jsontext_read_end(&m->reader) || not_json(m);
    if (i == MEMBER_COLUMNS ? !read_columns(m, &m->members[i]) : !read_member(m, &m->members[i]))
      return false;
    if (i == MEMBER_ACTION && !read_action(m))
      return false;
  }
}

static bool parse(struct message *m, struct change *change) {
  if (!read_frame(m) || !require_member(m, MEMBER_ACTION, JSONTEXT_STRING))
    return false;
  switch (m->action) {
  case 'I':
    return parse_insert(m, change);
  case 'B':
    return parse_begin(m, change);
  case 'C':
    return parse_commit(m, change);
  default:
    return parse_message(m, change);
  }
}

static bool wal2json_decode(struct decoder *dec, struct span bytes, struct change *change, struct error *err) {
  struct slice frame = span_slice(bytes);
  if (frame.len == 0)
    return error_set(err, ERROR_FATAL, "wal2json message, byte 0 of 0: an empty frame");
  struct message m = {.state = (struct wal2json *)dec,
                      .frame = frame,
                      .bytes = bytes.data,
                      .reader = jsontext_reader_over(frame),
                      .action = '?',
                      .err = err};
  struct change parsed;
  if (!parse(&m, &parsed))
    return false;
  *change = parsed;
  return true;
}

/* Inserts only, and all messages. Type names are left out: wal2json does not escape the quoted ones. */
static void wal2json_options(const char *publication, struct decoder_options *options) {
  (void)publication;
  static const char *const list[][2] = {{"format-version", "2"},    {"actions", "insert"},   {"include-xids", "1"},
                                        {"include-timestamp", "1"}, {"include-lsn", "1"},    {"include-type-oids", "1"},
                                        {"include-types", "0"},     {"include-schemas", "1"}};
  for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
    decoder_options_add(options, list[i][0], list[i][1]);
}

static struct decoder *wal2json_create(void) {
  struct wal2json *state = memory_alloc(sizeof *state);
  state->relations = relation_cache_new();
  buffer_init(&state->key, KEY_MAX);
  return &state->base;
}

static void wal2json_destroy(struct decoder *dec) {
  struct wal2json *state = (struct wal2json *)dec;
  relation_cache_free(state->relations);
  buffer_free(&state->key);
  free(state->names);
  free(state->type_oids);
  free(state->values);
  free(state);
}

const struct decoder_class wal2json_class = {
    .plugin = "wal2json",
    .reads_publication = false,
    .sends_server_encoding = true,
    .options = wal2json_options,
    .create = wal2json_create,
    .decode = wal2json_decode,
    .destroy = wal2json_destroy,
};
