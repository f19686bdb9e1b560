/* See progress.h. */
#include "bridge/relay/progress.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "bridge/base/clock.h"
#include "bridge/base/memory.h"

#define PEER_SLOW_MS 5000 /* a server that has not answered for so long counts as away */
#define STUCK_MS 60000    /* a thread that has made no step for so long hangs */
#define STUCK_TALKING_MS                                                                                               \
  180000 /* the same in calls to a server, which have limits of their own of up to a minute each */
#define SLOT_STALE_MS 120000
#define RETAINED_STALE_MS 900000 /* moving it up may take minutes */
#define TIDY_WAIT_MS 5000        /* so long publishing may wait for rows to be marked or deleted */

struct progress {
  struct handover_levels queue;

  _Atomic(int64_t) turned_ms;
  _Atomic(int64_t) source_turned_ms; /* 0: no source */
  _Atomic(int64_t) heard_ms;
  _Atomic(int64_t) silence_max_ms;
  _Atomic(lsn_t) received;

  pthread_mutex_t lock;          /* guards all below */
  struct progress_snapshot told; /* what is told as it is; the rest of it is filled in by progress_look */
  int64_t entered_ms;
  int64_t talking_since_ms;
  int64_t slot_read_ms;
  int64_t retained_read_ms;
  int64_t tidy_failing_since_ms; /* 0: it does not fail */
  int64_t tidy_waits_since_ms;   /* 0: nobody waits */
  lsn_t target;                  /* the server had so much WAL then, and had not sent all of it: */
  int64_t target_ms;
};

const char *progress_state_name(enum progress_state state) {
  switch (state) {
  case PROGRESS_STARTING:
    return "starting";
  case PROGRESS_STANDBY:
    return "standby";
  case PROGRESS_SNAPSHOT:
    return "snapshot";
  case PROGRESS_STREAMING:
    return "streaming";
  case PROGRESS_RECOVERING:
    return "recovering";
  case PROGRESS_STOPPING:
    return "stopping";
  }
  return "";
}

struct progress *progress_new(void) {
  struct progress *p = memory_alloc(sizeof *p);
  pthread_mutex_init(&p->lock, NULL);
  p->told.state = PROGRESS_STARTING;
  p->told.peer = PROGRESS_NOBODY;
  p->told.failed_peer = PROGRESS_NOBODY;
  p->entered_ms = p->talking_since_ms = clock_monotonic_ms();
  atomic_store(&p->turned_ms, p->entered_ms);
  return p;
}

void progress_free(struct progress *p) {
  if (p == NULL)
    return;
  pthread_mutex_destroy(&p->lock);
  free(p);
}

static void look_at_stream(struct progress *p, struct progress_snapshot *out) {
  out->received = atomic_load(&p->received);
  out->queue_bytes = atomic_load(&p->queue.bytes);
  out->queue_bytes_max = atomic_load(&p->queue.bytes_max);
  out->unpublished_events = atomic_load(&p->queue.unpublished);
}

static void look_at_source(struct progress *p, struct progress_snapshot *out, int64_t now_ms) {
  int64_t turned_ms = atomic_load(&p->source_turned_ms);
  int64_t heard_ms = atomic_load(&p->heard_ms);
  out->source_turned_ago_ms = turned_ms == 0 ? -1 : now_ms - turned_ms;
  out->heard_ago_ms = heard_ms == 0 ? -1 : now_ms - heard_ms;
  out->silence_max_ms = atomic_load(&p->silence_max_ms);
}

static lsn_t reached(const struct progress *p) {
  lsn_t received = atomic_load(&p->received);
  return received > p->told.position_ack_lsn ? received : p->told.position_ack_lsn;
}

static int64_t lag_us(const struct progress *p, int64_t now_ms) {
  int64_t oldest_us = atomic_load(&p->queue.oldest_commit_us);
  int64_t us = 0;
  if (oldest_us != 0)
    us = clock_wall_us() - oldest_us;
  else if (reached(p) < p->target)
    us = (now_ms - p->target_ms) * 1000;
  return us < 0 ? 0 : us;
}

void progress_look(struct progress *p, struct progress_snapshot *out) {
  pthread_mutex_lock(&p->lock);
  *out = p->told;
  int64_t now_ms = clock_monotonic_ms();
  look_at_source(p, out, now_ms);
  out->state_ms = now_ms - p->entered_ms;
  out->peer_ms = now_ms - p->talking_since_ms;
  out->turned_ago_ms = now_ms - atomic_load(&p->turned_ms);
  out->tidy.failing_ms = p->tidy_failing_since_ms == 0 ? 0 : now_ms - p->tidy_failing_since_ms + 1;
  out->tidy.waiting_ms = p->tidy_waits_since_ms == 0 ? 0 : now_ms - p->tidy_waits_since_ms + 1;
  if (now_ms - p->slot_read_ms > SLOT_STALE_MS)
    out->slot_read_us = 0;
  if (now_ms - p->retained_read_ms > RETAINED_STALE_MS)
    out->retained_read_us = 0;
  if (out->state == PROGRESS_STREAMING) {
    out->lag_us = lag_us(p, now_ms);
    look_at_stream(p, out);
  } else {
    out->position_commit_lsn = out->position_ack_lsn = 0;
  }
  pthread_mutex_unlock(&p->lock);
}

