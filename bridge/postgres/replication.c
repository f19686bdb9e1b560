/* See replication.h. */
#include "bridge/postgres/replication.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/clock.h"
#include "bridge/base/memory.h"
#include "bridge/base/number.h"
#include "bridge/postgres/plugin.h"
#include "bridge/postgres/quote.h"
#include "bridge/postgres/session.h"
#include "bridge/postgres/timeline.h"

/* Creating a slot waits for running transactions to end; giving up drops the half-made slot. */
enum {
  COMMAND_TIMEOUT_MS = 30000,
  CREATE_TIMEOUT_MS = 60000,
  SEND_TIMEOUT_MS = 10000,
  ALTER_TIMEOUT_MS = 5000,
  COMMAND_MAX = 16384
};

struct replication {
  PGconn *pg;
  char *copy; /* libpq's buffer behind the last frame */
  char *slot; /* the one that is streamed from */
  int64_t sender_timeout_ms;
};

static PGresult *command(struct replication *rep, const char *sql, ExecStatusType expected, int64_t timeout_ms,
                         struct error *err) {
  PGresult *result = session_exec(rep->pg, sql, -1, NULL, timeout_ms, err);
  if (result == NULL || PQresultStatus(result) == expected)
    return result;
  session_fail(rep->pg, result, err);
  PQclear(result);
  return NULL;
}

static struct slice cell(const PGresult *result, int row, int column) {
  if (row >= PQntuples(result) || column >= PQnfields(result) || PQgetisnull(result, row, column))
    return SLICE_ABSENT;
  return slice_from(PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column));
}

static bool prepare_session(struct replication *rep, struct error *err) {
  char *sql = memory_format("%s; %s", session_unlimited, session_text_style);
  PGresult *result = command(rep, sql, PGRES_COMMAND_OK, COMMAND_TIMEOUT_MS, err);
  free(sql);
  if (result == NULL)
    return error_wrap(err, "preparing the replication connection");
  PQclear(result);
  /* SHOW would answer in a unit of its choice ("1min"); this is always milliseconds. */
  result = command(rep, "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'", PGRES_TUPLES_OK,
                   COMMAND_TIMEOUT_MS, err);
  if (result == NULL)
    return error_wrap(err, "reading wal_sender_timeout");
  bool ok = number_parse(cell(result, 0, 0), 0, INT32_MAX, &rep->sender_timeout_ms);
  PQclear(result);
  return ok || error_set(err, ERROR_FATAL, "the server's wal_sender_timeout is not a number");
}

struct replication *replication_open(const char *conninfo, const char *name, struct error *err) {
  PGconn *pg = session_open(conninfo, name, SESSION_REPLICATION, err);
  if (pg == NULL)
    return NULL;
  struct replication *rep = memory_alloc(sizeof *rep);
  rep->pg = pg;
  if (!prepare_session(rep, err)) {
    replication_close(rep);
    return NULL;
  }
  return rep;
}

void replication_close(struct replication *rep) {
  if (rep == NULL)
    return;
  PQfreemem(rep->copy);
  free(rep->slot);
  PQfinish(rep->pg);
  free(rep);
}

int replication_backend_pid(const struct replication *rep) {
  return PQbackendPID(rep->pg);
}

int replication_socket(const struct replication *rep) {
  return PQsocket(rep->pg);
}

int64_t replication_sender_timeout_ms(const struct replication *rep) {
  return rep->sender_timeout_ms;
}

/* systemid text, timeline int, xlogpos text, dbname text */
bool replication_identify(struct replication *rep, struct replication_identity *identity, struct error *err) {
  PGresult *result = command(rep, "IDENTIFY_SYSTEM", PGRES_TUPLES_OK, COMMAND_TIMEOUT_MS, err);
  if (result == NULL)
    return error_wrap(err, "IDENTIFY_SYSTEM");
  uint64_t system_id, timeline;
  lsn_t flush_lsn;
  bool ok = number_parse_u64(cell(result, 0, 0), UINT64_MAX, &system_id) &&
            number_parse_u64(cell(result, 0, 1), UINT32_MAX, &timeline) && lsn_parse(cell(result, 0, 2), &flush_lsn);
  if (ok) {
    *identity = (struct replication_identity){.timeline = (uint32_t)timeline, .flush_lsn = flush_lsn};
    snprintf(identity->system_id, sizeof identity->system_id, "%" PRIu64, system_id);
  }
  PQclear(result);
  return ok || error_set(err, ERROR_FATAL, "the server's answer to IDENTIFY_SYSTEM makes no sense");
}

