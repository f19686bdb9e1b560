/* See error.h. */
#include "bridge/base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void __attribute__((format(printf, 4, 0)))
fill(struct error *err, enum error_kind kind, const char *code, const char *format, va_list args) {
  if (err == NULL)
    return;
  /* The arguments may point into err itself, so the text is made before anything is overwritten. */
  char message[sizeof err->message];
  vsnprintf(message, sizeof message, format, args);
  err->kind = kind;
  err->code = code;
  err->remedy[0] = '\0';
  memcpy(err->message, message, sizeof message);
}

bool error_set(struct error *err, enum error_kind kind, const char *format, ...) {
  va_list args;
  va_start(args, format);
  fill(err, kind, NULL, format, args);
  va_end(args);
  return false;
}

bool error_refuse(struct error *err, const char *code, const char *format, ...) {
  va_list args;
  va_start(args, format);
  fill(err, ERROR_REFUSED, code, format, args);
  va_end(args);
  return false;
}

bool error_remedy(struct error *err, const char *format, ...) {
  if (err == NULL)
    return false;
  va_list args;
  va_start(args, format);
  vsnprintf(err->remedy, sizeof err->remedy, format, args);
  va_end(args);
  return false;
}

bool error_wrap(struct error *err, const char *format, ...) {
  if (err == NULL)
    return false;
  char context[256];
  va_list args;
  va_start(args, format);
  vsnprintf(context, sizeof context, format, args);
  va_end(args);
  char wrapped[sizeof context + sizeof err->message + 2];
  snprintf(wrapped, sizeof wrapped, "%s: %s", context, err->message);
  wrapped[sizeof err->message - 1] = '\0';
  memcpy(err->message, wrapped, sizeof err->message);
  return false;
}

void error_clear(struct error *err) {
  *err = (struct error){.kind = ERROR_NONE};
}

int error_exit_code(const struct error *err) {
  switch (err->kind) {
  case ERROR_NONE:
  case ERROR_STOPPED:
    return 0;
  case ERROR_CONFIG:
    return 2;
  case ERROR_REFUSED:
    return 3;
  case ERROR_FENCED:
    return 4;
  case ERROR_RETRY:
  case ERROR_START_OVER:
  case ERROR_FATAL:
    return 1;
  }
  return 1;
}

const char *error_kind_name(enum error_kind kind) {
  switch (kind) {
  case ERROR_NONE:
    return "none";
  case ERROR_CONFIG:
    return "config";
  case ERROR_REFUSED:
    return "refused";
  case ERROR_RETRY:
    return "retry";
  case ERROR_START_OVER:
    return "start_over";
  case ERROR_FENCED:
    return "fenced";
  case ERROR_FATAL:
    return "fatal";
  case ERROR_STOPPED:
    return "stopped";
  }
  return "unknown";
}
