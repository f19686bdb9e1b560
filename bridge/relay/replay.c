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
#include "bridge/event/headers.h"
#include "bridge/relay/facts.h"
#include "bridge/relay/history.h"
#include "bridge/relay/printer.h"
#include "bridge/relay/source.h"
#include "bridge/relay/watch.h"

#define TAKE_SLICE_MS 50
#define REPORT_INTERVAL_MS 200
#define REACHABLE_TIMEOUT_MS 10000
#define UNREACHABLE_MAX_MS 60000
#define STEADY_MS 30000 /* an attempt that lasted for so long is no part of a row of failures */
#define HISTORY_TIMEOUT_MS 30000
#define HELD_GRACE_MS 5000 /* the backend of a replay that was killed may hold the copy for a moment longer */
#define HELD_RETRY_MS 100

static const char CODE_SLOT_HELD[] = "slot_held";

/* Lives as long as the process: what the recovery must remember. */
struct replay {
  const struct replay_settings *settings;
  const struct stop *stop;
  struct replay_outcome *outcome;
  struct relay_settings relay; /* the instance's, but for what is a replay's own */
  char *instance;
  char key[REPLAY_KEY_SIZE];
  struct publisher *publisher;
  struct publisher *relay_publisher; /* only peeks */
  struct printer printer;
  struct progress *progress; /* the source's */
  struct position at;        /* how far it has got, where Kafka is not told */
  bool begun;                /* the run is known: what is stored is its position */
  char run_id[32];           /* the source thread reads it */
  bool unread;               /* nobody reads what is printed */
  bool let_in;               /* Postgres has accepted us */
  bool unproven;             /* no transaction has shown yet that a time is not too old */
  int last_backend_pid;
  int64_t unreachable_since_ms; /* 0: all is well; else since the start of the first attempt that failed */
  int64_t reported_ms;
};

/* One attempt: everything that is dropped and made again by the recovery. */
struct generation {
  struct connection *conn;
  struct replication *rep; /* until the source takes it */
  struct source *source;
  struct partitions *partitions; /* NULL with a plugin that tells of rows by the root */
  struct facts facts;            /* of the held-back slot; its confirmed_flush_lsn is the copy's */
  struct position relay;         /* the relay's, as it was when this attempt began */
  struct position position;
  int64_t streaming_ms; /* since when it streams */
  int64_t watched_ms;
};

static void generation_end(struct generation *g) {
  source_stop(g->source);
  partitions_free(g->partitions);
  replication_close(g->rep);
  connection_close(g->conn);
  facts_free(&g->facts);
  position_clear(&g->relay);
  position_clear(&g->position);
}

void replay_copy_name(const char *slot, char name[REPLAY_COPY_SIZE]) {
  snprintf(name, REPLAY_COPY_SIZE, "%.*s_run", REPLAY_COPY_SIZE - 5, slot);
}

char *replay_instance(const char *name) {
  return memory_format("%s.replay", name);
}

static bool to_kafka(const struct replay *r) {
  return r->settings->request.sink == REPLAY_KAFKA;
}

static const struct position *position_now(const struct replay *r) {
  return to_kafka(r) ? publisher_position(r->publisher) : &r->at;
}

static bool go_on(const struct replay *r, struct error *err) {
  return !atomic_load(&r->stop->requested) || error_set(err, ERROR_STOPPED, "stopped");
}

/* Sleeps in slices; false when asked to stop. */
static bool pause_ms(const struct replay *r, int64_t ms) {
  for (int64_t end = clock_monotonic_ms() + ms; clock_monotonic_ms() < end; clock_sleep_ms(20))
    if (atomic_load(&r->stop->requested))
      return false;
  return true;
}

