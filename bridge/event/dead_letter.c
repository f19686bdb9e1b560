/* See dead_letter.h. */
#include "bridge/event/dead_letter.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/jsonobject.h"
#include "bridge/base/jsontext.h"
#include "bridge/base/memory.h"
#include "bridge/base/number.h"
#include "bridge/base/timestamp.h"
#include "bridge/base/topic_name.h"
#include "bridge/event/assemble.h"
#include "bridge/event/builder.h"

#define OWN_HEADERS 4

static bool has_envelope(enum received_layout layout) {
  switch (layout) {
  case RECEIVED_STANDARD:
  case RECEIVED_CONTRACT:
  case RECEIVED_ACTOR:
  case RECEIVED_CLOUDEVENTS:
    return true;
  case RECEIVED_PAYLOAD:
  case RECEIVED_DEBEZIUM:
    break;
  }
  return false;
}

/* Whether a value that stands as a member of an object is JSON, and the same bytes when it is read there. */
static bool comes_back_verbatim(struct slice value) {
  struct jsontext_reader reader = jsontext_checking_reader_over(value);
  struct slice read;
  reader.depth = 1; /* of the object */
  return jsontext_read_value(&reader, &read) && jsontext_read_end(&reader) && read.len == value.len &&
         jsontext_kind_of(value) != JSONTEXT_NULL;
}

static void put_value(struct buffer *json, const struct dead_letter *letter) {
  struct slice value = letter->record->value;
  if (!slice_present(value))
    jsonobject_text(json, "payload", NULL);
  else if (comes_back_verbatim(value))
    jsonobject_verbatim(json, has_envelope(letter->received->layout) ? "envelope" : "payload", value);
  else
    jsonobject_base64(json, "payload_base64", value);
}

static void write_value(struct buffer *json, const struct dead_letter *letter) {
  const struct received_record *record = letter->record;
  jsonobject_open(json, NULL);
  jsonobject_text(json, "original_topic", record->topic);
  jsonobject_integer(json, "original_partition", record->partition);
  jsonobject_integer(json, "original_offset", record->offset);
  if (record->timestamp_ms >= 0)
    jsonobject_integer(json, "original_timestamp", record->timestamp_ms);
  jsonobject_slice(json, "original_key", record->key);
  jsonobject_integer(json, "original_header_count", record->header_count);
  jsonobject_slice(json, "consumer", slice_of(letter->consumer));
  jsonobject_slice(json, "id", letter->received->id);
  jsonobject_slice(json, "type", letter->received->type);
  put_value(json, letter);
  jsonobject_open(json, "error");
  jsonobject_text(json, "code", letter->code);
  jsonobject_slice(json, "message", letter->message);
  jsonobject_verbatim(json, "details", slice_present(letter->details) ? letter->details : slice_of("{}"));
  jsonobject_close(json);
  jsonobject_integer(json, "attempts", letter->attempts);
  jsonobject_slice(json, "first_failure", letter->first_failure);
  jsonobject_slice(json, "last_failure", letter->last_failure);
  jsonobject_close(json);
}

/* An element behind others; null for an absent one. */
static void append_bytes(struct buffer *out, struct slice bytes) {
  if (!slice_present(bytes)) {
    buffer_append_text(out, "null");
    return;
  }
  buffer_append_char(out, '"');
  buffer_append_base64(out, bytes);
  buffer_append_char(out, '"');
}

static void append_header(struct buffer *out, bool first, const char *name, struct slice value) {
  if (!first)
    buffer_append_char(out, ',');
  append_bytes(out, slice_of(name));
  buffer_append_char(out, ',');
  append_bytes(out, value);
}

static void append_headers(struct buffer *out, const struct dead_letter *letter) {
  const struct received_record *record = letter->record;
  struct buffer origin;
  buffer_init(&origin, BUFFER_MAX_ROW);
  buffer_printf(&origin, "%s/%" PRId32 "/%" PRId64, record->topic, record->partition, record->offset);
  const struct record_header own[OWN_HEADERS] = {
      {.name = RECORD_HEADER_ERROR_CODE, .value = slice_of(letter->code)},
      {.name = RECORD_HEADER_ERROR_MESSAGE, .value = letter->message},
      {.name = RECORD_HEADER_ORIGIN, .value = buffer_slice(&origin)},
      {.name = DEAD_LETTER_HEADER_CONSUMER, .value = slice_of(letter->consumer)},
  };
  for (int i = 0; i < record->header_count; i++)
    append_header(out, i == 0, record->headers[i].name, record->headers[i].value);
  for (int i = 0; i < OWN_HEADERS; i++)
    append_header(out, i == 0 && record->header_count == 0, own[i].name, own[i].value);
  buffer_free(&origin);
}