static const char *away(enum progress_peer peer) {
  switch (peer) {
  case PROGRESS_POSTGRES:
    return "postgres_away";
  case PROGRESS_KAFKA:
    return "kafka_away";
  case PROGRESS_NOBODY:
    break;
  }
  return NULL;
}

/* The server that a thread waits for in vain, as a reason; NULL when none. */
static const char *silent_peer(const struct progress_snapshot *s) {
  if (s->peer_ms > PEER_SLOW_MS && s->peer != PROGRESS_NOBODY)
    return away(s->peer);
  if (s->state != PROGRESS_STREAMING)
    return NULL;
  if (s->heard_ago_ms < 0 || s->heard_ago_ms > s->silence_max_ms)
    return "postgres_away";
  return s->kafka_away ? "kafka_away" : NULL;
}

void progress_readiness(const struct progress_snapshot *s, struct progress_readiness *out) {
  static const char waiting[] = "an answer is waited for, for longer than it should take";
  const char *silent = silent_peer(s);
  *out = (struct progress_readiness){.reason = silent != NULL ? silent : progress_state_name(s->state), .details = ""};
  switch (s->state) {
  case PROGRESS_SNAPSHOT:
  case PROGRESS_STREAMING:
    out->ready = silent == NULL && s->tidy.waiting_ms <= TIDY_WAIT_MS;
    if (silent != NULL)
      out->details = s->kafka_away ? s->kafka_error : waiting;
    else if (s->tidy.failing_ms > 0)
      out->details = s->tidy.error; /* which is a warning as long as it holds up nothing but the slot */
    if (silent == NULL && !out->ready)
      out->reason = "after_publish_stuck";
    break;
  case PROGRESS_STARTING:
  case PROGRESS_STANDBY:
  case PROGRESS_STOPPING:
    if (silent != NULL)
      out->details = waiting;
    break;
  case PROGRESS_RECOVERING:
    out->details = s->failed_message;
    /* What is in doubt of a server that answers is no absence; of Kafka, a time-out is told in the same way. */
    if (silent == NULL &&
        (s->failed_kind == ERROR_RETRY || (s->failed_kind == ERROR_START_OVER && s->failed_peer == PROGRESS_KAFKA)) &&
        away(s->failed_peer) != NULL)
      out->reason = away(s->failed_peer);
    break;
  }
}

bool progress_alive(const struct progress_snapshot *s) {
  int64_t limit_ms = s->peer == PROGRESS_NOBODY ? STUCK_MS : STUCK_TALKING_MS;
  return s->turned_ago_ms <= limit_ms && s->source_turned_ago_ms <= STUCK_MS;
}

void progress_turn(struct progress *p) {
  atomic_store(&p->turned_ms, clock_monotonic_ms());
}

void progress_enter(struct progress *p, enum progress_state state) {
  progress_turn(p);
  pthread_mutex_lock(&p->lock);
  if (state != p->told.state)
    p->entered_ms = clock_monotonic_ms();
  p->told.state = state;
  p->told.peer = PROGRESS_NOBODY;
  pthread_mutex_unlock(&p->lock);
}

void progress_generation(struct progress *p, int64_t generation) {
  pthread_mutex_lock(&p->lock);
  p->told.generation = generation;
  p->tidy_waits_since_ms = 0;
  p->target = 0; /* another server, perhaps */
  pthread_mutex_unlock(&p->lock);
}

void progress_talk(struct progress *p, enum progress_peer peer) {
  progress_turn(p);
  pthread_mutex_lock(&p->lock);
  p->told.peer = peer;
  p->talking_since_ms = clock_monotonic_ms();
  pthread_mutex_unlock(&p->lock);
}

void progress_failed(struct progress *p, const struct error *err) {
  pthread_mutex_lock(&p->lock);
  struct progress_snapshot *told = &p->told;
  told->failed_us = clock_wall_us();
  told->failed_kind = err->kind;
  told->failed_peer = told->peer;
  told->failed_code = err->code;
  snprintf(told->failed_message, sizeof told->failed_message, "%s", err->message);
  told->recoveries_retry += err->kind == ERROR_RETRY;
  told->recoveries_start_over += err->kind == ERROR_START_OVER;
  told->recoveries_fenced += err->kind == ERROR_FENCED;
  told->kafka_away = false; /* of the attempt that ended */
  pthread_mutex_unlock(&p->lock);
  progress_enter(p, PROGRESS_RECOVERING);
}

