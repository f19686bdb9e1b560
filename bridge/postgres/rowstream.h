/* A session for what takes long and what is large: statements that are waited for in steps, and results that come a row
 * at a time, so that no more than one is in memory. Values are in the text form that the output plugins send. */
#ifndef WALFERRY_POSTGRES_ROWSTREAM_H
#define WALFERRY_POSTGRES_ROWSTREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "bridge/base/error.h"
#include "bridge/base/slice.h"

struct rowstream;

/* Is asked several times a second while the server is waited for; false, with err, gives up. */
struct rowstream_wait {
  bool (*go_on)(void *ctx, struct error *err);
  void *ctx;
};

/* As connection_open, but without a limit to how long a statement may take, and for writing also where the database's
 * default is read-only. Row level security is an error here where it would leave rows out. */
struct rowstream *rowstream_open(const char *conninfo, const char *name, struct rowstream_wait wait, struct error *err);
void rowstream_close(struct rowstream *rs); /* accepts NULL; cancels what is under way */

/* One statement. *rows (may be NULL): how many it wrote or returned, 0 where it tells none. Errors as of
 * connection_query, and wait's. What a query before it has left unread is given up. */
bool rowstream_run(struct rowstream *rs, const char *sql, int64_t *rows, struct error *err);

/* Begins to read the rows of a query. */
bool rowstream_query(struct rowstream *rs, const char *sql, struct error *err);
/* The next row: *values has a text for each column, absent for NULL, borrowed until rowstream_forget or the next call.
 * *columns is 0, and the query done, behind the last. */
bool rowstream_next(struct rowstream *rs, const struct slice **values, int *columns, struct error *err);
void rowstream_forget(struct rowstream *rs);
/* Of the last failure; "" after success. */
const char *rowstream_sqlstate(const struct rowstream *rs);

#endif
