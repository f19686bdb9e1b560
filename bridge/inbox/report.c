/* See report.h. */
#include "bridge/inbox/report.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/clock.h"
#include "bridge/base/memory.h"

#define PEER_SLOW_MS 5000 /* a server that has not answered for so long counts as away */
#define STUCK_MS 60000    /* a thread that has made no step for so long hangs */
/* The same in calls to a server, which have limits of their own of up to a minute each. To both limits of a server the
 * time is added that a handler may take. */
#define STUCK_TALKING_MS 180000

struct partition {
  struct inbox_partition_view view;
  int64_t reported_ms;
};

struct inbox_report {
  _Atomic(int64_t) turned_ms;
  size_t handler_count; /* with the one for no handler; fixed */

  pthread_mutex_t lock;       /* guards all below */
  struct inbox_snapshot told; /* without the two lists; the rest of it is filled in by inbox_report_look */
  int64_t entered_ms;
  int64_t talking_since_ms;
  struct inbox_handler_counts *handlers;
  struct partition *partitions; /* sorted */
  size_t partition_count;
  size_t partition_capacity;
};

const char *inbox_state_name(enum inbox_state state) {
  switch (state) {
  case INBOX_STARTING:
    return "starting";
  case INBOX_STREAMING:
    return "streaming";
  case INBOX_RECOVERING:
    return "recovering";
  case INBOX_STOPPING:
    return "stopping";
  }
  return "";
}

const char *inbox_outcome_name(enum inbox_outcome outcome) {
  switch (outcome) {
  case INBOX_PROCESSED:
    return "processed";
  case INBOX_DUPLICATE:
    return "duplicate";
  case INBOX_IGNORED:
    return "ignored";
  case INBOX_SKIPPED:
    return "skipped";
  case INBOX_PARKED:
    return "parked";
  case INBOX_DEAD_LETTERED:
    return "dead_lettered";
  }
  return "";
}

const char *inbox_partition_state_name(enum inbox_partition_state state) {
  switch (state) {
  case INBOX_PARTITION_READING:
    return "reading";
  case INBOX_PARTITION_BACKING_OFF:
    return "backing_off";
  case INBOX_PARTITION_STOPPED:
    return "stopped";
  }
  return "";
}

struct inbox_report *inbox_report_new(const struct handler_spec *handlers, size_t handler_count) {
  struct inbox_report *r = memory_alloc(sizeof *r);
  pthread_mutex_init(&r->lock, NULL);
  r->handler_count = handler_count + 1;
  r->handlers = memory_alloc(r->handler_count * sizeof *r->handlers);
  for (size_t i = 0; i < handler_count; i++)
    r->handlers[i].type = handlers[i].type;
  r->told.state = INBOX_STARTING;
  r->told.peer = INBOX_NOBODY;
  r->told.failed_peer = INBOX_NOBODY;
  r->entered_ms = r->talking_since_ms = clock_monotonic_ms();
  atomic_store(&r->turned_ms, r->entered_ms);
  return r;
}

void inbox_report_free(struct inbox_report *r) {
  if (r == NULL)
    return;
  pthread_mutex_destroy(&r->lock);
  free(r->handlers);
  free(r->partitions);
  free(r);
}

void inbox_report_call_limit(struct inbox_report *r, int64_t timeout_ms) {
  pthread_mutex_lock(&r->lock);
  r->told.call_limit_ms = timeout_ms;
  pthread_mutex_unlock(&r->lock);
}

void inbox_report_turn(struct inbox_report *r) {
  atomic_store(&r->turned_ms, clock_monotonic_ms());
}

void inbox_report_enter(struct inbox_report *r, enum inbox_state state) {
  inbox_report_turn(r);
  pthread_mutex_lock(&r->lock);
  if (state != r->told.state)
    r->entered_ms = clock_monotonic_ms();
  r->told.state = state;
  r->told.peer = INBOX_NOBODY;
  pthread_mutex_unlock(&r->lock);
}

void inbox_report_talk(struct inbox_report *r, enum inbox_peer peer) {
  inbox_report_turn(r);
  pthread_mutex_lock(&r->lock);
  r->told.peer = peer;
  r->talking_since_ms = clock_monotonic_ms();
  pthread_mutex_unlock(&r->lock);
}

void inbox_report_failed(struct inbox_report *r, const struct error *err) {
  pthread_mutex_lock(&r->lock);
  struct inbox_snapshot *told = &r->told;
  told->failed_us = clock_wall_us();
  told->failed_kind = err->kind;
  told->failed_peer = told->peer;
  told->failed_code = err->code;
  snprintf(told->failed_message, sizeof told->failed_message, "%s", err->message);
  told->recoveries_retry += err->kind == ERROR_RETRY;
  told->recoveries_start_over += err->kind == ERROR_START_OVER;
  told->recoveries_fatal += err->kind == ERROR_FATAL;
  told->kafka_away = false; /* of the attempt that ended */
  pthread_mutex_unlock(&r->lock);
  inbox_report_enter(r, INBOX_RECOVERING);
}

