/* What went wrong, and what is to be done about it. The kind decides; the text is for people.
 * Functions that can fail return bool and fill a struct error; each layer may add context; the top logs once. */
#ifndef WALFERRY_BASE_ERROR_H
#define WALFERRY_BASE_ERROR_H

#include <stdbool.h>

enum error_kind {
  ERROR_NONE = 0,
  ERROR_CONFIG,     /* usage, configuration or credentials: exit 2 */
  ERROR_REFUSED,    /* an operator must decide: exit 3; has a code (docs/operations.md) */
  ERROR_RETRY,      /* a server is away or busy: the whole attempt may be made again later */
  ERROR_START_OVER, /* something in flight is in doubt: drop it and recover from the stored position */
  ERROR_FENCED,     /* another instance took over our transactional id */
  ERROR_FATAL,      /* failed, worth a restart: exit 1 */
  ERROR_STOPPED     /* asked to stop */
};

struct error {
  enum error_kind kind;
  const char *code; /* static, of the form "slot_missing"; NULL when the kind says enough */
  char message[1024];
  char remedy[1536]; /* what the operator can do; may be empty */
};

/* All return false, so that `return error_set(...)` ends a failing function. A NULL err is allowed. */
bool error_set(struct error *err, enum error_kind kind, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* ERROR_REFUSED with its code; add the remedy with error_remedy. */
bool error_refuse(struct error *err, const char *code, const char *format, ...) __attribute__((format(printf, 3, 4)));
bool error_remedy(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Puts "context: " before the message. */
bool error_wrap(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
void error_clear(struct error *err);

/* The process exit code of a run that ended with this error (0, 1, 2, 3 or 4: README, "Commands"). */
int error_exit_code(const struct error *err);
const char *error_kind_name(enum error_kind kind);

#endif
