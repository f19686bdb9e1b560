/* See row_log.h. */
#include "bridge/relay/row_log.h"

#include <stdlib.h>

#include "bridge/base/log.h"
#include "bridge/base/memory.h"

#define INTERVAL_MS 60000

#define QUARANTINED "relay.quarantined"
#define DROPPED "relay.traceparent_dropped"

/* Few: there are a dozen codes, and as many origins as tables and prefixes. */
struct cause {
  struct cause *next;
  const char *event;
  char *code;
  char *origin;
  int64_t logged_ms;
  int64_t unlogged; /* rows since */
};

struct row_log {
  struct cause *causes;
};

struct row_log *row_log_new(void) {
  return memory_alloc(sizeof(struct row_log));
}

static void log_count(struct cause *cause, int64_t now_ms) {
  log_warn(cause->event, log_string("code", cause->code), log_string("origin", cause->origin),
           log_int("more", cause->unlogged));
  cause->logged_ms = now_ms;
  cause->unlogged = 0;
}

void row_log_flush(struct row_log *log, int64_t now_ms, bool force) {
  for (struct cause *cause = log->causes; cause != NULL; cause = cause->next)
    if (cause->unlogged > 0 && (force || now_ms - cause->logged_ms >= INTERVAL_MS))
      log_count(cause, now_ms);
}

void row_log_free(struct row_log *log) {
  if (log == NULL)
    return;
  row_log_flush(log, 0, true);
  while (log->causes != NULL) {
    struct cause *cause = log->causes;
    log->causes = cause->next;
    free(cause->code);
    free(cause->origin);
    free(cause);
  }
  free(log);
}

/* The cause if it is known; else it is made, and *fresh. */
static struct cause *find_cause(struct row_log *log, const char *event, struct slice code, const char *origin,
                                bool *fresh) {
  for (struct cause *cause = log->causes; cause != NULL; cause = cause->next)
    if (cause->event == event && slice_is(code, cause->code) && strcmp(cause->origin, origin) == 0) {
      *fresh = false;
      return cause;
    }
  struct cause *cause = memory_alloc(sizeof *cause);
  cause->event = event;
  cause->code = memory_copy(code.data, code.len);
  cause->origin = memory_string(origin);
  cause->next = log->causes;
  log->causes = cause;
  *fresh = true;
  return cause;
}

static void log_first(const struct record *record, const char *event, struct slice code) {
  struct slice error = record->quarantined
                           ? record_header_value(record, RECORD_HEADER_ERROR_MESSAGE)
                           : slice_of("its traceparent is none (W3C Trace Context): the event is published without it");
  log_warn(event, log_slice("code", code), log_string("origin", record->origin), log_slice("id", record->id),
           log_lsn("lsn", record->commit_lsn), log_slice("error", error));
}

void row_log_note(struct row_log *log, const struct record *record, int64_t now_ms) {
  if (!row_log_wants(record))
    return;
  const char *event = record->quarantined ? QUARANTINED : DROPPED;
  struct slice code =
      record->quarantined ? record_header_value(record, RECORD_HEADER_ERROR_CODE) : slice_of("traceparent_invalid");
  bool fresh;
  struct cause *cause = find_cause(log, event, code, record->origin, &fresh);
  if (fresh) {
    log_first(record, event, code);
    cause->logged_ms = now_ms;
  } else {
    cause->unlogged++;
    row_log_flush(log, now_ms, false);
  }
}
