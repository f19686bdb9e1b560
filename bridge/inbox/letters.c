/* See letters.h. */
#include "bridge/inbox/letters.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/backoff.h"
#include "bridge/base/clock.h"
#include "bridge/base/log.h"
#include "bridge/base/memory.h"
#include "bridge/base/number.h"
#include "bridge/inbox/handlers.h"
#include "bridge/inbox/layout.h"
#include "bridge/inbox/letter_work.h"

#define AWAY_MS 60000
#define PROGRESS_MS 5000
#define SLICE_MS 100
#define PAGE "256"
#define HANG_MARGIN_MS 10000

struct run {
  const struct letters_settings *settings;
  const struct stop *stop;
  struct letters_totals *totals;
  struct letter_work *work;
  struct connection *conn; /* NULL: to be opened */
  uint64_t tried;          /* letters */
  uint64_t messages;       /* letters and parked ones */
  int64_t began_ms, told_ms;
};

/* Connections */

/* A process that hangs in a transaction must let go of its locks. */
static bool set_up(struct connection *conn, int timeout_ms, struct error *err) {
  char *sql = memory_format("SET bytea_output = hex; SET idle_in_transaction_session_timeout = %d",
                            timeout_ms + HANG_MARGIN_MS);
  bool ok = connection_set_timeout(conn, timeout_ms, err) && connection_run(conn, sql, err);
  free(sql);
  return ok;
}

struct connection *letters_connect(const struct inbox_settings *inbox, struct error *err) {
  struct connection *conn = connection_open(inbox->conninfo, inbox->name, err);
  if (conn != NULL && set_up(conn, inbox->timeout_ms, err) && layout_check(conn, err))
    return conn;
  connection_close(conn);
  return NULL;
}

static bool stopped(const struct run *run, struct error *err) {
  return atomic_load(&run->stop->requested) && !error_set(err, ERROR_STOPPED, "stopped");
}

/* false: stopped. */
static bool wait_ms(const struct run *run, int64_t ms, struct error *err) {
  for (int64_t end = clock_monotonic_ms() + ms; !stopped(run, err);) {
    int64_t left = end - clock_monotonic_ms();
    if (left <= 0)
      return true;
    clock_sleep_ms(left < SLICE_MS ? left : SLICE_MS);
  }
  return false;
}

/* Waits for a server that is away, but not for ever. */
static bool connect(struct run *run, struct error *err) {
  struct backoff backoff;
  backoff_init(&backoff, SLICE_MS, 5000, (uint64_t)clock_monotonic_us());
  for (int64_t end = clock_monotonic_ms() + AWAY_MS; run->conn == NULL;) {
    run->conn = letters_connect(run->settings->inbox, err);
    if (run->conn == NULL &&
        (err->kind != ERROR_RETRY || clock_monotonic_ms() >= end || !wait_ms(run, backoff_next_ms(&backoff), err)))
      return false;
  }
  return true;
}

/* After something failed: is the connection still of use? */
static void probe(struct run *run) {
  if (run->conn == NULL || connection_run(run->conn, "ROLLBACK", NULL))
    return;
  connection_close(run->conn);
  run->conn = NULL;
}

/* A question outside of any transaction. NULL: err. */
static struct rows *ask(struct run *run, const char *sql, int count, const char *const *params, struct error *err) {
  for (int attempt = 1;; attempt++) {
    if (!connect(run, err))
      return NULL;
    struct rows *rows = connection_query(run->conn, sql, count, params, err);
    if (rows != NULL || err->kind != ERROR_RETRY || attempt >= run->settings->inbox->max_attempts)
      return rows;
    probe(run);
    if (!wait_ms(run, run->settings->inbox->backoff_ms, err))
      return NULL;
  }
}

/* Counting and telling */

static void count_code(struct letters_totals *totals, const char *code) {
  int i = 0;
  const int room = (int)(sizeof totals->failed / sizeof totals->failed[0]);
  while (i < totals->failed_codes && i < room - 1 && strcmp(totals->failed[i].code, code) != 0)
    i++;
  if (i == totals->failed_codes) {
    snprintf(totals->failed[i].code, sizeof totals->failed[i].code, "%s", i == room - 1 ? "others" : code);
    totals->failed_codes++;
  }
  totals->failed[i].count++;
}

static void take_outcome(struct run *run, const struct letter_task *task, enum letters_outcome outcome,
                         const struct letter_trouble *trouble) {
  struct letters_totals *totals = run->totals;
  (task->parked ? totals->parked : totals->letters)[outcome]++;
  if (outcome == LETTERS_FAILED) {
    count_code(totals, trouble->code);
    log_warn("dlq.message_failed", log_string("dead_letter", task->id), log_string("code", trouble->code),
             log_string("sqlstate", trouble->sqlstate), log_bool("was_parked", task->parked));
  }
  bool failed = outcome == LETTERS_FAILED || outcome == LETTERS_BEHIND;
  if (run->settings->note == NULL || (!failed && !run->settings->dry_run))
    return;
  struct letters_note note = {.outcome = outcome,
                              .parked = task->parked,
                              .id = task->id,
                              .topic = task->topic,
                              .partition = task->partition,
                              .offset = task->offset,
                              .type = task->type,
                              .code = outcome == LETTERS_FAILED ? trouble->code : NULL,
                              .message = outcome == LETTERS_FAILED ? trouble->message : NULL,
                              .handler = task->handler,
                              .behind = task->behind[0] == '\0' ? NULL : task->behind};
  run->settings->note(run->settings->note_to, &note);
}

