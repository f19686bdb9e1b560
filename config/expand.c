/* See expand.h. */
#include "config/expand.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/buffer.h"
#include "bridge/base/memory.h"

#define EXPANDED_MAX ((size_t)1 << 20)

static size_t least(size_t a, size_t b) {
  return a < b ? a : b;
}

static size_t name_length(const char *text) {
  if (!isalpha((unsigned char)text[0]) && text[0] != '_')
    return 0;
  size_t len = 1;
  while (isalnum((unsigned char)text[len]) || text[len] == '_')
    len++;
  return len;
}

/* One reference; body points behind "${", and is len bytes long without the brace that ends it. */
static bool expand_reference(struct slice body, struct buffer *out, struct error *err) {
  size_t name_len = name_length(body.data); /* ends at the brace at the latest */
  struct slice rest = slice_from(body.data + name_len, body.len - name_len);
  bool has_default = rest.len >= 2 && memcmp(rest.data, ":-", 2) == 0;
  /* What follows the name may be a secret that somebody wrote as the default: only the name is quoted. */
  if (name_len == 0 || (rest.len > 0 && !has_default)) {
    error_set(err, ERROR_CONFIG, "\"${%.*s\" is not a reference to the environment", (int)least(name_len, 200),
              body.data);
    return error_remedy(err, "write ${NAME} or ${NAME:-default}; NAME has letters, digits and _; $$ is a plain dollar");
  }
  if (memchr(rest.data, '$', rest.len) != NULL) {
    error_set(err, ERROR_CONFIG, "the default of \"${%.*s}\" holds a dollar", (int)least(name_len, 200), body.data);
    return error_remedy(err, "references cannot stand inside each other; use a plain default");
  }
  char *name = memory_copy(body.data, name_len);
  const char *value = getenv(name);
  bool ok = true;
  if (has_default && (value == NULL || value[0] == '\0')) {
    buffer_append(out, rest.data + 2, rest.len - 2);
  } else if (value != NULL) {
    buffer_append_text(out, value);
  } else {
    error_set(err, ERROR_CONFIG, "the environment variable %.200s is not set", name);
    ok = error_remedy(err, "set %.200s, or write ${%.200s:-default}", name, name);
  }
  free(name);
  return ok;
}

char *expand_environment(const char *text, struct error *err) {
  struct buffer out;
  buffer_init(&out, EXPANDED_MAX);
  const char *at = text;
  while (*at != '\0') {
    size_t literal = strcspn(at, "$");
    buffer_append(&out, at, literal);
    at += literal;
    if (*at == '\0')
      break;
    if (at[1] == '$') {
      buffer_append_char(&out, '$');
      at += 2;
      continue;
    }
    if (at[1] != '{') {
      error_set(err, ERROR_CONFIG, "a single dollar is neither ${NAME} nor $$");
      error_remedy(err, "write $$ for a plain dollar, ${NAME} for an environment variable");
      goto failed;
    }
    const char *end = strchr(at, '}');
    if (end == NULL) {
      error_set(err, ERROR_CONFIG, "\"${\" without its \"}\"");
      error_remedy(err, "write ${NAME} or ${NAME:-default}; $$ is a plain dollar");
      goto failed;
    }
    if (!expand_reference(slice_from(at + 2, (size_t)(end - at - 2)), &out, err))
      goto failed;
    at = end + 1;
  }
  buffer_append_char(&out, '\0');
  if (out.overflow) {
    error_set(err, ERROR_CONFIG, "the expanded value is longer than %zu bytes", EXPANDED_MAX);
    error_remedy(err, "check the environment variables it refers to");
    goto failed;
  }
  return out.data;
failed:
  buffer_free(&out);
  return NULL;
}

bool expand_is_reference(const char *text) {
  const char *end = strchr(text, '}');
  return text[0] == '$' && text[1] == '{' && end != NULL && end[1] == '\0';
}