/* Ordinary questions to both servers. */
static bool look(struct replay *r, struct generation *g, struct error *err) {
  const struct relay_settings *s = &r->relay;
  g->conn = connection_open(s->conninfo, s->name, err);
  if (g->conn == NULL && r->let_in && err->kind == ERROR_CONFIG)
    err->kind = ERROR_RETRY; /* the config is to blame only at first */
  if (g->conn == NULL)
    return false;
  r->let_in = true;
  if (!facts_server(&g->facts, g->conn, s, err) || !facts_publication(&g->facts, g->conn, s, err) ||
      !catalog_slot(g->conn, s->slot, &g->facts.admit.slot, err) ||
      !retain_usable(s->slot, &g->facts.admit.slot, s->plugin, g->facts.admit.database, err) ||
      !facts_check_publication(&g->facts, s, err) || !go_on(r, err))
    return false;
  if (!publisher_reachable(r->relay_publisher, REACHABLE_TIMEOUT_MS, err) ||
      !publisher_peek(r->relay_publisher, &g->relay, err))
    return false;
  if (g->relay.state == POSITION_SET)
    return true;
  error_refuse(err, "position_missing", "%s holds no position: nothing is known to have been published",
               publisher_position_topic(r->relay_publisher));
  return error_remedy(err, "start the relay first; what it has published can be replayed");
}

/* May a stored position go on here: same cluster, database, slot, publication, a timeline of this server's history? How
 * far the slot stands is not asked: a replay has bounds of its own. */
static bool admit(struct generation *g, const char *slot, const char *topic, struct position *position,
                  struct error *err) {
  struct admit_facts f = g->facts.admit;
  f.slot_name = slot;
  f.position_topic = topic;
  f.slot.confirmed_flush_lsn = 0;
  bool ignored;
  if (position->timeline != f.identity.timeline &&
      !replication_timeline_end(g->rep, f.identity.timeline, position->timeline, &f.ancestor_found, &f.ancestor_end,
                                err))
    return false;
  return admit_position(&f, position, &ignored, &ignored, err);
}

/* The copy is the lock. */
static bool copy_slot(struct replay *r, struct generation *g, const char *copy, struct error *err) {
  for (int64_t end = clock_monotonic_ms() + HELD_GRACE_MS;;) {
    bool taken;
    struct catalog_slot held;
    if (!replication_copy_slot(g->rep, r->relay.slot, copy, &taken, err))
      return false;
    if (!catalog_slot(g->conn, copy, &held, err))
      return false;
    if (!taken) {
      r->last_backend_pid = replication_backend_pid(g->rep);
      g->facts.admit.slot.confirmed_flush_lsn = held.confirmed_flush_lsn;
      return true;
    }
    if (clock_monotonic_ms() < end) {
      if (!pause_ms(r, HELD_RETRY_MS))
        return error_set(err, ERROR_STOPPED, "stopped");
      continue;
    }
    if (held.active_pid == r->last_backend_pid)
      return error_set(err, ERROR_RETRY, "our own backend %d still holds slot %s", held.active_pid, copy);
    error_set(err, ERROR_FENCED, "another replay of this instance is running (backend %d, slot %s)", held.active_pid,
              copy);
    err->code = CODE_SLOT_HELD;
    return error_remedy(err, "wait until it is done, or stop it; what it has published stays published");
  }
}

/* The position that is stored under the run's key, or kept in memory where Kafka is not told. */
static bool open_position(struct replay *r, struct generation *g, struct error *err) {
  if (to_kafka(r))
    return publisher_check_position_topic(r->publisher, err) && publisher_open(r->publisher, &g->position, err);
  position_copy(&g->position, &r->at);
  return true;
}

static bool keep_position(struct replay *r, const struct position *position, struct error *err) {
  if (to_kafka(r))
    return publisher_store(r->publisher, position, err);
  position_copy(&r->at, position);
  return true;
}

/* A first position: nothing is done yet, and each topic has the partitions that the relay has pinned. */
static bool begin_run(struct replay *r, struct generation *g, const struct replay_window *window, struct error *err) {
  struct position_run run;
  if (!replay_run_begin(&r->settings->request, window, r->key, g->position.run.id, &run, &r->unproven, err))
    return false;
  struct position first = {.state = POSITION_SET, .complete = true, .end_lsn = run.from, .run = run};
  for (int i = 0; i < g->relay.topic_count; i++)
    position_pin(&first, g->relay.topics[i].name, g->relay.topics[i].partitions);
  admit_fill_identity(&g->facts.admit, &first);
  bool ok = keep_position(r, &first, err);
  if (ok)
    position_copy(&g->position, &first);
  position_clear(&first);
  return ok;
}

