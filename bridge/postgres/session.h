/* What the ordinary and the replication connection share: connecting, running a statement within a time limit, and
 * turning libpq's failures into errors. Internal to bridge/postgres. */
#ifndef WALFERRY_POSTGRES_SESSION_H
#define WALFERRY_POSTGRES_SESSION_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "bridge/base/error.h"
#include "bridge/postgres/pipeline.h"

enum session_kind { SESSION_SQL = 1, SESSION_REPLICATION };

/* The output plugins send values as text in the session's style; an empty search_path as Postgres' own subscriber has
 * it, so that regclass and the like come qualified. A session that reads rows by SQL sets the same. */
extern const char session_text_style[];

/* As an SQL query: no time limit of the server's or the database's ends the session or a statement of it. */
extern const char session_unlimited[];

/* A connected, non-blocking PGconn in UTF-8. Unless the conninfo has its own: connect_timeout 10 s, TCP keepalives,
 * tcp_user_timeout 30 s, application_name "walferry/<name>". These defaults win over a service file, which libpq reads
 * too late for us to see. ERROR_CONFIG for an unusable conninfo and for refused credentials, rights, role or database;
 * else ERROR_RETRY. No message holds any part of the conninfo's values but host, user and database. */
PGconn *session_open(const char *conninfo, const char *name, enum session_kind kind, struct error *err);

/* Runs `sql` and returns the first failed or else the last result, whatever its status; NULL (ERROR_RETRY) when no
 * answer came within timeout_ms, after which the connection is broken. With param_count < 0 by the simple protocol,
 * which replication commands and scripts need. A COPY state is returned as it is entered. */
PGresult *session_exec(PGconn *conn, const char *sql, int param_count, const char *const *params, int64_t timeout_ms,
                       struct error *err);

/* "08006" for a connection that broke without a word from the server, "" for success. */
const char *session_sqlstate(const PGconn *conn, const PGresult *result);

/* What the server said of a failed result (NULL: of a broken connection); borrowed from it. */
void session_failure(const PGconn *conn, const PGresult *result, struct pipeline_failure *failure);

/* Fills err from a failed result (NULL: from the connection). The text is the server's message and hint; its detail
 * only where it cannot hold row data; never the statement. Busy or vanishing server: ERROR_RETRY; 42501: ERROR_CONFIG;
 * else ERROR_FATAL. Returns false. */
bool session_fail(const PGconn *conn, const PGresult *result, struct error *err);

/* Cuts the connection so that its next use fails at once; session_exec does this when time runs out. */
void session_break(PGconn *conn);

/* Sends what is unsent, and waits for an answer: true once PQgetResult will not block, as one is there or the
 * connection is broken; false at the deadline (clock_monotonic_ms). */
bool session_wait(PGconn *conn, int64_t deadline_ms);

/* Waits for the socket; returns poll's revents, 0 at the deadline (clock_monotonic_ms). */
short session_poll(const PGconn *conn, short events, int64_t deadline_ms);

#endif
