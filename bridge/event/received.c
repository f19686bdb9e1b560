/* See received.h. The value is taken apart once, by the members of all layouts; then it is decided which layout it is.
 */
#include "bridge/event/received.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "bridge/base/memory.h"
#include "bridge/base/timestamp.h"
#include "bridge/event/headers.h"
#include "bridge/event/members.h"
#include "bridge/event/traceparent.h"
#include "bridge/event/uri.h"

#define HEADER_EVENT_TYPE "eventType" /* the alias that Debezium's documentation gives the type */

/* Roles that are no field's own name. */
enum {
  MEMBER_EVENT_TYPE = FIELD_COUNT,
  MEMBER_TIMESTAMP,
  MEMBER_TS,
  MEMBER_TRACE_ID,
  MEMBER_ACTOR,
  MEMBER_METADATA,
  MEMBER_SCHEMA,
  CLOUD_SPECVERSION,
  CLOUD_SUBJECT,
  CLOUD_TIME,
  CLOUD_VERSION,
  CLOUD_CORRELATION_ID,
  CLOUD_CAUSATION_ID,
  CLOUD_TRACE_ID,
  CLOUD_TENANT_ID,
  CLOUD_ACTOR_ID,
  CLOUD_ACTOR_TYPE,
  CLOUD_PARTITION_KEY,
  CLOUD_DATA,
  CLOUD_DATA_BASE64
};

static const struct member_role value_members[] = {{"id", FIELD_ID},
                                                   {"type", FIELD_TYPE},
                                                   {"eventType", MEMBER_EVENT_TYPE},
                                                   {"version", FIELD_VERSION},
                                                   {"occurred_at", FIELD_OCCURRED_AT},
                                                   {"timestamp", MEMBER_TIMESTAMP},
                                                   {"ts", MEMBER_TS},
                                                   {"source", FIELD_SOURCE},
                                                   {"correlation_id", FIELD_CORRELATION_ID},
                                                   {"causation_id", FIELD_CAUSATION_ID},
                                                   {"trace_id", FIELD_TRACE_ID},
                                                   {"traceId", MEMBER_TRACE_ID},
                                                   {"traceparent", FIELD_TRACEPARENT},
                                                   {"tenant_id", FIELD_TENANT_ID},
                                                   {"actor", MEMBER_ACTOR},
                                                   {"payload", FIELD_PAYLOAD},
                                                   {"metadata", MEMBER_METADATA},
                                                   {"schema", MEMBER_SCHEMA},
                                                   {"specversion", CLOUD_SPECVERSION},
                                                   {"subject", CLOUD_SUBJECT},
                                                   {"time", CLOUD_TIME},
                                                   {"eventversion", CLOUD_VERSION},
                                                   {"correlationid", CLOUD_CORRELATION_ID},
                                                   {"causationid", CLOUD_CAUSATION_ID},
                                                   {"traceid", CLOUD_TRACE_ID},
                                                   {"tenantid", CLOUD_TENANT_ID},
                                                   {"actorid", CLOUD_ACTOR_ID},
                                                   {"actortype", CLOUD_ACTOR_TYPE},
                                                   {"partitionkey", CLOUD_PARTITION_KEY},
                                                   {"data", CLOUD_DATA},
                                                   {"data_base64", CLOUD_DATA_BASE64},
                                                   {NULL, 0}};

/* Which field each member of a layout is; of two for one field the first that is there counts. */
struct member_field {
  int role;
  enum event_field field;
};