bool replication_timeline_end(struct replication *rep, uint32_t current, uint32_t timeline, bool *found, lsn_t *end,
                              struct error *err) {
  if (timeline >= current || current <= 1) { /* the first timeline has no history file */
    *found = timeline == current;
    if (*found)
      *end = UINT64_MAX;
    return true;
  }
  char sql[48];
  snprintf(sql, sizeof sql, "TIMELINE_HISTORY %u", (unsigned)current);
  PGresult *result = command(rep, sql, PGRES_TUPLES_OK, COMMAND_TIMEOUT_MS, err);
  if (result == NULL)
    return error_wrap(err, "%s", sql);
  struct slice text = cell(result, 0, 1); /* filename text, content bytea but sent raw */
  bool ok = slice_present(text) ? timeline_history_find(text, timeline, found, end, err)
                                : error_set(err, ERROR_FATAL, "the server sent no timeline history");
  PQclear(result);
  return ok;
}

static bool mentions(const PGresult *result, const char *words) {
  static const int fields[] = {PG_DIAG_MESSAGE_PRIMARY, PG_DIAG_MESSAGE_DETAIL, PG_DIAG_MESSAGE_HINT};
  for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
    const char *text = PQresultErrorField(result, fields[i]);
    if (text != NULL && strstr(text, words) != NULL)
      return true;
  }
  return false;
}

/* Gives an error that session_fail has filled another kind, keeping its text. */
static bool reclassify(struct error *err, enum error_kind kind, const char *code) {
  if (err != NULL) {
    err->kind = kind;
    err->code = code;
  }
  return false;
}

static bool refuse_slot_invalidated(const char *slot, struct error *err) {
  reclassify(err, ERROR_REFUSED, "slot_invalidated");
  return error_remedy(
      err,
      "the WAL that this slot needs is gone, so events behind the stored position can no longer be "
      "streamed. Drop it: SELECT pg_drop_replication_slot('%s'). Then `walferry init CONFIG` makes it "
      "anew of a held-back one (postgres.replay), and nothing is lost. Without one: find them in the "
      "outbox, then `walferry position CONFIG set new --confirm NAME` and `walferry init CONFIG`; with a "
      "snapshot half published: `walferry drop CONFIG --confirm NAME`, `walferry init CONFIG --snapshot` and "
      "`walferry relay CONFIG --snapshot`",
      slot);
}

/* Failures that creating a slot and starting to stream have in common: the plugin, and the server's set-up. */
static bool fail_plugin(const struct replication *rep, const PGresult *result, struct error *err) {
  const char *state = session_sqlstate(rep->pg, result);
  session_fail(rep->pg, result, err);
  if (plugin_is_refused(state, err))
    return false;
  if (strcmp(state, "42501") == 0) {
    reclassify(err, ERROR_CONFIG, NULL);
    return error_remedy(err, "as a superuser: ALTER ROLE \"%s\" REPLICATION", PQuser(rep->pg));
  }
  /* a standby of 15, or one about to be promoted; 0A000 is also an option the plugin does not know */
  if (strcmp(state, "0A000") == 0 && mentions(result, "recovery"))
    return reclassify(err, ERROR_RETRY, NULL);
  if (strcmp(state, "55000") == 0 && mentions(result, "wal_level")) {
    reclassify(err, ERROR_CONFIG, NULL);
    return error_remedy(err, "set wal_level = logical in postgresql.conf and restart the server");
  }
  return false;
}

