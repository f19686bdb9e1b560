/* See pipeline.h. */
#include "bridge/postgres/pipeline.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "bridge/base/clock.h"
#include "bridge/base/memory.h"
#include "bridge/postgres/session.h"

#define SETUP_TIMEOUT_MS 30000

struct pipeline {
  PGconn *pg;
  PGresult *result; /* of the last answer */
};

struct pipeline *pipeline_open(const char *conninfo, const char *name, const char *setup, struct error *err) {
  PGconn *pg = session_open(conninfo, name, SESSION_SQL, err);
  if (pg == NULL)
    return NULL;
  PGresult *result = session_exec(pg, setup, -1, NULL, SETUP_TIMEOUT_MS, err);
  bool ok = result != NULL && (PQresultStatus(result) == PGRES_COMMAND_OK || session_fail(pg, result, err));
  PQclear(result);
  if (ok && PQenterPipelineMode(pg) != 1)
    ok = session_fail(pg, NULL, err);
  if (!ok) {
    PQfinish(pg);
    return NULL;
  }
  struct pipeline *p = memory_alloc(sizeof *p);
  p->pg = pg;
  return p;
}

void pipeline_close(struct pipeline *p) {
  if (p == NULL)
    return;
  PQclear(p->result);
  PQfinish(p->pg);
  free(p);
}

enum { FORMAT_TEXT, FORMAT_BINARY };

static void add(struct pipeline_values *values, const char *data, size_t len, int format) {
  int i = values->count++;
  values->data[i] = data;
  values->lengths[i] = (int)len;
  values->formats[i] = format;
}

void pipeline_value(struct pipeline_values *values, struct slice bytes) {
  add(values, bytes.data, bytes.len, FORMAT_BINARY);
}

void pipeline_text(struct pipeline_values *values, const char *text) {
  add(values, text, 0, FORMAT_TEXT);
}

void pipeline_number(struct pipeline_values *values, int64_t number) {
  char *text = values->numbers[values->count];
  snprintf(text, sizeof values->numbers[0], "%" PRId64, number);
  pipeline_text(values, text);
}

void pipeline_bool(struct pipeline_values *values, bool value) {
  pipeline_text(values, value ? "true" : "false");
}

/* Of a call that libpq refused. */
static bool sent(struct pipeline *p, int ok, struct error *err) {
  if (ok == 1)
    return true;
  session_fail(p->pg, NULL, err);
  err->kind = ERROR_RETRY;
  return false;
}

bool pipeline_prepare(struct pipeline *p, const char *name, const char *sql, struct error *err) {
  return sent(p, PQsendPrepare(p->pg, name, sql, 0, NULL), err);
}

bool pipeline_execute(struct pipeline *p, const char *name, const struct pipeline_values *values, struct error *err) {
  return sent(
      p, PQsendQueryPrepared(p->pg, name, values->count, values->data, values->lengths, values->formats, FORMAT_TEXT),
      err);
}

bool pipeline_send(struct pipeline *p, const char *sql, struct error *err) {
  return sent(p, PQsendQueryParams(p->pg, sql, 0, NULL, NULL, NULL, NULL, FORMAT_TEXT), err);
}

bool pipeline_sync(struct pipeline *p, struct error *err) {
  return sent(p, PQpipelineSync(p->pg), err);
}

bool pipeline_answered(struct pipeline *p, int timeout_ms) {
  return session_wait(p->pg, clock_monotonic_ms() + timeout_ms);
}

/* The server ends the connection with such an error. */
static bool ends_connection(const PGresult *result) {
  const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
  return severity == NULL || slice_is(slice_of(severity), "FATAL") || slice_is(slice_of(severity), "PANIC");
}

static bool broken(struct pipeline *p, struct error *err) {
  session_fail(p->pg, p->result, err);
  err->kind = ERROR_RETRY;
  pipeline_break(p);
  return false;
}

bool pipeline_alive(struct pipeline *p, struct error *err) {
  PQclear(p->result);
  p->result = NULL;
  while (PQstatus(p->pg) == CONNECTION_OK && session_poll(p->pg, POLLIN, clock_monotonic_ms() + 1) != 0)
    if (PQconsumeInput(p->pg))
      PQisBusy(p->pg); /* takes notices */
    else
      break;
  return PQstatus(p->pg) == CONNECTION_OK || broken(p, err);
}

bool pipeline_next(struct pipeline *p, int64_t deadline_ms, enum pipeline_answer *answer, struct error *err) {
  PQclear(p->result);
  p->result = NULL;
  for (;;) { /* behind each answer but a sync's comes a NULL */
    if (!session_wait(p->pg, deadline_ms)) {
      pipeline_break(p);
      return error_set(err, ERROR_RETRY, "Postgres did not answer in time");
    }
    p->result = PQgetResult(p->pg);
    if (p->result != NULL)
      break;
    if (PQstatus(p->pg) != CONNECTION_OK)
      return broken(p, err);
  }
  switch (PQresultStatus(p->result)) {
  case PGRES_PIPELINE_SYNC:
    *answer = PIPELINE_SYNCED;
    return true;
  case PGRES_PIPELINE_ABORTED:
    *answer = PIPELINE_PASSED;
    return true;
  case PGRES_COMMAND_OK:
  case PGRES_TUPLES_OK:
  case PGRES_EMPTY_QUERY:
    *answer = PIPELINE_DONE;
    return true;
  case PGRES_FATAL_ERROR:
    *answer = PIPELINE_FAILED;
    return !ends_connection(p->result) || broken(p, err);
  case PGRES_COPY_OUT:
  case PGRES_COPY_IN:
  case PGRES_BAD_RESPONSE:
  case PGRES_NONFATAL_ERROR:
  case PGRES_COPY_BOTH:
  case PGRES_SINGLE_TUPLE:
    break;
  }
  return broken(p, err);
}

int pipeline_rows(const struct pipeline *p) {
  return PQntuples(p->result);
}

const char *pipeline_field(const struct pipeline *p, int row, int column) {
  return PQgetisnull(p->result, row, column) ? NULL : PQgetvalue(p->result, row, column);
}

void pipeline_failure(const struct pipeline *p, struct pipeline_failure *failure) {
  session_failure(p->pg, p->result, failure);
}

bool pipeline_fail(const struct pipeline *p, struct error *err) {
  return session_fail(p->pg, p->result, err);
}

void pipeline_cancel(struct pipeline *p) {
  PGcancel *cancel = PQgetCancel(p->pg);
  char ignored[256];
  if (cancel != NULL)
    PQcancel(cancel, ignored, sizeof ignored);
  PQfreeCancel(cancel);
}

void pipeline_break(struct pipeline *p) {
  session_break(p->pg);
}
