/* See relay.h. */
#include "bridge/relay/relay.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bridge/base/backoff.h"
#include "bridge/base/clock.h"
#include "bridge/base/failpoint.h"
#include "bridge/base/log.h"
#include "bridge/relay/facts.h"
#include "bridge/relay/lost.h"
#include "bridge/relay/slot_risk.h"
#include "bridge/relay/snapshot.h"
#include "bridge/relay/source.h"
#include "bridge/relay/tidy.h"
#include "bridge/relay/tidy_table.h"
#include "bridge/relay/watch.h"
#include "bridge/relay/worklist.h"

#define TAKE_SLICE_MS 100
#define TAKE_SLICE_UNTIL_MS 10 /* with an end in sight, look often whether it is acknowledged */
#define STANDBY_RETRY_MS 1000
#define HELD_GRACE_MS 3000     /* a killed instance's backend may hold the slot for a moment longer */
#define PROBE_INTERVAL_MS 5000 /* Kafka is asked whether it is there when nothing was published for so long */
#define PROBE_RETRY_MS 1000
#define PROBE_TIMEOUT_MS 2000
#define UNREACHABLE_MAX_MS 60000 /* with an `until` */
#define REACHABLE_TIMEOUT_MS 10000
#define LAST_WORDS_MS 1000
#define STEADY_MS 30000 /* an attempt that lasted for so long is no part of a row of failures */
#define DECODE_FAILURES_MAX 3
#define PARTITION_LOOKUP_MAX_MS 2000

static const char CODE_SLOT_HELD[] = "slot_held";

/* Lives as long as the process: what recovery must remember. */
struct relay {
  const struct relay_settings *settings;
  const struct stop *stop;
  struct progress *progress;
  struct publisher *publisher;
  struct retain *retain; /* NULL: no slot is held back */
  lsn_t until;           /* 0: none, or not known yet */
  bool adopted;          /* --adopt-slot has had its effect */
  bool fenced;           /* the last generation lost its transactional id */
  bool let_in;           /* Postgres has accepted us, over both kinds of connection */
  int last_backend_pid;
  int64_t generation;
  int64_t unreachable_since_ms; /* 0: all is well; else since the start of the first attempt that failed */
  struct slot_risk slot_risk;
  lsn_t slot_lsn; /* confirmed by the slot when it was last read */
  lsn_t decode_failed_at;
  int decode_failures;
  char verified[128]; /* the history whose last covered transaction came again: as in struct generation */
};

/* One attempt: everything that is dropped and made again by the recovery. */
struct generation {
  struct connection *conn; /* until the watch takes it */
  struct watch *watch;
  struct replication *rep;      /* until the source takes it */
  struct replication *exporter; /* made the slot, and keeps the snapshot that it has exported; NULL: there is none */
  struct replication_snapshot exported;
  lsn_t exported_at;           /* where that slot begins */
  struct replication *witness; /* where the server is a standby: tells its timeline, which a promotion changes */
  struct source *source;
  struct intake *intake;         /* until the source takes it */
  struct partitions *partitions; /* NULL with a plugin that tells of rows by the root */
  struct facts facts;
  struct position position;
  bool expect_last;
  struct tidy *tidy; /* NULL: rows stay as they are */
  char history[128]; /* with it: what was published last, and the server's start; "" without */
  int64_t probe_due_ms;
};

static void generation_end(struct generation *g) {
  tidy_stop(g->tidy); /* which tells the source */
  source_stop(g->source);
  intake_free(g->intake);
  partitions_free(g->partitions);
  replication_close(g->rep);
  replication_close(g->exporter);
  replication_close(g->witness);
  watch_stop(g->watch);
  connection_close(g->conn);
  facts_free(&g->facts);
  position_clear(&g->position);
}

static bool stopped(const struct relay *r, struct error *err) {
  if (!atomic_load(&r->stop->requested))
    return false;
  error_set(err, ERROR_STOPPED, "stopped");
  return true;
}

/* Sleeps in slices; false when asked to stop. */
static bool pause_ms(const struct relay *r, int64_t ms) {
  for (int64_t end = clock_monotonic_ms() + ms; clock_monotonic_ms() < end;) {
    if (atomic_load(&r->stop->requested))
      return false;
    progress_turn(r->progress);
    clock_sleep_ms(20);
  }
  return true;
}

/* What was read of the slot is for whoever watches, and for the log. */
static void tell_slot(struct relay *r, const struct catalog_slot *slot) {
  r->slot_lsn = slot->confirmed_flush_lsn;
  progress_slot(r->progress, slot);
  slot_risk_note(&r->slot_risk, r->settings->slot, slot, clock_monotonic_ms());
}

static bool read_slot(struct relay *r, struct generation *g, struct error *err) {
  progress_talk(r->progress, PROGRESS_POSTGRES);
  if (!catalog_slot(g->conn, r->settings->slot, &g->facts.admit.slot, err))
    return false;
  tell_slot(r, &g->facts.admit.slot);
  return true;
}

/* Where the position's timeline ended, if the server is on another. */
static bool read_history(struct generation *g, struct replication *rep, struct error *err) {
  struct admit_facts *f = &g->facts.admit;
  f->ancestor_found = false;
  if (g->position.state != POSITION_SET || g->position.timeline == f->identity.timeline)
    return true;
  return replication_timeline_end(rep, f->identity.timeline, g->position.timeline, &f->ancestor_found, &f->ancestor_end,
                                  err);
}

