/* See event.h: roles, where they stand in a table, and the event of an inserted row. Messages are in message.c. */
#include "bridge/event/event.h"

#include <stdlib.h>

#include "bridge/base/memory.h"
#include "bridge/base/timestamp.h"

#define OID_JSON 114
#define OID_JSONB 3802
#define OID_BYTEA 17

#define SERIAL_NONE UINT64_MAX

static const struct role {
  const char *name;
  const char *column; /* the default: Debezium's name, or the role's own */
  bool required;
} roles[FIELD_COUNT] = {
    [FIELD_ID] = {"id", "id", true},
    [FIELD_TYPE] = {"type", "type", true},
    [FIELD_KEY] = {"key", "aggregateid", true},
    [FIELD_AGGREGATE] = {"aggregate", "aggregatetype", true},
    [FIELD_PAYLOAD] = {"payload", "payload", true},
    [FIELD_OCCURRED_AT] = {"occurred_at", "occurred_at", false},
    [FIELD_VERSION] = {"version", "version", false},
    [FIELD_SOURCE] = {"source", "source", false},
    [FIELD_CORRELATION_ID] = {"correlation_id", "correlation_id", false},
    [FIELD_CAUSATION_ID] = {"causation_id", "causation_id", false},
    [FIELD_TRACE_ID] = {"trace_id", "trace_id", false},
    [FIELD_TRACEPARENT] = {"traceparent", "traceparent", false},
    [FIELD_TENANT_ID] = {"tenant_id", "tenant_id", false},
    [FIELD_ACTOR_ID] = {"actor_id", "actor_id", false},
    [FIELD_ACTOR_TYPE] = {"actor_type", "actor_type", false},
    [FIELD_TOPIC] = {"topic", "topic", false},
    [FIELD_PARTITION] = {"partition", "partition", false},
    [FIELD_HEADERS] = {"headers", "headers", false},
    [FIELD_CONTENT_TYPE] = {"content_type", "content_type", false},
};

const char *event_field_name(enum event_field field) {
  return (unsigned)field < FIELD_COUNT ? roles[field].name : NULL;
}

const char *event_required_column(const struct table_spec *spec, enum event_field field) {
  const char *configured = spec->columns[field];
  return configured == NULL && roles[field].required ? roles[field].column : configured;
}

void binding_init(struct binding *b, const struct table_spec *spec) {
  *b = (struct binding){.spec = spec, .relation_serial = SERIAL_NONE};
  b->origin = memory_format("%s.%s", spec->schema, spec->table);
  for (int f = 0; f < FIELD_COUNT; f++)
    b->position[f] = -1;
  b->header_position = memory_alloc((size_t)spec->header_count * sizeof *b->header_position);
  b->headers = memory_alloc((size_t)spec->header_count * sizeof *b->headers);
  for (int i = 0; i < spec->header_count; i++)
    b->headers[i] = (struct record_header){.name = spec->headers[i].name, .value = SLICE_ABSENT};
}

void binding_free(struct binding *b) {
  free(b->origin);
  free(b->header_position);
  free(b->headers);
  *b = (struct binding){.relation_serial = SERIAL_NONE};
}

static int column_find(const struct relation *relation, const char *name) {
  for (int i = 0; i < relation->column_count; i++)
    if (strcmp(relation->columns[i].name, name) == 0)
      return i;
  return -1;
}

static bool find_header_columns(const struct binding *b, const struct relation *relation, struct error *err) {
  for (int i = 0; i < b->spec->header_count; i++) {
    const struct header_column *header = &b->spec->headers[i];
    if (column_find(relation, header->column) >= 0)
      continue;
    error_refuse(err, "column_missing", "table %s has no column \"%s\", which is to be the header \"%s\"", b->origin,
                 header->column, header->name);
    return error_remedy(err,
                        "Add the column to %s again, or take it out of relay.tables, headers. Rows written meanwhile "
                        "are kept by the slot.",
                        b->origin);
  }
  return true;
}

