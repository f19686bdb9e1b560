/* What `check` found: a list of lines, and their two forms. Pure: no I/O but the stream given. */
#ifndef WALFERRY_OPS_CHECK_REPORT_H
#define WALFERRY_OPS_CHECK_REPORT_H

#include <stdio.h>

#include "bridge/base/error.h"

enum check_status { CHECK_OK = 1, CHECK_WARN, CHECK_FAIL, CHECK_SKIPPED };
#define CHECK_STATUS_COUNT (CHECK_SKIPPED + 1)

struct check_line {
  enum check_status status;
  enum error_kind kind; /* of a failure */
  const char *group;    /* static: "postgres", "kafka", "start" */
  const char *code;     /* static; NULL: none */
  char *name;
  char *message;
  char *remedy; /* NULL: none */
};

struct check_report {
  const char *config_path; /* both as the remedies' commands name them */
  const char *instance;
  const char *group; /* of the lines to come */
  struct check_line *lines;
  int count;
  int capacity;
};

void check_report_free(struct check_report *report);

void check_ok(struct check_report *report, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* What could not be looked at, and why. */
void check_skip(struct check_report *report, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void check_warn(struct check_report *report, const char *name, const char *remedy, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* A failure with its kind, code and remedy. */
void check_fail(struct check_report *report, const char *name, const struct error *err);

/* One line each, the remedy on the next, and a summary. */
void check_print_text(const struct check_report *report, const char *instance, FILE *out);
/* {"instance", "ok", "checks": [{"name", "group", "status", "message", "code"?, "remedy"?}], "counts": {...}} */
void check_print_json(const struct check_report *report, const char *instance, FILE *out);

/* The outcome as an error, whose kind decides the exit code: what a person has to put right comes before what may pass
 * by itself. True when nothing failed. */
bool check_outcome(const struct check_report *report, struct error *err);

#endif
