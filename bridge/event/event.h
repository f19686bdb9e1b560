/* An event: one outbox row, or one transactional logical message, by role instead of by column. Pure: no I/O. */
#ifndef WALFERRY_EVENT_EVENT_H
#define WALFERRY_EVENT_EVENT_H

#include "bridge/base/error.h"
#include "bridge/base/jsontext.h"
#include "bridge/base/record_header.h"
#include "decoders/change.h"

/* The roles that a column of an outbox table, or a member of a message envelope, can have. */
enum event_field {
  FIELD_ID = 0,
  FIELD_TYPE,
  FIELD_KEY,
  FIELD_AGGREGATE,
  FIELD_PAYLOAD,
  FIELD_OCCURRED_AT,
  FIELD_VERSION,
  FIELD_SOURCE,
  FIELD_CORRELATION_ID,
  FIELD_CAUSATION_ID,
  FIELD_TRACE_ID,
  FIELD_TRACEPARENT,
  FIELD_TENANT_ID,
  FIELD_ACTOR_ID,
  FIELD_ACTOR_TYPE,
  FIELD_TOPIC,
  FIELD_PARTITION,
  FIELD_HEADERS,
  FIELD_CONTENT_TYPE,
  FIELD_COUNT
};

/* "id", "type", "key", ...: the names in the config's `columns` map. NULL if there is no such field. */
const char *event_field_name(enum event_field field);

/* How the payload's bytes are to be read. */
enum payload_form {
  PAYLOAD_JSON = 1, /* json or jsonb column: known to be JSON */
  PAYLOAD_TEXT,     /* any other type's text: to be checked where an envelope embeds it */
  PAYLOAD_BYTEA     /* "\x6869": bytes in Postgres' hex form */
};

struct event {
  const char *origin;               /* "public.outbox", or a message prefix */
  bool dead_letter;                 /* a message of the inbox (event/dead_letter.h), which no route is for */
  struct slice fields[FIELD_COUNT]; /* absent where NULL or not there; borrowed */
  enum payload_form payload_form;
  int64_t occurred_at_us;   /* Unix microseconds: the occurred_at column, else the commit's time */
  bool occurred_at_invalid; /* there is a text, but it is no timestamp */
  lsn_t commit_lsn;
  int64_t commit_time_us;
  uint32_t xid;
  uint64_t index;                             /* among the counted changes of its transaction, from 0 */
  const struct record_header *column_headers; /* of an inserted row: its configured header columns; borrowed */
  int column_header_count;
};

/* A column that travels as a record header. */
struct header_column {
  const char *column;
  const char *name; /* of the header */
};

/* What becomes of a row once its event is published. */
enum after_publish { AFTER_PUBLISH_KEEP = 1, AFTER_PUBLISH_MARK, AFTER_PUBLISH_DELETE };

/* One configured outbox table. columns[f] is the configured column name of a role, or NULL: then the default name is
 * used if the table has such a column. Defaults are Debezium's for the first five (id, type, aggregateid,
 * aggregatetype, payload) and the role's own name for the others. */
struct table_spec {
  char *schema;
  char *table;
  char *columns[FIELD_COUNT];
  const struct header_column *headers;
  int header_count;
  enum after_publish after_publish;
  const char *published_at; /* the column that is set with AFTER_PUBLISH_MARK */
  bool by_day;              /* made by `init` in partitions by day */
};

/* Are its published rows marked or deleted? */
static inline bool table_is_tidied(const struct table_spec *spec) {
  return spec->after_publish == AFTER_PUBLISH_MARK || spec->after_publish == AFTER_PUBLISH_DELETE;
}

#define TIMESTAMP_COLUMN_MAX 40 /* bytes; a timestamp of Postgres has no more */

/* Where each role and each header column of a table stands in its current relation. */
struct binding {
  const struct table_spec *spec;
  char *origin; /* "schema.table" */
  uint64_t relation_serial;
  int position[FIELD_COUNT]; /* column index, or -1 */
  int *header_position;
  struct record_header *headers; /* of the row last read; absent where NULL */
  uint32_t payload_type_oid;
  char occurred_at[TIMESTAMP_COLUMN_MAX]; /* text of the row last read, which the rows of a transaction mostly share */
  size_t occurred_at_len;
  int64_t occurred_at_us; /* what it means */
};

/* The column that a table must have for a role: the configured one, or the default of a required role. NULL where the
 * role may be missing. */
const char *event_required_column(const struct table_spec *spec, enum event_field field);

void binding_init(struct binding *b, const struct table_spec *spec);
void binding_free(struct binding *b);

/* Looks roles and header columns up by column name when relation is not the one seen last (by serial). A required
 * column (id, type, key, aggregate, payload, or any that the config names) that the table lacks is ERROR_REFUSED
 * "column_missing". */
bool binding_update(struct binding *b, const struct relation *relation, struct error *err);

/* Fills event's fields from an insert whose relation the binding was updated to; the caller fills commit_lsn, xid,
 * index and commit_time_us first. An occurred_at that is not a timestamp with time zone in ISO form is left to
 * record_build to report (fields[] keeps the text, occurred_at_us is the commit's time). UNCHANGED values cannot occur
 * in an insert; one is ERROR_FATAL. The event's column_headers are the binding's, until its next row. */
bool event_from_insert(struct binding *b, const struct change *change, struct event *event, struct error *err);

/* A message's content: a `standard` envelope plus aggregate, key, topic, partition, headers, traceparent, tenant_id,
 * content_type. Strings are unescaped, numbers and booleans stand as written, null is as if left out, unknown members
 * are passed over; without key, metadata.partition_key serves. The slices of the event point into content and scratch
 * (until its next use); payload and headers are the verbatim texts of their members.
 * Content that is no JSON object, that names a member twice or has an object where a string belongs is reported through
 * *problem (a static code as in record.h; NULL when all is well), not as an error: the row is then quarantined, with
 * the whole content as its payload. The caller fills commit_lsn, xid, index and commit_time_us first. */
void event_from_message(struct jsontext_scratch *scratch, const char *prefix, struct slice content, struct event *event,
                        const char **problem);

#endif
