/* Quarantine records; see record.h. What goes in must come out as JSON whatever the row holds, so that texts which are
 * no UTF-8 are repaired (jsontext_append_lossy) or travel as base64; the record's key keeps its exact bytes. */
#include <inttypes.h>
#include <stdio.h>

#include "bridge/base/fnv1a.h"
#include "bridge/base/jsonobject.h"
#include "bridge/base/jsontext.h"
#include "bridge/base/number.h"
#include "bridge/base/timestamp.h"
#include "bridge/event/assemble.h"
#include "bridge/event/builder.h"

#define TOO_LARGE_TEXT_MAX ((size_t)1024)
#define TOO_LARGE_KEY_MAX ((size_t)64 * 1024)
#define QUARANTINE_HEADERS_MAX 9

static void put_number(struct buffer *out, const char *name, uint64_t number) {
  jsonobject_key(out, name);
  buffer_printf(out, "%" PRIu64, number);
}

/* error, attempts and the times. omitted: what was left out for its size and stands in the details instead. */
static void put_error(struct buffer *out, const struct problem *problem, struct slice omitted, int64_t failed_us) {
  jsonobject_open(out, "error");
  jsonobject_text(out, "code", problem->code);
  jsonobject_slice(out, "message", slice_of(problem->message));
  jsonobject_open(out, "details");
  if (slice_present(omitted)) {
    put_number(out, "size", omitted.len);
    jsonobject_key(out, "hash");
    buffer_printf(out, "\"%016" PRIx64 "\"", fnv1a(FNV1A_START, omitted.data, omitted.len));
    jsonobject_text(out, "hash_algorithm", "fnv1a64");
  }
  jsonobject_close(out);
  jsonobject_close(out);
  put_number(out, "attempts", 1);
  char when[TIMESTAMP_TEXT_SIZE];
  struct slice text = slice_from(when, timestamp_format(failed_us, when));
  jsonobject_slice(out, "first_failure", text);
  jsonobject_slice(out, "last_failure", text);
}

static void put_place(struct buffer *out, const char *origin, lsn_t lsn, uint64_t index) {
  jsonobject_text(out, "origin", origin);
  jsonobject_text(out, "lsn", lsn_format(lsn).text);
  put_number(out, "index", index);
}

/* See record.h for the forms. */
static void put_payload(struct record_builder *builder, const struct event *event) {
  struct buffer *out = &builder->text;
  struct slice payload = event->fields[FIELD_PAYLOAD];
  if (!slice_present(payload)) {
    jsonobject_verbatim(out, "payload", slice_of("null"));
    return;
  }
  enum payload_form form = event->payload_form;
  buffer_clear(&builder->bytes);
  if (form == PAYLOAD_BYTEA && !bytea_decode(payload, &builder->bytes))
    form = PAYLOAD_TEXT; /* not in hex form: kept as it came */
  switch (form) {
  case PAYLOAD_JSON:
    jsonobject_text(out, "payload_form", "json");
    jsonobject_verbatim(out, "payload", payload);
    break;
  case PAYLOAD_TEXT:
    jsonobject_text(out, "payload_form", "text");
    if (!utf8_valid(payload))
      jsonobject_base64(out, "payload_base64", payload);
    else if (jsontext_check(payload, NULL) && jsontext_kind_of(payload) != JSONTEXT_STRING)
      jsonobject_verbatim(out, "payload", payload);
    else
      jsonobject_slice(out, "payload", payload);
    break;
  case PAYLOAD_BYTEA:
    jsonobject_text(out, "payload_form", "bytea");
    jsonobject_base64(out, "payload_base64", buffer_slice(&builder->bytes));
    break;
  }
  buffer_reuse(&builder->bytes);
}

/* The rest of the row, so that it can be put right and sent without the database. */
static void put_fields(struct buffer *out, const struct event *event) {
  jsonobject_open(out, "fields");
  for (int f = 0; f < FIELD_COUNT; f++)
    if (f != FIELD_ID && f != FIELD_KEY && f != FIELD_PAYLOAD && slice_present(event->fields[f]))
      jsonobject_slice(out, event_field_name((enum event_field)f), event->fields[f]);
  jsonobject_close(out);
}

