/* See payload.h. */
#include "bridge/event/payload.h"

#include <strings.h>

#include "bridge/base/jsontext.h"
#include "bridge/event/envelope.h"

void payload_scratch_init(struct payload_scratch *scratch) {
  buffer_init(&scratch->decoded, BUFFER_MAX_ROW);
  buffer_init(&scratch->encoded, BUFFER_MAX_ROW);
}

void payload_scratch_free(struct payload_scratch *scratch) {
  buffer_free(&scratch->decoded);
  buffer_free(&scratch->encoded);
}

void payload_scratch_reuse(struct payload_scratch *scratch) {
  buffer_reuse(&scratch->decoded);
  buffer_reuse(&scratch->encoded);
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

bool payload_as_bytes(struct payload_scratch *scratch, const struct event *event, struct slice *bytes,
                      struct problem *problem) {
  struct slice text = event->fields[FIELD_PAYLOAD];
  if (!slice_present(text) || event->payload_form != PAYLOAD_BYTEA) {
    *bytes = text;
    return true;
  }
  buffer_clear(&scratch->decoded);
  if (!bytea_decode(text, &scratch->decoded)) {
    problem_set(problem, "payload_not_json", "the bytea payload is not in hex form (bytea_output)");
    return false;
  }
  *bytes = buffer_slice(&scratch->decoded);
  return true;
}

static bool is_json(const struct event *event, struct slice bytes, struct problem *problem) {
  size_t error_at;
  if (event->payload_form == PAYLOAD_JSON || jsontext_check(bytes, &error_at))
    return true;
  problem_set(problem, "payload_not_json", "the payload (%zu bytes) is not JSON: see its byte %zu", bytes.len,
              error_at + 1);
  return false;
}

bool payload_as_json(struct payload_scratch *scratch, const struct event *event, struct slice *json,
                     struct problem *problem) {
  struct slice bytes;
  if (!payload_as_bytes(scratch, event, &bytes, problem))
    return false;
  if (!slice_present(bytes))
    bytes = slice_of("null");
  else if (!is_json(event, bytes, problem))
    return false;
  *json = bytes;
  return true;
}

static bool ends_in(struct slice text, const char *end) {
  size_t len = strlen(end);
  return text.len >= len && strncasecmp(text.data + text.len - len, end, len) == 0;
}

bool media_type_is_json(struct slice type) {
  const char *semicolon = type.len == 0 ? NULL : memchr(type.data, ';', type.len);
  if (semicolon != NULL)
    type.len = (size_t)(semicolon - type.data);
  while (type.len > 0 && type.data[type.len - 1] == ' ')
    type.len--;
  return ends_in(type, "/json") || ends_in(type, "+json");
}

/* The bytes as a JSON string, as they are or in base64. */
static bool encode(struct payload_scratch *scratch, struct slice bytes, struct payload_data *data,
                   struct problem *problem) {
  struct buffer *out = &scratch->encoded;
  buffer_clear(out);
  if (data->base64) {
    buffer_append_char(out, '"');
    buffer_append_base64(out, bytes);
    buffer_append_char(out, '"');
  } else {
    buffer_append_json(out, bytes);
  }
  if (out->overflow) {
    problem_set(problem, "record_too_large", "encoded, the payload is larger than %zu bytes", out->max);
    return false;
  }
  data->json = buffer_slice(out);
  return true;
}

bool payload_as_data(struct payload_scratch *scratch, const struct event *event, struct payload_data *data,
                     struct problem *problem) {
  struct slice bytes, type = event->fields[FIELD_CONTENT_TYPE];
  if (!payload_as_bytes(scratch, event, &bytes, problem))
    return false;
  *data = (struct payload_data){.json = SLICE_ABSENT, .content_type = type.len > 0 ? type : SLICE_ABSENT};
  if (!slice_present(bytes))
    return true;
  bool other_type = type.len > 0 && !media_type_is_json(type);
  switch (event->payload_form) {
  case PAYLOAD_JSON:
    data->json = bytes;
    break;
  case PAYLOAD_TEXT:
    data->base64 = other_type && !utf8_valid(bytes);
    if (other_type)
      return encode(scratch, bytes, data, problem);
    if (!is_json(event, bytes, problem))
      return false;
    data->json = bytes;
    break;
  case PAYLOAD_BYTEA:
    data->base64 = other_type || !jsontext_check(bytes, NULL);
    if (data->base64) {
      if (type.len == 0)
        data->content_type = slice_of("application/octet-stream");
      return encode(scratch, bytes, data, problem);
    }
    data->json = bytes;
    break;
  }
  if (type.len == 0)
    data->content_type = slice_of("application/json");
  return true;
}
