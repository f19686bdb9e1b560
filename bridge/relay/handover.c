/* See handover.h. */
#include "bridge/relay/handover.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "bridge/base/clock.h"
#include "bridge/base/memory.h"

struct handover {
  struct handover_limits limits;
  int space_fd;
  struct handover_levels *levels;
  pthread_mutex_t lock; /* guards all below */
  pthread_cond_t filled;
  struct segment *first;
  struct segment *last;
  size_t bytes;
  int64_t records;
  int64_t taken_records; /* of the batch taken last */
  int64_t taken_commit_us;
  bool taken;   /* a batch, and none asked for since: it is being published */
  bool refused; /* a push was turned away since the last take, or handover_busy said so */
  bool closed;
  struct error why;
};

struct handover *handover_new(const struct handover_limits *limits, int space_fd, struct handover_levels *levels) {
  struct handover *h = memory_alloc(sizeof *h);
  h->limits = *limits;
  h->space_fd = space_fd;
  h->levels = levels;
  atomic_store(&levels->bytes_max, (int64_t)limits->queue_bytes);
  pthread_mutex_init(&h->lock, NULL);
  clock_condition_init(&h->filled);
  return h;
}

void handover_free(struct handover *h) {
  if (h == NULL)
    return;
  segment_free_list(h->first);
  atomic_store(&h->levels->bytes, 0);
  atomic_store(&h->levels->bytes_max, 0);
  atomic_store(&h->levels->unpublished, 0);
  atomic_store(&h->levels->oldest_commit_us, 0);
  pthread_cond_destroy(&h->filled);
  pthread_mutex_destroy(&h->lock);
  free(h);
}

/* The commit time of a list's first transaction that is not published; 0 if it holds none. */
static int64_t oldest_commit_us(const struct segment *s) {
  while (s != NULL && (segment_is_idle(s) || s->covered))
    s = s->next;
  return s == NULL ? 0 : s->commit_time_us;
}

/* Called with the lock held. */
static void tell_levels(const struct handover *h) {
  atomic_store(&h->levels->bytes, (int64_t)h->bytes);
  atomic_store(&h->levels->unpublished, h->records + h->taken_records);
  atomic_store(&h->levels->oldest_commit_us, h->taken_commit_us != 0 ? h->taken_commit_us : oldest_commit_us(h->first));
}

bool handover_push(struct handover *h, struct segment *segment) {
  pthread_mutex_lock(&h->lock);
  if (segment_is_idle(segment) && h->last != NULL && segment_is_idle(h->last)) {
    h->last->end_lsn = segment->end_lsn;
    pthread_mutex_unlock(&h->lock);
    segment_free(segment);
    return true;
  }
  bool fits = h->first == NULL || h->bytes + segment->bytes <= h->limits.queue_bytes;
  if (fits) {
    segment->next = NULL;
    if (h->last == NULL)
      h->first = segment;
    else
      h->last->next = segment;
    h->last = segment;
    h->bytes += segment->bytes;
    h->records += segment->count;
    tell_levels(h);
  } else {
    h->refused = true;
  }
  pthread_cond_signal(&h->filled);
  pthread_mutex_unlock(&h->lock);
  return fits;
}

bool handover_busy(struct handover *h) {
  pthread_mutex_lock(&h->lock);
  bool busy = h->taken || h->first != NULL;
  if (busy && !h->refused) {
    h->refused = true;
    pthread_cond_signal(&h->filled); /* what is there of an unfinished transaction is a batch now */
  }
  pthread_mutex_unlock(&h->lock);
  return busy;
}

void handover_close(struct handover *h, const struct error *why) {
  pthread_mutex_lock(&h->lock);
  h->closed = true;
  h->why = *why;
  pthread_cond_signal(&h->filled);
  pthread_mutex_unlock(&h->lock);
}

/* The last segment of the next batch, or NULL when none is ready. Called with the lock held. */
static struct segment *batch_end(const struct handover *h, size_t *bytes) {
  struct segment *whole_end = NULL; /* where the last whole transaction (or idle progress) ends */
  size_t whole_bytes = 0;
  struct segment *split_end = NULL; /* one hard bound's worth of the first transaction */
  size_t split_bytes = 0;
  size_t sum = 0;
  for (struct segment *s = h->first; s != NULL; s = s->next) {
    if (whole_end != NULL && sum + s->bytes > h->limits.hard_bytes)
      break;
    sum += s->bytes;
    if (s->ends || segment_is_idle(s) || s->covered) {
      whole_end = s;
      whole_bytes = sum;
      if (sum >= h->limits.soft_bytes)
        break;
    } else if (whole_end == NULL && split_end == NULL && sum >= h->limits.hard_bytes) {
      split_end = s;
      split_bytes = sum;
      break;
    }
  }
  if (whole_end == NULL && split_end == NULL && h->refused) { /* full, and all of it one unfinished transaction */
    split_end = h->last;
    split_bytes = h->bytes;
  }
  *bytes = whole_end != NULL ? whole_bytes : split_bytes;
  return whole_end != NULL ? whole_end : split_end;
}

/* Called with the lock held. */
static void tell_source(struct handover *h) {
  if (h->refused)
    eventfd_write(h->space_fd, 1);
  h->refused = false;
}

enum handover_result handover_take(struct handover *h, int64_t timeout_ms, struct segment **first, struct error *why) {
  struct timespec deadline = clock_deadline(timeout_ms);
  enum handover_result result = HANDOVER_EMPTY;
  pthread_mutex_lock(&h->lock);
  h->taken_records = 0;
  h->taken_commit_us = 0;
  h->taken = false;
  if (h->first == NULL)
    tell_source(h);
  for (;;) {
    size_t bytes;
    struct segment *end = batch_end(h, &bytes);
    if (end != NULL) {
      *first = h->first;
      h->first = end->next;
      if (h->first == NULL)
        h->last = NULL;
      end->next = NULL;
      h->bytes -= bytes;
      h->taken_commit_us = oldest_commit_us(*first);
      for (const struct segment *s = *first; s != NULL; s = s->next)
        h->taken_records += s->count;
      h->records -= h->taken_records;
      h->taken = true;
      tell_source(h);
      result = HANDOVER_BATCH;
      break;
    }
    if (h->closed) {
      *why = h->why;
      result = HANDOVER_CLOSED;
      break;
    }
    if (pthread_cond_timedwait(&h->filled, &h->lock, &deadline) != 0)
      break;
  }
  tell_levels(h);
  pthread_mutex_unlock(&h->lock);
  return result;
}
