/* See replay_state.h: the rows that are in the outbox tables, by a work list (worklist.h). Where they are published,
 * the list is a copy, and the run's position says which of its rows comes next, so that a run that was killed goes on
 * there; where they are only printed or counted, they are read as they stand, and nothing is remembered. */
#include <inttypes.h>
#include <string.h>

#include "bridge/base/clock.h"
#include "bridge/base/failpoint.h"
#include "bridge/base/log.h"
#include "bridge/event/headers.h"
#include "bridge/relay/replay_state.h"
#include "bridge/relay/worklist_feed.h"

#define LOCK_LOOK_MS 2000
#define PACE_SLICE_MS 20

/* Of the columns that the publication sends; of all, where it is of no use: a relay may be refused for that. */
static bool read_tables(struct replay *r, struct replay_attempt *a, struct error *err) {
  struct relay_settings *s = &r->relay;
  if (!facts_read_server(&a->facts, a->conn, s, err) || !facts_check_version(&a->facts, err))
    return false;
  bool ok = facts_publication(&a->facts, a->conn, s, err) && facts_check_publication(&a->facts, s, err);
  if (!ok && err->kind == ERROR_REFUSED && s->publication != NULL) {
    s->publication = NULL;
    ok = facts_publication(&a->facts, a->conn, s, err) && facts_check_publication(&a->facts, s, err);
  }
  return ok && worklist_suits(&a->facts.publication, err);
}

static bool check_primary(const struct replay_attempt *a, struct error *err) {
  if (!a->facts.server.in_recovery)
    return true;
  error_set(err, ERROR_RETRY, "the server is a standby, on which no work list can be made");
  err->code = "server_is_standby";
  return error_remedy(err, "point postgres.conninfo at the primary; --sink stdout and --dry-run need none");
}

static bool look(struct replay *r, struct replay_attempt *a, struct error *err) {
  return replay_connect(r, a, err) && read_tables(r, a, err) &&
         (!replay_to_kafka(r) || (check_primary(a, err) && replay_peek(r, a, err)));
}

/* Without it another replay may begin, and drop the list that this one reads. */
static bool still_locked(struct replay *r, struct error *err) {
  int64_t now_ms = clock_monotonic_ms();
  if (r->lock == NULL || now_ms - r->lock_seen_ms < LOCK_LOOK_MS)
    return true;
  r->lock_seen_ms = now_ms;
  return connection_run(r->lock, "SELECT", err) || error_wrap(err, "holding the lock of the replays");
}

static bool go_on(void *ctx, struct error *err) {
  struct replay *r = ctx;
  if (!still_locked(r, err))
    return false;
  if (!r->begun) /* it takes long to copy many rows */
    replay_report(r, (struct replay_progress){.done = 0, .total = 1}, false);
  if (r->settings->request.sink == REPLAY_STDOUT && printer_hung_up(&r->printer))
    r->unread = true;
  return r->unread ? error_set(err, ERROR_STOPPED, "nobody reads") : replay_go_on(r, err);
}

static struct worklist *open_list(struct replay *r, uint64_t id, struct error *err) {
  const struct replay_request *request = &r->settings->request;
  struct worklist_settings settings = {.kind = WORKLIST_REPLAY,
                                       .conninfo = r->relay.conninfo,
                                       .name = r->relay.name,
                                       .tables = r->relay.intake.tables,
                                       .table_count = r->relay.intake.table_count,
                                       .owner = r->settings->relay->name,
                                       .from_us = request->from.us,
                                       .to_us = request->to.us,
                                       .wait = {.go_on = go_on, .ctx = r}};
  return worklist_open(&settings, id, err);
}

static bool take_rows(struct replay *r, struct replay_attempt *a, struct worklist *list, uint64_t *rows,
                      struct error *err) {
  if (!replay_to_kafka(r))
    return worklist_view(list, &a->facts.publication, rows, err);
  if (!worklist_fill(list, &a->facts.publication, NULL, rows, err))
    return false;
  FAILPOINT("replay.after_work_list");
  if (worklist_dropped(list) > 0)
    log_info("replay.work_list_dropped", log_int("tables", worklist_dropped(list)),
             log_string("reason", "an earlier run has left it"));
  return worklist_find(list, rows, err);
}

