/* Logs: one event a line on stderr, as text or JSON, with typed fields. Never row data, never a secret.
 *
 *   log_warn("kafka.txn_aborted", log_lsn("lsn", lsn), log_int("attempt", n));
 *
 * The level, the format and the standard fields are the one piece of process-wide state: stderr is process-wide too.
 * Any thread may log; a line is written with one write(2). */
#ifndef WALFERRY_BASE_LOG_H
#define WALFERRY_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "bridge/base/error.h"
#include "bridge/base/lsn.h"

enum log_level { LOG_DEBUG = 1, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_TEXT = 1, LOG_JSON };

struct log_field {
  const char *key;
  enum { LOG_FIELD_STRING = 1, LOG_FIELD_INT, LOG_FIELD_LSN, LOG_FIELD_BOOL } type;
  struct slice text;
  int64_t number;
};

void log_setup(enum log_level level, enum log_format format);
void log_set_level(enum log_level level);
bool log_level_parse(const char *name, enum log_level *level); /* debug | info | warn | error */

static inline struct log_field log_string(const char *key, const char *text) {
  return (struct log_field){.key = key, .type = LOG_FIELD_STRING, .text = slice_of(text)};
}
static inline struct log_field log_slice(const char *key, struct slice text) {
  return (struct log_field){.key = key, .type = LOG_FIELD_STRING, .text = text};
}
static inline struct log_field log_int(const char *key, int64_t number) {
  return (struct log_field){.key = key, .type = LOG_FIELD_INT, .number = number};
}
static inline struct log_field log_bool(const char *key, bool value) {
  return (struct log_field){.key = key, .type = LOG_FIELD_BOOL, .number = value};
}
static inline struct log_field log_lsn(const char *key, lsn_t lsn) {
  return (struct log_field){.key = key, .type = LOG_FIELD_LSN, .number = (int64_t)lsn};
}

void log_write(enum log_level level, const char *event, const struct log_field *fields, int count);

/* Fields kind, code, error and remedy of an error, as far as it has them; with a code, page is the command that prints
 * what there is to know of it. */
void log_error_event(enum log_level level, const char *event, const struct error *err);

/* The leading empty field lets an event have none of its own. */
#define LOG_WITH_FIELDS(level, event, ...)                                                                             \
  log_write(level, event, (const struct log_field[]){{.key = NULL}, ##__VA_ARGS__} + 1,                                \
            (int)(sizeof((const struct log_field[]){{.key = NULL}, ##__VA_ARGS__}) / sizeof(struct log_field)) - 1)
#define log_debug(event, ...) LOG_WITH_FIELDS(LOG_DEBUG, event, ##__VA_ARGS__)
#define log_info(event, ...) LOG_WITH_FIELDS(LOG_INFO, event, ##__VA_ARGS__)
#define log_warn(event, ...) LOG_WITH_FIELDS(LOG_WARN, event, ##__VA_ARGS__)
#define log_error(event, ...) LOG_WITH_FIELDS(LOG_ERROR, event, ##__VA_ARGS__)

#endif