void inbox_report_kafka_silent(struct inbox_report *r, const struct error *err) {
  pthread_mutex_lock(&r->lock);
  r->told.kafka_away = true;
  snprintf(r->told.kafka_error, sizeof r->told.kafka_error, "%s", err->message);
  pthread_mutex_unlock(&r->lock);
}

void inbox_report_kafka_answered(struct inbox_report *r) {
  pthread_mutex_lock(&r->lock);
  r->told.kafka_away = false;
  pthread_mutex_unlock(&r->lock);
}

/* Where that partition is, or would be. */
static size_t place(const struct inbox_report *r, const char *topic, int32_t partition, bool *there) {
  size_t low = 0, high = r->partition_count;
  *there = false;
  while (low < high && !*there) {
    size_t middle = low + (high - low) / 2;
    const struct inbox_partition_view *view = &r->partitions[middle].view;
    int order = strcmp(view->topic, topic);
    if (order == 0)
      order = (view->partition > partition) - (view->partition < partition);
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
    *there = order == 0;
  }
  return high;
}

static void make_room(struct inbox_report *r, size_t at) {
  if (r->partition_count == r->partition_capacity) {
    r->partition_capacity = r->partition_capacity * 2 + 8;
    r->partitions = memory_resize(r->partitions, r->partition_capacity * sizeof *r->partitions);
  }
  memmove(&r->partitions[at + 1], &r->partitions[at], (r->partition_count - at) * sizeof *r->partitions);
  r->partition_count++;
}

void inbox_report_partition(struct inbox_report *r, const struct inbox_partition_view *view) {
  pthread_mutex_lock(&r->lock);
  bool there;
  size_t at = place(r, view->topic, view->partition, &there);
  if (!there)
    make_room(r, at);
  r->partitions[at] = (struct partition){.view = *view, .reported_ms = clock_monotonic_ms()};
  pthread_mutex_unlock(&r->lock);
}

void inbox_report_partition_gone(struct inbox_report *r, const char *topic, int32_t partition) {
  pthread_mutex_lock(&r->lock);
  bool there;
  size_t at = place(r, topic, partition, &there);
  if (there) {
    r->partition_count--;
    memmove(&r->partitions[at], &r->partitions[at + 1], (r->partition_count - at) * sizeof *r->partitions);
  }
  pthread_mutex_unlock(&r->lock);
}

/* Under the lock. */
static struct inbox_handler_counts *counts(struct inbox_report *r, int handler) {
  return &r->handlers[handler < 0 ? r->handler_count - 1 : (size_t)handler];
}

static void count_dead_letter(struct inbox_snapshot *told, const char *code) {
  int i = 0;
  while (i < told->dead_letter_codes && strcmp(code, told->dead_letters[i].code) != 0)
    i++;
  if (i == INBOX_DEAD_LETTER_CODES)
    i--;
  if (i == told->dead_letter_codes)
    told->dead_letters[told->dead_letter_codes++].code = code;
  told->dead_letters[i].count++;
}

void inbox_report_outcome(struct inbox_report *r, int handler, enum inbox_outcome outcome, const char *code) {
  pthread_mutex_lock(&r->lock);
  counts(r, handler)->outcomes[outcome]++;
  if (outcome == INBOX_DEAD_LETTERED)
    count_dead_letter(&r->told, code);
  pthread_mutex_unlock(&r->lock);
}

void inbox_report_retry(struct inbox_report *r, int handler) {
  pthread_mutex_lock(&r->lock);
  counts(r, handler)->retries++;
  pthread_mutex_unlock(&r->lock);
}

void inbox_report_called(struct inbox_report *r, int handler, int64_t us) {
  int64_t now_ms = clock_monotonic_ms();
  atomic_store(&r->turned_ms, now_ms);
  pthread_mutex_lock(&r->lock);
  histogram_add(&counts(r, handler)->time, us);
  r->talking_since_ms = now_ms;
  pthread_mutex_unlock(&r->lock);
}

void inbox_report_batch(struct inbox_report *r, int messages, int64_t us) {
  inbox_report_turn(r);
  pthread_mutex_lock(&r->lock);
  r->told.batches++;
  r->told.messages += (uint64_t)messages;
  histogram_add(&r->told.batch_time, us);
  pthread_mutex_unlock(&r->lock);
}

static size_t partition_count(struct inbox_report *r) {
  pthread_mutex_lock(&r->lock);
  size_t count = r->partition_count;
  pthread_mutex_unlock(&r->lock);
  return count;
}