/* A refusal because the server's history ends before the position: what is in Kafka beyond it? */
static bool name_lost(struct relay *r, const struct generation *g, struct error *err) {
  lsn_t from;
  progress_talk(r->progress, PROGRESS_KAFKA);
  if (err->kind == ERROR_REFUSED && admit_lost_from(&g->facts.admit, &g->position, &from))
    lost_report(&r->settings->publisher.kafka, &g->position, from, &r->stop->requested, err);
  return false;
}

/* The option asks for it, or did when an attempt that ended early began; once is enough, whatever slot is made later.
 */
static bool wants_snapshot(const struct relay *r, const struct position *position) {
  return position->snapshot.state == POSITION_SNAPSHOT_ASKED ||
         (r->settings->snapshot && position->snapshot.state == POSITION_SNAPSHOT_NONE);
}

/* The slot is made, and its first position is stored once the work list is: while that is copied, this connection keeps
 * the snapshot, and the slot is held by another. */
static bool keep_exporter(struct relay *r, struct generation *g, lsn_t consistent_point, struct error *err) {
  g->exporter = g->rep;
  g->exported_at = consistent_point;
  g->rep = replication_open(r->settings->conninfo, r->settings->name, err);
  return g->rep != NULL && replication_identify(g->rep, &g->facts.admit.identity, err);
}

/* Publication, intent, slot, first position; only where nothing was ever published. The stored intent makes a slot
 * without a position ours to go on with, or says that it was to come with a snapshot. */
static bool create_slot(struct relay *r, struct generation *g, struct error *err) {
  const struct relay_settings *s = r->settings;
  progress_talk(r->progress, PROGRESS_KAFKA);
  if (!publisher_open(r->publisher, &g->position, err))
    return false;
  /* Another instance may have made all of it since we looked. */
  if (!read_slot(r, g, err))
    return false;
  if (g->facts.admit.slot.exists)
    return error_set(err, ERROR_START_OVER, "slot %s appeared meanwhile", s->slot);
  if (!read_history(g, g->rep, err))
    return false;
  if (!admit_creation(&g->facts.admit, &g->position, err))
    return name_lost(r, g, err);
  bool snapshot = wants_snapshot(r, &g->position);
  if (!admit_may_create(s->slot, s->create || snapshot, err))
    return false;
  if (s->publication != NULL && !g->facts.publication.exists && s->create &&
      (!admit_tables(&g->facts.publication, err) || !facts_create_publication(g->conn, s, err) ||
       !facts_publication(&g->facts, g->conn, s, err)))
    return false;
  if (!facts_check_publication(&g->facts, s, err) || (snapshot && !worklist_suits(&g->facts.publication, err)))
    return false;

  g->position.state = POSITION_INTENT;
  g->position.complete = true;
  if (snapshot)
    g->position.snapshot.state = POSITION_SNAPSHOT_ASKED;
  admit_fill_identity(&g->facts.admit, &g->position);
  progress_talk(r->progress, PROGRESS_KAFKA);
  if (!publisher_store(r->publisher, &g->position, err))
    return false;
  FAILPOINT("relay.after_intent");
  progress_talk(r->progress, PROGRESS_POSTGRES);
  bool exists;
  lsn_t consistent_point;
  if (!replication_create_slot(g->rep, s->slot, s->plugin, s->failover, &exists, &consistent_point,
                               snapshot ? &g->exported : NULL, err))
    return false;
  if (exists)
    return error_set(err, ERROR_START_OVER, "slot %s appeared meanwhile", s->slot);
  FAILPOINT("relay.after_slot_created");
  log_info("relay.slot_created", log_string("slot", s->slot), log_string("plugin", s->plugin),
           log_lsn("lsn", consistent_point));
  if (snapshot)
    return keep_exporter(r, g, consistent_point, err);
  admit_begin(&g->position, consistent_point);
  progress_talk(r->progress, PROGRESS_KAFKA);
  if (!publisher_store(r->publisher, &g->position, err))
    return false;
  FAILPOINT("relay.after_first_position");
  r->adopted = true; /* nothing to adopt any more */
  return true;
}

/* How long servers may stay away yet. */
static int64_t patience_ms(const struct relay *r) {
  if (r->settings->until == RELAY_FOREVER || r->unreachable_since_ms == 0)
    return INT64_MAX;
  int64_t left = r->unreachable_since_ms + UNREACHABLE_MAX_MS - clock_monotonic_ms();
  return left > 0 ? left : 0;
}

static int64_t at_most(int64_t ms, int64_t max_ms) {
  return ms < max_ms ? ms : max_ms;
}

/* A server that accepted us before in this run will again, once a certificate is renewed or a right is given back; only
 * at first the config is to blame. */
static bool not_let_in(const struct relay *r, struct error *err) {
  if (r->let_in && err->kind == ERROR_CONFIG)
    err->kind = ERROR_RETRY;
  return false;
}

