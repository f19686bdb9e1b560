/* See snapshot.h. */
#include "bridge/relay/snapshot.h"

#include <inttypes.h>
#include <string.h>

#include "bridge/base/clock.h"
#include "bridge/base/failpoint.h"
#include "bridge/base/log.h"
#include "bridge/event/headers.h"
#include "bridge/relay/worklist_feed.h"

#define LOG_INTERVAL_MS 1000
#define WAIT_SLICE_MS 100

static struct worklist *open_list(const struct snapshot *s, struct error *err) {
  const struct relay_settings *relay = s->settings;
  struct worklist_settings settings = {.kind = WORKLIST_SNAPSHOT,
                                       .conninfo = relay->conninfo,
                                       .name = relay->name,
                                       .tables = relay->intake.tables,
                                       .table_count = relay->intake.table_count,
                                       .owner = relay->slot,
                                       .leave_marked = true,
                                       .wait = s->wait};
  return worklist_open(&settings, s->point, err);
}

bool snapshot_copy(const struct snapshot *s, const struct catalog_publication *facts, const char *exported,
                   struct position_snapshot *out, struct error *err) {
  struct worklist *list = open_list(s, err);
  uint64_t rows = 0;
  bool ok = list != NULL && worklist_fill(list, facts, exported, &rows, err);
  worklist_close(list);
  if (!ok)
    return false;
  FAILPOINT("relay.after_work_list");
  *out = (struct position_snapshot){.state = POSITION_SNAPSHOT_OPEN, .rows = rows, .taken_us = clock_wall_us()};
  log_info("relay.snapshot_taken", log_lsn("lsn", s->point), log_int("rows", (int64_t)rows));
  return true;
}

static bool remedy_lost(const struct snapshot *s, struct error *err) {
  return error_remedy(err,
                      "bring the tables walferry.snapshot_%" PRIx64 "_* back as they were; else `walferry drop CONFIG "
                      "--confirm NAME`, `walferry init CONFIG --snapshot` and `walferry relay CONFIG --snapshot`: rows "
                      "that are published already then come again, with the same ids",
                      s->point);
}

static bool refuse_lost(const struct snapshot *s, const struct position_snapshot *at, uint64_t rows,
                        struct error *err) {
  error_refuse(err, "snapshot_lost",
               "rows %" PRIu64 " to %" PRIu64 " of the snapshot of slot %s are not published yet, but its work list in "
               "schema walferry has %" PRIu64 " rows instead of %" PRIu64,
               at->next, at->rows - 1, s->settings->slot, rows, at->rows);
  return remedy_lost(s, err);
}

/* Until enough of the published rows are marked or deleted. */
static bool wait_for_tidy(const struct snapshot *s,
                          bool (*enough)(struct tidy *tidy, int64_t timeout_ms, bool *reached, struct error *err),
                          struct error *err) {
  for (bool reached = s->tidy == NULL; !reached;)
    if (!enough(s->tidy, WAIT_SLICE_MS, &reached, err) || !s->wait.go_on(s->wait.ctx, err))
      return false;
  return true;
}

static bool hand_to_tidy(const struct snapshot *s, struct error *err) {
  if (s->tidy != NULL)
    tidy_committed(s->tidy, 0);
  return wait_for_tidy(s, tidy_room, err);
}

static bool publish_batch(const struct snapshot *s, const struct segment *batch, uint64_t next, struct error *err) {
  source_set_publishing(s->source, true);
  progress_talk(s->progress, PROGRESS_KAFKA);
  bool ok = publisher_publish_snapshot(s->publisher, batch, next, err);
  source_set_publishing(s->source, false);
  if (!ok) {
    publisher_close(s->publisher); /* before the records that it still points to */
    return false;
  }
  const struct position *position = publisher_position(s->publisher);
  progress_published(s->progress, publisher_totals(s->publisher), position);
  progress_rows(s->progress, &position->snapshot);
  progress_talk(s->progress, PROGRESS_POSTGRES);
  return true;
}

struct publishing {
  const struct snapshot *s;
  uint64_t rows;
  int64_t logged_ms;
};

static void log_rows(struct publishing *p, uint64_t done) {
  int64_t now_ms = clock_monotonic_ms();
  if (done < p->rows && now_ms - p->logged_ms < LOG_INTERVAL_MS)
    return;
  p->logged_ms = now_ms;
  log_info("relay.snapshot", log_int("published", (int64_t)done), log_int("rows", (int64_t)p->rows));
}