static bool fail_create_slot(const struct replication *rep, const PGresult *result, struct error *err) {
  const char *state = session_sqlstate(rep->pg, result);
  fail_plugin(rep, result, err);
  if (strcmp(state, "53400") == 0) {
    reclassify(err, ERROR_CONFIG, NULL);
    error_remedy(err, "raise max_replication_slots on the server, or drop a slot that nobody uses");
  } else if (strcmp(state, "42602") == 0 || strcmp(state, "42622") == 0) {
    reclassify(err, ERROR_CONFIG, NULL);
    error_remedy(err, "a slot's name has at most 63 lower-case letters, digits and underscores");
  }
  return false;
}

bool replication_create_slot(struct replication *rep, const char *slot, const char *plugin, bool failover, bool *exists,
                             lsn_t *consistent_point, struct replication_snapshot *snapshot, struct error *err) {
  struct buffer sql;
  buffer_init(&sql, COMMAND_MAX);
  buffer_append_text(&sql, "CREATE_REPLICATION_SLOT ");
  quote_identifier(&sql, slot);
  buffer_append_text(&sql, " LOGICAL ");
  quote_identifier(&sql, plugin);
  buffer_append_text(&sql, snapshot != NULL ? " (SNAPSHOT 'export'" : " (SNAPSHOT 'nothing'");
  buffer_append_text(&sql, failover ? ", FAILOVER true)" : ")");
  buffer_append_char(&sql, '\0');
  PGresult *result = sql.overflow ? NULL : session_exec(rep->pg, sql.data, -1, NULL, CREATE_TIMEOUT_MS, err);
  if (sql.overflow)
    error_set(err, ERROR_CONFIG, "the slot's or the plugin's name is too long");
  buffer_free(&sql);
  if (result == NULL)
    return error_wrap(err, "creating slot %s (it waits for transactions that were open before)", slot);

  bool ok = true;
  lsn_t point;
  if (PQresultStatus(result) == PGRES_TUPLES_OK) {
    struct slice name = cell(result, 0, 2); /* slot_name, consistent_point, snapshot_name, output_plugin */
    if (lsn_parse(cell(result, 0, 1), &point) && (snapshot == NULL || slice_present(name))) {
      *exists = false;
      *consistent_point = point;
      if (snapshot != NULL)
        snprintf(snapshot->name, sizeof snapshot->name, "%.*s", SLICE_ARG(name));
    } else {
      ok = error_set(err, ERROR_FATAL, "the server's answer to CREATE_REPLICATION_SLOT makes no sense");
    }
  } else if (strcmp(session_sqlstate(rep->pg, result), "42710") == 0) {
    *exists = true;
  } else {
    fail_create_slot(rep, result, err);
    ok = error_wrap(err, "creating slot %s", slot);
  }
  PQclear(result);
  return ok;
}

static bool fail_copy_slot(const struct replication *rep, const PGresult *result, struct error *err) {
  const char *state = session_sqlstate(rep->pg, result);
  fail_create_slot(rep, result, err);
  if (strcmp(state, "42704") == 0) {
    reclassify(err, ERROR_REFUSED, "slot_missing");
    error_remedy(err, "run `walferry init CONFIG`");
  }
  return false;
}

bool replication_copy_slot(struct replication *rep, const char *slot, const char *copy, bool *exists,
                           struct error *err) {
  struct buffer sql;
  buffer_init(&sql, COMMAND_MAX);
  buffer_append_text(&sql, "SELECT pg_catalog.pg_copy_logical_replication_slot(");
  quote_literal(&sql, slot);
  buffer_append_text(&sql, ", ");
  quote_literal(&sql, copy);
  buffer_append_text(&sql, ", true)");
  buffer_append_char(&sql, '\0');
  PGresult *result = session_exec(rep->pg, sql.data, -1, NULL, COMMAND_TIMEOUT_MS, err);
  buffer_free(&sql);
  bool taken = result != NULL && strcmp(session_sqlstate(rep->pg, result), "42710") == 0; /* duplicate_object */
  bool ok = result != NULL && (taken || PQresultStatus(result) == PGRES_TUPLES_OK || fail_copy_slot(rep, result, err));
  PQclear(result);
  if (ok)
    *exists = taken;
  return ok || error_wrap(err, "copying slot %s", slot);
}