/* A work list's tables are known by their numbers in the config. */
static uint64_t tables_fingerprint(const struct replay *r) {
  struct intake_rules tables = {.tables = r->relay.intake.tables, .table_count = r->relay.intake.table_count};
  return intake_fingerprint(&tables, "");
}

/* The rows of now, and the first position of their run. */
static bool begin(struct replay *r, struct replay_attempt *a, struct worklist **list, struct error *err) {
  uint64_t id = (uint64_t)clock_wall_us(), rows = 0;
  lsn_t lsn = 0;
  *list = open_list(r, id, err);
  if (*list == NULL || !take_rows(r, a, *list, &rows, err) || !worklist_wal_lsn(*list, &lsn, err))
    return false;
  struct position_run run;
  replay_run_begin_table(&r->settings->request, r->key, &a->position.run, id, lsn, &run);
  struct position first;
  replay_first_position(a, &run, &first);
  first.fingerprint = tables_fingerprint(r);
  first.snapshot =
      (struct position_snapshot){.state = POSITION_SNAPSHOT_OPEN, .rows = rows, .taken_us = clock_wall_us()};
  bool ok = replay_keep_position(r, &first, err);
  if (ok)
    position_copy(&a->position, &first);
  position_clear(&first);
  if (ok)
    log_info("replay.rows_taken", log_string("run", run.id), log_lsn("lsn", lsn), log_int("rows", (int64_t)rows));
  return ok;
}

static bool remedy_lost(const struct position *p, struct error *err) {
  return error_remedy(
      err,
      "bring the tables walferry.replay_%" PRIx64 "_* back as they were; else begin anew, with the rows "
      "of then: `walferry replay CONFIG --source table --again` and the other options as they were: the "
      "%" PRIu64 " records that it has published come again, with the same ids",
      p->run.list, p->run.records);
}

static bool refuse_tables(const struct position *p, struct error *err) {
  error_refuse(err, "replay_list_lost",
               "rows %" PRIu64 " to %" PRIu64 " of run %s are not published yet, but relay.tables are not those that "
               "its work list was made of, in their order",
               p->snapshot.next, p->snapshot.rows - 1, p->run.id);
  return error_remedy(err,
                      "put them back, and the same command goes on; else begin anew, with the rows of then: `walferry "
                      "replay CONFIG --source table --again` and the other options as they were: the %" PRIu64
                      " records that it has published come again, with the same ids",
                      p->run.records);
}

/* *lost: the list of an interrupted run is not there as it was. */
static bool find(struct replay *r, const struct position *p, struct worklist **list, bool *lost, struct error *err) {
  *lost = p->snapshot.next < p->snapshot.rows && p->fingerprint != tables_fingerprint(r);
  if (*lost)
    return refuse_tables(p, err);
  *list = open_list(r, p->run.list, err);
  uint64_t rows = p->snapshot.rows;
  if (*list == NULL || (p->snapshot.next < p->snapshot.rows && !worklist_find(*list, &rows, err)))
    return false;
  *lost = rows != p->snapshot.rows;
  if (!*lost)
    return true;
  error_refuse(err, "replay_list_lost",
               "rows %" PRIu64 " to %" PRIu64 " of run %s are not published yet, but its work list in schema walferry "
               "has %" PRIu64 " rows instead of %" PRIu64 ": another run, or somebody, has dropped it",
               p->snapshot.next, p->snapshot.rows - 1, p->run.id, rows, p->snapshot.rows);
  return remedy_lost(p, err);
}

/* Begins the run, or goes on with it. One that has published nothing yet begins anew. */
static bool settle(struct replay *r, struct replay_attempt *a, struct worklist **list, struct error *err) {
  const struct position *p = &a->position;
  bool lost = false;
  bool open = p->state == POSITION_SET && !p->run.finished && p->snapshot.state == POSITION_SNAPSHOT_OPEN;
  bool resumed = replay_to_kafka(r) && open && (p->snapshot.next > 0 || r->begun);
  bool ok = resumed && find(r, p, list, &lost, err);
  if (lost && r->settings->request.again && !r->begun) {
    worklist_close(*list);
    resumed = false;
  }
  return resumed ? ok : begin(r, a, list, err);
}

static uint64_t count_records(const struct segment *batch) {
  uint64_t count = 0;
  for (; batch != NULL; batch = batch->next)
    count += (uint64_t)batch->count;
  return count;
}

