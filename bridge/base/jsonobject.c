/* See jsonobject.h. */
#include "bridge/base/jsonobject.h"

#include <inttypes.h>

#include "bridge/base/clock.h"
#include "bridge/base/jsontext.h"

/* What follows a value is parted from it; no value ends in a bracket that opens. */
static void part(struct buffer *json) {
  char before = json->len == 0 ? '{' : json->data[json->len - 1];
  if (before != '{' && before != '[' && before != ':')
    buffer_append_char(json, ',');
}

void jsonobject_key(struct buffer *json, const char *name) {
  part(json);
  jsontext_append_lossy(json, slice_of(name));
  buffer_append_char(json, ':');
}

void jsonobject_open(struct buffer *json, const char *name) {
  if (name != NULL)
    jsonobject_key(json, name);
  else
    part(json);
  buffer_append_char(json, '{');
}

void jsonobject_close(struct buffer *json) {
  buffer_append_char(json, '}');
}

void jsonobject_text(struct buffer *json, const char *name, const char *value) {
  jsonobject_key(json, name);
  if (value == NULL)
    buffer_append_text(json, "null");
  else
    jsontext_append_lossy(json, slice_of(value));
}

void jsonobject_integer(struct buffer *json, const char *name, int64_t value) {
  jsonobject_key(json, name);
  buffer_printf(json, "%" PRId64, value);
}

void jsonobject_bool(struct buffer *json, const char *name, bool value) {
  jsonobject_key(json, name);
  buffer_append_text(json, value ? "true" : "false");
}

void jsonobject_moment(struct buffer *json, const char *name, int64_t unix_us) {
  jsonobject_text(json, name, unix_us == 0 ? NULL : clock_rfc3339(unix_us).text);
}

void jsonobject_lsn(struct buffer *json, const char *name, lsn_t value) {
  jsonobject_text(json, name, value == 0 ? NULL : lsn_format(value).text);
}

void jsonobject_slice(struct buffer *json, const char *name, struct slice text) {
  jsonobject_key(json, name);
  if (slice_present(text))
    jsontext_append_lossy(json, text);
  else
    buffer_append_text(json, "null");
}

void jsonobject_verbatim(struct buffer *json, const char *name, struct slice value) {
  jsonobject_key(json, name);
  buffer_append_slice(json, value);
}

void jsonobject_base64(struct buffer *json, const char *name, struct slice bytes) {
  jsonobject_key(json, name);
  buffer_append_char(json, '"');
  buffer_append_base64(json, bytes);
  buffer_append_char(json, '"');
}
