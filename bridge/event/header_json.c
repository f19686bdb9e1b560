/* See header_json.h. */
#include "bridge/event/header_json.h"

#include <stdlib.h>

#include "bridge/base/jsonobject.h"
#include "bridge/base/jsontext.h"
#include "bridge/base/memory.h"

static bool is_text(struct slice value) {
  return memchr(value.data, '\0', value.len) == NULL && utf8_valid(value);
}

static void write_header(struct buffer *out, const struct record_header *header) {
  jsonobject_open(out, NULL);
  jsonobject_key(out, "name");
  jsontext_append_lossy(out, slice_of(header->name));
  if (slice_present(header->value) && is_text(header->value)) {
    jsonobject_key(out, "value");
    buffer_append_json(out, header->value);
  } else if (slice_present(header->value)) {
    jsonobject_key(out, "base64");
    buffer_append_char(out, '"');
    buffer_append_base64(out, header->value);
    buffer_append_char(out, '"');
  }
  jsonobject_close(out);
}

void header_json_write(struct buffer *out, const struct record_header *headers, int count) {
  buffer_append_char(out, '[');
  for (int i = 0; i < count; i++)
    write_header(out, &headers[i]);
  buffer_append_char(out, ']');
}

/* Behind the texts taken before, with a NUL behind it. No text is longer than it is in the JSON with its quotes, so
 * that what was reserved for the JSON's length does not move. */
static struct slice take_string(struct buffer *texts, struct slice value) {
  struct slice body = jsontext_string_body(value);
  char *text = texts->data + texts->len;
  size_t len = jsontext_unescape(body, text);
  text[len] = '\0';
  texts->len += len + 1;
  return slice_from(text, len);
}

static bool take_base64(struct buffer *texts, struct slice value, struct slice *bytes) {
  size_t start = texts->len;
  if (!buffer_append_base64_bytes(texts, jsontext_string_body(value)))
    return false;
  *bytes = slice_from(texts->data + start, texts->len - start);
  return true;
}

static bool take_member(struct buffer *texts, const struct jsontext_member *member, struct record_header *header) {
  if (jsontext_kind_of(member->value) != JSONTEXT_STRING)
    return false;
  if (slice_is(member->name, "name") && header->name == NULL) {
    struct slice name = take_string(texts, member->value);
    header->name = name.data;
    return strlen(name.data) == name.len;
  }
  if (slice_present(header->value))
    return false;
  if (slice_is(member->name, "base64"))
    return take_base64(texts, member->value, &header->value);
  if (!slice_is(member->name, "value"))
    return false;
  header->value = take_string(texts, member->value);
  return true;
}

static bool take_header(struct buffer *texts, struct slice json, struct record_header *header) {
  if (jsontext_kind_of(json) != JSONTEXT_OBJECT)
    return false;
  struct jsontext_members members = jsontext_members_of(json);
  struct jsontext_member member;
  while (jsontext_members_next(&members, &member))
    if (!take_member(texts, &member, header))
      return false;
  return header->name != NULL;
}

bool header_json_read(struct slice json, struct header_json *headers) {
  *headers = (struct header_json){.items = NULL};
  if (!jsontext_check(json, NULL))
    return false;
  buffer_init(&headers->texts, json.len);
  buffer_reserve(&headers->texts, json.len);
  struct jsontext_reader reader = jsontext_reader_over(json);
  bool ok = jsontext_read_open(&reader, JSONTEXT_ARRAY);
  for (int room = 0; ok && jsontext_read_element(&reader);) {
    struct slice element;
    if (headers->count == room) {
      room = room == 0 ? 8 : 2 * room;
      headers->items = memory_resize(headers->items, (size_t)room * sizeof *headers->items);
    }
    headers->items[headers->count++] = (struct record_header){.name = NULL};
    ok = jsontext_read_value(&reader, &element) &&
         take_header(&headers->texts, element, &headers->items[headers->count - 1]);
  }
  if (!ok)
    header_json_free(headers);
  return ok;
}

void header_json_free(struct header_json *headers) {
  buffer_free(&headers->texts);
  free(headers->items);
  *headers = (struct header_json){.items = NULL};
}