/* Steps 1 to 3a: ordinary questions, Kafka's reachability, the replication connection. */
static bool connect_both(struct relay *r, struct generation *g, struct error *err) {
  const struct relay_settings *s = r->settings;
  progress_talk(r->progress, PROGRESS_POSTGRES);
  g->conn = connection_open(s->conninfo, s->name, err);
  if (g->conn == NULL)
    return not_let_in(r, err);
  /* The slot is read here too, so that what it keeps is known while Kafka is away. */
  if (!facts_server(&g->facts, g->conn, s, err) || !facts_publication(&g->facts, g->conn, s, err) ||
      !read_slot(r, g, err) || !facts_check_primary(&g->facts, err) || !facts_check_failover_slot(&g->facts, s, err) ||
      !tidy_tables_check(g->conn, s->intake.tables, s->intake.table_count, err))
    return false;
  progress_talk(r->progress, PROGRESS_KAFKA);
  g->facts.admit.position_topic = publisher_position_topic(r->publisher);
  if (!publisher_reachable(r->publisher, (int)at_most(REACHABLE_TIMEOUT_MS, patience_ms(r)), err) ||
      !publisher_check_position_topic(r->publisher, err))
    return false;
  progress_talk(r->progress, PROGRESS_POSTGRES);
  g->rep = replication_open(s->conninfo, s->name, err);
  if (g->rep == NULL)
    return not_let_in(r, err);
  r->let_in = true;
  if (!replication_identify(g->rep, &g->facts.admit.identity, err))
    return false;
  if (s->until == RELAY_UNTIL_NOW && r->until == 0 &&
      !catalog_now(g->conn, g->facts.admit.identity.flush_lsn, &r->until, err))
    return false;
  return read_slot(r, g, err);
}

bool relay_start_streaming(const struct relay_settings *settings, struct replication *rep, const char *slot, lsn_t from,
                           bool *busy, struct error *err) {
  struct decoder_options options;
  decoder_options_init(&options, decoder_class_find(settings->plugin), settings->publication);
  bool ok = replication_start(rep, slot, from, options.count, (const char *const *)options.texts, busy, err);
  decoder_options_free(&options);
  return ok;
}

/* Better now than when the other instance has ended. */
static bool admit_standby(struct relay *r, struct generation *g, struct error *err) {
  if (!r->settings->snapshot)
    return true;
  struct position stored;
  position_init(&stored);
  g->facts.admit.snapshot = true;
  progress_talk(r->progress, PROGRESS_KAFKA);
  bool ok = publisher_peek(r->publisher, &stored, err) && admit_snapshot(&g->facts.admit, &stored, err);
  position_clear(&stored);
  return ok;
}

/* Step 3: the slot is the lock. Waits as a hot standby while another instance holds it. */
static bool acquire_slot(struct relay *r, struct generation *g, struct error *err) {
  const struct relay_settings *s = r->settings;
  bool announced = false;
  int64_t began_ms = clock_monotonic_ms();
  for (;;) {
    bool busy;
    progress_talk(r->progress, PROGRESS_POSTGRES);
    if (!relay_start_streaming(s, g->rep, s->slot, 0, &busy, err)) {
      if (err->code != NULL &&
          strcmp(err->code, "slot_missing") == 0) /* gone since we looked: start() knows what to do */
        error_set(err, ERROR_START_OVER, "slot %s disappeared", s->slot);
      return false;
    }

    if (!busy) {
      if (announced) {
        progress_enter(r->progress, PROGRESS_STARTING);
        publisher_close(r->publisher); /* a connection that was idle for so long may have been cut silently */
      }
      return true;
    }
    if (g->exporter != NULL)
      return error_set(err, ERROR_START_OVER, "slot %s was taken by another instance as soon as it was made", s->slot);
    if (!read_slot(r, g, err))
      return false;
    int holder = g->facts.admit.slot.active_pid;
    bool another = holder != 0 && holder != r->last_backend_pid;
    bool leave = r->fenced || s->until != RELAY_FOREVER;
    if (another && leave && clock_monotonic_ms() - began_ms >= HELD_GRACE_MS) {
      error_set(err, ERROR_FENCED, "slot %s is held by another instance (backend %d)", s->slot, holder);
      err->code = CODE_SLOT_HELD;
      return error_remedy(err, "stop the other instance, or run this one without --until as a hot standby");
    }
    if (!announced && !admit_standby(r, g, err))
      return false;
    if (!announced)
      log_info("relay.standby", log_string("slot", s->slot), log_int("holder", holder));
    announced = true;
    progress_enter(r->progress, PROGRESS_STANDBY);
    if (!pause_ms(r, leave ? STANDBY_RETRY_MS / 4 : STANDBY_RETRY_MS))
      return error_set(err, ERROR_STOPPED, "stopped");
    /* While we waited, the holder may have split from us in time: everything read before is stale. */
    if (!replication_identify(g->rep, &g->facts.admit.identity, err) || !facts_publication(&g->facts, g->conn, s, err))
      return false;
  }
}

/* A slot that nobody reads is made a failover slot, where the config asks for it. While somebody does, the server takes
 * no change: who gets the slot then starts over. */
static bool keep_failover(struct relay *r, struct generation *g, struct error *err) {
  const struct relay_settings *s = r->settings;
  const struct catalog_slot *slot = &g->facts.admit.slot;
  if (!s->failover || !slot->exists || slot->failover || slot->active)
    return true;
  if (!replication_set_failover(g->rep, s->slot, err))
    return false;
  log_info("relay.failover_enabled", log_string("slot", s->slot));
  return true;
}

/* The slot is no longer ours, and nothing was taken of its stream: does the server say why it has ended that? */
static bool told_why(const struct generation *g, struct error *err) {
  struct segment *none;
  if (g->source == NULL) /* we ended it */
    return false;
  source_pass_over(g->source);
  return handover_take(source_handover(g->source), LAST_WORDS_MS, &none, err) == HANDOVER_CLOSED;
}