/* Where times lie in the WAL, as far as the history of the relay's position knows. */
static bool read_times(const struct replay *r, const struct generation *g, int64_t from_us,
                       struct replay_window *window, struct error *err) {
  const struct kafka_settings *kafka = &r->settings->relay->publisher.kafka;
  struct kafka_admin *admin = kafka_admin_new(kafka, err);
  struct history history = {.count = 0};
  bool ok = admin != NULL && history_read(admin, kafka, publisher_position_topic(r->relay_publisher),
                                          HISTORY_TIMEOUT_MS, &r->stop->requested, &history, err);
  kafka_admin_free(admin);
  if (!ok)
    return false;
  const char *system_id = g->facts.admit.identity.system_id;
  for (int i = 0; i < history.count && window->retained_us == 0; i++)
    if (history.entries[i].lsn >= window->retained && strcmp(history.entries[i].system_id, system_id) == 0)
      window->retained_us = history.entries[i].at_us;
  const struct history_entry *before = from_us == 0 ? NULL : history_before(&history, from_us, system_id);
  if (before != NULL && before->lsn >= window->retained)
    window->start = before->lsn;
  history_free(&history);
  return true;
}

/* Times are looked up only where they matter: for a run that begins at one, or to say what there is. */
static bool read_window(const struct replay *r, const struct generation *g, bool resumed, struct replay_window *window,
                        struct error *err) {
  *window = (struct replay_window){.retained = g->facts.admit.slot.confirmed_flush_lsn,
                                   .published = replay_published(&g->relay)};
  const struct position *at = &g->position;
  lsn_t start = resumed ? replay_run_start(at) : r->settings->request.from.lsn;
  int64_t from_us = resumed ? at->run.from_us : r->settings->request.from.us;
  bool begun = resumed && at->commit_lsn != 0;
  if (start >= window->retained && (begun || from_us == 0))
    return true;
  return read_times(r, g, from_us, window, err);
}

/* Begins the run, or goes on with it. *over: it is finished already. */
static bool settle_run(struct replay *r, struct generation *g, bool *over, struct error *err) {
  bool known = g->position.state == POSITION_SET;
  bool resumed = known && !g->position.run.finished;
  *over = known && !resumed && (r->begun || !r->settings->request.again);
  if (*over) {
    r->outcome->was_finished = !r->begun;
  } else {
    struct replay_window window;
    if (!read_window(r, g, resumed, &window, err))
      return false;
    if (!resumed && !begin_run(r, g, &window, err))
      return false;
    if (resumed && (!admit(g, r->relay.slot, publisher_position_topic(r->publisher), &g->position, err) ||
                    !replay_run_resume(&g->position, &window, err)))
      return false;
    if (resumed)
      r->unproven = g->position.commit_lsn == 0 && g->position.run.from_us != 0 && window.start == 0;
  }
  if (!r->begun)
    r->outcome->records_before = g->position.run.records;
  r->begun = true;
  r->outcome->run = g->position.run;
  memcpy(r->run_id, g->position.run.id, sizeof r->run_id);
  return true;
}