bool replication_set_failover(struct replication *rep, const char *slot, struct error *err) {
  struct buffer sql;
  buffer_init(&sql, COMMAND_MAX);
  buffer_append_text(&sql, "ALTER_REPLICATION_SLOT ");
  quote_identifier(&sql, slot);
  buffer_append_text(&sql, " (FAILOVER true)");
  buffer_append_char(&sql, '\0');
  PGresult *result = command(rep, sql.data, PGRES_COMMAND_OK, ALTER_TIMEOUT_MS, err);
  buffer_free(&sql);
  PQclear(result);
  return result != NULL || error_wrap(err, "making %s a failover slot", slot);
}

static bool fail_start(const struct replication *rep, const PGresult *result, const char *slot, struct error *err) {
  const char *state = session_sqlstate(rep->pg, result);
  fail_plugin(rep, result, err);
  if (strcmp(state, "42704") == 0) {
    reclassify(err, ERROR_REFUSED, "slot_missing");
    error_remedy(err,
                 "somebody dropped the slot: events committed since the stored position can no longer be streamed; "
                 "find them in the outbox (`walferry replay CONFIG --source table --from TIME` publishes what is "
                 "there). `walferry init CONFIG` makes it anew of a held-back one (postgres.replay); without "
                 "one: `walferry position CONFIG set new --confirm NAME`, then `walferry init CONFIG`");
  } else if (strcmp(state, "55000") == 0 && (mentions(result, "can no longer") || mentions(result, "invalidated") ||
                                             mentions(result, "cannot read from logical replication slot"))) {
    /* 15: "cannot read from logical replication slot", 16 and 17: "can no longer get changes from", 18: "can no longer
     * access"; all 55000, as are the cases below, so only the text tells them apart */
    refuse_slot_invalidated(slot, err);
  } else if (strcmp(state, "55000") == 0 && !mentions(result, "wal_level")) {
    reclassify(err, ERROR_REFUSED, "slot_unusable");
    error_remedy(err, "the slot is physical or belongs to another database: check "
                      "postgres.slot and the dbname in postgres.conninfo");
  }
  return error_wrap(err, "slot %s", slot);
}

bool replication_start(struct replication *rep, const char *slot, lsn_t from, int option_count,
                       const char *const *options, bool *busy, struct error *err) {
  struct buffer sql;
  buffer_init(&sql, COMMAND_MAX);
  buffer_append_text(&sql, "START_REPLICATION SLOT ");
  quote_identifier(&sql, slot);
  buffer_printf(&sql, " LOGICAL %s", lsn_format(from).text);
  for (int i = 0; i < option_count; i++) {
    buffer_append_text(&sql, i == 0 ? " (" : ", ");
    quote_identifier(&sql, options[2 * i]);
    buffer_append_char(&sql, ' ');
    quote_literal(&sql, options[2 * i + 1]);
  }
  buffer_append_text(&sql, option_count > 0 ? ")" : "");
  buffer_append_char(&sql, '\0');
  PGresult *result = sql.overflow ? NULL : session_exec(rep->pg, sql.data, -1, NULL, COMMAND_TIMEOUT_MS, err);
  if (sql.overflow)
    error_set(err, ERROR_CONFIG, "the options of START_REPLICATION are too long");
  buffer_free(&sql);
  if (result == NULL)
    return error_wrap(err, "starting replication from slot %s", slot);

  bool held_elsewhere = strcmp(session_sqlstate(rep->pg, result), "55006") == 0; /* object_in_use */
  bool ok = held_elsewhere || PQresultStatus(result) == PGRES_COPY_BOTH || fail_start(rep, result, slot, err);
  if (ok) {
    *busy = held_elsewhere;
    free(rep->slot);
    rep->slot = memory_string(slot);
  }
  PQclear(result);
  return ok;
}