static bool take_batch(void *ctx, struct segment *batch, uint64_t next, struct error *err) {
  struct publishing *p = ctx;
  if (!publish_batch(p->s, batch, next, err))
    return false;
  log_rows(p, next);
  return hand_to_tidy(p->s, err);
}

/* Rows that an attempt before this one has published, and perhaps not marked or deleted any more: no server sends them
 * again. */
static bool take_published(void *ctx, struct segment *batch, uint64_t next, struct error *err) {
  struct publishing *p = ctx;
  (void)next;
  for (struct segment *s = batch; s != NULL; s = s->next)
    s->covered = true;
  return publisher_publish(p->s->publisher, batch, err) && hand_to_tidy(p->s, err);
}

static bool publish_rows(const struct snapshot *s, struct worklist *list, const struct position *from,
                         struct error *err) {
  struct intake_rules rules = s->settings->intake;
  rules.record.mark = (struct record_header){.name = HEADER_SNAPSHOT, .value = slice_of("true")};
  struct publishing publishing = {.s = s, .rows = from->snapshot.rows, .logged_ms = clock_monotonic_ms()};
  struct worklist_feed feed = {.list = list,
                               .rules = &rules,
                               .position = from,
                               .lsn = s->point,
                               .taken_us = from->snapshot.taken_us,
                               .wait = s->wait,
                               .take = take_published,
                               .ctx = &publishing};
  bool ok = s->tidy == NULL || worklist_feed_run(&feed, 0, from->snapshot.next, err);
  feed.take = take_batch;
  if (ok && worklist_feed_run(&feed, from->snapshot.next, from->snapshot.rows, err))
    return true;
  return err->code != NULL && strcmp(err->code, "snapshot_lost") == 0 ? remedy_lost(s, err) : false;
}

/* Only what is published whole is dropped; a list that is gone is then no loss. */
static bool finish(const struct snapshot *s, struct worklist *list, struct error *err) {
  FAILPOINT("relay.before_work_list_dropped");
  if (!worklist_drop(list, err)) {
    if (!worklist_locked(list))
      return false;
    log_error_event(LOG_WARN, "relay.work_list_left", err);
  }
  FAILPOINT("relay.after_work_list_dropped");
  struct position done;
  position_init(&done);
  position_copy(&done, publisher_position(s->publisher));
  done.snapshot.state = POSITION_SNAPSHOT_DONE;
  progress_talk(s->progress, PROGRESS_KAFKA);
  bool ok = publisher_store(s->publisher, &done, err);
  if (ok)
    log_info("relay.snapshot_done", log_int("rows", (int64_t)done.snapshot.rows));
  position_clear(&done);
  return ok;
}

void snapshot_drop_left(const struct relay_settings *settings, struct connection *conn,
                        const struct position *position) {
  int dropped;
  struct error err;
  if (!worklist_drop_all(conn, WORKLIST_SNAPSHOT, settings->slot, position_ack_lsn(position), &dropped, &err))
    log_error_event(LOG_WARN, "relay.work_list_left", &err);
  else if (dropped > 0)
    log_info("relay.work_list_dropped", log_int("tables", dropped), log_string("reason", "an earlier run has left it"));
}

bool snapshot_publish(const struct snapshot *s, struct error *err) {
  struct position from;
  position_init(&from);
  position_copy(&from, publisher_position(s->publisher));
  progress_rows(s->progress, &from.snapshot);
  progress_talk(s->progress, PROGRESS_POSTGRES);
  struct worklist *list = open_list(s, err);
  bool left = from.snapshot.next < from.snapshot.rows;
  uint64_t rows = 0;
  bool ok = list != NULL && ((!left && s->tidy == NULL) || worklist_find(list, &rows, err));
  if (ok && left && rows != from.snapshot.rows)
    ok = refuse_lost(s, &from.snapshot, rows, err);
  if (ok && rows == from.snapshot.rows)
    ok = publish_rows(s, list, &from, err);
  ok = ok && wait_for_tidy(s, tidy_settled, err) && finish(s, list, err);
  worklist_close(list);
  position_clear(&from);
  return ok;
}
