/* See replay.h. */
#include "bridge/relay/replay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bridge/base/backoff.h"
#include "bridge/base/clock.h"
#include "bridge/base/log.h"
#include "bridge/base/memory.h"
#include "bridge/relay/replay_state.h"
#include "bridge/relay/watch.h"

#define TAKE_SLICE_MS 50
#define PACE_SLICE_MS 5
#define PACE_PORTIONS 10 /* a second */
#define PACE_RECORD_BYTES 256
#define REPORT_INTERVAL_MS 200
#define UNREACHABLE_MAX_MS 60000
#define DECODE_FAILURES_MAX 3
#define STEADY_MS 30000 /* an attempt that lasted for so long is no part of a row of failures */

char *replay_instance(const char *name) {
  return memory_format("%s.replay", name);
}

static void attempt_end(struct replay_attempt *a) {
  source_stop(a->source);
  partitions_free(a->partitions);
  replication_close(a->rep);
  connection_close(a->conn);
  facts_free(&a->facts);
  position_clear(&a->relay);
  position_clear(&a->position);
}

/* A server goes on without a word when the publication is gone, or another one. */
static bool watch(struct replay *r, struct replay_attempt *a, struct error *err) {
  a->watched_ms = clock_monotonic_ms();
  struct admit_facts f = a->facts.admit;
  f.slot.exists = false; /* nobody else can move the copy */
  return facts_publication(&a->facts, a->conn, &r->relay, err) && admit_still(&f, &a->position, err) &&
         facts_check_publication(&a->facts, &r->relay, err);
}

void replay_report(struct replay *r, struct replay_progress progress, bool always) {
  int64_t now_ms = clock_monotonic_ms();
  if (!always && now_ms - r->reported_ms < REPORT_INTERVAL_MS)
    return;
  r->reported_ms = now_ms;
  progress.run = &r->outcome->run;
  progress.events = r->outcome->run.records - r->outcome->records_before;
  r->settings->report(r->settings->report_ctx, &progress);
}

void replay_pace(struct replay *r, int64_t since_ms, uint64_t records) {
  if (r->settings->max_per_second > 0)
    r->due_ms = since_ms + (int64_t)(records * 1000 / (uint64_t)r->settings->max_per_second);
}

static void report(struct replay *r, bool always) {
  const struct position *position = replay_position(r);
  struct progress_snapshot seen;
  progress_look(r->progress, &seen);
  lsn_t at =
      seen.unpublished_events == 0 && seen.received > position->commit_lsn ? seen.received : position->commit_lsn;
  const struct position_run *run = &r->outcome->run;
  at = at < run->from ? run->from : at > run->to ? run->to : at;
  replay_report(r, (struct replay_progress){.at = at, .done = at - run->from, .total = run->to - run->from}, always);
}

/* What lies behind the end of the window is cut off; *over says that something does. */
static struct segment *cut(struct segment *batch, lsn_t to, bool *over) {
  struct segment **link = &batch;
  while (*link != NULL && !*over) {
    bool behind = segment_is_idle(*link) ? (*link)->end_lsn > to : (*link)->commit_lsn > to;
    *over = behind || (*link)->end_lsn > to; /* none can commit between the two */
    if (!behind)
      link = &(*link)->next;
  }
  segment_free_list(*link);
  *link = NULL;
  return batch;
}

/* Where nothing is known of what was committed before, a first transaction of before the time is proof enough: commits
 * stand in the WAL in the order of their times, but for clocks that were set. */
static bool prove(struct replay *r, const struct replay_attempt *a, const struct segment *batch, bool over,
                  struct error *err) {
  while (batch != NULL && segment_is_idle(batch))
    batch = batch->next;
  if (!r->unproven || (batch == NULL && !over))
    return true;
  const struct position_run *run = &r->outcome->run;
  if (batch == NULL || batch->commit_time_us >= run->from_us)
    return replay_run_refuse_unproven(run, batch == NULL ? 0 : batch->commit_time_us, err);
  if (!replay_keep_position(r, &a->position, err))
    return false;
  r->unproven = false;
  r->begun = true;
  return true;
}

bool replay_print(struct replay *r, const struct segment *batch, struct error *err) {
  bool counts = r->settings->request.sink == REPLAY_COUNT;
  for (const struct segment *s = batch; s != NULL; s = s->next)
    for (const struct record *record = s->first; record != NULL; record = record->next) {
      if (!counts && !printer_record(&r->printer, record, &r->unread, err))
        return false;
      if (r->unread) /* or we were told to stop at once */
        return replay_go_on(r, err);
      tally_note(r->outcome->tally, record);
    }
  return true;
}

static lsn_t batch_end_lsn(const struct segment *batch) {
  lsn_t end = 0;
  for (; batch != NULL; batch = batch->next)
    if (batch->end_lsn > end)
      end = batch->end_lsn;
  return end;
}