/* What the slot says now that it is ours. */
static bool read_held_slot(struct relay *r, struct generation *g, int backend_pid, struct error *err) {
  for (int attempt = 0;; attempt++) {
    if (!read_slot(r, g, err))
      return false;
    if (g->facts.admit.slot.active_pid == backend_pid)
      return !r->settings->failover || g->facts.admit.slot.failover ||
             error_set(err, ERROR_START_OVER, "slot %s is ours, and to be made a failover slot", r->settings->slot);
    if (attempt == 50 && g->facts.admit.slot.active_pid == 0 && told_why(g, err))
      return false;
    if (attempt == 50)
      return error_set(err, ERROR_START_OVER, "slot %s is not held by our backend %d but by %d", r->settings->slot,
                       backend_pid, g->facts.admit.slot.active_pid);
    clock_sleep_ms(20); /* START_REPLICATION was accepted; the row follows */
  }
}

/* Asked between the steps of a snapshot, during which nothing is taken from the source. */
static bool judge_watched(struct relay *r, struct generation *g, bool fresh, struct error *err);
struct snapshot_turn {
  struct relay *r;
  struct generation *g;
};
static bool snapshot_goes_on(void *ctx, struct error *err) {
  struct snapshot_turn *turn = ctx;
  struct segment *none;
  progress_talk(turn->r->progress, PROGRESS_POSTGRES);
  if (stopped(turn->r, err) || handover_take(source_handover(turn->g->source), 0, &none, err) == HANDOVER_CLOSED)
    return false;
  return turn->g->watch == NULL || !watch_ready(turn->g->watch) || judge_watched(turn->r, turn->g, false, err);
}

static struct snapshot enter_snapshot(struct snapshot_turn *turn, lsn_t point) {
  progress_enter(turn->r->progress, PROGRESS_SNAPSHOT);
  return (struct snapshot){.settings = turn->r->settings,
                           .point = point,
                           .publisher = turn->r->publisher,
                           .source = turn->g->source,
                           .progress = turn->r->progress,
                           .tidy = turn->g->tidy,
                           .wait = {.go_on = snapshot_goes_on, .ctx = turn}};
}

/* A slot without a snapshot where one was asked for, or whose snapshot came to nothing: nothing was published by it.
 * Dropped only if it still is the one that was seen: held by nobody, where it stood. */
static void drop_fruitless_slot(struct relay *r, struct generation *g) {
  static const char sql[] = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1 "
                            "AND NOT active AND confirmed_flush_lsn = $2::pg_lsn";
  const struct catalog_slot *slot = &g->facts.admit.slot;
  lsn_t point = slot->confirmed_flush_lsn;
  struct lsn_text at = lsn_format(point);
  source_stop(g->source);
  g->source = NULL;
  struct error ignored;
  for (int64_t end = clock_monotonic_ms() + HELD_GRACE_MS; clock_monotonic_ms() < end; clock_sleep_ms(20)) {
    struct rows *rows = connection_query(g->conn, sql, 2, (const char *const[]){r->settings->slot, at.text}, &ignored);
    bool dropped = rows != NULL && rows_count(rows) == 1;
    rows_free(rows);
    if (!dropped && catalog_slot(g->conn, r->settings->slot, &g->facts.admit.slot, &ignored) && slot->exists &&
        slot->confirmed_flush_lsn == point)
      continue; /* our own walsender is about to end, or has meanwhile */
    if (dropped)
      log_info("relay.slot_dropped", log_string("slot", r->settings->slot),
               log_string("reason", "it was made for a snapshot that was not taken"));
    return;
  }
}

/* Nothing was published yet, and a snapshot is wanted. */
static bool take_snapshot(struct relay *r, struct generation *g, struct error *err) {
  if (!admit_owner(&g->facts.admit, &g->position, err))
    return false;
  struct snapshot_turn turn = {.r = r, .g = g};
  lsn_t point = g->facts.admit.slot.confirmed_flush_lsn;
  bool ok = g->exporter != NULL && point == g->exported_at; /* else another instance has put its own in the place */
  if (ok) {
    struct snapshot snapshot = enter_snapshot(&turn, point);
    ok = snapshot_copy(&snapshot, &g->facts.publication, g->exported.name, &g->position.snapshot, err);
  } else {
    error_set(err, ERROR_START_OVER, "slot %s is from another attempt, which ended before its snapshot was taken",
              r->settings->slot);
  }
  if (!ok)
    drop_fruitless_slot(r, g);
  replication_close(g->exporter);
  g->exporter = NULL;
  return ok;
}

/* Steps 4 and 5: fence, read the position, compare. */
static bool admit(struct relay *r, struct generation *g, struct replication *history, struct error *err) {
  struct admit_facts *f = &g->facts.admit;
  progress_talk(r->progress, PROGRESS_KAFKA);
  if (!publisher_open(r->publisher, &g->position, err))
    return false;
  progress_talk(r->progress, PROGRESS_POSTGRES);
  if (!read_history(g, history, err))
    return false;
  bool changed;
  if (g->position.state == POSITION_INTENT && wants_snapshot(r, &g->position) && !take_snapshot(r, g, err))
    return false;
  f->adopt = r->settings->adopt_slot && !r->adopted;
  f->snapshot = r->settings->snapshot;
  if (!admit_position(f, &g->position, &changed, &g->expect_last, err))
    return false;
  if (!facts_check_publication(&g->facts, r->settings, err))
    return false;
  if (changed) {
    progress_talk(r->progress, PROGRESS_KAFKA);
    if (!publisher_store(r->publisher, &g->position, err))
      return false;
    FAILPOINT("relay.after_first_position");
  }
  r->adopted = true;
  if (r->settings->snapshot && g->position.snapshot.state == POSITION_SNAPSHOT_DONE && r->generation == 1)
    log_info("relay.snapshot_done", log_int("rows", (int64_t)g->position.snapshot.rows),
             log_string("reason", "decided before: --snapshot has nothing to do any more"));
  return true;
}

