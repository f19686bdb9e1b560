/* See remedy.h. */
#include "bridge/ops/remedy.h"

#include <stdlib.h>
#include <string.h>

#include "bridge/base/buffer.h"
#include "bridge/base/memory.h"

#define TEXT_MAX 65536
#define PLACE "CONFIG"
#define CONFIRM "--confirm "
#define NAME "NAME"

static void append_path(struct buffer *out, const char *path) {
  static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/+:@%,";
  if (path[strspn(path, plain)] == '\0') {
    buffer_append_text(out, path);
    return;
  }
  buffer_append_char(out, '\'');
  for (const char *c = path; *c != '\0'; c++) {
    if (*c == '\'')
      buffer_append_text(out, "'\\''");
    else
      buffer_append_char(out, *c);
  }
  buffer_append_char(out, '\'');
}

/* A whole word, and not a part of one? */
static bool is_word(const char *text, const char *at, size_t len) {
  bool begins = at == text || at[-1] == ' ';
  return begins && strchr("` ,;:.)", at[len]) != NULL; /* the end of the text too */
}

char *remedy_typed(const char *text, const char *config_path, const char *instance) {
  if (text == NULL)
    return NULL;
  struct buffer out;
  buffer_init(&out, TEXT_MAX);
  const char *at = text;
  while (*at != '\0') {
    bool confirms =
        (size_t)(at - text) >= strlen(CONFIRM) && strncmp(at - strlen(CONFIRM), CONFIRM, strlen(CONFIRM)) == 0;
    if (strncmp(at, PLACE, strlen(PLACE)) == 0 && is_word(text, at, strlen(PLACE))) {
      append_path(&out, config_path);
      at += strlen(PLACE);
    } else if (confirms && strncmp(at, NAME, strlen(NAME)) == 0 && is_word(text, at, strlen(NAME))) {
      buffer_append_text(&out, instance);
      at += strlen(NAME);
    } else {
      buffer_append_char(&out, *at++);
    }
  }
  buffer_append_char(&out, '\0');
  char *typed = memory_string(out.overflow ? text : out.data);
  buffer_free(&out);
  return typed;
}

static void complete(char *text, size_t size, const char *config_path, const char *instance) {
  char *typed = remedy_typed(text, config_path, instance);
  if (strlen(typed) < size)
    memcpy(text, typed, strlen(typed) + 1);
  free(typed);
}

void remedy_complete(struct error *err, const char *config_path, const char *instance) {
  complete(err->message, sizeof err->message, config_path, instance);
  complete(err->remedy, sizeof err->remedy, config_path, instance);
}
