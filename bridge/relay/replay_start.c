/* See replay_state.h: who may replay, what, from where. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/clock.h"
#include "bridge/base/fnv1a.h"
#include "bridge/base/log.h"
#include "bridge/base/number.h"
#include "bridge/event/headers.h"
#include "bridge/relay/history.h"
#include "bridge/relay/replay_state.h"

#define REACHABLE_TIMEOUT_MS 10000
#define HISTORY_TIMEOUT_MS 30000
#define HELD_GRACE_MS 5000 /* the backend of a replay that was killed may hold the copy for a moment longer */
#define HELD_RETRY_MS 100

const char REPLAY_SLOT_HELD[] = "slot_held";

void replay_copy_name(const char *slot, char name[REPLAY_COPY_SIZE]) {
  if (strlen(slot) + sizeof "_run" <= REPLAY_COPY_SIZE)
    snprintf(name, REPLAY_COPY_SIZE, "%s_run", slot);
  else
    snprintf(name, REPLAY_COPY_SIZE, "%.*s_%08" PRIx32 "_run", REPLAY_COPY_SIZE - 14, slot,
             (uint32_t)fnv1a(FNV1A_START, slot, strlen(slot)));
}

bool replay_go_on(const struct replay *r, struct error *err) {
  return !atomic_load(&r->stop->requested) || error_set(err, ERROR_STOPPED, "stopped");
}

bool replay_pause(const struct replay *r, int64_t ms) {
  for (int64_t end = clock_monotonic_ms() + ms; clock_monotonic_ms() < end; clock_sleep_ms(20))
    if (atomic_load(&r->stop->requested))
      return false;
  return true;
}

/* An advisory lock of the session's: it goes with the connection. *holder: the backend that has it, 0 where that is us,
 * or was gone before it could be named. */
static bool try_lock(struct replay *r, struct connection *conn, bool *ours, int *holder, struct error *err) {
  static const char sql[] =
      "SELECT pg_catalog.pg_try_advisory_lock(k.key), pg_catalog.pg_backend_pid(), (SELECT l.pid FROM "
      "pg_catalog.pg_locks l WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND "
      "l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) AND "
      "((l.classid::bigint << 32) | l.objid::bigint) = k.key AND l.pid <> pg_catalog.pg_backend_pid()) "
      "FROM (SELECT pg_catalog.hashtextextended('walferry.replay.' || $1, 0) AS key) k";
  struct rows *rows = connection_query(conn, sql, 1, &r->settings->relay->name, err);
  if (rows == NULL)
    return error_wrap(err, "taking the lock of the replays");
  int64_t pid = 0;
  *ours = rows_bool(rows, 0, 0);
  if (rows_text(rows, 0, *ours ? 1 : 2) != NULL)
    number_parse(slice_of(rows_text(rows, 0, *ours ? 1 : 2)), 1, INT32_MAX, &pid);
  if (*ours)
    r->last_backend_pid = (int)pid;
  *holder = *ours ? 0 : (int)pid;
  rows_free(rows);
  return true;
}

static bool lock(struct replay *r, struct connection *conn, struct error *err) {
  for (int64_t end = clock_monotonic_ms() + HELD_GRACE_MS;;) {
    bool ours = false;
    int holder = 0;
    if (!try_lock(r, conn, &ours, &holder, err))
      return false;
    if (ours)
      return true;
    if (clock_monotonic_ms() < end) {
      if (!replay_pause(r, HELD_RETRY_MS))
        return error_set(err, ERROR_STOPPED, "stopped");
      continue;
    }
    if (holder != 0 && holder == r->last_backend_pid)
      return error_set(err, ERROR_RETRY, "our own backend %d still holds the lock of the replays", holder);
    error_set(err, ERROR_FENCED, "another replay of this instance is running (backend %d)", holder);
    err->code = REPLAY_SLOT_HELD;
    return error_remedy(err, "wait until it is done, or stop it; what it has published stays published");
  }
}