/* A refusal counts only while the slot is ours: else another instance went on meanwhile, and we compared its position
 * with our older facts; or the server has ended the stream, and what it says counts. */
static bool refuse_if_held(struct relay *r, struct generation *g, struct error *err) {
  struct error ignored;
  if (!catalog_slot(g->conn, r->settings->slot, &g->facts.admit.slot, &ignored) ||
      (g->facts.admit.slot.active_pid != r->last_backend_pid && !told_why(g, err)))
    error_set(err, ERROR_START_OVER, "slot %s was lost while starting", r->settings->slot);
  return name_lost(r, g, err);
}

/* The slot is there: may it be streamed from at all? What the server would say to START_REPLICATION says less. */
static bool check_before_streaming(const struct generation *g, const struct relay_settings *s, struct error *err) {
  const struct catalog_slot *slot = &g->facts.admit.slot;
  if (slot->logical && slot->plugin[0] == '\0')
    return error_set(err, ERROR_START_OVER, "slot %s is just being created", s->slot);
  if (!admit_slot(&g->facts.admit, err))
    return false;
  if (s->publication == NULL || g->facts.publication.exists)
    return true;
  error_refuse(err, "publication_missing", "publication %s, with which slot %s is read, does not exist", s->publication,
               s->slot);
  return error_remedy(err, "rows committed while it was missing are not sent: find them in the outbox (`walferry "
                           "replay CONFIG --source table --from TIME` publishes what is there). Create it again with "
                           "`walferry init CONFIG`; the next start says from where to go on");
}

static void kafka_answered(struct relay *r, struct generation *g) {
  retain_committed(r->retain, publisher_position(r->publisher));
  progress_published(r->progress, publisher_totals(r->publisher), publisher_position(r->publisher));
  progress_kafka_answered(r->progress);
  progress_talk(r->progress, PROGRESS_NOBODY);
  g->probe_due_ms = clock_monotonic_ms() + PROBE_INTERVAL_MS;
}

static bool find_partition(void *ctx, const struct relation *relation, lsn_t commit_lsn, uint32_t xid, int *table,
                           struct error *err) {
  return partitions_find(ctx, relation, commit_lsn, xid, table, err);
}

bool relay_resolve_partitions(const struct relay_settings *s, const struct catalog_publication *tables,
                              struct connection *conn, int64_t sender_timeout_ms, struct intake *intake,
                              struct partitions **partitions, struct error *err) {
  *partitions = NULL;
  if (decoder_class_find(s->plugin)->reads_publication)
    return true; /* which is made with publish_via_partition_root */
  /* The source thread answers nothing while it asks. */
  bool short_timeout = sender_timeout_ms > 0 && sender_timeout_ms / 8 < PARTITION_LOOKUP_MAX_MS;
  *partitions = partitions_new(s->intake.tables, tables, conn, s->conninfo, s->name,
                               short_timeout ? (int)(sender_timeout_ms / 8) : PARTITION_LOOKUP_MAX_MS, err);
  if (*partitions == NULL)
    return false;
  intake_set_resolver(intake, (struct intake_resolver){.find = find_partition, .ctx = *partitions});
  return true;
}

static bool publish_snapshot(struct relay *r, struct generation *g, struct error *err) {
  struct snapshot_turn turn = {.r = r, .g = g};
  struct snapshot snapshot = enter_snapshot(&turn, g->position.end_lsn);
  bool ok = snapshot_publish(&snapshot, err);
  if (publisher_position(r->publisher)->snapshot.next > g->position.snapshot.next) /* both servers did their part */
    r->unreachable_since_ms = 0;
  if (ok)
    return true;
  /* A work list that is not as it should be may be another instance's doing, which went on with the slot meanwhile. */
  struct error lost;
  if ((err->kind == ERROR_REFUSED || err->kind == ERROR_FATAL) && !judge_watched(r, g, true, &lost))
    *err = lost;
  return false;
}

static void tidied(void *ctx, lsn_t end) {
  source_ack(ctx, end);
}

static void row_published(void *ctx, const struct table_spec *table, struct slice id) {
  tidy_row(ctx, table, id);
}

/* When the server was started: which one it is, as far as a run is concerned. */
static bool read_server_start(struct connection *conn, char *out, size_t size, struct error *err) {
  struct rows *rows = connection_query(conn, "SELECT pg_catalog.pg_postmaster_start_time()", 0, NULL, err);
  if (rows == NULL)
    return false;
  snprintf(out, size, "%s", rows_text(rows, 0, 0));
  rows_free(rows);
  return true;
}

/* Where the conninfo has several servers, or leads through a proxy, each connection may end elsewhere: what is marked
 * on one server must not be acknowledged to another. */
static bool is_server(struct connection *conn, const char *started, struct error *err) {
  char other[64];
  return read_server_start(conn, other, sizeof other, err) &&
         (strcmp(other, started) == 0 ||
          error_set(err, ERROR_START_OVER, "the connection on which rows are marked or deleted led to another server"));
}

/* Rows that the position covers are marked or deleted only once the server has sent the last covered transaction again:
 * of a database that was rolled back to an older state they may be others. Where one of them may come, it takes two
 * generations therefore: what the first one learns holds as long as the server runs. */