/* Up to a source that streams. */
static bool start(struct replay *r, struct generation *g, bool *over, struct error *err) {
  const struct relay_settings *s = &r->relay;
  char copy[REPLAY_COPY_SIZE];
  replay_copy_name(s->slot, copy);
  bool busy;
  if (!look(r, g, err))
    return false;
  g->rep = replication_open(s->conninfo, s->name, err);
  if (g->rep == NULL || !replication_identify(g->rep, &g->facts.admit.identity, err) ||
      !admit(g, r->settings->relay->slot, publisher_position_topic(r->relay_publisher), &g->relay, err) ||
      !copy_slot(r, g, copy, err) || !open_position(r, g, err) || !settle_run(r, g, over, err))
    return false;
  if (*over)
    return true;
  lsn_t from = replay_run_start(&g->position);
  r->relay.intake.filter.from_us = g->position.run.from_us;
  r->relay.intake.filter.to_us = g->position.run.to_us;
  r->relay.intake.record.mark = (struct record_header){.name = HEADER_REPLAY, .value = slice_of(r->run_id)};
  if (!relay_start_streaming(s, g->rep, copy, from, &busy, err))
    return false;
  if (busy)
    return error_set(err, ERROR_RETRY, "the temporary slot %s is not ours", copy);
  int64_t sender_timeout_ms = replication_sender_timeout_ms(g->rep);
  g->source = source_start(g->rep, g->position.run.to + 1, r->progress);
  g->rep = NULL;
  struct intake *intake = intake_new(&s->intake, &g->position, g->position.commit_lsn != 0);
  if (!relay_resolve_partitions(s, &g->facts.publication, g->conn, sender_timeout_ms, intake, &g->partitions, err)) {
    intake_free(intake);
    return false;
  }
  source_go(g->source, decoder_new(decoder_class_find(s->plugin)), intake);
  source_ack(g->source, g->facts.admit.slot.confirmed_flush_lsn);
  progress_enter(r->progress, PROGRESS_STREAMING);
  g->streaming_ms = g->watched_ms = clock_monotonic_ms();
  log_info("replay.streaming", log_string("run", g->position.run.id), log_lsn("from", from),
           log_lsn("to", g->position.run.to), log_int("records_before", (int64_t)g->position.run.records));
  return true;
}

/* A server goes on without a word when the publication is gone, or another one. */
static bool watch(struct replay *r, struct generation *g, struct error *err) {
  g->watched_ms = clock_monotonic_ms();
  struct admit_facts f = g->facts.admit;
  f.slot.exists = false; /* nobody else can move the copy */
  return facts_publication(&g->facts, g->conn, &r->relay, err) && admit_still(&f, &g->position, err) &&
         facts_check_publication(&g->facts, &r->relay, err);
}