/* over: nothing comes behind it. */
static bool deliver(struct replay *r, struct replay_attempt *a, const struct segment *batch, bool over,
                    struct error *err) {
  if (!prove(r, a, batch, over, err))
    return false;
  if (batch == NULL || r->unproven) /* idle progress, of what is no run yet */
    return true;
  lsn_t commit_lsn = replay_position(r)->commit_lsn;
  uint64_t next_index = replay_position(r)->next_index;
  if (replay_to_kafka(r)) {
    int64_t began_ms = clock_monotonic_ms();
    uint64_t before = replay_position(r)->run.records;
    source_set_publishing(a->source, true);
    bool ok = publisher_publish(r->publisher, batch, err);
    source_set_publishing(a->source, false);
    if (!ok)
      return false;
    replay_pace(r, began_ms, replay_position(r)->run.records - before);
  } else if (!replay_print(r, batch, err)) {
    return false;
  } else if (!r->unread) {
    publisher_advance(&r->at, batch);
  }
  source_ack(a->source, batch_end_lsn(batch));
  r->outcome->run = replay_position(r)->run;
  r->outcome->reached = replay_position(r)->commit_lsn;
  if (replay_position(r)->commit_lsn != commit_lsn || replay_position(r)->next_index != next_index) {
    r->unreachable_since_ms = 0;
    r->decode_failures = 0;
  }
  return true;
}

/* All up to `to` is done. */
static bool finish(struct replay *r, struct replay_attempt *a, struct error *err) {
  if (!watch(r, a, err))
    return false;
  struct position last;
  position_init(&last);
  position_copy(&last, replay_position(r));
  last.run.finished = true;
  bool ok = replay_keep_position(r, &last, err);
  position_clear(&last);
  r->outcome->run = replay_position(r)->run;
  return ok;
}

/* The publication is there now: the server misses it at some place of the window. */
static bool fail_stream(struct replay *r, struct replay_attempt *a, struct error *err) {
  struct error ignored;
  if (err->code == NULL || strcmp(err->code, "publication_missing") != 0 ||
      !facts_publication(&a->facts, a->conn, &r->relay, &ignored) || !a->facts.publication.exists)
    return false;
  return error_remedy(
      err, "there is one now, but the window spans a time without, which no replay can go across. What comes "
           "before it: --to an LSN before it. What comes behind it: --from with the LSN from which the relay "
           "went on (`walferry position CONFIG history`)");
}

/* Cuts a batch behind the segments of one portion, the first at least; between two transactions, but where the first is
 * more than a portion. Returns the rest. */
static struct segment *cut_portion(const struct replay *r, struct segment *batch) {
  int64_t room = r->pace_portion;
  if (room == 0)
    return NULL;
  struct segment *last = batch, *whole = NULL;
  for (room -= batch->count;; room -= last->count) {
    if (last->ends || segment_is_idle(last))
      whole = last;
    if (last->next == NULL || last->next->count > room)
      break;
    last = last->next;
  }
  if (last->next != NULL && whole != NULL)
    last = whole;
  struct segment *rest = last->next;
  last->next = NULL;
  return rest;
}

/* *left: what was taken and is not delivered yet; the caller's, also on failure. */
static bool stream_batches(struct replay *r, struct replay_attempt *a, struct segment **left, struct error *err) {
  struct handover *queue = source_handover(a->source);
  bool over = false;
  while (!over || *left != NULL) {
    report(r, false);
    if (!replay_go_on(r, err))
      return false;
    r->unread = r->unread || (r->settings->request.sink == REPLAY_STDOUT && printer_hung_up(&r->printer));
    if (r->unread)
      return true;
    if (clock_monotonic_ms() - a->watched_ms >= WATCH_INTERVAL_MS && !watch(r, a, err))
      return false;
    if (clock_monotonic_ms() < r->due_ms) { /* the source thread goes on answering */
      clock_sleep_ms(PACE_SLICE_MS);
      continue;
    }
    if (replay_to_kafka(r))
      publisher_rest(r->publisher);
    enum handover_result taken = HANDOVER_BATCH;
    if (*left == NULL) {
      taken = handover_take(queue, TAKE_SLICE_MS, left, err);
      if (taken == HANDOVER_BATCH)
        *left = cut(*left, a->position.run.to, &over);
    }
    switch (taken) {
    case HANDOVER_EMPTY:
      if (clock_monotonic_ms() - a->streaming_ms > STEADY_MS) /* so much of it holds nothing of ours */
        r->unreachable_since_ms = 0;
      break;
    case HANDOVER_CLOSED:
      return fail_stream(r, a, err);
    case HANDOVER_BATCH: {
      struct segment *batch = *left;
      *left = batch == NULL ? NULL : cut_portion(r, batch);
      bool ok = deliver(r, a, batch, over && *left == NULL, err);
      if (!ok)
        publisher_close(r->publisher); /* before the records that it still points to */
      segment_free_list(batch);
      if (!ok)
        return false;
    }
    }
  }
  return finish(r, a, err);
}

static bool stream(struct replay *r, struct replay_attempt *a, struct error *err) {
  struct segment *left = NULL;
  bool ok = stream_batches(r, a, &left, err);
  segment_free_list(left);
  return ok;
}

