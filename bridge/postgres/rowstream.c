/* See rowstream.h. */
#include "bridge/postgres/rowstream.h"

#include <stdlib.h>
#include <string.h>

#include "bridge/base/clock.h"
#include "bridge/base/memory.h"
#include "bridge/base/number.h"
#include "bridge/postgres/session.h"

#define SETUP_TIMEOUT_MS 30000
#define WAIT_SLICE_MS 100

struct rowstream {
  PGconn *pg;
  struct rowstream_wait wait;
  PGresult *result;     /* of the last row */
  struct slice *values; /* of it */
  int capacity;
  bool under_way; /* a statement was sent, and its end not seen */
  char sqlstate[6];
};

static bool prepare_session(PGconn *pg, struct error *err) {
  char *sql = memory_format("%s; %s; SET row_security = off; SET default_transaction_read_only = off",
                            session_unlimited, session_text_style);
  PGresult *result = session_exec(pg, sql, -1, NULL, SETUP_TIMEOUT_MS, err);
  bool ok = result != NULL && (PQresultStatus(result) == PGRES_COMMAND_OK || session_fail(pg, result, err));
  PQclear(result);
  free(sql);
  return ok;
}

struct rowstream *rowstream_open(const char *conninfo, const char *name, struct rowstream_wait wait,
                                 struct error *err) {
  PGconn *pg = session_open(conninfo, name, SESSION_SQL, err);
  if (pg == NULL)
    return NULL;
  if (!prepare_session(pg, err)) {
    PQfinish(pg);
    return NULL;
  }
  struct rowstream *rs = memory_alloc(sizeof *rs);
  rs->pg = pg;
  rs->wait = wait;
  return rs;
}

void rowstream_forget(struct rowstream *rs) {
  PQclear(rs->result);
  rs->result = NULL;
}

/* A server that was left alone with a statement would go on with it. */
static void cancel(struct rowstream *rs) {
  PGcancel *request = PQgetCancel(rs->pg);
  char ignored[256];
  if (request != NULL)
    PQcancel(request, ignored, sizeof ignored);
  PQfreeCancel(request);
}

void rowstream_close(struct rowstream *rs) {
  if (rs == NULL)
    return;
  if (rs->under_way && PQstatus(rs->pg) == CONNECTION_OK)
    cancel(rs);
  rowstream_forget(rs);
  PQfinish(rs->pg);
  free(rs->values);
  free(rs);
}

static bool fail(struct rowstream *rs, const PGresult *result, struct error *err) {
  const char *state = session_sqlstate(rs->pg, result);
  size_t len = strnlen(state, sizeof rs->sqlstate - 1);
  memcpy(rs->sqlstate, state, len);
  rs->sqlstate[len] = '\0';
  return session_fail(rs->pg, result, err);
}

/* Until PQgetResult has something to say; no limit but the wait's. */
static bool await(struct rowstream *rs, struct error *err) {
  while (!session_wait(rs->pg, clock_monotonic_ms() + WAIT_SLICE_MS))
    if (!rs->wait.go_on(rs->wait.ctx, err))
      return false;
  return true;
}

/* The next result; NULL at the statement's end. False where it was given up. */
static bool next_result(struct rowstream *rs, PGresult **result, struct error *err) {
  if (!await(rs, err))
    return false;
  *result = PQgetResult(rs->pg);
  rs->under_way = *result != NULL;
  return true;
}

static bool finish(struct rowstream *rs, struct error *err) {
  PGresult *rest;
  while (rs->under_way) {
    if (!next_result(rs, &rest, err))
      return false;
    PQclear(rest);
  }
  return true;
}

/* What a query before has left unread is read to the end. */
static bool send_statement(struct rowstream *rs, const char *sql, struct error *err) {
  rowstream_forget(rs);
  if (!finish(rs, err))
    return false;
  rs->sqlstate[0] = '\0';
  if (PQsendQueryParams(rs->pg, sql, 0, NULL, NULL, NULL, NULL, 0) != 1)
    return fail(rs, NULL, err);
  rs->under_way = true;
  return true;
}

bool rowstream_run(struct rowstream *rs, const char *sql, int64_t *rows, struct error *err) {
  if (!send_statement(rs, sql, err))
    return false;
  PGresult *result;
  bool ok = true;
  if (rows != NULL)
    *rows = 0;
  for (;;) {
    if (!next_result(rs, &result, err))
      return false;
    if (result == NULL)
      return ok;
    ExecStatusType status = PQresultStatus(result);
    if (ok && status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
      ok = fail(rs, result, err);
    int64_t told;
    if (rows != NULL && number_parse(slice_of(PQcmdTuples(result)), 0, INT64_MAX, &told))
      *rows = told;
    PQclear(result);
  }
}

bool rowstream_query(struct rowstream *rs, const char *sql, struct error *err) {
  return send_statement(rs, sql, err) && (PQsetSingleRowMode(rs->pg) == 1 || fail(rs, NULL, err));
}

static void take_values(struct rowstream *rs, int columns) {
  if (columns > rs->capacity) {
    rs->values = memory_resize(rs->values, (size_t)columns * sizeof *rs->values);
    rs->capacity = columns;
  }
  for (int i = 0; i < columns; i++)
    rs->values[i] = PQgetisnull(rs->result, 0, i)
                        ? SLICE_ABSENT
                        : slice_from(PQgetvalue(rs->result, 0, i), (size_t)PQgetlength(rs->result, 0, i));
}

bool rowstream_next(struct rowstream *rs, const struct slice **values, int *columns, struct error *err) {
  rowstream_forget(rs);
  *columns = 0;
  while (rs->under_way) {
    if (!next_result(rs, &rs->result, err))
      return false;
    if (rs->result == NULL)
      break;
    switch (PQresultStatus(rs->result)) {
    case PGRES_SINGLE_TUPLE:
      *columns = PQnfields(rs->result);
      take_values(rs, *columns);
      *values = rs->values;
      return true;
    case PGRES_TUPLES_OK: /* the end, without a row */
      break;
    case PGRES_COMMAND_OK:
    case PGRES_EMPTY_QUERY:
    case PGRES_COPY_OUT:
    case PGRES_COPY_IN:
    case PGRES_BAD_RESPONSE:
    case PGRES_NONFATAL_ERROR:
    case PGRES_FATAL_ERROR:
    case PGRES_COPY_BOTH:
    case PGRES_PIPELINE_SYNC:
    case PGRES_PIPELINE_ABORTED:
      return fail(rs, rs->result, err);
    }
    rowstream_forget(rs);
  }
  return true;
}

const char *rowstream_sqlstate(const struct rowstream *rs) {
  return rs->sqlstate;
}
