/* See names.h. */
#include "config/names.h"

#include <stdbool.h>
#include <string.h>

#include "bridge/base/message_prefix.h"
#include "bridge/base/number.h"
#include "bridge/base/slice.h"
#include "bridge/base/topic_name.h"

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static bool only(const char *text, const char *characters) {
  return text[strspn(text, characters)] == '\0';
}

const char *names_check_instance(const char *name) {
  if (strlen(name) > 63)
    return "is longer than 63 characters";
  if (name[0] == '\0' || strchr(LOWER, name[0]) == NULL)
    return "does not start with a letter a-z";
  return only(name, LOWER DIGITS "_-") ? NULL : "has characters other than a-z, 0-9, _ and -";
}

const char *names_check_slot(const char *name) {
  if (name[0] == '\0')
    return "is empty";
  if (strlen(name) > NAMES_IDENTIFIER_MAX)
    return "is longer than 63 characters";
  return only(name, LOWER DIGITS "_") ? NULL : "has characters other than a-z, 0-9 and _";
}

const char *names_check_identifier(const char *name) {
  if (name[0] == '\0')
    return "is empty";
  if (strlen(name) > NAMES_IDENTIFIER_MAX)
    return "is longer than 63 bytes, the most that Postgres keeps";
  for (const char *c = name; *c != '\0'; c++) {
    if ((unsigned char)*c < ' ' || *c == 0x7f)
      return "has a control character";
    if (*c == '"' || *c == '\'' || *c == '\\')
      return "has a quote or a backslash; names are written without quotes, as they stand in the catalog";
  }
  return NULL;
}

const char *names_check_header(const char *name) {
  if (name[0] == '\0')
    return "is empty";
  if (strlen(name) > NAMES_HEADER_MAX)
    return "is longer than 249 bytes";
  if (strncmp(name, "wf_", 3) == 0)
    return "begins with wf_, which is kept for walferry's own headers";
  for (const char *c = name; *c != '\0'; c++)
    if ((unsigned char)*c < ' ' || *c == 0x7f)
      return "has a control character";
  return NULL;
}

const char *names_check_message_prefix(const char *prefix) {
  return strcmp(prefix, MESSAGE_PREFIX_DEAD_LETTER) == 0 ? "is kept for the dead letters of the inbox" : NULL;
}

static bool plain_identifier(const char *text, size_t len) {
  return len > 0 && len <= NAMES_IDENTIFIER_MAX && strchr(DIGITS "$", text[0]) == NULL &&
         strspn(text, LOWER UPPER DIGITS "_$") >= len;
}

const char *names_check_function(const char *name) {
  const char *dot = strchr(name, '.');
  if (dot == NULL)
    return "names no schema";
  return plain_identifier(name, (size_t)(dot - name)) && plain_identifier(dot + 1, strlen(dot + 1))
             ? NULL
             : "is not of the form schema.function";
}

/* How many characters at the start may stand in a topic's name; also: one more that is taken, NUL is none. */
static size_t topic_span(const char *text, char also) {
  size_t len = 0;
  while (text[len] != '\0' && (topic_name_char_legal(text[len]) || text[len] == also))
    len++;
  return len;
}

static bool only_topic_characters(const char *text, char also) {
  return text[topic_span(text, also)] == '\0';
}

const char *names_check_topic(const char *name) {
  if (name[0] == '\0')
    return "is empty";
  if (strlen(name) > TOPIC_NAME_MAX)
    return "is longer than 249 characters";
  if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
    return "is not a legal topic name";
  if (!only_topic_characters(name, '\0'))
    return "has characters that Kafka does not take in topic names";
  if (strncmp(name, TOPIC_NAME_POSITIONS, strlen(TOPIC_NAME_POSITIONS)) == 0)
    return "is a position topic, which only walferry itself may write";
  return NULL;
}

/* Length of "${field}" at the start of text; 0 if it is none. */
static size_t field_length(const char *text) {
  static const char *const fields[] = {"aggregate", "type", "key", "tenant_id", "version", "source"};
  const char *end = strchr(text, '}');
  if (text[1] != '{' || end == NULL)
    return 0;
  struct slice name = slice_from(text + 2, (size_t)(end - text - 2));
  for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
    if (slice_is(name, fields[i]))
      return name.len + 3;
  }
  return 0;
}

const char *names_check_topic_template(const char *text) {
  if (strchr(text, '$') == NULL)
    return names_check_topic(text);
  if (strncmp(text, TOPIC_NAME_POSITIONS, strlen(TOPIC_NAME_POSITIONS)) == 0)
    return "makes position topics, which only walferry itself may write";
  size_t literals = 0;
  while (*text != '\0') {
    size_t len = topic_span(text, '\0');
    literals += len;
    text += len;
    if (*text == '\0')
      break;
    if (*text != '$')
      return "has characters that Kafka does not take in topic names";
    if (text[1] == '$')
      return "has a dollar, which Kafka does not take in topic names";
    size_t field = field_length(text);
    if (field == 0)
      return "has a ${...} that is no field of an event";
    text += field;
  }
  return literals > TOPIC_NAME_MAX ? "is longer than 249 characters even without its fields" : NULL;
}

const char *names_check_topic_pattern(const char *text) {
  return strchr(text, '*') == NULL           ? names_check_topic(text)
         : !only_topic_characters(text, '*') ? "has characters that Kafka does not take in topic names"
         : strlen(text) > TOPIC_NAME_MAX     ? "is longer than 249 characters"
                                             : NULL;
}

const char *names_check_listen(const char *text) {
  const char *colon = strrchr(text, ':');
  if (colon == NULL)
    return "has no port";
  uint64_t port;
  if (!number_parse_u64(slice_of(colon + 1), 65535, &port))
    return "has no port from 0 to 65535 behind its last colon";
  struct slice host = slice_from(text, (size_t)(colon - text));
  if (host.len == 0)
    return "has no host in front of the colon";
  bool brackets = host.len > 2 && host.data[0] == '[' && host.data[host.len - 1] == ']';
  size_t legal =
      brackets ? strspn(host.data + 1, "abcdefABCDEF" DIGITS ":.") : strspn(host.data, LOWER UPPER DIGITS "._-");
  if (legal != (brackets ? host.len - 2 : host.len))
    return "has no host name or address in front of the port";
  return NULL;
}