static void report(struct replay *r, bool always) {
  int64_t now_ms = clock_monotonic_ms();
  if (!always && now_ms - r->reported_ms < REPORT_INTERVAL_MS)
    return;
  r->reported_ms = now_ms;
  const struct position *position = position_now(r);
  struct progress_snapshot seen;
  progress_look(r->progress, &seen);
  lsn_t at =
      seen.unpublished_events == 0 && seen.received > position->commit_lsn ? seen.received : position->commit_lsn;
  struct replay_progress progress = {.run = &position->run,
                                     .at = at > position->run.to ? position->run.to : at,
                                     .events = position->run.records - r->outcome->records_before};
  r->settings->report(r->settings->report_ctx, &progress);
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
static bool prove(struct replay *r, const struct segment *batch, bool over, struct error *err) {
  while (batch != NULL && segment_is_idle(batch))
    batch = batch->next;
  if (!r->unproven || (batch == NULL && !over))
    return true;
  const struct position_run *run = &r->outcome->run;
  if (batch == NULL || batch->commit_time_us >= run->from_us)
    return replay_run_refuse_unproven(run, batch == NULL ? 0 : batch->commit_time_us, err);
  r->unproven = false;
  return true;
}

static bool print(struct replay *r, const struct segment *batch, struct error *err) {
  bool counts = r->settings->request.sink == REPLAY_COUNT;
  for (const struct segment *s = batch; s != NULL; s = s->next)
    for (const struct record *record = s->first; record != NULL; record = record->next) {
      if (!counts && !printer_record(&r->printer, record, &r->unread, err))
        return false;
      if (r->unread)
        return true;
      tally_note(r->outcome->tally, record);
    }
  publisher_advance(&r->at, batch);
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
static bool deliver(struct replay *r, struct generation *g, const struct segment *batch, bool over, struct error *err) {
  if (!prove(r, batch, over, err))
    return false;
  if (batch == NULL)
    return true;
  if (to_kafka(r)) {
    source_set_publishing(g->source, true);
    bool ok = publisher_publish(r->publisher, batch, err);
    source_set_publishing(g->source, false);
    if (!ok)
      return false;
  } else if (!print(r, batch, err)) {
    return false;
  }
  source_ack(g->source, batch_end_lsn(batch));
  r->outcome->run = position_now(r)->run;
  r->outcome->reached = position_now(r)->commit_lsn;
  r->unreachable_since_ms = 0;
  return true;
}

/* All up to `to` is done. */
static bool finish(struct replay *r, struct generation *g, struct error *err) {
  if (!watch(r, g, err))
    return false;
  struct position last;
  position_init(&last);
  position_copy(&last, position_now(r));
  last.run.finished = true;
  bool ok = keep_position(r, &last, err);
  position_clear(&last);
  r->outcome->run = position_now(r)->run;
  return ok;
}

static bool stream(struct replay *r, struct generation *g, struct error *err) {
  struct handover *queue = source_handover(g->source);
  bool over = false;
  while (!over) {
    report(r, false);
    if (!go_on(r, err))
      return false;
    r->unread = r->unread || (r->settings->request.sink == REPLAY_STDOUT && printer_hung_up(&r->printer));
    if (r->unread)
      return true;
    if (clock_monotonic_ms() - g->watched_ms >= WATCH_INTERVAL_MS && !watch(r, g, err))
      return false;
    if (to_kafka(r))
      publisher_rest(r->publisher);
    struct segment *batch = NULL;
    switch (handover_take(queue, TAKE_SLICE_MS, &batch, err)) {
    case HANDOVER_EMPTY:
      if (clock_monotonic_ms() - g->streaming_ms > STEADY_MS) /* so much of it holds nothing of ours */
        r->unreachable_since_ms = 0;
      break;
    case HANDOVER_CLOSED:
      return false;
    case HANDOVER_BATCH: {
      batch = cut(batch, g->position.run.to, &over);
      bool ok = deliver(r, g, batch, over, err);
      if (!ok)
        publisher_close(r->publisher); /* before the records that it still points to */
      segment_free_list(batch);
      if (!ok)
        return false;
    }
    }
  }
  return finish(r, g, err);
}

static bool run_generation(struct replay *r, struct error *err) {
  if (r->unreachable_since_ms == 0)
    r->unreachable_since_ms = clock_monotonic_ms();
  struct generation g = {.conn = NULL};
  position_init(&g.relay);
  position_init(&g.position);
  bool over;
  bool ok = start(r, &g, &over, err) && (over || stream(r, &g, err));
  if (g.source != NULL)
    report(r, true);
  publisher_close(r->publisher);
  generation_end(&g);
  return ok;
}

/* May the run go on after this end of a generation? One switch for all kinds. */
static bool recoverable(const struct replay *r, const struct error *err) {
  switch (err->kind) {
  case ERROR_STOPPED:
  case ERROR_CONFIG:
  case ERROR_REFUSED:
  case ERROR_FATAL:
  case ERROR_NONE:
    return false;
  case ERROR_FENCED:
    if (err->code == CODE_SLOT_HELD)
      return false;
    break;
  case ERROR_RETRY:
  case ERROR_START_OVER:
    break;
  }
  return r->unreachable_since_ms == 0 || clock_monotonic_ms() - r->unreachable_since_ms < UNREACHABLE_MAX_MS;
}

static void note(void *ctx, const struct record *record) {
  tally_note(ctx, record);
}

/* The relay's settings, with what is a replay's own. */
static void replay_init(struct replay *r) {
  const struct replay_settings *s = r->settings;
  const struct replay_request *request = &s->request;
  replay_run_key(request, s->relay->name, s->relay->retain.slot, r->key);
  r->relay = *s->relay;
  r->instance = replay_instance(s->relay->name);
  r->relay.name = r->instance;
  r->relay.slot = s->relay->retain.slot;
  r->relay.intake.filter =
      (struct intake_filter){.types = request->types, .type_count = request->type_count, .no_dead_letters = true};
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
  while (!(ok = run_generation(&r, err)) && recoverable(&r, err)) {
    log_error_event(LOG_WARN, "replay.recovering", err);
    if (!pause_ms(&r, backoff_next_ms(&backoff))) {
      error_set(err, ERROR_STOPPED, "stopped");
      break;
    }
    publisher_close(r.relay_publisher);
  }
  replay_end(&r);
  return ok;
}