static uint64_t sum_of(const uint64_t counts[LETTERS_OUTCOMES + 1], enum letters_outcome from,
                       enum letters_outcome to) {
  uint64_t sum = 0;
  for (int i = (int)from; i <= (int)to; i++)
    sum += counts[i];
  return sum;
}

static void tell_progress(struct run *run) {
  int64_t now = clock_monotonic_ms();
  if (now - run->told_ms < PROGRESS_MS)
    return;
  run->told_ms = now;
  const struct letters_totals *t = run->totals;
  log_info("dlq.progress", log_int("resolved", (int64_t)sum_of(t->letters, LETTERS_HANDLED, LETTERS_DISCARDED)),
           log_int("failed", (int64_t)t->letters[LETTERS_FAILED]),
           log_int("parked_resolved", (int64_t)sum_of(t->parked, LETTERS_HANDLED, LETTERS_DISCARDED)),
           log_int("parked_failed", (int64_t)t->parked[LETTERS_FAILED]));
}

/* Before each message: whether to go on, and not too fast. */
static bool may_go_on(struct run *run, struct error *err) {
  tell_progress(run);
  int64_t rate = run->settings->max_per_second;
  int64_t due_ms = rate == 0 ? 0 : (int64_t)(run->messages * 1000 / (uint64_t)rate);
  int64_t ahead_ms = due_ms - (clock_monotonic_ms() - run->began_ms);
  run->messages++;
  return wait_ms(run, ahead_ms > 0 ? ahead_ms : 0, err);
}

/* One message, until it is settled or has failed for good */

static enum letter_result attempt(struct run *run, struct letter_task *task, enum letters_outcome *outcome,
                                  struct letter_trouble *trouble, struct error *err) {
  return (task->parked ? letter_work_parked : letter_work_letter)(run->work, run->conn, task, outcome, trouble, err);
}

static bool passes(const struct letter_trouble *trouble) {
  return trouble->failure == FAILURE_TRANSIENT || trouble->failure == FAILURE_NOT_COUNTED;
}

static bool write_failure(struct run *run, struct letter_task *task, const struct letter_trouble *failed,
                          enum letters_outcome *outcome, struct error *err) {
  for (int tries = 1;; tries++) {
    struct letter_trouble trouble;
    probe(run);
    if (!connect(run, err))
      return false;
    if (letter_work_fail(run->work, run->conn, task, failed, outcome, &trouble, err) == LETTER_SETTLED)
      return true;
    if (trouble.failure == FAILURE_POISON || tries >= run->settings->inbox->max_attempts ||
        !wait_ms(run, run->settings->inbox->backoff_ms, err))
      return false;
  }
}

/* false: err, and what became of it is not known. A time-out is not tried again: it took its time already. */
static bool settle(struct run *run, struct letter_task *task, enum letters_outcome *outcome, struct error *err) {
  const struct inbox_settings *inbox = run->settings->inbox;
  struct backoff backoff;
  backoff_init(&backoff, inbox->backoff_ms, inbox->backoff_max_ms, (uint64_t)clock_monotonic_us());
  struct letter_trouble trouble = {.code = NULL};
  for (int tries = 1;; tries++) {
    if (!connect(run, err))
      return false;
    enum letter_result result = attempt(run, task, outcome, &trouble, err);
    if (result == LETTER_SETTLED)
      break;
    bool last = tries >= inbox->max_attempts;
    if (result == LETTER_BROKEN && (last || trouble.failure == FAILURE_POISON))
      return false;
    if (result == LETTER_TROUBLED && (last || !passes(&trouble) || strcmp(trouble.sqlstate, "57014") == 0)) {
      *outcome = LETTERS_FAILED;
      if (!run->settings->dry_run && !write_failure(run, task, &trouble, outcome, err))
        return false;
      break;
    }
    probe(run);
    if (!wait_ms(run, backoff_next_ms(&backoff), err))
      return false;
  }
  if (!task->parked || *outcome != LETTERS_GONE)
    take_outcome(run, task, *outcome, &trouble);
  return true;
}

/* All that is parked behind a key, in order, until one of it fails. */
static bool release_key(struct run *run, const char *topic, const char *key, struct error *err) {
  enum letters_outcome outcome = LETTERS_HANDLED;
  while (outcome != LETTERS_GONE && outcome != LETTERS_FAILED) {
    if (!may_go_on(run, err))
      return false;
    struct letter_task task = {.parked = true, .topic = memory_string(topic), .key = memory_string(key)};
    bool ok = settle(run, &task, &outcome, err);
    letter_task_clear(&task);
    if (!ok)
      return error_wrap(err, "a message that is parked in %s", topic);
  }
  return true;
}