void dead_letter_write(struct buffer *out, const struct dead_letter *letter) {
  struct buffer value;
  buffer_init(&value, out->max);
  write_value(&value, letter);
  buffer_printf(out, "{\"topic\":\"%s%s\",\"id\":", letter->record->topic, letter->topic_suffix);
  append_bytes(out, letter->received->id);
  buffer_append_text(out, ",\"key\":");
  append_bytes(out, letter->record->key);
  buffer_append_text(out, ",\"headers\":[");
  append_headers(out, letter);
  buffer_append_text(out, "],\"value\":");
  append_bytes(out, buffer_slice(&value));
  buffer_append_char(out, '}');
  out->overflow |= value.overflow;
  buffer_free(&value);
}

/* And back. All bytes are decoded into a buffer that has room for them, so that nothing moves. */

static bool read_member(struct jsontext_reader *reader, const char *name, struct slice *value) {
  struct slice found;
  return jsontext_read_member(reader, &found) && slice_is(found, name) && jsontext_read_value(reader, value);
}

/* *out is absent for null where that may stand there. */
static bool read_bytes(struct buffer *bytes, struct slice value, bool may_be_null, struct slice *out) {
  enum jsontext_kind kind = jsontext_kind_of(value);
  size_t from = bytes->len;
  *out = SLICE_ABSENT;
  if (kind == JSONTEXT_NULL && may_be_null)
    return true;
  if (kind != JSONTEXT_STRING || !buffer_append_base64_bytes(bytes, jsontext_string_body(value)))
    return false;
  *out = slice_from(bytes->data + from, bytes->len - from);
  return true;
}

static bool read_topic(struct slice value, struct slice *topic) {
  if (jsontext_kind_of(value) != JSONTEXT_STRING)
    return false;
  *topic = jsontext_string_body(value);
  return topic_name_legal(*topic) && !topic_name_reserved(*topic);
}

struct headers {
  struct record_header *items;
  int count, capacity;
};

static bool read_header(struct buffer *bytes, struct jsontext_reader *reader, struct headers *headers) {
  struct slice name, value;
  struct record_header header;
  if (!jsontext_read_value(reader, &name) || !read_bytes(bytes, name, false, &name) ||
      (name.len > 0 && memchr(name.data, '\0', name.len) != NULL))
    return false;
  buffer_append_char(bytes, '\0');
  header.name = name.data;
  if (!jsontext_read_element(reader) || !jsontext_read_value(reader, &value) ||
      !read_bytes(bytes, value, true, &header.value))
    return false;
  if (headers->count == headers->capacity) {
    headers->capacity = headers->capacity == 0 ? 32 : headers->capacity * 2;
    headers->items = memory_resize(headers->items, (size_t)headers->capacity * sizeof *headers->items);
  }
  headers->items[headers->count++] = header;
  return true;
}

static bool read_headers(struct buffer *bytes, struct jsontext_reader *reader, struct headers *headers) {
  struct slice name;
  if (!jsontext_read_member(reader, &name) || !slice_is(name, "headers") || !jsontext_read_open(reader, JSONTEXT_ARRAY))
    return false;
  while (jsontext_read_element(reader))
    if (!read_header(bytes, reader, headers))
      return false;
  return true;
}

static bool read_letter(struct buffer *bytes, struct slice text, struct record_draft *draft, struct headers *headers) {
  struct jsontext_reader reader = jsontext_checking_reader_over(text);
  struct slice topic, id, key, value, more;
  return jsontext_read_open(&reader, JSONTEXT_OBJECT) && read_member(&reader, "topic", &topic) &&
         read_topic(topic, &draft->topic) && read_member(&reader, "id", &id) &&
         read_bytes(bytes, id, false, &draft->id) && utf8_valid(draft->id) && read_member(&reader, "key", &key) &&
         read_bytes(bytes, key, true, &draft->key) && read_headers(bytes, &reader, headers) &&
         read_member(&reader, "value", &value) && read_bytes(bytes, value, false, &draft->value[0]) &&
         !jsontext_read_member(&reader, &more) && jsontext_read_end(&reader) && jsontext_check(draft->value[0], NULL) &&
         jsontext_kind_of(draft->value[0]) == JSONTEXT_OBJECT;
}

