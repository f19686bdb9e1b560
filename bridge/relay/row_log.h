/* What is wrong with rows, logged: the first of each cause (code and origin) at once, later ones as a count, at most
 * once a minute. Not the rows themselves: of those only id and LSN are named. */
#ifndef WALFERRY_RELAY_ROW_LOG_H
#define WALFERRY_RELAY_ROW_LOG_H

#include "bridge/event/record.h"

struct row_log;
struct row_log *row_log_new(void);
void row_log_free(struct row_log *log); /* logs the counts that are left; accepts NULL */

/* There would be something to say of it. */
static inline bool row_log_wants(const struct record *record) {
  return record->quarantined || record->trace_dropped;
}
/* A record that was published: a quarantined one is logged as "relay.quarantined", one that lost its traceparent as
 * "relay.traceparent_dropped"; others are not. now_ms: monotonic. */
void row_log_note(struct row_log *log, const struct record *record, int64_t now_ms);
/* Logs the counts whose minute is over; force: all. */
void row_log_flush(struct row_log *log, int64_t now_ms, bool force);

#endif
