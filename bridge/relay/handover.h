/* The queue between the two threads, bounded in bytes. The source thread pushes segments; the publisher thread takes
 * batches: whole Postgres transactions, or one hard bound's worth of a huge one. A batch never needs anything that is
 * not queued yet, so that a Kafka transaction never waits for the source. */
#ifndef WALFERRY_RELAY_HANDOVER_H
#define WALFERRY_RELAY_HANDOVER_H

#include <stdatomic.h>
#include <stdint.h>

#include "bridge/base/error.h"
#include "bridge/relay/segment.h"

struct handover_limits {
  size_t queue_bytes; /* at least hard_bytes; a single larger segment passes when the queue is empty */
  size_t soft_bytes;  /* a batch takes no further transaction once it has this much */
  size_t hard_bytes;  /* a transaction larger than this is split */
};

/* How full it is, for any thread to read; kept by the two. All zero without a queue. What is unpublished is queued, or
 * was taken: until the next take, which comes when that is committed. */
struct handover_levels {
  _Atomic(int64_t) bytes; /* queued */
  _Atomic(int64_t) bytes_max;
  _Atomic(int64_t) unpublished;      /* records */
  _Atomic(int64_t) oldest_commit_us; /* Unix, of the oldest unpublished transaction; 0: none */
};

struct handover;
/* space_fd: an eventfd, borrowed, written when a refused push, or handover_busy, may be tried again. levels: borrowed.
 */
struct handover *handover_new(const struct handover_limits *limits, int space_fd, struct handover_levels *levels);
void handover_free(struct handover *h);

/* Source thread. Takes the segment and returns true, or returns false when the queue is full. An idle segment replaces
 * one that stands last. */
bool handover_push(struct handover *h, struct segment *segment);
/* Source thread: a batch is being published, or will be. If so, space_fd is written when it is worth asking again. */
bool handover_busy(struct handover *h);
/* Source thread: nothing will follow, for this reason. What is whole in the queue is still handed out first. */
void handover_close(struct handover *h, const struct error *why);

enum handover_result { HANDOVER_BATCH = 1, HANDOVER_EMPTY, HANDOVER_CLOSED };

/* Publisher thread. Waits at most timeout_ms. HANDOVER_BATCH: *first is a list of segments, now the caller's.
 * HANDOVER_CLOSED: the source ended and *why says why. */
enum handover_result handover_take(struct handover *h, int64_t timeout_ms, struct segment **first, struct error *why);

#endif