bool replay_connect(struct replay *r, struct replay_attempt *a, struct error *err) {
  a->conn = connection_open(r->relay.conninfo, r->relay.name, err);
  if (a->conn == NULL && r->let_in && err->kind == ERROR_CONFIG)
    err->kind = ERROR_RETRY; /* the config is to blame only at first */
  if (a->conn == NULL)
    return false;
  r->let_in = true;
  bool only_reads = r->settings->request.source == REPLAY_TABLE && !replay_to_kafka(r);
  return only_reads || lock(r, a->conn, err);
}

bool replay_peek(struct replay *r, struct replay_attempt *a, struct error *err) {
  const char *topic = publisher_position_topic(r->relay_publisher);
  struct kafka_topic_facts facts = {.exists = false};
  if (!publisher_reachable(r->relay_publisher, REACHABLE_TIMEOUT_MS, err))
    return false;
  struct kafka_admin *admin = kafka_admin_new(&r->settings->relay->publisher.kafka, err);
  bool ok = admin != NULL && kafka_admin_topic(admin, topic, REACHABLE_TIMEOUT_MS, &facts, NULL, err) &&
            (!facts.exists || publisher_peek(r->relay_publisher, &a->relay, err));
  kafka_admin_free(admin);
  return ok;
}

/* Ordinary questions to both servers. */
static bool look(struct replay *r, struct replay_attempt *a, struct error *err) {
  const struct relay_settings *s = &r->relay;
  if (!replay_connect(r, a, err))
    return false;
  if (!facts_server(&a->facts, a->conn, s, err) || !facts_publication(&a->facts, a->conn, s, err) ||
      !catalog_slot(a->conn, s->slot, &a->facts.admit.slot, err) ||
      !retain_usable(s->slot, &a->facts.admit.slot, s->plugin, a->facts.admit.database, err) ||
      !facts_check_publication(&a->facts, s, err) || !replay_go_on(r, err))
    return false;
  if (!replay_peek(r, a, err))
    return false;
  if (a->relay.state == POSITION_SET)
    return true;
  error_refuse(err, "position_missing", "%s holds no position: nothing is known to have been published",
               publisher_position_topic(r->relay_publisher));
  return error_remedy(err,
                      "start the relay first (`walferry relay CONFIG`): what it has published can be replayed. Where "
                      "its position topic was lost it is refused, and says from where to go on");
}

/* May a stored position go on here: same cluster, database, slot, publication, a timeline of this server's history? How
 * far the slot stands is not asked: a replay has bounds of its own. */
static bool admit(struct replay_attempt *a, const char *slot, const char *topic, struct position *position,
                  bool *changed, struct error *err) {
  struct admit_facts f = a->facts.admit;
  f.slot_name = slot;
  f.position_topic = topic;
  f.slot.confirmed_flush_lsn = 0;
  bool ignored;
  if (position->timeline != f.identity.timeline &&
      !replication_timeline_end(a->rep, f.identity.timeline, position->timeline, &f.ancestor_found, &f.ancestor_end,
                                err))
    return false;
  return admit_position(&f, position, changed, &ignored, err);
}

/* Nobody else replays: the backend of one that was killed may still hold the copy's name. */
static bool copy_slot(struct replay *r, struct replay_attempt *a, const char *copy, struct error *err) {
  for (int64_t end = clock_monotonic_ms() + HELD_GRACE_MS;;) {
    bool taken;
    struct catalog_slot held;
    if (!replication_copy_slot(a->rep, r->relay.slot, copy, &taken, err))
      return false;
    if (!catalog_slot(a->conn, copy, &held, err))
      return false;
    if (!taken) {
      a->facts.admit.slot.confirmed_flush_lsn = held.confirmed_flush_lsn;
      return true;
    }
    if (clock_monotonic_ms() >= end)
      return error_set(err, ERROR_RETRY, "backend %d still holds slot %s", held.active_pid, copy);
    if (!replay_pause(r, HELD_RETRY_MS))
      return error_set(err, ERROR_STOPPED, "stopped");
  }
}