struct record *dead_letter_record(struct record_builder *builder, const struct event *event, struct blocks *memory,
                                  struct problem *problem) {
  struct slice text = event->fields[FIELD_PAYLOAD];
  struct buffer *bytes = &builder->bytes;
  struct headers headers = {.items = NULL};
  struct record_draft draft = {.timestamp_ms = timestamp_floor_ms(event->commit_time_us),
                               .partition = RECORD_PARTITION_BY_KEY,
                               .origin = event->origin,
                               .commit_lsn = event->commit_lsn,
                               .xid = event->xid,
                               .index = event->index};
  struct record *record = NULL;
  buffer_clear(bytes);
  if (text.len > 0 && buffer_reserve(bytes, text.len) != NULL && read_letter(bytes, text, &draft, &headers)) {
    draft.headers = headers.items;
    draft.header_count = headers.count;
    record = record_assemble(memory, &draft);
  } else {
    problem_set(problem, "message_not_json", "the message's content is not a dead letter of the inbox");
  }
  free(headers.items);
  buffer_reuse(bytes);
  return record;
}

/* From the record back to the original. */

struct dead_letter_reader {
  struct jsontext_scratch scratch;
  struct buffer bytes; /* of a payload_base64 */
};

struct dead_letter_reader *dead_letter_reader_new(void) {
  struct dead_letter_reader *reader = memory_alloc(sizeof *reader);
  buffer_init(&reader->bytes, BUFFER_MAX_ROW);
  return reader;
}

void dead_letter_reader_free(struct dead_letter_reader *reader) {
  if (reader == NULL)
    return;
  jsontext_scratch_free(&reader->scratch);
  buffer_free(&reader->bytes);
  free(reader);
}

/* The members that count, as they stand in the text; absent where one is missing. */
struct letter_members {
  struct slice topic, partition, offset, timestamp, header_count, type, first_failure, code;
  struct slice envelope, payload, payload_base64;
};

struct wanted {
  const char *name;
  struct slice *to; /* absent at first */
};

/* false: one of them is there twice, and nobody can say which counts. */
static bool take_wanted(struct slice object, const struct wanted *wanted, size_t count) {
  struct jsontext_members members = jsontext_members_of(object);
  struct jsontext_member member;
  while (jsontext_members_next(&members, &member))
    for (size_t i = 0; i < count; i++) {
      if (!slice_is(member.name, wanted[i].name))
        continue;
      if (slice_present(*wanted[i].to))
        return false;
      *wanted[i].to = member.value;
    }
  return true;
}

static bool take_members(struct slice object, struct letter_members *m) {
  *m = (struct letter_members){.topic = SLICE_ABSENT};
  struct slice error = SLICE_ABSENT;
  const struct wanted wanted[] = {{"original_topic", &m->topic},
                                  {"original_partition", &m->partition},
                                  {"original_offset", &m->offset},
                                  {"original_timestamp", &m->timestamp},
                                  {"original_header_count", &m->header_count},
                                  {"type", &m->type},
                                  {"first_failure", &m->first_failure},
                                  {"envelope", &m->envelope},
                                  {"payload", &m->payload},
                                  {"payload_base64", &m->payload_base64},
                                  {"error", &error}};
  const struct wanted code = {"code", &m->code};
  return take_wanted(object, wanted, sizeof wanted / sizeof wanted[0]) && slice_present(error) &&
         jsontext_kind_of(error) == JSONTEXT_OBJECT && take_wanted(error, &code, 1);
}

static bool is_string(struct slice value) {
  return slice_present(value) && jsontext_kind_of(value) == JSONTEXT_STRING;
}

static bool read_text(struct dead_letter_reader *reader, struct slice value, struct slice *text) {
  if (!is_string(value))
    return false;
  *text = jsontext_scratch_text(&reader->scratch, jsontext_string_body(value));
  return true;
}