static const struct member_field event_members[] = {{FIELD_ID, FIELD_ID},
                                                    {FIELD_TYPE, FIELD_TYPE},
                                                    {MEMBER_EVENT_TYPE, FIELD_TYPE},
                                                    {FIELD_VERSION, FIELD_VERSION},
                                                    {FIELD_OCCURRED_AT, FIELD_OCCURRED_AT},
                                                    {MEMBER_TIMESTAMP, FIELD_OCCURRED_AT},
                                                    {MEMBER_TS, FIELD_OCCURRED_AT},
                                                    {FIELD_SOURCE, FIELD_SOURCE},
                                                    {FIELD_CORRELATION_ID, FIELD_CORRELATION_ID},
                                                    {FIELD_CAUSATION_ID, FIELD_CAUSATION_ID},
                                                    {FIELD_TRACE_ID, FIELD_TRACE_ID},
                                                    {MEMBER_TRACE_ID, FIELD_TRACE_ID},
                                                    {FIELD_TRACEPARENT, FIELD_TRACEPARENT},
                                                    {FIELD_TENANT_ID, FIELD_TENANT_ID}};

static const struct member_field cloud_members[] = {{FIELD_ID, FIELD_ID},
                                                    {FIELD_TYPE, FIELD_TYPE},
                                                    {FIELD_SOURCE, FIELD_SOURCE},
                                                    {CLOUD_TIME, FIELD_OCCURRED_AT},
                                                    {CLOUD_VERSION, FIELD_VERSION},
                                                    {CLOUD_CORRELATION_ID, FIELD_CORRELATION_ID},
                                                    {CLOUD_CAUSATION_ID, FIELD_CAUSATION_ID},
                                                    {CLOUD_TRACE_ID, FIELD_TRACE_ID},
                                                    {FIELD_TRACEPARENT, FIELD_TRACEPARENT},
                                                    {CLOUD_TENANT_ID, FIELD_TENANT_ID},
                                                    {CLOUD_ACTOR_ID, FIELD_ACTOR_ID},
                                                    {CLOUD_ACTOR_TYPE, FIELD_ACTOR_TYPE},
                                                    {CLOUD_PARTITION_KEY, FIELD_KEY},
                                                    {CLOUD_SUBJECT, FIELD_KEY}};

/* The nested objects' members are the fields themselves. */
static const struct member_role actor_members[] = {{"id", FIELD_ACTOR_ID}, {"type", FIELD_ACTOR_TYPE}, {NULL, 0}};
static const struct member_field actor_fields[] = {{FIELD_ACTOR_ID, FIELD_ACTOR_ID},
                                                   {FIELD_ACTOR_TYPE, FIELD_ACTOR_TYPE}};
static const struct member_role metadata_members[] = {
    {"partition_key", FIELD_KEY}, {"tenant_id", FIELD_TENANT_ID}, {NULL, 0}};
static const struct member_field metadata_fields[] = {{FIELD_KEY, FIELD_KEY}, {FIELD_TENANT_ID, FIELD_TENANT_ID}};

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

struct received_reader {
  struct envelope *envelope;
  struct payload_scratch data;
  struct jsontext_scratch value;   /* a value that came as a string */
  struct jsontext_scratch payload; /* a payload that did */
  struct jsontext_scratch fields;  /* texts of the value's members */
  struct jsontext_scratch headers; /* texts of headers and key */
  struct buffer place;
  struct buffer text;
};

struct received_reader *received_reader_new(void) {
  struct received_reader *reader = memory_alloc(sizeof *reader);
  reader->envelope = envelope_new(ENVELOPE_STANDARD);
  payload_scratch_init(&reader->data);
  buffer_init(&reader->place, BUFFER_MAX_ROW);
  buffer_init(&reader->text, BUFFER_MAX_ROW);
  return reader;
}

void received_reader_free(struct received_reader *reader) {
  if (reader == NULL)
    return;
  envelope_free(reader->envelope);
  payload_scratch_free(&reader->data);
  jsontext_scratch_free(&reader->value);
  jsontext_scratch_free(&reader->payload);
  jsontext_scratch_free(&reader->fields);
  jsontext_scratch_free(&reader->headers);
  buffer_free(&reader->place);
  buffer_free(&reader->text);
  free(reader);
}

