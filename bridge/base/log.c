/* See log.h. */
#include "bridge/base/log.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bridge/base/buffer.h"
#include "bridge/base/clock.h"

#define LINE_MAX_BYTES 16384

static _Atomic(int) current_level = LOG_INFO;
static _Atomic(int) current_format = LOG_TEXT;

void log_setup(enum log_level level, enum log_format format) {
  current_level = (int)level;
  current_format = (int)format;
}

void log_set_level(enum log_level level) {
  current_level = (int)level;
}

static const char *level_name(enum log_level level) {
  switch (level) {
  case LOG_DEBUG:
    return "debug";
  case LOG_INFO:
    return "info";
  case LOG_WARN:
    return "warn";
  case LOG_ERROR:
    return "error";
  }
  return "error";
}

bool log_level_parse(const char *name, enum log_level *level) {
  for (enum log_level l = LOG_DEBUG; l <= LOG_ERROR; l++) {
    if (strcmp(name, level_name(l)) == 0) {
      *level = l;
      return true;
    }
  }
  return false;
}

static void append_value(struct buffer *line, const struct log_field *field, bool json) {
  switch (field->type) {
  case LOG_FIELD_INT:
    buffer_printf(line, "%lld", (long long)field->number);
    return;
  case LOG_FIELD_BOOL:
    buffer_append_text(line, field->number != 0 ? "true" : "false");
    return;
  case LOG_FIELD_LSN:
    buffer_printf(line, json ? "\"%s\"" : "%s", lsn_format((lsn_t)field->number).text);
    return;
  case LOG_FIELD_STRING:
    break;
  }
  bool plain = field->text.len > 0;
  for (size_t i = 0; plain && i < field->text.len; i++) {
    char c = field->text.data[i];
    plain = c > ' ' && c != '"' && c != '=' && c != '\\' && c != 0x7f;
  }
  if (json || !plain)
    buffer_append_json(line, field->text);
  else
    buffer_append_slice(line, field->text);
}

void log_write(enum log_level level, const char *event, const struct log_field *fields, int count) {
  if ((int)level < current_level)
    return;
  bool json = current_format == LOG_JSON;
  struct buffer line;
  buffer_init(&line, LINE_MAX_BYTES);
  struct clock_text now = clock_rfc3339(clock_wall_us());
  if (json)
    buffer_printf(&line, "{\"ts\":\"%s\",\"level\":\"%s\",\"event\":\"%s\"", now.text, level_name(level), event);
  else
    buffer_printf(&line, "%s %-5s %s", now.text, level_name(level), event);
  for (int i = 0; i < count; i++) {
    buffer_printf(&line, json ? ",\"%s\":" : " %s=", fields[i].key);
    append_value(&line, &fields[i], json);
  }
  buffer_append_text(&line, json ? "}\n" : "\n");
  if (line.overflow) { /* a line too long to be true still says which event it was */
    buffer_clear(&line);
    buffer_printf(&line,
                  json ? "{\"ts\":\"%s\",\"level\":\"%s\",\"event\":\"%s\",\"truncated\":true}\n"
                       : "%s %-5s %s truncated=true\n",
                  now.text, level_name(level), event);
  }
  ssize_t written = write(STDERR_FILENO, line.data, line.len);
  (void)written; /* nowhere left to complain */
  buffer_free(&line);
}

void log_error_event(enum log_level level, const char *event, const struct error *err) {
  struct log_field fields[5];
  char page[64];
  int count = 0;
  fields[count++] = log_string("kind", error_kind_name(err->kind));
  if (err->code != NULL)
    fields[count++] = log_string("code", err->code);
  fields[count++] = log_string("error", err->message);
  if (err->remedy[0] != '\0')
    fields[count++] = log_string("remedy", err->remedy);
  if (err->code != NULL) {
    snprintf(page, sizeof page, "walferry explain %s", err->code);
    fields[count++] = log_string("page", page);
  }
  log_write(level, event, fields, count);
}