/* By the headers' names, which need not be those of the columns. */
static void put_column_headers(struct buffer *out, const struct event *event) {
  if (event->column_header_count == 0)
    return;
  jsonobject_open(out, "column_headers");
  for (int i = 0; i < event->column_header_count; i++)
    if (slice_present(event->column_headers[i].value))
      jsonobject_slice(out, event->column_headers[i].name, event->column_headers[i].value);
  jsonobject_close(out);
}

static void put_target_if_known(struct record_builder *builder, const struct event *event) {
  if (event->dead_letter)
    return;
  char why[200];
  bool round_robin;
  buffer_clear(&builder->topic);
  struct slice source = builder_source(builder, event->origin);
  if (router_topic(builder->rules->router, event, source, &builder->topic, &round_robin, why, sizeof why) &&
      !builder->topic.overflow)
    jsonobject_slice(&builder->text, "original_topic", buffer_slice(&builder->topic));
  int64_t partition;
  if (number_parse(event->fields[FIELD_PARTITION], 0, INT32_MAX, &partition))
    put_number(&builder->text, "original_partition", (uint64_t)partition);
}

static void write_row(struct record_builder *builder, const struct event *event, const struct problem *problem,
                      bool with_payload) {
  struct buffer *out = &builder->text;
  buffer_clear(out);
  buffer_append_char(out, '{');
  put_target_if_known(builder, event);
  put_place(out, event->origin, event->commit_lsn, event->index);
  jsonobject_slice(out, "id", event->fields[FIELD_ID]);
  jsonobject_slice(out, "original_key", event->fields[FIELD_KEY]);
  put_fields(out, event);
  put_column_headers(out, event);
  if (with_payload)
    put_payload(builder, event);
  put_error(out, problem, with_payload ? SLICE_ABSENT : event->fields[FIELD_PAYLOAD], event->commit_time_us);
  jsonobject_close(out);
}

struct header_draft {
  struct record_header items[QUARANTINE_HEADERS_MAX];
  int count;
};

static void add_header(struct header_draft *draft, const char *name, struct slice value) {
  if (slice_present(value))
    draft->items[draft->count++] = (struct record_header){.name = name, .value = value};
}

static void add_error_headers(struct header_draft *draft, const struct problem *problem, const char *origin) {
  add_header(draft, RECORD_HEADER_ERROR_CODE, slice_of(problem->code));
  add_header(draft, RECORD_HEADER_ERROR_MESSAGE, slice_of(problem->message));
  add_header(draft, RECORD_HEADER_ORIGIN, slice_of(origin));
}

struct record *record_build_quarantine(struct record_builder *builder, const struct event *event, struct blocks *memory,
                                       const struct problem *problem) {
  write_row(builder, event, problem, true);
  if (builder->text.overflow) /* as base64 or escaped, the payload passed the limit of a buffer */
    write_row(builder, event, problem, false);

  struct header_draft headers = {.count = 0};
  struct slice lsn, tx;
  header_list_transaction(&builder->headers, event, &lsn, &tx);
  add_header(&headers, "id", event->fields[FIELD_ID]);
  add_header(&headers, "type", event->fields[FIELD_TYPE]);
  add_header(&headers, HEADER_LSN, lsn);
  add_header(&headers, HEADER_TX, tx);
  if (builder->rules->mark.name != NULL)
    add_header(&headers, builder->rules->mark.name, builder->rules->mark.value);
  add_error_headers(&headers, problem, event->origin);
  struct record_draft draft = {
      .topic = slice_of(builder->rules->quarantine_topic),
      .key = event->fields[FIELD_KEY],
      .value = {buffer_slice(&builder->text)},
      .headers = headers.items,
      .header_count = headers.count,
      .static_names = headers.count,
      .timestamp_ms = timestamp_floor_ms(event->commit_time_us),
      .partition = RECORD_PARTITION_BY_KEY,
      .quarantined = true,
      .origin = event->origin,
      .id = event->fields[FIELD_ID],
      .commit_lsn = event->commit_lsn,
      .xid = event->xid,
      .index = event->index,
  };
  struct record *record = record_assemble(memory, &draft);
  buffer_reuse(&builder->text);
  return record;
}

