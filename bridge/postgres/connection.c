/* See connection.h. */
#include "bridge/postgres/connection.h"

#include <stdlib.h>
#include <string.h>

#include "bridge/base/memory.h"
#include "bridge/base/slice.h"
#include "bridge/postgres/session.h"

enum { STATEMENT_TIMEOUT_MS = 30000, ANSWER_MARGIN_MS = 10000 };

struct connection {
  PGconn *pg;
  int64_t answer_timeout_ms; /* longer than the server's own statement_timeout, for a server that hangs */
  char sqlstate[6];
  PGresult *failed; /* NULL: the last statement did not fail, or the server said nothing */
};

struct rows {
  PGresult *result;
};

struct connection *connection_open(const char *conninfo, const char *name, struct error *err) {
  PGconn *pg = session_open(conninfo, name, SESSION_SQL, err);
  if (pg == NULL)
    return NULL;
  struct connection *conn = memory_alloc(sizeof *conn);
  conn->pg = pg;
  conn->answer_timeout_ms = STATEMENT_TIMEOUT_MS;
  if (!connection_run(conn, session_unlimited, err) || !connection_set_timeout(conn, STATEMENT_TIMEOUT_MS, err)) {
    connection_close(conn);
    return NULL;
  }
  return conn;
}

void connection_close(struct connection *conn) {
  if (conn == NULL)
    return;
  PQclear(conn->failed);
  PQfinish(conn->pg);
  free(conn);
}

static void keep_sqlstate(struct connection *conn, const char *state) {
  size_t len = strnlen(state, sizeof conn->sqlstate - 1);
  memcpy(conn->sqlstate, state, len);
  conn->sqlstate[len] = '\0';
}

/* NULL on failure; err is then filled. */
static PGresult *run(struct connection *conn, const char *sql, int param_count, const char *const *params,
                     struct error *err) {
  PQclear(conn->failed);
  conn->failed = NULL;
  PGresult *result = session_exec(conn->pg, sql, param_count, params, conn->answer_timeout_ms, err);
  if (result == NULL) {
    keep_sqlstate(conn, "08006");
    return NULL;
  }
  ExecStatusType status = PQresultStatus(result);
  if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY) {
    keep_sqlstate(conn, "");
    return result;
  }
  if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT) {
    session_break(conn->pg);
    keep_sqlstate(conn, "0A000"); /* feature_not_supported */
    error_set(err, ERROR_FATAL, "COPY is not possible here");
    PQclear(result);
    return NULL;
  }
  keep_sqlstate(conn, session_sqlstate(conn->pg, result));
  session_fail(conn->pg, result, err);
  conn->failed = result;
  return NULL;
}

struct rows *connection_query(struct connection *conn, const char *sql, int param_count, const char *const *params,
                              struct error *err) {
  PGresult *result = run(conn, sql, param_count, params, err);
  if (result == NULL)
    return NULL;
  struct rows *rows = memory_alloc(sizeof *rows);
  rows->result = result;
  return rows;
}

bool connection_run(struct connection *conn, const char *sql, struct error *err) {
  PGresult *result = run(conn, sql, -1, NULL, err);
  PQclear(result);
  return result != NULL;
}

bool connection_set_timeout(struct connection *conn, int timeout_ms, struct error *err) {
  conn->answer_timeout_ms = timeout_ms > 0 ? (int64_t)timeout_ms + ANSWER_MARGIN_MS : INT32_MAX;
  char *sql = memory_format("SET statement_timeout = %d", timeout_ms);
  bool ok = connection_run(conn, sql, err);
  free(sql);
  return ok;
}

const char *connection_sqlstate(const struct connection *conn) {
  return conn->sqlstate;
}

void connection_failure(const struct connection *conn, struct pipeline_failure *failure) {
  session_failure(conn->pg, conn->failed, failure);
}

int connection_socket(const struct connection *conn) {
  return PQsocket(conn->pg);
}

int rows_count(const struct rows *rows) {
  return PQntuples(rows->result);
}

const char *rows_text(const struct rows *rows, int row, int column) {
  return PQgetisnull(rows->result, row, column) ? NULL : PQgetvalue(rows->result, row, column);
}

bool rows_bool(const struct rows *rows, int row, int column) {
  return slice_is(slice_of(rows_text(rows, row, column)), "t");
}

void rows_free(struct rows *rows) {
  if (rows == NULL)
    return;
  PQclear(rows->result);
  free(rows);
}