void progress_slot(struct progress *p, const struct catalog_slot *slot) {
  pthread_mutex_lock(&p->lock);
  p->told.slot = *slot;
  p->told.slot_read_us = clock_wall_us();
  p->slot_read_ms = clock_monotonic_ms();
  if (p->told.state != PROGRESS_STREAMING || reached(p) >= p->target) {
    p->target = slot->wal_lsn;
    p->target_ms = p->slot_read_ms;
  }
  pthread_mutex_unlock(&p->lock);
}

void progress_published(struct progress *p, const struct totals *totals, const struct position *position) {
  pthread_mutex_lock(&p->lock);
  p->told.published = *totals;
  p->told.position_commit_lsn = position->commit_lsn;
  p->told.position_ack_lsn = position_ack_lsn(position);
  p->told.position_commit_time_us = position->commit_time_us;
  p->told.position_complete = position->complete;
  pthread_mutex_unlock(&p->lock);
}

void progress_retain_limits(struct progress *p, int64_t keep_ms, int64_t keep_bytes) {
  pthread_mutex_lock(&p->lock);
  p->told.retained_keep_ms = keep_ms;
  p->told.retained_keep_bytes = keep_bytes;
  pthread_mutex_unlock(&p->lock);
}

void progress_retained(struct progress *p, const struct catalog_slot *slot, int64_t since_us) {
  pthread_mutex_lock(&p->lock);
  p->told.retained = *slot;
  p->told.retained_read_us = clock_wall_us();
  p->told.retained_since_us = since_us;
  p->retained_read_ms = clock_monotonic_ms();
  pthread_mutex_unlock(&p->lock);
}

void progress_retain_trouble(struct progress *p, const struct error *err) {
  pthread_mutex_lock(&p->lock);
  snprintf(p->told.retained_trouble, sizeof p->told.retained_trouble, "%s",
           err->kind == ERROR_NONE ? "" : err->message);
  pthread_mutex_unlock(&p->lock);
}

void progress_rows(struct progress *p, const struct position_snapshot *rows) {
  pthread_mutex_lock(&p->lock);
  p->told.rows = *rows;
  pthread_mutex_unlock(&p->lock);
}

void progress_kafka_answered(struct progress *p) {
  pthread_mutex_lock(&p->lock);
  p->told.kafka_away = false;
  pthread_mutex_unlock(&p->lock);
}

void progress_kafka_silent(struct progress *p, const struct error *err) {
  pthread_mutex_lock(&p->lock);
  p->told.kafka_away = true;
  snprintf(p->told.kafka_error, sizeof p->told.kafka_error, "%s", err->message);
  pthread_mutex_unlock(&p->lock);
}

void progress_tidied(struct progress *p, int64_t rows, int64_t backlog, const struct error *failure) {
  pthread_mutex_lock(&p->lock);
  p->told.tidy.wanted = true;
  p->told.tidy.rows += (uint64_t)rows;
  p->told.tidy.backlog = backlog;
  if (failure == NULL)
    p->tidy_failing_since_ms = 0;
  else if (p->tidy_failing_since_ms == 0)
    p->tidy_failing_since_ms = clock_monotonic_ms();
  snprintf(p->told.tidy.error, sizeof p->told.tidy.error, "%s", failure == NULL ? "" : failure->message);
  pthread_mutex_unlock(&p->lock);
}

void progress_tidy_waits(struct progress *p, bool waits) {
  pthread_mutex_lock(&p->lock);
  if (!waits)
    p->tidy_waits_since_ms = 0;
  else if (p->tidy_waits_since_ms == 0)
    p->tidy_waits_since_ms = clock_monotonic_ms();
  pthread_mutex_unlock(&p->lock);
}

struct handover_levels *progress_queue(struct progress *p) {
  return &p->queue;
}

void progress_source_started(struct progress *p, int64_t silence_max_ms) {
  int64_t now_ms = clock_monotonic_ms();
  atomic_store(&p->silence_max_ms, silence_max_ms);
  atomic_store(&p->received, 0);
  atomic_store(&p->heard_ms, now_ms);
  atomic_store(&p->source_turned_ms, now_ms);
}

void progress_source_turned(struct progress *p, int64_t now_ms) {
  atomic_store_explicit(&p->source_turned_ms, now_ms, memory_order_relaxed);
}

void progress_heard(struct progress *p, lsn_t received, int64_t now_ms) {
  atomic_store_explicit(&p->received, received, memory_order_relaxed);
  atomic_store_explicit(&p->heard_ms, now_ms, memory_order_relaxed);
}

void progress_source_ended(struct progress *p) {
  atomic_store(&p->source_turned_ms, 0);
  atomic_store(&p->heard_ms, 0);
  atomic_store(&p->received, 0);
}