/* Under the lock. */
static void copy_partitions(const struct inbox_report *r, int64_t now_ms, struct inbox_snapshot *out) {
  out->partition_count = r->partition_count;
  for (size_t i = 0; i < r->partition_count; i++) {
    const struct partition *from = &r->partitions[i];
    out->partitions[i] = from->view;
    if (from->view.behind_ms > 0)
      out->partitions[i].behind_ms += now_ms - from->reported_ms;
  }
}

/* False where there are more partitions by now than there is room for. */
static bool copy(struct inbox_report *r, struct inbox_handler_counts *handlers, struct inbox_partition_view *partitions,
                 size_t room, struct inbox_snapshot *out) {
  pthread_mutex_lock(&r->lock);
  bool fits = r->partition_count <= room;
  if (fits) {
    int64_t now_ms = clock_monotonic_ms();
    *out = r->told;
    out->state_ms = now_ms - r->entered_ms;
    out->peer_ms = now_ms - r->talking_since_ms;
    out->turned_ago_ms = now_ms - atomic_load(&r->turned_ms);
    out->handlers = handlers;
    out->handler_count = r->handler_count;
    memcpy(handlers, r->handlers, r->handler_count * sizeof *handlers);
    out->partitions = partitions;
    copy_partitions(r, now_ms, out);
  }
  pthread_mutex_unlock(&r->lock);
  return fits;
}

void inbox_report_look(struct inbox_report *r, struct inbox_snapshot *out) {
  struct inbox_handler_counts *handlers = memory_alloc(r->handler_count * sizeof *handlers);
  size_t room = partition_count(r);
  struct inbox_partition_view *partitions = memory_alloc(room * sizeof *partitions);
  while (!copy(r, handlers, partitions, room, out)) { /* memory is not asked for under the lock */
    room = partition_count(r);
    partitions = memory_resize(partitions, room * sizeof *partitions);
  }
}

void inbox_snapshot_free(struct inbox_snapshot *snapshot) {
  free(snapshot->handlers);
  free(snapshot->partitions);
}

static const char *away(enum inbox_peer peer) {
  switch (peer) {
  case INBOX_POSTGRES:
    return "postgres_away";
  case INBOX_KAFKA:
    return "kafka_away";
  case INBOX_NOBODY:
    break;
  }
  return NULL;
}

/* What one call to the peer may take besides what any call may. */
static int64_t call_limit_ms(const struct inbox_snapshot *s) {
  return s->peer == INBOX_POSTGRES ? s->call_limit_ms : 0;
}

/* The server that is waited for in vain, as a reason; NULL when none. */
static const char *silent_peer(const struct inbox_snapshot *s) {
  if (s->peer_ms > PEER_SLOW_MS + call_limit_ms(s) && s->peer != INBOX_NOBODY)
    return away(s->peer);
  return s->state == INBOX_STREAMING && s->kafka_away ? away(INBOX_KAFKA) : NULL;
}

static void explain_stopped(const struct inbox_snapshot *s, struct inbox_readiness *out) {
  const struct inbox_partition_view *first = NULL;
  int others = -1;
  for (size_t i = 0; i < s->partition_count; i++) {
    if (s->partitions[i].state != INBOX_PARTITION_STOPPED)
      continue;
    if (first == NULL)
      first = &s->partitions[i];
    others++;
  }
  out->ready = first == NULL;
  if (first == NULL)
    return;
  out->reason = "partition_stopped";
  int len = snprintf(out->details, sizeof out->details, "%s [%d], %s: %s", first->topic, first->partition,
                     first->code == NULL ? "stopped" : first->code, first->message);
  if (others > 0)
    snprintf(out->details + len, sizeof out->details - (size_t)len, "; and %d more", others);
}

void inbox_readiness(const struct inbox_snapshot *s, struct inbox_readiness *out) {
  const char *silent = silent_peer(s);
  *out = (struct inbox_readiness){.reason = silent != NULL ? silent : inbox_state_name(s->state)};
  const char *details = silent != NULL ? "an answer is waited for, for longer than it should take" : "";
  switch (s->state) {
  case INBOX_STREAMING:
    if (silent == NULL)
      explain_stopped(s, out);
    else if (s->kafka_away && silent == away(INBOX_KAFKA))
      details = s->kafka_error;
    break;
  case INBOX_STARTING:
  case INBOX_STOPPING:
    break;
  case INBOX_RECOVERING:
    details = s->failed_message;
    /* What is in doubt of a server that answers is no absence. */
    if (silent == NULL && s->failed_kind == ERROR_RETRY && away(s->failed_peer) != NULL)
      out->reason = away(s->failed_peer);
    break;
  }
  if (details[0] != '\0')
    snprintf(out->details, sizeof out->details, "%s", details);
}

bool inbox_alive(const struct inbox_snapshot *s) {
  int64_t limit_ms = s->peer == INBOX_NOBODY ? STUCK_MS : STUCK_TALKING_MS + call_limit_ms(s);
  return s->turned_ago_ms <= limit_ms;
}
