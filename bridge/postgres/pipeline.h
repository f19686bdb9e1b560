/* A session whose statements are sent ahead of their answers (libpq's pipeline mode), for many small statements in one
 * transaction. Statements are prepared once; values travel in binary form where they are bytes or text, so that they
 * need no end mark and are never escaped.
 *
 *   pipeline_send(... BEGIN), pipeline_execute(...) for each, pipeline_send(... COMMIT), pipeline_sync(...);
 *   pipeline_next(...) for each of them, in order, then for the sync
 *
 * What is sent behind a statement that failed, up to the sync, is passed over by the server; a transaction block that
 * was open then waits for its ROLLBACK. */
#ifndef WALFERRY_POSTGRES_PIPELINE_H
#define WALFERRY_POSTGRES_PIPELINE_H

#include <stdbool.h>
#include <stdint.h>

#include "bridge/base/error.h"
#include "bridge/base/slice.h"

struct pipeline;

/* As connection_open; setup: a script of SET statements, run first. ERROR_RETRY or ERROR_CONFIG. */
struct pipeline *pipeline_open(const char *conninfo, const char *name, const char *setup, struct error *err);
void pipeline_close(struct pipeline *p); /* accepts NULL */

#define PIPELINE_VALUES_MAX 16
/* The values of $1, $2, ...; bytes are borrowed until the statement is sent. */
struct pipeline_values {
  int count;
  const char *data[PIPELINE_VALUES_MAX];
  int lengths[PIPELINE_VALUES_MAX];
  int formats[PIPELINE_VALUES_MAX];
  char numbers[PIPELINE_VALUES_MAX][24];
};
void pipeline_value(struct pipeline_values *values, struct slice bytes); /* of a text or bytea; absent: NULL */
void pipeline_number(struct pipeline_values *values, int64_t number);    /* of an integer or bigint */
void pipeline_bool(struct pipeline_values *values, bool value);
void pipeline_text(struct pipeline_values *values, const char *text); /* of any type, in its text form; NULL: NULL */

/* Each is one statement with one answer. They only fail where the connection is broken: ERROR_RETRY. */
bool pipeline_prepare(struct pipeline *p, const char *name, const char *sql, struct error *err);
bool pipeline_execute(struct pipeline *p, const char *name, const struct pipeline_values *values, struct error *err);
bool pipeline_send(struct pipeline *p, const char *sql, struct error *err); /* no values */
/* The end of what belongs together; has an answer too. */
bool pipeline_sync(struct pipeline *p, struct error *err);

enum pipeline_answer {
  PIPELINE_DONE = 1, /* pipeline_rows, pipeline_field */
  PIPELINE_FAILED,   /* pipeline_failure */
  PIPELINE_PASSED,   /* not executed: something before it failed */
  PIPELINE_SYNCED
};
/* The next answer, waited for until deadline_ms (clock_monotonic_ms). false: the connection is broken, or there was no
 * answer in time and it was cut; ERROR_RETRY. */
bool pipeline_next(struct pipeline *p, int64_t deadline_ms, enum pipeline_answer *answer, struct error *err);
/* Between two syncs' answers: whether the connection stands, as far as is known here. false: ERROR_RETRY. */
bool pipeline_alive(struct pipeline *p, struct error *err);
/* Whether an answer is there, or the connection has ended; waits at most timeout_ms. */
bool pipeline_answered(struct pipeline *p, int timeout_ms);

/* Of the last PIPELINE_DONE. */
int pipeline_rows(const struct pipeline *p);
const char *pipeline_field(const struct pipeline *p, int row, int column); /* in text form; NULL for NULL */

/* Of the last PIPELINE_FAILED, or of a broken connection ("08006", or what the server said as it ended it). Borrowed
 * until the next call; NULL where the server said nothing. */
struct pipeline_failure {
  char sqlstate[6];
  const char *message; /* the primary message; never NULL */
  const char *detail, *hint, *context;
};
void pipeline_failure(const struct pipeline *p, struct pipeline_failure *failure);
/* The same as an error for the log: without what may hold row data. Returns false. */
bool pipeline_fail(const struct pipeline *p, struct error *err);

/* Asks the server to cancel what it executes. By a connection of its own; may take as long as that takes. */
void pipeline_cancel(struct pipeline *p);
/* Cuts the connection. */
void pipeline_break(struct pipeline *p);

#endif
