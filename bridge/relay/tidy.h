/* After publishing: rows whose events are committed in Kafka are marked or deleted, in batches, on a thread and a
 * connection of its own. It is told of rows by the relay's thread, which is never ahead of the position; and it tells
 * how far it has got, which is what may be acknowledged: what it has not done when it ends comes again. */
#ifndef WALFERRY_RELAY_TIDY_H
#define WALFERRY_RELAY_TIDY_H

#include "bridge/base/stop.h"
#include "bridge/event/event.h"
#include "bridge/postgres/connection.h"
#include "bridge/relay/progress.h"

struct tidy;

bool tidy_wanted(const struct table_spec *tables, int count);

/* The connection is the tidy's from now on, also on failure; all else is borrowed. done is told each end (> 0) up to
 * which every row is tidied, rising, by one thread at a time. NULL with err: ERROR_REFUSED as tidy_tables_check. */
struct tidy *tidy_start(const struct table_spec *tables, int count, struct connection *conn, struct progress *progress,
                        void (*done)(void *ctx, lsn_t end), void *ctx, struct error *err);
/* Cuts a statement that is under way; what is not done is dropped. Accepts NULL. */
void tidy_stop(struct tidy *tidy);

/* Relay thread. A row of one of the tables; the id is copied. */
void tidy_row(struct tidy *tidy, const struct table_spec *table, struct slice id);
/* Relay thread. The rows told since the last time are all of the position committed in Kafka, whose end this is; 0
 * where the position ends within a transaction. */
void tidy_committed(struct tidy *tidy, lsn_t end);
/* Relay thread, before more is published. *room: there is some for the rows of a batch, within timeout_ms; that there
 * is none is for whoever watches. ERROR_RETRY once its connection is lost. */
bool tidy_room(struct tidy *tidy, int64_t timeout_ms, bool *room, struct error *err);
/* The same for: all rows told of are done. */
bool tidy_settled(struct tidy *tidy, int64_t timeout_ms, bool *settled, struct error *err);
/* Waits until all is done, or cannot be, or the stop says now. */
void tidy_finish(struct tidy *tidy, const struct stop *stop);

#endif