bool binding_update(struct binding *b, const struct relation *relation, struct error *err) {
  if (relation->serial == b->relation_serial)
    return true;
  int position[FIELD_COUNT];
  for (int f = 0; f < FIELD_COUNT; f++) {
    const char *configured = b->spec->columns[f];
    const char *name = configured == NULL ? roles[f].column : configured;
    position[f] = column_find(relation, name);
    if (position[f] >= 0 || (configured == NULL && !roles[f].required))
      continue;
    error_refuse(err, "column_missing", "table %s has no column \"%s\", which is to hold the event's %s", b->origin,
                 name, roles[f].name);
    return error_remedy(err,
                        "Add the column to %s again, or name the one that holds the %s in the config: relay.tables, "
                        "columns: {%s: ...}. Rows written meanwhile are kept by the slot.",
                        b->origin, roles[f].name, roles[f].name);
  }
  if (!find_header_columns(b, relation, err))
    return false;
  for (int i = 0; i < b->spec->header_count; i++)
    b->header_position[i] = column_find(relation, b->spec->headers[i].column);
  memcpy(b->position, position, sizeof position);
  b->payload_type_oid = relation->columns[position[FIELD_PAYLOAD]].type_oid;
  b->relation_serial = relation->serial;
  return true;
}

static enum payload_form form_of_type(uint32_t type_oid) {
  switch (type_oid) {
  case OID_JSON:
  case OID_JSONB:
    return PAYLOAD_JSON;
  case OID_BYTEA:
    return PAYLOAD_BYTEA;
  default:
    return PAYLOAD_TEXT;
  }
}

/* The text of a column of an inserted row; absent where it is NULL. */
static bool read_column(const struct binding *b, const struct change *change, int column, struct slice *text,
                        struct error *err) {
  const struct value *value = &change->insert.values[column];
  *text = SLICE_ABSENT;
  switch (value->kind) {
  case VALUE_NULL:
    break;
  case VALUE_TEXT:
    *text = value->text;
    break;
  case VALUE_UNCHANGED:
    return error_set(err, ERROR_FATAL, "an inserted row of %s came without the value of its column \"%s\"", b->origin,
                     change->insert.relation->columns[column].name);
  }
  return true;
}

static bool read_time(struct binding *b, struct slice text, int64_t *unix_us) {
  if (text.len > 0 && slice_equal(text, slice_from(b->occurred_at, b->occurred_at_len))) {
    *unix_us = b->occurred_at_us;
    return true;
  }
  if (!timestamp_parse(text, unix_us))
    return false;
  b->occurred_at_len = text.len <= sizeof b->occurred_at ? text.len : 0;
  memcpy(b->occurred_at, text.data, b->occurred_at_len);
  b->occurred_at_us = *unix_us;
  return true;
}

bool event_from_insert(struct binding *b, const struct change *change, struct event *event, struct error *err) {
  const struct relation *relation = change->insert.relation;
  if (relation->serial != b->relation_serial)
    return error_set(err, ERROR_FATAL, "a row of %s came before its columns were looked up", b->origin);
  event->origin = b->origin;
  event->payload_form = form_of_type(b->payload_type_oid);
  event->occurred_at_us = event->commit_time_us;
  for (int f = 0; f < FIELD_COUNT; f++) {
    event->fields[f] = SLICE_ABSENT;
    if (b->position[f] >= 0 && !read_column(b, change, b->position[f], &event->fields[f], err))
      return false;
  }
  for (int i = 0; i < b->spec->header_count; i++)
    if (!read_column(b, change, b->header_position[i], &b->headers[i].value, err))
      return false;
  event->column_headers = b->headers;
  event->column_header_count = b->spec->header_count;
  struct slice occurred_at = event->fields[FIELD_OCCURRED_AT];
  event->occurred_at_invalid = slice_present(occurred_at) && !read_time(b, occurred_at, &event->occurred_at_us);
  return true;
}