/* One record on its way. */
struct reading {
  struct received_reader *reader;
  const struct received_record *record;
  struct event event; /* what is found goes here */
  struct problem *problem;
  struct slice headers[FIELD_COUNT]; /* what the headers say */
  bool foreign;                      /* not from walferry, */
  bool debezium;                     /* and in Debezium's form */
  struct slice text;                 /* the value, out of its wrapping; absent for a tombstone */
  bool object;                       /* it is a JSON object, */
  struct members members;
  enum received_layout layout;
  bool enveloped; /* and an envelope */
  const char *contradicted;
};

/* Whether the whole text is one JSON string; *string is without blanks around it. */
static bool whole_string(struct slice text, struct slice *string) {
  struct jsontext_reader r = jsontext_checking_reader_over(text);
  return jsontext_read_value(&r, string) && jsontext_read_end(&r) && jsontext_kind_of(*string) == JSONTEXT_STRING;
}

/* Connect's JSON converter with schemas: {"schema": an object or null, "payload": the value}. */
static bool is_wrapper(const struct members *m) {
  struct slice schema = m->values[MEMBER_SCHEMA];
  return m->count == 2 && members_seen(m, MEMBER_SCHEMA) && members_seen(m, FIELD_PAYLOAD) &&
         (!slice_present(schema) || jsontext_kind_of(schema) == JSONTEXT_OBJECT);
}

/* The JSON that a string holds, or the string itself. */
static struct slice json_within(struct jsontext_scratch *scratch, struct slice string) {
  jsontext_scratch_reset(scratch, string.len);
  struct slice text = jsontext_scratch_text(scratch, jsontext_string_body(string));
  return jsontext_check(text, NULL) ? text : string;
}

/* The text of a header or key as converters write it: as it is, as a JSON string, or in a wrapper. */
static struct slice converted_text(struct jsontext_scratch *scratch, struct slice text) {
  struct members m;
  struct slice string;
  if (members_collect(scratch, text, value_members, &m)) {
    if (!is_wrapper(&m))
      return text;
    struct slice inner = SLICE_ABSENT;
    members_text(scratch, m.values[FIELD_PAYLOAD], &inner);
    return inner;
  }
  return whole_string(text, &string) ? jsontext_scratch_text(scratch, jsontext_string_body(string)) : text;
}

static void convert_headers(struct reading *r, struct slice event_type) {
  if (!slice_present(r->headers[FIELD_TYPE]))
    r->headers[FIELD_TYPE] = event_type;
  for (int f = 0; f < FIELD_COUNT; f++)
    if (slice_present(r->headers[f]))
      r->headers[f] = converted_text(&r->reader->headers, r->headers[f]);
}

static void read_headers(struct reading *r) {
  const struct received_record *record = r->record;
  struct slice event_type = SLICE_ABSENT;
  size_t len = record->key.len;
  r->foreign = true;
  for (int i = 0; i < record->header_count; i++) {
    const struct record_header *header = &record->headers[i];
    enum event_field field;
    len += header->value.len;
    if (header_field(header->name, &field))
      r->headers[field] = header->value;
    else if (strcmp(header->name, HEADER_EVENT_TYPE) == 0)
      event_type = header->value;
    r->foreign = r->foreign && strcmp(header->name, HEADER_LSN) != 0;
  }
  r->debezium = r->foreign && slice_present(r->headers[FIELD_ID]);
  jsontext_scratch_reset(&r->reader->headers, len);
  if (r->foreign)
    convert_headers(r, event_type);
}

static void take_apart(struct reading *r, struct slice text) {
  struct jsontext_scratch *scratch = &r->reader->fields;
  jsontext_scratch_reset(scratch, text.len);
  r->text = text;
  r->object = members_collect(scratch, text, value_members, &r->members);
}

static void read_value(struct reading *r) {
  struct slice inner = SLICE_ABSENT;
  take_apart(r, r->record->value);
  if (!r->foreign)
    return;
  if (r->object && is_wrapper(&r->members)) {
    r->debezium = true;
    inner = r->members.values[FIELD_PAYLOAD];
    if (!slice_present(inner))
      inner = slice_of("null");
  } else if (r->object || !r->debezium || !whole_string(r->text, &inner)) {
    return;
  }
  take_apart(r, jsontext_kind_of(inner) == JSONTEXT_STRING ? json_within(&r->reader->value, inner) : inner);
}

