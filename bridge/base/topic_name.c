/* See topic_name.h. */
#include "bridge/base/topic_name.h"

bool topic_name_char_legal(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

bool topic_name_legal(struct slice name) {
  if (name.len == 0 || name.len > TOPIC_NAME_MAX || slice_is(name, ".") || slice_is(name, ".."))
    return false;
  for (size_t i = 0; i < name.len; i++)
    if (!topic_name_char_legal(name.data[i]))
      return false;
  return true;
}

static bool begins_with(struct slice name, const char *prefix) {
  size_t len = strlen(prefix);
  return name.len >= len && memcmp(name.data, prefix, len) == 0;
}

bool topic_name_reserved(struct slice name) {
  return begins_with(name, TOPIC_NAME_POSITIONS) || begins_with(name, "__");
}