static bool start_tidying(struct relay *r, struct generation *g, struct error *err) {
  const struct relay_settings *s = r->settings;
  if (!tidy_wanted(s->intake.tables, s->intake.table_count))
    return true;
  char started[64];
  if (!read_server_start(g->conn, started, sizeof started, err))
    return false;
  snprintf(g->history, sizeof g->history, "%s, xid %" PRIu32 ", server of %s", lsn_format(g->position.commit_lsn).text,
           g->position.xid, started);
  if (g->expect_last)
    intake_set_covered(g->intake,
                       strcmp(r->verified, g->history) == 0 ? INTAKE_COVERED_HAND_ON : INTAKE_COVERED_VERIFY);
  struct connection *conn = connection_open(s->conninfo, s->name, err);
  if (conn == NULL)
    return not_let_in(r, err);
  if (!is_server(conn, started, err)) {
    connection_close(conn);
    return false;
  }
  g->tidy = tidy_start(s->intake.tables, s->intake.table_count, conn, r->progress, tidied, g->source, err);
  publisher_set_row(r->publisher, g->tidy == NULL ? NULL : row_published, g->tidy);
  return g->tidy != NULL;
}

/* The whole start sequence, up to a source that streams. */
static bool start(struct relay *r, struct generation *g, struct error *err) {
  const struct relay_settings *s = r->settings;
  if (!connect_both(r, g, err))
    return false;
  if (g->facts.admit.slot.exists ? !check_before_streaming(g, s, err) : !create_slot(r, g, err))
    return false;
  if (!keep_failover(r, g, err) || !acquire_slot(r, g, err))
    return false;
  int backend_pid = replication_backend_pid(g->rep);
  int64_t sender_timeout_ms = replication_sender_timeout_ms(g->rep);
  r->last_backend_pid = backend_pid;
  g->source = source_start(g->rep, r->until, r->progress);
  g->rep = NULL;
  if (!read_held_slot(r, g, backend_pid, err))
    return false;
  /* The stream's connection can answer no more questions; timelines need one of their own. */
  struct replication *history = replication_open(s->conninfo, s->name, err);
  bool ok =
      history != NULL && replication_identify(history, &g->facts.admit.identity, err) && admit(r, g, history, err);

  if (ok && g->facts.server.in_recovery)
    g->witness = history;
  else
    replication_close(history);
  if (!ok)
    return err->kind == ERROR_REFUSED ? refuse_if_held(r, g, err) : false;

  if (g->position.snapshot.state == POSITION_SNAPSHOT_DONE)
    snapshot_drop_left(s, g->conn, &g->position);
  g->intake = intake_new(&s->intake, &g->position, g->expect_last);
  if (!relay_resolve_partitions(s, &g->facts.publication, g->conn, sender_timeout_ms, g->intake, &g->partitions, err) ||
      !start_tidying(r, g, err))
    return false;
  g->watch = watch_start(s, r->stop, g->conn);
  g->conn = NULL;
  if (g->position.snapshot.state == POSITION_SNAPSHOT_OPEN && !publish_snapshot(r, g, err))
    return false;
  source_go(g->source, decoder_new(decoder_class_find(s->plugin)), g->intake);
  g->intake = NULL;
  /* Acknowledged is only what this generation saw and published: idle progress of an earlier one may lie where a server
   * that was rolled back a little has other rows now. */
  source_ack(g->source, g->facts.admit.slot.confirmed_flush_lsn);

  kafka_answered(r, g);
  progress_enter(r->progress, PROGRESS_STREAMING);
  r->fenced = false;
  r->unreachable_since_ms = 0;
  log_info("relay.streaming", log_string("slot", s->slot), log_lsn("from", position_ack_lsn(&g->position)),
           log_int("generation", r->generation), log_int("backend", backend_pid));
  return true;
}

/* Every few seconds, and anew before idle progress is stored: is the publication (or are the tables) still the one, is
 * the slot still ours? */
static bool judge_watched(struct relay *r, struct generation *g, bool fresh, struct error *err) {
  progress_talk(r->progress, PROGRESS_POSTGRES);
  if (!watch_take(g->watch, fresh, &g->facts, err))
    return false;
  tell_slot(r, &g->facts.admit.slot);
  progress_talk(r->progress, PROGRESS_NOBODY);
  if (g->facts.admit.slot.active_pid != r->last_backend_pid) /* what it says now is another's doing */
    return error_set(err, ERROR_START_OVER, "slot %s is no longer held by us", r->settings->slot);
  return admit_still(&g->facts.admit, publisher_position(r->publisher), err) &&
         facts_check_publication(&g->facts, r->settings, err);
}

static bool holds_idle(const struct segment *batch) {
  for (; batch != NULL; batch = batch->next)
    if (segment_is_idle(batch))
      return true;
  return false;
}

/* The end of what a batch holds whole; 0 if it is all of an unfinished transaction. */
static lsn_t batch_end_lsn(const struct segment *batch) {
  lsn_t end = 0;
  for (; batch != NULL; batch = batch->next)
    if (batch->end_lsn > end)
      end = batch->end_lsn;
  return end;
}

/* A standby that is promoted, or whose primary was, goes on sending beyond the end of its timeline. What was received
 * before it is still on the old one is of that. */
static bool same_timeline(struct relay *r, struct generation *g, struct error *err) {
  struct replication_identity now;
  uint32_t before = g->facts.admit.identity.timeline;
  if (g->witness == NULL)
    return true;
  progress_talk(r->progress, PROGRESS_POSTGRES);
  if (!replication_identify(g->witness, &now, err))
    return false;
  return now.timeline == before ||
         error_set(err, ERROR_START_OVER, "the server went from timeline %" PRIu32 " to %" PRIu32, before,
                   now.timeline);
}