bool replay_open_position(struct replay *r, struct replay_attempt *a, struct error *err) {
  if (replay_to_kafka(r))
    return publisher_check_position_topic(r->publisher, err) && publisher_open(r->publisher, &a->position, err);
  position_copy(&a->position, &r->at);
  return true;
}

bool replay_keep_position(struct replay *r, const struct position *position, struct error *err) {
  if (replay_to_kafka(r))
    return publisher_store(r->publisher, position, err);
  position_copy(&r->at, position);
  return true;
}

void replay_first_position(const struct replay_attempt *a, const struct position_run *run, struct position *first) {
  *first = (struct position){.state = POSITION_SET, .complete = true, .end_lsn = run->from, .run = *run};
  for (int i = 0; i < a->relay.topic_count; i++)
    position_pin(first, a->relay.topics[i].name, a->relay.topics[i].partitions);
  for (int i = 0; i < a->position.topic_count; i++)
    if (position_partitions(first, a->position.topics[i].name) == 0)
      position_pin(first, a->position.topics[i].name, a->position.topics[i].partitions);
}

/* The first position is stored once it is known that there is a run: what is stored holds WAL back for it. */
static bool begin_run(struct replay *r, struct replay_attempt *a, const struct replay_window *window,
                      struct error *err) {
  struct position_run run;
  if (!replay_run_begin(&r->settings->request, window, r->key, &a->position.run, &run, &r->unproven, err))
    return false;
  struct position first;
  replay_first_position(a, &run, &first);
  admit_fill_identity(&a->facts.admit, &first);
  bool ok = r->unproven || replay_keep_position(r, &first, err);
  if (ok)
    position_copy(&a->position, &first);
  position_clear(&first);
  return ok;
}

/* Where times lie in the WAL, as far as the history of the relay's position knows. */
static bool read_times(const struct replay *r, const struct replay_attempt *a, int64_t from_us,
                       struct replay_window *window, struct error *err) {
  const struct kafka_settings *kafka = &r->settings->relay->publisher.kafka;
  struct kafka_admin *admin = kafka_admin_new(kafka, err);
  struct history history = {.count = 0};
  bool ok = admin != NULL && history_read(admin, kafka, publisher_position_topic(r->relay_publisher),
                                          HISTORY_TIMEOUT_MS, &r->stop->requested, &history, err);
  kafka_admin_free(admin);
  if (!ok)
    return false;
  const char *system_id = a->facts.admit.identity.system_id;
  for (int i = 0; i < history.count && window->retained_us == 0; i++)
    if (history.entries[i].lsn >= window->retained && strcmp(history.entries[i].system_id, system_id) == 0)
      window->retained_us = history.entries[i].at_us;
  lsn_t start = from_us == 0 || history.gaps ? 0 : history_start(&history, from_us, system_id);
  if (start >= window->retained)
    window->start = start;
  history_free(&history);
  return true;
}

/* Times are looked up only where they matter: for a run that begins at one, or to say what there is. */
static bool read_window(const struct replay *r, const struct replay_attempt *a, bool resumed,
                        struct replay_window *window, struct error *err) {
  *window = (struct replay_window){.retained = a->facts.admit.slot.confirmed_flush_lsn,
                                   .published = replay_published(&a->relay)};
  const struct replay_point *asked = &r->settings->request.from;
  lsn_t start = resumed ? replay_run_start(&a->position) : asked->lsn;
  return start >= window->retained || read_times(r, a, asked->us, window, err);
}

