/* See envelope.h. */
#include "bridge/event/envelope.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "bridge/base/jsontext.h"
#include "bridge/base/memory.h"
#include "bridge/base/timestamp.h"

#define SCRATCH_KEEP ((size_t)1 << 20)

/* One step of a layout. A member whose field is absent is left out, and an object that got no member too. */
struct envelope_part {
  enum part_kind {
    PART_END = 0,
    PART_STRING,  /* the field as a JSON string */
    PART_NUMBER,  /* a plain integer as a JSON number, anything else as a string */
    PART_TIME,    /* occurred_at in RFC 3339 */
    PART_SOURCE,  /* the event's source, or the default one */
    PART_PAYLOAD, /* verbatim; null when there is none */
    PART_OPEN,    /* an object, */
    PART_CLOSE    /* and its end; objects do not nest */
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

static const struct envelope_part *parts_of(enum envelope_layout layout) {
  switch (layout) {
  case ENVELOPE_STANDARD:
    return standard;
  }
  abort(); /* a value that is none of the enum's: the config cannot yield one */
}

struct envelope *envelope_new(enum envelope_layout layout) {
  struct envelope *envelope = memory_alloc(sizeof *envelope);
  envelope->parts = parts_of(layout);
  buffer_init(&envelope->text, BUFFER_MAX_ROW);
  buffer_init(&envelope->decoded, BUFFER_MAX_ROW);
  return envelope;
}

void envelope_free(struct envelope *envelope) {
  if (envelope == NULL)
    return;
  buffer_free(&envelope->text);
  buffer_free(&envelope->decoded);
  free(envelope);
}

void scratch_trim(struct buffer *scratch) {
  if (scratch->capacity > SCRATCH_KEEP)
    buffer_free(scratch);
}

void problem_set(struct problem *problem, const char *code, const char *format, ...) {
  va_list args;
  va_start(args, format);
  problem->code = code;
  vsnprintf(problem->message, sizeof problem->message, format, args);
  va_end(args);
}

static int hex_digit(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

bool bytea_decode(struct slice text, struct buffer *bytes) {
  if (text.len < 2 || text.len % 2 != 0 || text.data[0] != '\\' || text.data[1] != 'x')
    return false;
  char chunk[1024];
  size_t used = 0;
  for (size_t i = 2; i < text.len; i += 2) {
    int high = hex_digit(text.data[i]), low = hex_digit(text.data[i + 1]);
    if (high < 0 || low < 0)
      return false;
    chunk[used++] = (char)(high << 4 | low);
    if (used == sizeof chunk) {
      buffer_append(bytes, chunk, used);
      used = 0;
    }
  }
  buffer_append(bytes, chunk, used);
  return true;
}

/* The payload as it is embedded. json and jsonb are JSON by Postgres' word and not looked at again. */
static bool payload_json(struct envelope *envelope, const struct event *event, struct slice *json,
                         struct problem *problem) {
  struct slice text = event->fields[FIELD_PAYLOAD];
  if (!slice_present(text)) {
    *json = slice_of("null");
    return true;
  }
  *json = text;
  switch (event->payload_form) {
  case PAYLOAD_JSON:
    return true;
  case PAYLOAD_TEXT:
    break;
  case PAYLOAD_BYTEA:
    scratch_trim(&envelope->decoded);
    buffer_clear(&envelope->decoded);
    if (!bytea_decode(text, &envelope->decoded)) {
      problem_set(problem, "payload_not_json", "the bytea payload is not in hex form (bytea_output)");
      return false;
    }
    *json = buffer_slice(&envelope->decoded);
    break;
  }
  size_t error_at;
  if (jsontext_check(*json, &error_at))
    return true;
  problem_set(problem, "payload_not_json", "the payload (%zu bytes) is not JSON: see its byte %zu", json->len,
              error_at + 1);
  return false;
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

static void write_time(struct buffer *out, int64_t unix_us) {
  char text[TIMESTAMP_TEXT_SIZE + 2];
  size_t len = timestamp_format(unix_us, text + 1);
  text[0] = '"';
  text[len + 1] = '"';
  buffer_append(out, text, len + 2);
}

/* How far a layout has been written. */
struct progress {
  struct buffer *out;
  const struct envelope_part *pending; /* an object whose first member has not come yet */
  bool first;                          /* no member yet: no comma */
  bool open;                           /* inside an object that was written */
};

static void begin_member(struct progress *p, const struct envelope_part *part) {
  if (!p->first)
    buffer_append_char(p->out, ',');
  p->first = false;
  if (p->pending != NULL) {
    buffer_append_slice(p->out, p->pending->label);
    p->pending = NULL;
    p->open = true;
  }
  buffer_append_slice(p->out, part->label);
}

static void close_object(struct progress *p) {
  if (p->open)
    buffer_append_char(p->out, '}');
  p->pending = NULL;
  p->open = false;
}

/* All but the payload, which stays where it is. */
static void write_part(struct progress *p, const struct envelope_part *part, const struct event *event,
                       struct slice source) {
  struct slice value = event->fields[part->field];
  switch (part->kind) {
  case PART_SOURCE:
    value = slice_present(value) ? value : source;
    break;
  case PART_OPEN:
    p->pending = part;
    return;
  case PART_CLOSE:
    close_object(p);
    return;
  case PART_TIME:
    begin_member(p, part);
    write_time(p->out, event->occurred_at_us);
    return;
  case PART_PAYLOAD:
    begin_member(p, part);
    return;
  case PART_STRING:
  case PART_NUMBER:
  case PART_END:
    break;
  }
  if (!slice_present(value))
    return;
  begin_member(p, part);
  if (part->kind == PART_NUMBER && is_plain_integer(value))
    buffer_append_slice(p->out, value);
  else
    buffer_append_json(p->out, value);
}

bool envelope_write(struct envelope *envelope, const struct event *event, struct slice source,
                    struct envelope_text *text, struct problem *problem) {
  struct buffer *out = &envelope->text;
  struct slice payload = SLICE_ABSENT;
  size_t head_len = 0;
  scratch_trim(out);
  buffer_clear(out);
  buffer_append_char(out, '{');
  struct progress progress = {.out = out, .first = true};
  for (const struct envelope_part *part = envelope->parts; part->kind != PART_END; part++) {
    write_part(&progress, part, event, source);
    if (part->kind != PART_PAYLOAD)
      continue;
    if (!payload_json(envelope, event, &payload, problem))
      return false;
    head_len = out->len;
  }
  buffer_append_char(out, '}');
  if (out->overflow) {
    problem_set(problem, "record_too_large", "the envelope is larger than %zu bytes", out->max);
    return false;
  }
  struct slice whole = buffer_slice(out);
  *text = (struct envelope_text){.head = slice_from(whole.data, head_len),
                                 .payload = payload,
                                 .tail = slice_from(whole.data + head_len, whole.len - head_len)};
  return true;
}