static struct slice cut(struct slice s, size_t max) {
  return slice_from(s.data, s.len < max ? s.len : max);
}

struct slice record_header_value(const struct record *record, const char *name) {
  for (int i = 0; i < record->header_count; i++)
    if (strcmp(record->headers[i].name, name) == 0)
      return record->headers[i].value;
  return SLICE_ABSENT;
}

static void put_refused_value(struct buffer *out, const struct record *refused) {
  const char *name = refused->bare ? "payload" : "envelope";
  if (!slice_present(refused->value))
    jsonobject_verbatim(out, name, slice_of("null"));
  else if (jsontext_check(refused->value, NULL))
    jsonobject_verbatim(out, name, refused->value);
  else
    jsonobject_base64(out, "payload_base64", refused->value);
  jsonobject_open(out, "original_headers");
  for (int i = 0; i < refused->header_count; i++)
    jsonobject_slice(out, refused->headers[i].name, refused->headers[i].value);
  jsonobject_close(out);
}

static void write_refused(struct buffer *out, const struct record *refused, const struct problem *problem,
                          bool too_large) {
  size_t text_max = too_large ? TOO_LARGE_TEXT_MAX : SIZE_MAX;
  buffer_clear(out);
  buffer_append_char(out, '{');
  if (!refused->quarantined) {
    jsonobject_slice(out, "original_topic", slice_of(refused->topic));
    if (refused->partition >= 0)
      put_number(out, "original_partition", (uint64_t)refused->partition);
  }
  put_place(out, refused->origin, refused->commit_lsn, refused->index);
  jsonobject_slice(out, "id", cut(refused->id, text_max));
  jsonobject_slice(out, "original_key", cut(refused->key, text_max));
  if (!too_large)
    put_refused_value(out, refused);
  put_error(out, problem, too_large ? refused->value : SLICE_ABSENT, refused->timestamp_ms * 1000);
  jsonobject_close(out);
}

struct record *record_quarantine(const struct record *refused, const char *quarantine_topic,
                                 const struct problem *problem) {
  bool too_large = strcmp(problem->code, "record_too_large") == 0;
  struct buffer text;
  buffer_init(&text, BUFFER_MAX_ROW);
  write_refused(&text, refused, problem, too_large);
  if (text.overflow) {
    too_large = true;
    write_refused(&text, refused, problem, true);
  }
  size_t text_max = too_large ? TOO_LARGE_TEXT_MAX : SIZE_MAX;
  struct header_draft headers = {.count = 0};
  struct lsn_text lsn = lsn_format(refused->commit_lsn);
  char tx[11];
  snprintf(tx, sizeof tx, "%" PRIu32, refused->xid);
  add_header(&headers, "id", cut(refused->id, text_max));
  add_header(&headers, "type", cut(record_header_value(refused, "type"), text_max));
  add_header(&headers, HEADER_LSN, slice_of(lsn.text)); /* those of a dead letter's record are the original's */
  add_header(&headers, HEADER_TX, refused->xid == 0 ? SLICE_ABSENT : slice_of(tx));
  add_header(&headers, HEADER_REPLAY, record_header_value(refused, HEADER_REPLAY));
  add_header(&headers, HEADER_SNAPSHOT, record_header_value(refused, HEADER_SNAPSHOT));
  add_error_headers(&headers, problem, refused->origin);
  struct record_draft draft = {
      .topic = slice_of(quarantine_topic),
      .key = too_large && refused->key.len > TOO_LARGE_KEY_MAX ? SLICE_ABSENT : refused->key,
      .value = {buffer_slice(&text)},
      .headers = headers.items,
      .header_count = headers.count,
      .static_names = headers.count,
      .timestamp_ms = 0,
      .partition = RECORD_PARTITION_BY_KEY,
      .quarantined = true,
      .substitute = true,
      .origin = refused->origin,
      .id = refused->id,
      .commit_lsn = refused->commit_lsn,
      .xid = refused->xid,
      .index = refused->index,
  };
  struct record *record = record_assemble(NULL, &draft);
  buffer_free(&text);
  return record;
}
