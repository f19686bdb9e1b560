/* See envelope.h. */
#include "bridge/event/envelope.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "bridge/base/memory.h"
#include "bridge/base/timestamp.h"
#include "bridge/event/payload.h"
#include "bridge/event/uri.h"

/* One step of a layout. A member whose field is absent is left out, and an object that got no member too. */
struct envelope_part {
  enum part_kind {
    PART_END = 0,
    PART_STRING,     /* the field as a JSON string */
    PART_ATTRIBUTE,  /* the same, left out when empty: CloudEvents has no empty attributes */
    PART_NUMBER,     /* a plain integer as a JSON number, anything else as a string */
    PART_TIME,       /* occurred_at in RFC 3339 */
    PART_SOURCE,     /* the event's source, or the default one */
    PART_SOURCE_URI, /* the same as a URI reference */
    PART_CONSTANT,   /* the label alone */
    PART_DATA_TYPE,  /* the content type of a CloudEvent's data */
    PART_PAYLOAD,    /* verbatim; null when there is none */
    PART_DATA,       /* a CloudEvent's data or data_base64; left out when there is none */
    PART_OPEN,       /* an object, */
    PART_CLOSE       /* and its end; objects do not nest */
  } kind;
  enum event_field field;
  struct slice label; /* "name": and for PART_OPEN a brace */
};

#define LABEL(text)                                                                                                    \
  { .data = (text), .len = sizeof(text) - 1 }
#define MEMBER(kind_, name, field_)                                                                                    \
  { .kind = (kind_), .field = (field_), .label = LABEL("\"" name "\":") }
#define OPEN(name)                                                                                                     \
  { .kind = PART_OPEN, .label = LABEL("\"" name "\":{") }
#define CONSTANT(text)                                                                                                 \
  { .kind = PART_CONSTANT, .label = LABEL(text) }
#define CLOSE                                                                                                          \
  { .kind = PART_CLOSE }
#define END                                                                                                            \
  { .kind = PART_END }

static const struct envelope_part standard[] = {MEMBER(PART_STRING, "id", FIELD_ID),
                                                MEMBER(PART_STRING, "type", FIELD_TYPE),
                                                MEMBER(PART_NUMBER, "version", FIELD_VERSION),
                                                MEMBER(PART_TIME, "occurred_at", FIELD_OCCURRED_AT),
                                                MEMBER(PART_SOURCE, "source", FIELD_SOURCE),
                                                MEMBER(PART_STRING, "correlation_id", FIELD_CORRELATION_ID),
                                                MEMBER(PART_STRING, "causation_id", FIELD_CAUSATION_ID),
                                                MEMBER(PART_STRING, "trace_id", FIELD_TRACE_ID),
                                                OPEN("actor"),
                                                MEMBER(PART_STRING, "id", FIELD_ACTOR_ID),
                                                MEMBER(PART_STRING, "type", FIELD_ACTOR_TYPE),
                                                CLOSE,
                                                MEMBER(PART_PAYLOAD, "payload", FIELD_PAYLOAD),
                                                OPEN("metadata"),
                                                MEMBER(PART_STRING, "partition_key", FIELD_KEY),
                                                MEMBER(PART_STRING, "tenant_id", FIELD_TENANT_ID),
                                                CLOSE,
                                                END};

static const struct envelope_part contract[] = {MEMBER(PART_STRING, "id", FIELD_ID),
                                                MEMBER(PART_STRING, "type", FIELD_TYPE),
                                                MEMBER(PART_NUMBER, "version", FIELD_VERSION),
                                                MEMBER(PART_TIME, "ts", FIELD_OCCURRED_AT),
                                                MEMBER(PART_STRING, "traceId", FIELD_TRACE_ID),
                                                MEMBER(PART_PAYLOAD, "payload", FIELD_PAYLOAD),
                                                END};

static const struct envelope_part actor[] = {MEMBER(PART_STRING, "id", FIELD_ID),
                                             MEMBER(PART_STRING, "type", FIELD_TYPE),
                                             MEMBER(PART_NUMBER, "version", FIELD_VERSION),
                                             MEMBER(PART_SOURCE, "source", FIELD_SOURCE),
                                             MEMBER(PART_TIME, "timestamp", FIELD_OCCURRED_AT),
                                             MEMBER(PART_STRING, "correlation_id", FIELD_CORRELATION_ID),
                                             MEMBER(PART_STRING, "causation_id", FIELD_CAUSATION_ID),
                                             OPEN("actor"),
                                             MEMBER(PART_STRING, "id", FIELD_ACTOR_ID),
                                             MEMBER(PART_STRING, "type", FIELD_ACTOR_TYPE),
                                             CLOSE,
                                             MEMBER(PART_PAYLOAD, "payload", FIELD_PAYLOAD),
                                             END};

/* CloudEvents 1.0, structured mode. Its own attributes, then extensions: those of the published list under their names
 * there (correlationid, causationid, traceparent, partitionkey), the others by the same rule: a to z and 0 to 9. */