/* The stream ended with an ErrorResponse, with a CommandComplete (the server shuts down), or without a word. */
static bool fail_stream(struct replication *rep, struct error *err) {
  PGresult *result = PQgetResult(rep->pg); /* does not block: libpq has it already, or the connection is gone */
  ExecStatusType status = result == NULL ? PGRES_FATAL_ERROR : PQresultStatus(result);
  if (status != PGRES_FATAL_ERROR && status != PGRES_BAD_RESPONSE) {
    PQclear(result);
    return error_set(err, ERROR_RETRY, "the server ended the stream; it may be shutting down");
  }
  const char *state = session_sqlstate(rep->pg, result);
  session_fail(rep->pg, result, err);
  if (strcmp(state, "54000") == 0 || strcmp(state, "XX000") == 0) {
    reclassify(err, ERROR_RETRY, "decode_failed");
  } else if (strcmp(state, "42704") == 0) {
    reclassify(err, ERROR_REFUSED, "publication_missing");
    error_remedy(err,
                 "somebody dropped or renamed the publication. Rows committed while it was missing are not sent: find "
                 "them in the outbox (`walferry replay CONFIG --source table --from TIME` publishes what is there). "
                 "Have it there again (`walferry init CONFIG`); the next start says from where "
                 "to go on");
  } else if (strcmp(state, "58P01") == 0) { /* a WAL file that the slot needs is gone */
    refuse_slot_invalidated(rep->slot, err);
    error_wrap(err, "WAL was thrown away, by pg_resetwal or by hand");
  } else if (strcmp(state, "55000") == 0) {
    refuse_slot_invalidated(rep->slot, err);
  } else {
    reclassify(err, ERROR_RETRY, NULL);
  }
  PQclear(result);
  return error_wrap(err, "replication stream");
}

void replication_forget(struct replication *rep) {
  PQfreemem(rep->copy);
  rep->copy = NULL;
}

bool replication_read(struct replication *rep, struct frame *frame, struct error *err) {
  replication_forget(rep);
  int len = PQgetCopyData(rep->pg, &rep->copy, 1);
  /* What has arrived is handed out before the socket is touched. When reading fails, an ErrorResponse may have come
   * with the end of the connection: PQgetResult in fail_stream finds it. */
  if (len == 0) {
    if (!PQconsumeInput(rep->pg))
      return fail_stream(rep, err);
    len = PQgetCopyData(rep->pg, &rep->copy, 1);
  }
  if (len == 0) {
    *frame = (struct frame){.kind = FRAME_NONE};
    return true;
  }
  if (len < 0)
    return fail_stream(rep, err);
  return frame_parse((struct span){.data = rep->copy, .len = (size_t)len}, frame, err);
}

/* Sends what libpq has queued. Reads along while it waits, since the server may itself be waiting for us to read. */
static bool flush_out(struct replication *rep, int64_t deadline_ms, struct error *err) {
  for (;;) {
    int unsent = PQflush(rep->pg);
    if (unsent == 0)
      return true;
    if (unsent < 0)
      return session_fail(rep->pg, NULL, err);
    short ready = session_poll(rep->pg, POLLIN | POLLOUT, deadline_ms);
    if (ready == 0)
      return error_set(err, ERROR_RETRY, "the server took no feedback for %d ms", SEND_TIMEOUT_MS);
    if ((ready & ~POLLOUT) != 0 && !PQconsumeInput(rep->pg))
      return session_fail(rep->pg, NULL, err);
  }
}

bool replication_feedback(struct replication *rep, lsn_t write, lsn_t flush, bool request_reply, struct error *err) {
  char status[FRAME_STATUS_SIZE];
  frame_write_status(status, write, flush, clock_wall_us() - CLOCK_POSTGRES_EPOCH_US, request_reply);
  int64_t deadline_ms = clock_monotonic_ms() + SEND_TIMEOUT_MS;
  int queued;
  while ((queued = PQputCopyData(rep->pg, status, sizeof status)) == 0) /* its buffer is full */
    if (!flush_out(rep, deadline_ms, err))
      return error_wrap(err, "sending feedback");
  /* -1 also when the stream has ended without our having read that: the next read says why */
  if (queued < 0) {
    session_fail(rep->pg, NULL, err);
    reclassify(err, ERROR_RETRY, NULL);
    return error_wrap(err, "sending feedback");
  }
  if (!flush_out(rep, deadline_ms, err)) {
    reclassify(err, ERROR_RETRY, NULL);
    return error_wrap(err, "sending feedback");
  }
  return true;
}