static bool work_on(struct run *run, const char *id, struct error *err) {
  if (!may_go_on(run, err))
    return false;
  struct letter_task task = {.parked = false};
  snprintf(task.id, sizeof task.id, "%s", id);
  enum letters_outcome outcome;
  bool ok = settle(run, &task, &outcome, err) || error_wrap(err, "dead letter %s", id);
  if (ok && task.held && !run->settings->dry_run && outcome >= LETTERS_HANDLED && outcome <= LETTERS_DISCARDED)
    ok = release_key(run, task.topic, task.key, err);
  letter_task_clear(&task);
  return ok;
}

/* Letters that come while it runs, of what was parked among them, are for the next run. */
static bool find_last(struct run *run, char last[24], struct error *err) {
  struct rows *rows = ask(run, "SELECT coalesce(max(id), 0) FROM walferry.inbox_dead_letters", 0, NULL, err);
  if (rows != NULL)
    snprintf(last, 24, "%s", rows_text(rows, 0, 0));
  rows_free(rows);
  return rows != NULL;
}

static bool work_on_all(struct run *run, struct error *err) {
  char last[24], after[24] = "0";
  if (!find_last(run, last, err))
    return false;
  struct letter_filter_params filter;
  letter_filter_params(run->settings->filter, run->settings->inbox->group, &filter);
  const char *params[LETTER_FILTER_PARAMS + 2];
  memcpy(params, filter.values, sizeof filter.values);
  params[LETTER_FILTER_PARAMS] = after;
  params[LETTER_FILTER_PARAMS + 1] = last;
  char *sql = memory_format("SELECT l.id FROM walferry.inbox_dead_letters l WHERE %s\n"
                            "  AND l.id > $8::bigint AND l.id <= $9::bigint ORDER BY l.id LIMIT " PAGE,
                            letter_filter_sql);
  const uint64_t limit = run->settings->limit == 0 ? UINT64_MAX : (uint64_t)run->settings->limit;
  bool ok = true, more = true;
  while (ok && more && run->tried < limit) {
    struct rows *rows = ask(run, sql, LETTER_FILTER_PARAMS + 2, params, err);
    more = rows != NULL && rows_count(rows) > 0;
    ok = rows != NULL;
    for (int i = 0; ok && more && i < rows_count(rows) && run->tried < limit; i++, run->tried++) {
      snprintf(after, sizeof after, "%s", rows_text(rows, i, 0));
      ok = work_on(run, after, err);
    }
    rows_free(rows);
  }
  free(sql);
  letter_filter_params_free(&filter);
  return ok;
}

/* Holds whose letter is resolved: of a run that ended between the letter and what is parked behind it. */
static bool finish_releases(struct run *run, struct error *err) {
  static const char sql[] =
      "SELECT l.id, h.topic, h.key FROM walferry.inbox_holds h JOIN walferry.inbox_dead_letters l ON l.id = "
      "h.dead_letter\n"
      "WHERE h.consumer = $1::text AND l.state <> 'open' AND l.id > $2::bigint ORDER BY l.id LIMIT 1";
  char after[24] = "0";
  for (;;) {
    struct rows *rows = ask(run, sql, 2, (const char *[]){run->settings->inbox->group, after}, err);
    if (rows == NULL)
      return false;
    bool found = rows_count(rows) > 0;
    bool ok = !found || release_key(run, rows_text(rows, 0, 1), rows_text(rows, 0, 2), err);
    if (found)
      snprintf(after, sizeof after, "%s", rows_text(rows, 0, 0));
    rows_free(rows);
    if (!ok || !found)
      return ok;
  }
}

bool letters_count(struct connection *conn, const struct inbox_settings *inbox, const struct letter_filter *filter,
                   int64_t *count, struct error *err) {
  struct letter_filter_params params;
  letter_filter_params(filter, inbox->group, &params);
  char *sql = memory_format("SELECT count(*) FROM walferry.inbox_dead_letters l WHERE %s", letter_filter_sql);
  struct rows *rows = connection_query(conn, sql, LETTER_FILTER_PARAMS, params.values, err);
  if (rows != NULL)
    number_parse(slice_of(rows_text(rows, 0, 0)), 0, INT64_MAX, count);
  rows_free(rows);
  free(sql);
  letter_filter_params_free(&params);
  return rows != NULL;
}

bool letters_run(const struct letters_settings *settings, const struct stop *stop, struct letters_totals *totals,
                 struct error *err) {
  *totals = (struct letters_totals){.failed_codes = 0};
  int64_t now = clock_monotonic_ms();
  struct run run = {.settings = settings,
                    .stop = stop,
                    .totals = totals,
                    .work = letter_work_new(settings),
                    .began_ms = now,
                    .told_ms = now};
  bool ok = connect(&run, err) &&
            (settings->action == LETTERS_DISCARD ||
             handlers_check(run.conn, settings->inbox->handlers, settings->inbox->handler_count, err)) &&
            work_on_all(&run, err) && (settings->dry_run || finish_releases(&run, err));
  letter_work_free(run.work);
  connection_close(run.conn);
  return ok;
}