static bool run_attempt(struct replay *r, struct error *err) {
  if (r->unreachable_since_ms == 0)
    r->unreachable_since_ms = clock_monotonic_ms();
  struct replay_attempt a = {.conn = NULL};
  position_init(&a.relay);
  position_init(&a.position);
  bool over;
  bool ok = r->settings->request.source == REPLAY_TABLE
                ? replay_table(r, &a, err)
                : replay_start(r, &a, &over, err) && (over || stream(r, &a, err));
  if (a.source != NULL)
    report(r, true);
  publisher_close(r->publisher);
  attempt_end(&a);
  return ok;
}

/* The server fails at the same transaction again and again. */
static bool undecodable(struct replay *r, struct error *err) {
  if (err->code == NULL || strcmp(err->code, "decode_failed") != 0 || ++r->decode_failures < DECODE_FAILURES_MAX)
    return false;
  lsn_t done = replay_position(r)->commit_lsn;
  struct lsn_text behind = lsn_format(done != 0 ? done : r->outcome->run.from);
  char cause[sizeof err->message];
  snprintf(cause, sizeof cause, "%s", err->message);
  error_refuse(err, "row_undecodable", "the server cannot decode a transaction behind %s: %s", behind.text, cause);
  error_remedy(err,
               "no replay can go across it. What comes before it: --to %s. What comes behind it: --from with the LSN "
               "from which the relay went on (`walferry position CONFIG history`)",
               behind.text);
  return true;
}

/* May the run go on after this end of a generation? One switch for all kinds. */
static bool recoverable(struct replay *r, struct error *err) {
  if (r->begins_anew)
    return false;
  switch (err->kind) {
  case ERROR_STOPPED:
  case ERROR_CONFIG:
  case ERROR_REFUSED:
  case ERROR_FATAL:
  case ERROR_NONE:
    return false;
  case ERROR_FENCED:
    if (err->code == REPLAY_SLOT_HELD)
      return false;
    break;
  case ERROR_RETRY:
  case ERROR_START_OVER:
    break;
  }
  return (r->unreachable_since_ms == 0 || clock_monotonic_ms() - r->unreachable_since_ms < UNREACHABLE_MAX_MS) &&
         !undecodable(r, err);
}

static void note(void *ctx, const struct record *record) {
  tally_note(ctx, record);
}

/* Of segments nothing is cut off: they have to be small for a low limit. */
static void set_pace(struct replay *r) {
  int64_t limit = r->settings->max_per_second;
  r->pace_portion = limit > PACE_PORTIONS ? limit / PACE_PORTIONS : 1;
  size_t bytes = (size_t)r->pace_portion * PACE_RECORD_BYTES;
  if (bytes < r->relay.intake.segment_bytes)
    r->relay.intake.segment_bytes = bytes;
}

/* The relay's settings, with what is a replay's own. */
static void replay_init(struct replay *r) {
  const struct replay_settings *s = r->settings;
  const struct replay_request *request = &s->request;
  const char *slot = request->source == REPLAY_SLOT ? s->relay->retain.slot : NULL;
  replay_run_key(request, s->relay->name, slot, r->key);
  r->relay = *s->relay;
  r->instance = replay_instance(s->relay->name);
  r->relay.name = r->instance;
  r->relay.slot = slot;
  r->relay.intake.filter =
      (struct intake_filter){.types = request->types, .type_count = request->type_count, .no_dead_letters = true};
  if (s->max_per_second > 0)
    set_pace(r);
  r->relay.intake.record.topic = request->topic;
  r->relay.intake.record.topic_suffix = request->topic_suffix;
  r->relay.publisher.kafka.instance = r->instance;
  r->relay.publisher.position_key = r->key;
  r->publisher = publisher_new(&r->relay.publisher, r->stop);
  r->relay_publisher = publisher_new(&s->relay->publisher, r->stop);
  r->outcome->tally = tally_new();
  publisher_set_note(r->publisher, note, r->outcome->tally);
  printer_init(&r->printer, s->out_fd, r->stop);
  position_init(&r->at);
  r->progress = progress_new();
}

static void replay_end(struct replay *r) {
  progress_free(r->progress);
  position_clear(&r->at);
  printer_free(&r->printer);
  publisher_free(r->relay_publisher);
  publisher_free(r->publisher);
  free(r->instance);
}

bool replay_run(const struct replay_settings *settings, const struct stop *stop, struct replay_outcome *outcome,
                struct error *err) {
  *outcome = (struct replay_outcome){.reached = 0};
  struct replay r = {.settings = settings, .stop = stop, .outcome = outcome};
  replay_init(&r);
  struct backoff backoff;
  backoff_init(&backoff, 100, 5000, (uint64_t)clock_wall_us() ^ (uint64_t)getpid());
  bool ok;
  while (!(ok = run_attempt(&r, err)) && recoverable(&r, err)) {
    log_error_event(LOG_WARN, "replay.recovering", err);
    if (!replay_pause(&r, backoff_next_ms(&backoff))) {
      error_set(err, ERROR_STOPPED, "stopped");
      break;
    }
    publisher_close(r.relay_publisher);
  }
  replay_end(&r);
  return ok;
}