/* A string that is not empty. */
static bool says(const struct members *m, int role) {
  struct slice value = m->values[role];
  return slice_present(value) && jsontext_kind_of(value) == JSONTEXT_STRING && value.len > 2;
}

static bool is_cloud_event(const struct members *m) {
  static const char version_1[] = "\"1.";
  struct slice specversion = m->values[CLOUD_SPECVERSION];
  return says(m, CLOUD_SPECVERSION) && memcmp(specversion.data, version_1, sizeof version_1 - 1) == 0 &&
         says(m, FIELD_ID) && says(m, FIELD_SOURCE) && says(m, FIELD_TYPE);
}

static void recognise(struct reading *r) {
  const struct members *m = &r->members;
  r->layout = r->debezium ? RECEIVED_DEBEZIUM : RECEIVED_PAYLOAD;
  if (!r->object)
    return;
  if (is_cloud_event(m)) {
    r->layout = RECEIVED_CLOUDEVENTS;
    r->enveloped = true;
    return;
  }
  struct slice id = m->values[FIELD_ID];
  bool payload = members_seen(m, FIELD_PAYLOAD);
  bool timed = members_seen(m, FIELD_OCCURRED_AT) || members_seen(m, MEMBER_TIMESTAMP) || members_seen(m, MEMBER_TS);
  bool identified = says(m, FIELD_ID) || (slice_present(id) && jsontext_kind_of(id) == JSONTEXT_NUMBER);
  bool whole = identified && says(m, FIELD_TYPE) && payload && timed;
  bool alone = r->headers[FIELD_TYPE].len == 0 && payload && (says(m, FIELD_TYPE) || says(m, MEMBER_EVENT_TYPE));
  r->enveloped = whole || alone;
  if (whole || (alone && !r->debezium))
    r->layout = members_seen(m, FIELD_OCCURRED_AT)  ? RECEIVED_STANDARD
                : members_seen(m, MEMBER_TIMESTAMP) ? RECEIVED_ACTOR
                : members_seen(m, MEMBER_TS)        ? RECEIVED_CONTRACT
                                                    : RECEIVED_STANDARD;
}

/* The first problem is the one that is told; reading goes on, for the sake of what else is known. */
static void __attribute__((format(printf, 3, 4))) note(struct reading *r, const char *code, const char *format, ...) {
  if (r->problem->code != NULL)
    return;
  va_list args;
  va_start(args, format);
  r->problem->code = code;
  vsnprintf(r->problem->message, sizeof r->problem->message, format, args);
  va_end(args);
}

static bool has_nul(struct slice text) {
  return text.len > 0 && memchr(text.data, '\0', text.len) != NULL;
}

/* Without these three an event is as one that does not have them. */
static bool must_not_be_empty(enum event_field field) {
  return field == FIELD_ID || field == FIELD_TYPE || field == FIELD_SOURCE;
}

static void take_members(struct reading *r, const struct members *m, const struct member_field *fields, size_t count) {
  for (size_t i = 0; i < count; i++) {
    enum event_field field = fields[i].field;
    struct slice text = SLICE_ABSENT;
    if (!members_text(&r->reader->fields, m->values[fields[i].role], &text))
      note(r, "envelope_invalid", "the event's %s is an object or an array", event_field_name(field));
    else if (has_nul(text))
      note(r, "envelope_invalid", "the event's %s holds a NUL character", event_field_name(field));
    else if (!slice_present(r->event.fields[field]) && !(text.len == 0 && must_not_be_empty(field)))
      r->event.fields[field] = text;
  }
}

