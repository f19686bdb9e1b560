/* See stored.h. */
#include "bridge/inbox/stored.h"

#include <stdio.h>

#include "bridge/base/number.h"
#include "bridge/event/payload.h"

void stored_free(struct stored *stored) {
  buffer_free(&stored->key);
  buffer_free(&stored->value);
  header_json_free(&stored->headers);
}

static bool fail(struct problem *problem, const char *code, const char *what) {
  problem->code = code;
  snprintf(problem->message, sizeof problem->message, "the stored record cannot be read: %s", what);
  return false;
}

static bool read_bytes(const char *text, struct buffer *bytes, struct slice *out) {
  if (text == NULL)
    return true;
  bytes->max = BUFFER_MAX_ROW;
  buffer_reuse(bytes);
  if (!bytea_decode(slice_of(text), bytes))
    return false;
  *out = buffer_slice(bytes);
  return true;
}

bool stored_read(struct stored *stored, const struct stored_row *row, struct received_record *record,
                 struct problem *problem) {
  int64_t partition = 0;
  *record = (struct received_record){.topic = row->topic};
  bool place = number_parse(slice_of(row->partition), 0, INT32_MAX, &partition) &&
               number_parse(slice_of(row->offset), 0, INT64_MAX, &record->offset) &&
               number_parse(slice_of(row->timestamp_ms), INT64_MIN, INT64_MAX, &record->timestamp_ms);
  record->partition = (int32_t)partition;
  if (!place || !read_bytes(row->key, &stored->key, &record->key) ||
      !read_bytes(row->value, &stored->value, &record->value))
    return fail(problem, "payload_not_json", "its place, key or value");
  header_json_free(&stored->headers);
  if (row->headers != NULL && !header_json_read(slice_of(row->headers), &stored->headers))
    return fail(problem, "headers_invalid", "its headers");
  record->headers = stored->headers.items;
  record->header_count = stored->headers.count;
  return true;
}
