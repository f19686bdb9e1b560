/* See check_report.h. */
#include "bridge/ops/check_report.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/jsonobject.h"
#include "bridge/base/memory.h"
#include "bridge/ops/remedy.h"

#define NAME_WIDTH_MAX 40

static const char *status_text(enum check_status status) {
  switch (status) {
  case CHECK_OK:
    return "ok";
  case CHECK_WARN:
    return "warn";
  case CHECK_FAIL:
    return "FAIL";
  case CHECK_SKIPPED:
    return "--";
  }
  return "";
}

static const char *status_name(enum check_status status) {
  switch (status) {
  case CHECK_OK:
    return "ok";
  case CHECK_WARN:
    return "warn";
  case CHECK_FAIL:
    return "fail";
  case CHECK_SKIPPED:
    return "skipped";
  }
  return "";
}

void check_report_free(struct check_report *report) {
  for (int i = 0; i < report->count; i++) {
    free(report->lines[i].name);
    free(report->lines[i].message);
    free(report->lines[i].remedy);
  }
  free(report->lines);
  *report = (struct check_report){.lines = NULL};
}

static struct check_line *add(struct check_report *report, enum check_status status, const char *name,
                              const char *message) {
  if (report->count == report->capacity) {
    report->capacity = report->capacity == 0 ? 32 : 2 * report->capacity;
    report->lines = memory_resize(report->lines, (size_t)report->capacity * sizeof *report->lines);
  }
  struct check_line *line = &report->lines[report->count++];
  *line = (struct check_line){
      .status = status, .group = report->group, .name = memory_string(name), .message = memory_string(message)};
  return line;
}

static struct check_line *__attribute__((format(printf, 4, 0)))
add_formatted(struct check_report *report, enum check_status status, const char *name, const char *format,
              va_list args) {
  char message[1024];
  vsnprintf(message, sizeof message, format, args);
  return add(report, status, name, message);
}

void check_ok(struct check_report *report, const char *name, const char *format, ...) {
  va_list args;
  va_start(args, format);
  add_formatted(report, CHECK_OK, name, format, args);
  va_end(args);
}

void check_skip(struct check_report *report, const char *name, const char *format, ...) {
  va_list args;
  va_start(args, format);
  add_formatted(report, CHECK_SKIPPED, name, format, args);
  va_end(args);
}

void check_warn(struct check_report *report, const char *name, const char *remedy, const char *format, ...) {
  va_list args;
  va_start(args, format);
  struct check_line *line = add_formatted(report, CHECK_WARN, name, format, args);
  line->remedy = remedy_typed(remedy, report->config_path, report->instance);
  va_end(args);
}

void check_fail(struct check_report *report, const char *name, const struct error *err) {
  struct check_line *line = add(report, CHECK_FAIL, name, err->message);
  line->kind = err->kind;
  line->code = err->code;
  /* Where those below know nothing better. */
  line->remedy = remedy_typed(err->remedy[0] != '\0' ? err->remedy : "see that server's log, and try again",
                              report->config_path, report->instance);
}

static int count_of(const struct check_report *report, enum check_status status) {
  int count = 0;
  for (int i = 0; i < report->count; i++)
    count += report->lines[i].status == status ? 1 : 0;
  return count;
}

static int name_width(const struct check_report *report) {
  size_t width = 0;
  for (int i = 0; i < report->count; i++) {
    size_t len = strlen(report->lines[i].name);
    if (len > width && len <= NAME_WIDTH_MAX)
      width = len;
  }
  return (int)width;
}

void check_print_text(const struct check_report *report, const char *instance, FILE *out) {
  int width = name_width(report);
  for (int i = 0; i < report->count; i++) {
    const struct check_line *line = &report->lines[i];
    fprintf(out, "%-4s  %-*s  %s\n", status_text(line->status), width, line->name, line->message);
    if (line->remedy != NULL)
      fprintf(out, "      %s\n", line->remedy);
    if (line->code != NULL)
      fprintf(out, "      (walferry explain %s)\n", line->code);
  }
  int failed = count_of(report, CHECK_FAIL), skipped = count_of(report, CHECK_SKIPPED);
  fprintf(out, "\n%s: %d ok, %d to look at, %d failed, %d skipped. %s\n", instance, count_of(report, CHECK_OK),
          count_of(report, CHECK_WARN), failed, skipped,
          failed > 0 ? "As it is, the relay cannot run." : "Nothing keeps the relay from running.");
}

static void append_line(struct buffer *json, const struct check_line *line) {
  jsonobject_open(json, NULL);
  jsonobject_text(json, "name", line->name);
  jsonobject_text(json, "group", line->group);
  jsonobject_text(json, "status", status_name(line->status));
  jsonobject_text(json, "message", line->message);
  if (line->code != NULL)
    jsonobject_text(json, "code", line->code);
  if (line->remedy != NULL)
    jsonobject_text(json, "remedy", line->remedy);
  jsonobject_close(json);
}

void check_print_json(const struct check_report *report, const char *instance, FILE *out) {
  struct buffer json;
  buffer_init(&json, BUFFER_MAX_ROW);
  jsonobject_open(&json, NULL);
  jsonobject_text(&json, "instance", instance);
  jsonobject_bool(&json, "ok", count_of(report, CHECK_FAIL) == 0);
  jsonobject_key(&json, "checks");
  buffer_append_char(&json, '[');
  for (int i = 0; i < report->count; i++)
    append_line(&json, &report->lines[i]);
  buffer_append_char(&json, ']');
  jsonobject_open(&json, "counts");
  for (enum check_status status = CHECK_OK; status < CHECK_STATUS_COUNT; status++)
    jsonobject_integer(&json, status_name(status), count_of(report, status));
  buffer_append_text(&json, "}}\n");
  fwrite(json.data, 1, json.len, out);
  buffer_free(&json);
}

/* The larger, the more it is for a person to decide. */
static int gravity(enum error_kind kind) {
  switch (kind) {
  case ERROR_CONFIG:
    return 3;
  case ERROR_REFUSED:
    return 2;
  case ERROR_RETRY:
  case ERROR_START_OVER:
  case ERROR_FENCED:
  case ERROR_FATAL:
    return 1;
  case ERROR_NONE:
  case ERROR_STOPPED:
    return 0;
  }
  return 0;
}

bool check_outcome(const struct check_report *report, struct error *err) {
  const struct check_line *gravest = NULL;
  for (int i = 0; i < report->count; i++) {
    const struct check_line *line = &report->lines[i];
    if (line->status == CHECK_FAIL && (gravest == NULL || gravity(line->kind) > gravity(gravest->kind)))
      gravest = line;
  }
  if (gravest == NULL)
    return true;
  bool known = gravity(gravest->kind) > 1;
  error_set(err, known ? gravest->kind : ERROR_RETRY, "%d of %d checks failed, first of all: %s: %s",
            count_of(report, CHECK_FAIL), report->count, gravest->name, gravest->message);
  return error_remedy(err, "see the output: each failure has its remedy there");
}