static void take_object(struct reading *r, int role, const struct member_role *roles, const struct member_field *fields,
                        const char *name) {
  struct members nested;
  if (!members_nested(&r->reader->fields, r->members.values[role], roles, &nested))
    note(r, "envelope_invalid", "the event's %s is no object, or names a member twice", name);
  take_members(r, &nested, fields, 2);
}

static void take_envelope(struct reading *r) {
  if (r->members.twice)
    note(r, "envelope_invalid", "the envelope names a member twice");
  if (r->layout == RECEIVED_CLOUDEVENTS) {
    take_members(r, &r->members, cloud_members, COUNT_OF(cloud_members));
    return;
  }
  take_members(r, &r->members, event_members, COUNT_OF(event_members));
  take_object(r, MEMBER_ACTOR, actor_members, actor_fields, "actor");
  take_object(r, MEMBER_METADATA, metadata_members, metadata_fields, "metadata");
}

/* A CloudEvent's source is a URI reference, made of the text that the header has. */
static bool same_source(struct reading *r, struct slice uri, struct slice header) {
  struct buffer encoded;
  buffer_init(&encoded, BUFFER_MAX_ROW);
  uri_append_reference(&encoded, header);
  bool same = r->layout == RECEIVED_CLOUDEVENTS && !encoded.overflow && slice_equal(buffer_slice(&encoded), uri);
  buffer_free(&encoded);
  return same;
}

static void take_header(struct reading *r, enum event_field field) {
  struct slice header = r->headers[field], *own = &r->event.fields[field];
  if (!slice_present(header) || (header.len == 0 && must_not_be_empty(field)))
    return;
  if (slice_present(*own) && !slice_equal(*own, header) && !(field == FIELD_SOURCE && same_source(r, *own, header))) {
    if (r->contradicted == NULL)
      r->contradicted = event_field_name(field);
    return;
  }
  if (has_nul(header) || !utf8_valid(header))
    note(r, "headers_invalid", "the header %s is no UTF-8 text", event_field_name(field));
  else
    *own = header;
}

/* The content type is that of the whole value: that of an envelope is none of the payload's. */
static void take_headers(struct reading *r) {
  for (int f = 0; f < FIELD_COUNT; f++)
    if (f != FIELD_CONTENT_TYPE || !r->enveloped)
      take_header(r, (enum event_field)f);
}

static void take_key(struct reading *r) {
  struct slice key = r->record->key;
  if (slice_present(r->event.fields[FIELD_KEY]) || !slice_present(key))
    return;
  if (r->debezium)
    key = converted_text(&r->reader->headers, key);
  if (!has_nul(key) && utf8_valid(key))
    r->event.fields[FIELD_KEY] = key;
}

static void take_time(struct reading *r) {
  int64_t ms = r->record->timestamp_ms;
  r->event.occurred_at_us = ms > INT64_MAX / 1000 ? INT64_MAX : ms < INT64_MIN / 1000 ? INT64_MIN : ms * 1000;
  struct slice text = r->event.fields[FIELD_OCCURRED_AT];
  if (slice_present(text) && !timestamp_parse(text, &r->event.occurred_at_us))
    note(r, "occurred_at_invalid", "the event's time is none that RFC 3339 or Postgres would write");
}

static void take_trace(struct reading *r) {
  struct slice *traceparent = &r->event.fields[FIELD_TRACEPARENT], trace_id;
  if (!slice_present(*traceparent))
    return;
  if (!traceparent_parse(*traceparent, &trace_id))
    *traceparent = SLICE_ABSENT;
  else if (!slice_present(r->event.fields[FIELD_TRACE_ID]))
    r->event.fields[FIELD_TRACE_ID] = trace_id;
}