static const struct envelope_part cloudevents[] = {CONSTANT("\"specversion\":\"1.0\""),
                                                   MEMBER(PART_STRING, "id", FIELD_ID),
                                                   MEMBER(PART_SOURCE_URI, "source", FIELD_SOURCE),
                                                   MEMBER(PART_STRING, "type", FIELD_TYPE),
                                                   MEMBER(PART_ATTRIBUTE, "subject", FIELD_KEY),
                                                   MEMBER(PART_TIME, "time", FIELD_OCCURRED_AT),
                                                   MEMBER(PART_ATTRIBUTE, "eventversion", FIELD_VERSION),
                                                   MEMBER(PART_ATTRIBUTE, "correlationid", FIELD_CORRELATION_ID),
                                                   MEMBER(PART_ATTRIBUTE, "causationid", FIELD_CAUSATION_ID),
                                                   MEMBER(PART_ATTRIBUTE, "traceid", FIELD_TRACE_ID),
                                                   MEMBER(PART_ATTRIBUTE, "traceparent", FIELD_TRACEPARENT),
                                                   MEMBER(PART_ATTRIBUTE, "tenantid", FIELD_TENANT_ID),
                                                   MEMBER(PART_ATTRIBUTE, "actorid", FIELD_ACTOR_ID),
                                                   MEMBER(PART_ATTRIBUTE, "actortype", FIELD_ACTOR_TYPE),
                                                   MEMBER(PART_ATTRIBUTE, "partitionkey", FIELD_KEY),
                                                   MEMBER(PART_DATA_TYPE, "datacontenttype", FIELD_CONTENT_TYPE),
                                                   {.kind = PART_DATA},
                                                   END};

static const struct envelope_part *parts_of(enum envelope_layout layout) {
  switch (layout) {
  case ENVELOPE_STANDARD:
    return standard;
  case ENVELOPE_CONTRACT:
    return contract;
  case ENVELOPE_ACTOR:
    return actor;
  case ENVELOPE_CLOUDEVENTS:
    return cloudevents;
  case ENVELOPE_PAYLOAD:
    return NULL;
  }
  abort(); /* a value that is none of the enum's: the config cannot yield one */
}

struct envelope *envelope_new(enum envelope_layout layout) {
  struct envelope *envelope = memory_alloc(sizeof *envelope);
  envelope->layout = layout;
  envelope->parts = parts_of(layout);
  buffer_init(&envelope->text, BUFFER_MAX_ROW);
  payload_scratch_init(&envelope->scratch);
  return envelope;
}

void envelope_free(struct envelope *envelope) {
  if (envelope == NULL)
    return;
  buffer_free(&envelope->text);
  payload_scratch_free(&envelope->scratch);
  free(envelope);
}

void envelope_reuse(struct envelope *envelope) {
  buffer_reuse(&envelope->text);
  payload_scratch_reuse(&envelope->scratch);
}

struct envelope_content_type envelope_content_type(const struct envelope *envelope, const struct event *event) {
  switch (envelope->layout) {
  case ENVELOPE_STANDARD:
  case ENVELOPE_CONTRACT:
  case ENVELOPE_ACTOR:
    break;
  case ENVELOPE_CLOUDEVENTS:
    return (struct envelope_content_type){.text = slice_of("application/cloudevents+json; charset=UTF-8"),
                                          .fixed = true};
  case ENVELOPE_PAYLOAD:
    if (!slice_present(event->fields[FIELD_PAYLOAD]) || event->payload_form != PAYLOAD_JSON)
      return (struct envelope_content_type){.text = SLICE_ABSENT};
    break;
  }
  return (struct envelope_content_type){.text = slice_of("application/json")};
}

void problem_set(struct problem *problem, const char *code, const char *format, ...) {
  va_list args;
  va_start(args, format);
  problem->code = code;
  vsnprintf(problem->message, sizeof problem->message, format, args);
  va_end(args);
}

/* An integer that is the same text as a JSON number. */
static bool is_plain_integer(struct slice text) {
  size_t i = text.len > 0 && text.data[0] == '-';
  if (i == text.len || (text.data[i] == '0' && text.len > 1))
    return false;
  for (; i < text.len; i++)
    if (text.data[i] < '0' || text.data[i] > '9')
      return false;
  return true;
}

/* Rows of one transaction mostly have the same time. */
static void write_time(struct envelope *envelope, int64_t unix_us) {
  if (envelope->time_len == 0 || envelope->time_us != unix_us) {
    envelope->time_us = unix_us;
    envelope->time_len = timestamp_format(unix_us, envelope->time_text);
  }
  buffer_append_char(&envelope->text, '"');
  buffer_append(&envelope->text, envelope->time_text, envelope->time_len);
  buffer_append_char(&envelope->text, '"');
}

/* How far a layout has been written. */
struct progress {
  struct buffer *out;
  const struct envelope_part *pending; /* an object whose first member has not come yet */
  bool first;                          /* no member yet: no comma */
  bool open;                           /* inside an object that was written */
};