static bool publish(struct replay *r, const struct segment *batch, uint64_t next, struct error *err) {
  if (publisher_publish_snapshot(r->publisher, batch, next, err))
    return true;
  publisher_close(r->publisher); /* before the records that it still points to */
  return false;
}

static bool print(struct replay *r, const struct segment *batch, uint64_t next, struct error *err) {
  r->begins_anew = true;
  if (!replay_print(r, batch, err))
    return false;
  if (r->unread)
    return error_set(err, ERROR_STOPPED, "nobody reads");
  r->at.snapshot.next = next;
  r->at.run.records += count_records(batch);
  return true;
}

static void report(struct replay *r, bool always) {
  const struct position_snapshot *rows = &replay_position(r)->snapshot;
  replay_report(r, (struct replay_progress){.done = rows->next, .total = rows->rows}, always);
}

static bool take_batch(void *ctx, struct segment *batch, uint64_t next, struct error *err) {
  struct replay *r = ctx;
  for (; clock_monotonic_ms() < r->due_ms; clock_sleep_ms(PACE_SLICE_MS))
    if (!go_on(r, err))
      return false;
  int64_t began_ms = clock_monotonic_ms();
  if (!(replay_to_kafka(r) ? publish : print)(r, batch, next, err))
    return false;
  replay_pace(r, began_ms, count_records(batch));
  r->outcome->run = replay_position(r)->run;
  r->unreachable_since_ms = 0;
  report(r, false);
  return true;
}

static bool deliver(struct replay *r, const struct replay_attempt *a, struct worklist *list, struct error *err) {
  const struct position *p = &a->position;
  r->relay.intake.record.mark = (struct record_header){.name = HEADER_REPLAY, .value = slice_of(r->run_id)};
  log_info("replay.streaming", log_string("run", p->run.id), log_lsn("from", p->run.from), log_lsn("to", p->run.to),
           log_int("records_before", (int64_t)p->run.records));
  struct worklist_feed feed = {.list = list,
                               .rules = &r->relay.intake,
                               .position = p,
                               .lsn = p->run.from,
                               .taken_us = p->snapshot.taken_us,
                               .records_max = r->pace_portion,
                               .wait = {.go_on = go_on, .ctx = r},
                               .take = take_batch,
                               .ctx = r};
  if (worklist_feed_run(&feed, p->snapshot.next, p->snapshot.rows, err))
    return true;
  return err->code != NULL && strcmp(err->code, "replay_list_lost") == 0 ? remedy_lost(replay_position(r), err) : false;
}

/* Only what is published whole is dropped; a list that is gone is then no loss. */
static bool drop_list(struct worklist *list, struct error *err) {
  FAILPOINT("replay.before_work_list_dropped");
  if (!worklist_drop(list, err)) {
    if (!worklist_locked(list))
      return false;
    log_error_event(LOG_WARN, "replay.work_list_left", err);
  }
  FAILPOINT("replay.after_work_list_dropped");
  return true;
}

static bool finish(struct replay *r, struct worklist *list, struct error *err) {
  if (replay_to_kafka(r) && !drop_list(list, err))
    return false;
  struct position last;
  position_init(&last);
  position_copy(&last, replay_position(r));
  last.snapshot.state = POSITION_SNAPSHOT_DONE;
  last.run.finished = true;
  bool ok = replay_keep_position(r, &last, err);
  position_clear(&last);
  r->outcome->run = replay_position(r)->run;
  return ok;
}

bool replay_table(struct replay *r, struct replay_attempt *a, struct error *err) {
  if (!look(r, a, err) || !replay_open_position(r, a, err))
    return false;
  r->lock = replay_to_kafka(r) ? a->conn : NULL;
  bool over = a->position.run.finished && (r->begun || !r->settings->request.again);
  struct worklist *list = NULL;
  bool ok = over || settle(r, a, &list, err);
  if (ok) {
    r->outcome->was_finished = over && !r->begun;
    r->outcome->rows = a->position.snapshot.rows;
    replay_take_run(r, a);
  }
  if (ok && !over) {
    ok = deliver(r, a, list, err) && finish(r, list, err);
    report(r, true);
  }
  worklist_close(list);
  r->lock = NULL;
  return r->unread ? replay_go_on(r, err) : ok;
}
