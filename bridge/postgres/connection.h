/* An ordinary SQL connection, for the questions that the replication connection cannot answer.
 * All of bridge/postgres is used by one thread at a time per handle. */
#ifndef WALFERRY_POSTGRES_CONNECTION_H
#define WALFERRY_POSTGRES_CONNECTION_H

#include <stdbool.h>

#include "bridge/base/error.h"
#include "bridge/postgres/pipeline.h"

struct connection;

/* Connects with connect_timeout 10 s (unless the conninfo has its own), application_name "walferry/<name>", and a
 * statement_timeout of 30 s; no other time limit of the server's or the database's holds for it. A refused password,
 * role, database or certificate is ERROR_CONFIG; anything else ERROR_RETRY. */
struct connection *connection_open(const char *conninfo, const char *name, struct error *err);
void connection_close(struct connection *conn); /* accepts NULL */

/* Replaces the statement_timeout of 30 s; the client waits 10 s longer for the answer of a server that hangs. 0 is
 * without limit. A statement that runs into it is ERROR_RETRY. */
bool connection_set_timeout(struct connection *conn, int timeout_ms, struct error *err);

/* A result, owned by the caller. */
struct rows;
/* Runs one statement with text parameters (param_count of them; NULL is SQL NULL). Errors: a broken connection or a
 * server that is starting or shutting down is ERROR_RETRY; missing rights (42501) ERROR_CONFIG; else ERROR_FATAL. The
 * SQLSTATE of the last failure is kept for connection_sqlstate. */
struct rows *connection_query(struct connection *conn, const char *sql, int param_count, const char *const *params,
                              struct error *err);
/* A script of several statements, results dropped. */
bool connection_run(struct connection *conn, const char *sql, struct error *err);
const char *connection_sqlstate(const struct connection *conn); /* "" after success */
/* All that the server said of the last failure; it may hold row data. Borrowed until the next call. */
void connection_failure(const struct connection *conn, struct pipeline_failure *failure);

int connection_socket(const struct connection *conn);

int rows_count(const struct rows *rows);
/* NULL for SQL NULL. Borrowed until rows_free. */
const char *rows_text(const struct rows *rows, int row, int column);
bool rows_bool(const struct rows *rows, int row, int column); /* 't' is true; NULL false */
void rows_free(struct rows *rows);                            /* accepts NULL */

#endif