static bool read_place(struct dead_letter_reader *reader, const struct letter_members *m,
                       struct received_record *original) {
  int64_t partition, timestamp_ms = -1;
  if (!is_string(m->topic) || !topic_name_legal(jsontext_string_body(m->topic)) ||
      topic_name_reserved(jsontext_string_body(m->topic)) || !number_parse(m->partition, 0, INT32_MAX, &partition) ||
      !number_parse(m->offset, 0, INT64_MAX, &original->offset) ||
      (slice_present(m->timestamp) && !number_parse(m->timestamp, 0, INT64_MAX, &timestamp_ms)))
    return false;
  original->topic = jsontext_scratch_string(&reader->scratch, jsontext_string_body(m->topic)).data;
  original->partition = (int32_t)partition;
  original->timestamp_ms = timestamp_ms;
  return true;
}

/* How many headers are the original's; -1 unless ours, and nothing else, follow them. */
static int read_header_count(const struct received_record *record, struct slice value) {
  static const char *const own[OWN_HEADERS] = {RECORD_HEADER_ERROR_CODE, RECORD_HEADER_ERROR_MESSAGE,
                                               RECORD_HEADER_ORIGIN, DEAD_LETTER_HEADER_CONSUMER};
  int64_t count;
  if (!number_parse(value, 0, INT32_MAX, &count) || count != (int64_t)record->header_count - OWN_HEADERS)
    return -1;
  for (int i = 0; i < OWN_HEADERS; i++)
    if (strcmp(record->headers[count + i].name, own[i]) != 0)
      return -1;
  return (int)count;
}

static bool read_original_value(struct dead_letter_reader *reader, const struct letter_members *m,
                                struct slice *value) {
  int forms = slice_present(m->envelope) + slice_present(m->payload) + slice_present(m->payload_base64);
  if (forms != 1)
    return false;
  if (slice_present(m->payload_base64)) {
    if (!is_string(m->payload_base64) ||
        !buffer_append_base64_bytes(&reader->bytes, jsontext_string_body(m->payload_base64)))
      return false;
    *value = buffer_slice(&reader->bytes);
    return true;
  }
  *value = slice_present(m->envelope) ? m->envelope : m->payload;
  if (jsontext_kind_of(*value) == JSONTEXT_NULL)
    *value = SLICE_ABSENT;
  return true;
}

static bool read_first_failure(const struct letter_members *m, struct dead_letter_copy *copy) {
  if (!slice_present(m->first_failure))
    return false;
  copy->has_first_failure = jsontext_kind_of(m->first_failure) != JSONTEXT_NULL;
  return !copy->has_first_failure || (is_string(m->first_failure) &&
                                      timestamp_parse(jsontext_string_body(m->first_failure), &copy->first_failure_us));
}

static bool read_type(struct dead_letter_reader *reader, struct slice value, struct slice *type) {
  *type = SLICE_ABSENT;
  return slice_present(value) && (jsontext_kind_of(value) == JSONTEXT_NULL || read_text(reader, value, type));
}

bool dead_letter_read(struct dead_letter_reader *reader, const struct received_record *record,
                      struct dead_letter_copy *copy, const char **why) {
  struct letter_members m;
  struct dead_letter_copy found = {.original = {.key = record->key, .headers = record->headers}};
  buffer_reuse(&reader->bytes);
  jsontext_scratch_reset(&reader->scratch, record->value.len);
  *why = NULL;
  if (!slice_present(record->value) || !jsontext_check(record->value, NULL) ||
      jsontext_kind_of(record->value) != JSONTEXT_OBJECT)
    *why = "its value is no JSON object";
  else if (!take_members(record->value, &m) || !read_text(reader, m.code, &found.code) ||
           !read_type(reader, m.type, &found.type) || !read_first_failure(&m, &found))
    *why = "type, error or first_failure is missing, there twice, or of another kind";
  else if (!read_place(reader, &m, &found.original))
    *why = "it says no topic, partition and offset that it comes from";
  else if ((found.original.header_count = read_header_count(record, m.header_count)) < 0)
    *why = "its headers do not end with the four of a dead letter";
  else if (!read_original_value(reader, &m, &found.original.value))
    *why = "it does not hold the original's value";
  if (*why != NULL)
    return false;
  *copy = found;
  return true;
}