/* An interrupted run: is it one that can go on here? What it was published with from now on is stored. */
static bool resume_run(struct replay *r, struct replay_attempt *a, const struct replay_window *window,
                       struct error *err) {
  struct position *p = &a->position;
  bool changed;
  if (admit(a, r->relay.slot, publisher_position_topic(r->publisher), p, &changed, err))
    return replay_run_resume(p, window, err) && (!changed || replay_keep_position(r, p, err));
  if (err->kind == ERROR_REFUSED)
    error_remedy(err,
                 "put back what is not as it was, and the same command goes on. Or replay what is left as a run of its "
                 "own: --from %s%s",
                 lsn_format(p->commit_lsn + (p->complete ? 1 : 0)).text,
                 p->complete ? "" : ", which repeats what is published of that transaction");
  return false;
}

void replay_take_run(struct replay *r, const struct replay_attempt *a) {
  const struct position_run *run = &a->position.run;
  if (!r->begun)
    r->outcome->records_before = run->records;
  r->begun = !r->unproven;
  r->outcome->run = *run;
  memcpy(r->run_id, run->id, sizeof r->run_id);
}

/* Begins the run, or goes on with it. One that has published nothing yet begins anew: a time that counts from now does
 * not mean the day on which it was refused. *over: it is finished already. */
static bool settle_run(struct replay *r, struct replay_attempt *a, bool *over, struct error *err) {
  const struct position_run *run = &a->position.run;
  bool resumed = a->position.state == POSITION_SET && !run->finished && a->position.commit_lsn != 0;
  *over = run->finished && (r->begun || !r->settings->request.again);
  if (*over) {
    r->outcome->was_finished = !r->begun;
  } else {
    struct replay_window window;
    if (!read_window(r, a, resumed, &window, err))
      return false;
    if (!resumed && !begin_run(r, a, &window, err))
      return false;
    if (resumed && !resume_run(r, a, &window, err))
      return false;
    r->unproven = r->unproven && !resumed;
  }
  replay_take_run(r, a);
  return true;
}

bool replay_start(struct replay *r, struct replay_attempt *a, bool *over, struct error *err) {
  const struct relay_settings *s = &r->relay;
  char copy[REPLAY_COPY_SIZE];
  replay_copy_name(s->slot, copy);
  bool busy, changed;
  if (!look(r, a, err))
    return false;
  a->rep = replication_open(s->conninfo, s->name, err);
  if (a->rep == NULL || !replication_identify(a->rep, &a->facts.admit.identity, err) ||
      !admit(a, r->settings->relay->slot, publisher_position_topic(r->relay_publisher), &a->relay, &changed, err) ||
      !copy_slot(r, a, copy, err) || !replay_open_position(r, a, err) || !settle_run(r, a, over, err))
    return false;
  if (*over)
    return true;
  lsn_t from = replay_run_start(&a->position);
  r->relay.intake.filter.from_us = a->position.run.from_us;
  r->relay.intake.filter.to_us = a->position.run.to_us;
  r->relay.intake.record.mark = (struct record_header){.name = HEADER_REPLAY, .value = slice_of(r->run_id)};
  if (!relay_start_streaming(s, a->rep, copy, from, &busy, err))
    return false;
  if (busy)
    return error_set(err, ERROR_RETRY, "the temporary slot %s is not ours", copy);
  int64_t sender_timeout_ms = replication_sender_timeout_ms(a->rep);
  a->source = source_start(a->rep, a->position.run.to + 1, r->progress);
  a->rep = NULL;
  struct intake *intake = intake_new(&s->intake, &a->position, a->position.commit_lsn != 0);
  if (!relay_resolve_partitions(s, &a->facts.publication, a->conn, sender_timeout_ms, intake, &a->partitions, err)) {
    intake_free(intake);
    return false;
  }
  source_go(a->source, decoder_new(decoder_class_find(s->plugin)), intake);
  source_ack(a->source, a->facts.admit.slot.confirmed_flush_lsn);
  progress_enter(r->progress, PROGRESS_STREAMING);
  a->streaming_ms = a->watched_ms = clock_monotonic_ms();
  log_info("replay.streaming", log_string("run", a->position.run.id), log_lsn("from", from),
           log_lsn("to", a->position.run.to), log_int("records_before", (int64_t)a->position.run.records));
  return true;
}
