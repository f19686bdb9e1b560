/* See print.h. */
#include "bridge/event/print.h"

#include <inttypes.h>

#include "bridge/base/jsontext.h"

static void append_base64_member(struct buffer *line, const char *name, struct slice bytes) {
  buffer_printf(line, "\"%s\":\"", name);
  buffer_append_base64(line, bytes);
  buffer_append_char(line, '"');
}

static void append_key(struct buffer *line, struct slice key) {
  if (!slice_present(key)) {
    buffer_append_text(line, "\"key\":null");
  } else if (utf8_valid(key)) {
    buffer_append_text(line, "\"key\":");
    buffer_append_json(line, key);
  } else {
    append_base64_member(line, "key_base64", key);
  }
}

static void append_headers(struct buffer *line, const struct record *record) {
  buffer_append_text(line, "\"headers\":{");
  for (int i = 0; i < record->header_count; i++) {
    if (i > 0)
      buffer_append_char(line, ',');
    jsontext_append_lossy(line, slice_of(record->headers[i].name));
    buffer_append_char(line, ':');
    if (slice_present(record->headers[i].value))
      jsontext_append_lossy(line, record->headers[i].value);
    else
      buffer_append_text(line, "null");
  }
  buffer_append_char(line, '}');
}

/* Inside a string JSON has no line breaks: those that are there stand between tokens. */
static void append_on_one_line(struct buffer *line, struct slice json) {
  while (json.len > 0) {
    size_t len = 0;
    while (len < json.len && json.data[len] != '\n' && json.data[len] != '\r')
      len++;
    buffer_append(line, json.data, len);
    if (len < json.len) {
      buffer_append_char(line, ' ');
      len++;
    }
    json = slice_from(json.data + len, json.len - len);
  }
}

static void append_value(struct buffer *line, struct slice value) {
  if (!slice_present(value)) {
    buffer_append_text(line, "\"value\":null,\"tombstone\":true");
  } else if (jsontext_check(value, NULL)) {
    buffer_append_text(line, "\"value\":");
    append_on_one_line(line, value);
  } else if (utf8_valid(value)) {
    buffer_append_text(line, "\"value_text\":");
    buffer_append_json(line, value);
  } else {
    append_base64_member(line, "value_base64", value);
  }
}

void record_print(const struct record *record, struct buffer *line) {
  buffer_append_text(line, "{\"topic\":");
  buffer_append_json(line, slice_of(record->topic));
  if (record->partition < 0) /* where it goes is decided when it is sent */
    buffer_append_text(line, ",\"partition\":null,");
  else
    buffer_printf(line, ",\"partition\":%" PRId32 ",", record->partition);
  append_key(line, record->key);
  buffer_append_char(line, ',');
  append_headers(line, record);
  buffer_printf(line, ",\"timestamp\":%" PRId64 ",", record->timestamp_ms);
  append_value(line, record->value);
  buffer_printf(line, ",\"lsn\":\"%s\",\"xid\":%" PRIu32 ",\"index\":%" PRIu64 "%s}\n",
                lsn_format(record->commit_lsn).text, record->xid, record->index,
                record->quarantined ? ",\"quarantined\":true" : "");
}
