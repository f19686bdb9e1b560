/* See conninfo.h. */
#include "bridge/postgres/conninfo.h"

#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/buffer.h"
#include "bridge/base/memory.h"

#define CONNINFO_MAX ((size_t)1 << 22)

/* keyword='value', with \ before ' and \. Source: PostgreSQL docs, "Keyword/Value Connection Strings". */
static void append_pair(struct buffer *out, const char *keyword, const char *value) {
  buffer_printf(out, "%s%s='", out->len > 0 ? " " : "", keyword);
  for (const char *c = value; *c != '\0'; c++) {
    if (*c == '\'' || *c == '\\')
      buffer_append_char(out, '\\');
    buffer_append_char(out, *c);
  }
  buffer_append_char(out, '\'');
}

static char *take_text(struct buffer *out, struct error *err) {
  buffer_append_char(out, '\0');
  if (!out->overflow)
    return out->data;
  buffer_free(out);
  error_set(err, ERROR_CONFIG, "the connection string is longer than %zu bytes", CONNINFO_MAX);
  error_remedy(err, "shorten it");
  return NULL;
}

/* libpq's complaints quote words of the text, which may be a password's second half. */
static bool may_hold_secret(const char *text) {
  return strcasestr(text, "pass") != NULL || strchr(text, '@') != NULL;
}

static PQconninfoOption *split(const char *text, bool quotable, struct error *err) {
  char *why = NULL;
  PQconninfoOption *options = PQconninfoParse(text, &why);
  if (options == NULL) {
    if (why != NULL)
      why[strcspn(why, "\n")] = '\0';
    error_set(err, ERROR_CONFIG, "not a connection string: %s",
              !quotable || may_hold_secret(text)
                  ? "libpq cannot split it (its words are withheld, they may quote a secret)"
              : why != NULL ? why
                            : "out of memory");
    error_remedy(err, "write keyword=value pairs, `host=db port=5432 dbname=shop user=walferry`, or a postgres:// URI; "
                      "a value with blanks goes in single quotes");
  }
  PQfreemem(why);
  return options;
}

bool conninfo_expand(const char *text, char *(*expand)(void *ctx, const char *value, struct error *err), void *ctx,
                     char **out, struct error *err) {
  PQconninfoOption *options = split(text, expand != NULL, err);
  if (options == NULL)
    return false;
  struct buffer rebuilt;
  buffer_init(&rebuilt, CONNINFO_MAX);
  char *result = NULL;
  for (const PQconninfoOption *option = options; option->keyword != NULL; option++) {
    if (option->val == NULL)
      continue;
    char *value = expand == NULL ? memory_string(option->val) : expand(ctx, option->val, err);
    if (value == NULL) {
      error_wrap(err, "%s", option->keyword);
      buffer_free(&rebuilt);
      goto out;
    }
    append_pair(&rebuilt, option->keyword, value);
    free(value);
  }
  result = take_text(&rebuilt, err);
out:
  PQconninfoFree(options);
  if (result == NULL)
    return false;
  *out = result;
  return true;
}

bool conninfo_has(const char *conninfo, const char *keyword) {
  PQconninfoOption *options = split(conninfo, false, NULL);
  bool found = false;
  for (const PQconninfoOption *option = options; option != NULL && option->keyword != NULL; option++)
    found = found || (option->val != NULL && strcmp(option->keyword, keyword) == 0);
  PQconninfoFree(options);
  return found;
}

char *conninfo_value(const char *conninfo, const char *keyword) {
  PQconninfoOption *options = split(conninfo, false, NULL);
  char *value = NULL;
  for (const PQconninfoOption *option = options; option != NULL && option->keyword != NULL; option++)
    if (strcmp(option->keyword, keyword) == 0)
      value = memory_string(option->val);
  PQconninfoFree(options);
  return value;
}

char *conninfo_with(const char *conninfo, const char *keyword, const char *value) {
  struct buffer out;
  buffer_init(&out, 2 * CONNINFO_MAX);
  buffer_append_text(&out, conninfo);
  append_pair(&out, keyword, value);
  return take_text(&out, NULL);
}