static void begin_member(struct progress *p, struct slice label) {
  if (!p->first)
    buffer_append_char(p->out, ',');
  p->first = false;
  if (p->pending != NULL) {
    buffer_append_slice(p->out, p->pending->label);
    p->pending = NULL;
    p->open = true;
  }
  buffer_append_slice(p->out, label);
}

static void close_object(struct progress *p) {
  if (p->open)
    buffer_append_char(p->out, '}');
  p->pending = NULL;
  p->open = false;
}

/* What the parts of one event are written from. */
struct writing {
  struct envelope *envelope;
  struct progress progress;
  const struct event *event;
  struct slice source;
  struct payload_data data; /* the payload, as the layout carries it */
};

static struct slice part_value(const struct writing *w, const struct envelope_part *part) {
  struct slice value = w->event->fields[part->field];
  switch (part->kind) {
  case PART_SOURCE:
    return slice_present(value) ? value : w->source;
  case PART_SOURCE_URI:
    return value.len > 0 ? value : w->source;
  case PART_ATTRIBUTE:
    return value.len > 0 ? value : SLICE_ABSENT;
  case PART_DATA_TYPE:
    return w->data.content_type;
  case PART_STRING:
  case PART_NUMBER:
  case PART_TIME:
  case PART_CONSTANT:
  case PART_PAYLOAD:
  case PART_DATA:
  case PART_OPEN:
  case PART_CLOSE:
  case PART_END:
    break;
  }
  return value;
}

static void write_member(struct writing *w, const struct envelope_part *part) {
  struct slice value = part_value(w, part);
  if (!slice_present(value))
    return;
  struct buffer *out = w->progress.out;
  begin_member(&w->progress, part->label);
  if (part->kind == PART_NUMBER && is_plain_integer(value)) {
    buffer_append_slice(out, value);
  } else if (part->kind == PART_SOURCE_URI) { /* in which no character needs to be escaped */
    buffer_append_char(out, '"');
    uri_append_reference(out, value);
    buffer_append_char(out, '"');
  } else {
    buffer_append_json(out, value);
  }
}

/* All but the payload, which stays where it is. */
static void write_part(struct writing *w, const struct envelope_part *part) {
  switch (part->kind) {
  case PART_OPEN:
    w->progress.pending = part;
    break;
  case PART_CLOSE:
    close_object(&w->progress);
    break;
  case PART_TIME:
    begin_member(&w->progress, part->label);
    write_time(w->envelope, w->event->occurred_at_us);
    break;
  case PART_CONSTANT:
  case PART_PAYLOAD:
    begin_member(&w->progress, part->label);
    break;
  case PART_DATA:
    if (slice_present(w->data.json))
      begin_member(&w->progress, slice_of(w->data.base64 ? "\"data_base64\":" : "\"data\":"));
    break;
  case PART_STRING:
  case PART_ATTRIBUTE:
  case PART_NUMBER:
  case PART_SOURCE:
  case PART_SOURCE_URI:
  case PART_DATA_TYPE:
    write_member(w, part);
    break;
  case PART_END:
    break;
  }
}

static bool take_payload(struct envelope *envelope, const struct event *event, struct payload_data *data,
                         struct problem *problem) {
  if (envelope->layout == ENVELOPE_CLOUDEVENTS)
    return payload_as_data(&envelope->scratch, event, data, problem);
  if (envelope->layout == ENVELOPE_PAYLOAD)
    return payload_as_bytes(&envelope->scratch, event, &data->json, problem);
  return payload_as_json(&envelope->scratch, event, &data->json, problem);
}

bool envelope_write(struct envelope *envelope, const struct event *event, struct slice source,
                    struct envelope_text *text, struct problem *problem) {
  struct buffer *out = &envelope->text;
  struct writing w = {.envelope = envelope, .progress = {.out = out, .first = true}, .event = event, .source = source};
  if (!take_payload(envelope, event, &w.data, problem))
    return false;
  if (envelope->parts == NULL) {
    *text = (struct envelope_text){.payload = w.data.json, .tombstone = !slice_present(w.data.json)};
    return true;
  }
  size_t head_len = 0;
  buffer_clear(out);
  buffer_append_char(out, '{');
  for (const struct envelope_part *part = envelope->parts; part->kind != PART_END; part++) {
    write_part(&w, part);
    if (part->kind == PART_PAYLOAD || part->kind == PART_DATA)
      head_len = out->len;
  }
  buffer_append_char(out, '}');
  if (out->overflow) {
    problem_set(problem, "record_too_large", "the envelope is larger than %zu bytes", out->max);
    return false;
  }
  struct slice whole = buffer_slice(out);
  *text = (struct envelope_text){.head = slice_from(whole.data, head_len),
                                 .payload = w.data.json,
                                 .tail = slice_from(whole.data + head_len, whole.len - head_len)};
  return true;
}