static struct slice embedded_payload(struct reading *r) {
  const struct members *m = &r->members;
  if (r->layout == RECEIVED_CLOUDEVENTS) {
    if (members_seen(m, CLOUD_DATA) && members_seen(m, CLOUD_DATA_BASE64))
      note(r, "envelope_invalid", "the CloudEvent has both data and data_base64");
    return m->values[members_seen(m, CLOUD_DATA) ? CLOUD_DATA : CLOUD_DATA_BASE64];
  }
  struct slice payload = m->values[FIELD_PAYLOAD];
  bool quoted =
      r->layout == RECEIVED_DEBEZIUM && slice_present(payload) && jsontext_kind_of(payload) == JSONTEXT_STRING;
  return quoted ? json_within(&r->reader->payload, payload) : payload;
}

/* As JSON: what is said to be of another type becomes a string. */
static void take_payload(struct reading *r) {
  struct event *event = &r->event;
  struct payload_data data;
  if (r->enveloped) {
    event->fields[FIELD_PAYLOAD] = embedded_payload(r);
  } else {
    struct slice type = event->fields[FIELD_CONTENT_TYPE];
    bool known = r->object && (type.len == 0 || media_type_is_json(type));
    event->payload_form = known ? PAYLOAD_JSON : PAYLOAD_TEXT;
    event->fields[FIELD_PAYLOAD] = r->text;
    if (r->problem->code == NULL && payload_as_data(&r->reader->data, event, &data, r->problem))
      event->fields[FIELD_PAYLOAD] = data.json;
  }
  event->payload_form = PAYLOAD_JSON;
}

static struct slice write_envelope(struct reading *r) {
  struct received_reader *reader = r->reader;
  struct envelope_text text;
  if (r->problem->code != NULL || !envelope_write(reader->envelope, &r->event, SLICE_ABSENT, &text, r->problem))
    return SLICE_ABSENT;
  buffer_append_slice(&reader->text, text.head);
  buffer_append_slice(&reader->text, text.payload);
  buffer_append_slice(&reader->text, text.tail);
  if (!reader->text.overflow)
    return buffer_slice(&reader->text);
  problem_set(r->problem, "record_too_large", "the envelope is larger than %zu bytes", reader->text.max);
  return SLICE_ABSENT;
}

static void reuse(struct received_reader *reader) {
  envelope_reuse(reader->envelope);
  payload_scratch_reuse(&reader->data);
  buffer_reuse(&reader->place);
  buffer_reuse(&reader->text);
}

static struct slice place_of(struct received_reader *reader, const struct received_record *record) {
  buffer_printf(&reader->place, "%s/%" PRId32 "/%" PRId64, record->topic, record->partition, record->offset);
  return buffer_slice(&reader->place);
}

bool received_read(struct received_reader *reader, const struct received_record *record, struct received *event,
                   struct problem *problem) {
  struct reading r = {.reader = reader, .record = record, .problem = problem, .text = SLICE_ABSENT};
  struct slice *fields = r.event.fields;
  problem->code = NULL;
  reuse(reader);
  read_headers(&r);
  if (slice_present(record->value))
    read_value(&r);
  recognise(&r);
  if (r.enveloped)
    take_envelope(&r);
  take_headers(&r);
  take_key(&r);
  take_time(&r);
  take_trace(&r);
  bool id_is_place = !slice_present(fields[FIELD_ID]);
  if (id_is_place)
    fields[FIELD_ID] = place_of(reader, record);
  take_payload(&r);
  struct slice source = fields[FIELD_SOURCE];
  *event = (struct received){.layout = r.layout,
                             .tombstone = !slice_present(record->value),
                             .id = fields[FIELD_ID],
                             .id_is_place = id_is_place,
                             .type = fields[FIELD_TYPE],
                             .source = source,
                             .correlation_id = fields[FIELD_CORRELATION_ID],
                             .causation_id = fields[FIELD_CAUSATION_ID],
                             .trace_id = fields[FIELD_TRACE_ID],
                             .traceparent = fields[FIELD_TRACEPARENT],
                             .tenant_id = fields[FIELD_TENANT_ID],
                             .identity_source = slice_present(source) ? source : slice_of(record->topic),
                             .envelope = write_envelope(&r),
                             .contradicted = r.contradicted};
  return problem->code == NULL;
}