static bool publish(struct relay *r, struct generation *g, const struct segment *batch, struct error *err) {
  if ((holds_idle(batch) && !judge_watched(r, g, true, err)) || !same_timeline(r, g, err))
    return false;
  source_set_publishing(g->source, true);
  progress_talk(r->progress, PROGRESS_KAFKA);
  bool ok = publisher_publish(r->publisher, batch, err);
  source_set_publishing(g->source, false);
  if (!ok)
    return false;
  if (g->tidy != NULL)
    tidy_committed(g->tidy, batch_end_lsn(batch));
  else
    source_ack(g->source, batch_end_lsn(batch));
  FAILPOINT("publisher.after_ack");
  kafka_answered(r, g);
  return true;
}

/* While nothing is to be published: does Kafka answer? It costs readiness and nothing else if it does not: an idle
 * connection that a broker closed is no reason to give up the slot. */
static void probe(struct relay *r, struct generation *g) {
  if (clock_monotonic_ms() < g->probe_due_ms)
    return;
  struct error away;
  progress_talk(r->progress, PROGRESS_KAFKA);
  if (publisher_reachable(r->publisher, PROBE_TIMEOUT_MS, &away)) {
    kafka_answered(r, g);
    return;
  }
  progress_kafka_silent(r->progress, &away);
  progress_talk(r->progress, PROGRESS_NOBODY);
  g->probe_due_ms = clock_monotonic_ms() + PROBE_RETRY_MS;
}

/* Step 6: batches to Kafka, acks back, until the end or an error. *done when the wanted LSN is acknowledged. */
static bool stream(struct relay *r, struct generation *g, bool *done, struct error *err) {
  struct handover *queue = source_handover(g->source);
  int64_t slice_ms = r->until != 0 ? TAKE_SLICE_UNTIL_MS : TAKE_SLICE_MS;
  *done = false;
  for (;;) {
    progress_turn(r->progress);
    if (stopped(r, err))
      return false;
    if (r->until != 0 && source_sent_flush(g->source) >= r->until) {
      *done = true;
      return true;
    }
    if (watch_ready(g->watch) && !judge_watched(r, g, false, err))
      return false;
    bool room = true; /* for the rows of a batch that is published */
    if (g->tidy != NULL && !tidy_room(g->tidy, slice_ms, &room, err))
      return false;
    if (!room) {
      probe(r, g);
      continue;
    }
    publisher_rest(r->publisher);
    struct segment *batch = NULL;
    switch (handover_take(queue, slice_ms, &batch, err)) {
    case HANDOVER_EMPTY:
      publisher_log_progress(r->publisher);
      probe(r, g);
      break;
    case HANDOVER_CLOSED:
      progress_talk(r->progress, err->code == SOURCE_KAFKA_STALLED ? PROGRESS_KAFKA : PROGRESS_POSTGRES);
      return false;
    case HANDOVER_BATCH: {
      bool ok = publish(r, g, batch, err);
      if (!ok)
        publisher_close(r->publisher); /* before the records that it still points to */
      segment_free_list(batch);
      if (!ok)
        return false;
      break;
    }
    }
  }
}

/* The server fails at the same row again and again: going on by ourselves would lose it. */
static bool undecodable(struct relay *r, struct error *err) {
  if (err->code == NULL || strcmp(err->code, "decode_failed") != 0) {
    r->decode_failures = 0;
    return false;
  }
  lsn_t at = position_ack_lsn(publisher_position(r->publisher));
  if (at == 0) /* it failed each time before the position was read */
    at = r->slot_lsn;
  r->decode_failures = at == r->decode_failed_at ? r->decode_failures + 1 : 1;
  r->decode_failed_at = at;
  if (r->decode_failures < DECODE_FAILURES_MAX)
    return false;
  char cause[sizeof err->message];
  snprintf(cause, sizeof cause, "%s", err->message);
  error_refuse(err, "row_undecodable", "the server cannot decode a transaction behind %s: %s", lsn_format(at).text,
               cause);
  error_remedy(
      err, "most likely a row above 500 MB. Stop walferry, note the rows of that transaction in the outbox, "
           "go on behind its commit (SELECT pg_current_wal_lsn() is behind all there is): `walferry position CONFIG "
           "set LSN --confirm NAME`");
  return true;
}

/* May the run go on after this end of a generation? One switch for all kinds. */
static bool recoverable(struct relay *r, struct error *err) {
  switch (err->kind) {
  case ERROR_STOPPED:
  case ERROR_CONFIG:
  case ERROR_REFUSED:
  case ERROR_FATAL:
  case ERROR_NONE:
    return false;
  case ERROR_FENCED:
    if (err->code == CODE_SLOT_HELD) /* and the slot is another's too */
      return false;
    r->fenced = true;
    break;
  case ERROR_RETRY:
  case ERROR_START_OVER:
    break;
  }
  if (r->unreachable_since_ms == 0) /* it streamed until now */
    r->unreachable_since_ms = clock_monotonic_ms();
  return patience_ms(r) > 0 && !undecodable(r, err);
}

/* Up to Postgres 17 the server ends the stream at the first change of the time without the publication. Where there is
 * one again, what is committed from now on can be sent. */
static void name_way_behind(const struct relay *r, struct generation *g, struct error *err) {
  struct error ignored;
  if (err->code == NULL || strcmp(err->code, "publication_missing") != 0)
    return;
  if (g->conn == NULL) /* the watch has it: the server got so far only once we streamed */
    g->conn = connection_open(r->settings->conninfo, r->settings->name, &ignored);
  if (g->conn == NULL || !facts_publication(&g->facts, g->conn, r->settings, &ignored) ||
      !g->facts.publication.exists || !catalog_slot(g->conn, r->settings->slot, &g->facts.admit.slot, &ignored))
    return;
  error_remedy(
      err,
      "there is one again, but the server cannot send anything of the time without. To go on behind what is in "
      "the WAL now: `walferry position CONFIG set %s --confirm NAME`. What was committed before and is not in "
      "Kafka has to be found in the outbox",
      lsn_format(g->facts.admit.slot.wal_lsn).text);
}

/* No failure: the next generation tidies what this one has only looked at. */
static bool is_verified(const struct error *err) {
  return err->code == INTAKE_VERIFIED;
}

static bool run_generation(struct relay *r, bool *done, struct error *err) {
  progress_generation(r->progress, ++r->generation);
  if (r->unreachable_since_ms == 0)
    r->unreachable_since_ms = clock_monotonic_ms();
  struct generation g = {.conn = NULL};
  position_init(&g.position);
  bool ok = start(r, &g, err) && stream(r, &g, done, err);
  retain_committed(r->retain, NULL);
  if (ok || err->kind == ERROR_STOPPED)
    progress_enter(r->progress, PROGRESS_STOPPING);
  else if (is_verified(err))
    progress_enter(r->progress, PROGRESS_STARTING);
  else
    progress_failed(r->progress, err);
  if (!ok)
    name_way_behind(r, &g, err);
  publisher_log_progress(r->publisher);
  publisher_set_row(r->publisher, NULL, NULL);
  publisher_close(r->publisher);
  if (!ok && err->kind == ERROR_STOPPED && g.tidy != NULL)
    tidy_finish(g.tidy, r->stop);
  if (!ok && is_verified(err))
    memcpy(r->verified, g.history, sizeof r->verified);
  generation_end(&g);
  return ok;
}

/* Kafka has answered, and is asked the next thing. */
static void publisher_stepped(void *ctx) {
  progress_talk(ctx, PROGRESS_KAFKA);
}

bool relay_run(const struct relay_settings *settings, const struct stop *stop, struct progress *progress,
               struct error *err) {
  struct relay r = {.settings = settings, .stop = stop, .progress = progress};
  r.publisher = publisher_new(&settings->publisher, stop);
  publisher_set_step(r.publisher, publisher_stepped, progress);
  publisher_keep_history(r.publisher, settings->retain.keep_ms);
  r.retain = retain_start(settings, stop, progress);
  if (settings->until == RELAY_UNTIL_LSN)
    r.until = settings->until_lsn;
  struct backoff backoff;
  backoff_init(&backoff, 100, 10000, (uint64_t)clock_wall_us() ^ (uint64_t)getpid());
  bool done = false;
  bool ok;
  for (;;) {
    int64_t started_ms = clock_monotonic_ms();
    ok = run_generation(&r, &done, err);
    if (ok && done)
      break;
    if (!ok && is_verified(err)) {
      log_info("relay.history_verified", log_string("history", r.verified));
      continue;
    }
    if (err->kind == ERROR_STOPPED || !recoverable(&r, err)) {
      ok = err->kind == ERROR_STOPPED;
      break;
    }
    if (clock_monotonic_ms() - started_ms > STEADY_MS)
      backoff_reset(&backoff);
    int64_t delay_ms = at_most(backoff_next_ms(&backoff), patience_ms(&r));
    log_error_event(LOG_WARN, "relay.recovering", err);
    if (!pause_ms(&r, delay_ms)) {
      ok = true;
      break;
    }
    if (patience_ms(&r) == 0) {
      ok = false;
      break;
    }
  }
  retain_stop(r.retain);
  publisher_free(r.publisher);
  return ok;
}

/* What the relay would say to a slot that is there. */
static bool check_established(struct generation *g, const struct relay_settings *settings, struct error *err) {
  bool changed, expect_last;
  g->facts.admit.snapshot = settings->snapshot;
  return facts_check_publication(&g->facts, settings, err) &&
         (!settings->snapshot || worklist_suits(&g->facts.publication, err)) &&
         (g->position.state == POSITION_NONE && g->facts.admit.slot.exists
              ? admit_position(&g->facts.admit, &g->position, &changed, &expect_last, err)
              : admit_snapshot(&g->facts.admit, &g->position, err));
}

bool relay_establish(const struct relay_settings *settings, const struct stop *stop, enum relay_established *how,
                     struct error *err) {
  struct relay r = {.settings = settings, .stop = stop, .progress = progress_new()};
  r.publisher = publisher_new(&settings->publisher, stop);
  struct generation g = {.conn = NULL};
  position_init(&g.position);
  bool ok = connect_both(&r, &g, err) && publisher_peek(r.publisher, &g.position, err);
  bool left = ok && g.position.state != POSITION_SET && wants_snapshot(&r, &g.position);
  bool there = ok && g.facts.admit.slot.exists;
  *how = left ? RELAY_LEFT : there ? RELAY_WAS_THERE : RELAY_CREATED;
  if (ok && (there || left))
    ok = check_established(&g, settings, err);
  else if (ok)
    ok = create_slot(&r, &g, err);
  publisher_close(r.publisher);
  generation_end(&g);
  publisher_free(r.publisher);
  progress_free(r.progress);
  return ok;
}
