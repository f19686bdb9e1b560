/* See partition.h. */
#include "bridge/inbox/partition.h"

#include <stdio.h>
#include <stdlib.h>

#include "bridge/base/clock.h"

/* Of one partition whose messages run by themselves, so that it leaves room for the others'. Those of the rest go into
 * the next batches, and are fetched as these need them (bridge/inbox/inbox.c). */
#define QUEUE_PAUSE 2000
#define QUEUE_RESUME 1000
/* Nobody deletes a topic, makes it again and writes as much to it as was read in less time. */
#define HEARD_MS 1000

void partition_init(struct partition *p, const struct consumer_partition *at, int64_t backoff_ms,
                    int64_t backoff_max_ms, uint64_t seed) {
  *p = (struct partition){.at = *at, .state = PARTITION_WAITING, .next_offset = -1, .until = -1, .oldest_ms = -1};
  backoff_init(&p->backoff, backoff_ms, backoff_max_ms, seed);
}

void partition_heard(struct partition *p) {
  p->heard_ms = clock_monotonic_ms();
  p->doubtful = false;
}

/* It may come again, behind a rest. */
static void set_apart(struct partition *p, int64_t offset) {
  if (p->to_single > 0 && offset >= p->alone_below) {
    p->alone_below = offset + 1;
    p->to_single--;
  }
  if (p->to_count > 0 && offset >= p->counted_below) {
    p->counted_below = offset + 1;
    p->to_count--;
  }
}

void partition_push(struct partition *p, struct consumer *consumer, struct partition_message *message) {
  int64_t now_ms = clock_monotonic_ms();
  message->next = NULL;
  p->doubtful |= now_ms - p->heard_ms > HEARD_MS;
  p->heard_ms = now_ms;
  if (p->first == NULL)
    p->first = message;
  else
    p->last->next = message;
  p->last = message;
  p->count++;
  p->bytes += message->message->held_bytes;
  p->read_offset = message->message->offset + 1;
  set_apart(p, message->message->offset);
  if (p->first == message)
    p->oldest_ms = message->message->timestamp_ms;
  if (!p->paused && p->count >= QUEUE_PAUSE) {
    p->paused = true;
    consumer_pause(consumer, &p->at);
  }
}

void partition_pop(struct partition *p, struct consumer *consumer) {
  struct partition_message *message = p->first;
  p->first = message->next;
  p->count--;
  p->bytes -= message->message->held_bytes;
  p->oldest_ms = p->first == NULL ? -1 : p->first->message->timestamp_ms;
  consumer_message_free(consumer, message->message);
  free(message);
  if (p->paused && p->count <= QUEUE_RESUME) {
    p->paused = false;
    consumer_resume(consumer, &p->at);
  }
}

void partition_drop(struct partition *p, struct consumer *consumer) {
  while (p->first != NULL)
    partition_pop(p, consumer);
}

bool partition_alone(const struct partition *p, int64_t offset) {
  return (offset >= p->alone_from && offset < p->alone_below) || offset < p->counted_below;
}

bool partition_rest(struct partition *p, struct consumer *consumer, enum partition_state state, int64_t delay_ms,
                    struct error *err) {
  int64_t oldest_ms = p->oldest_ms;
  partition_drop(p, consumer);
  p->oldest_ms = oldest_ms;
  p->state = state;
  p->due_ms = clock_monotonic_ms() + delay_ms;
  return consumer_stop(consumer, &p->at, err);
}

bool partition_back_off(struct partition *p, struct consumer *consumer, struct error *err) {
  return partition_rest(p, consumer, PARTITION_BACKING_OFF, backoff_next_ms(&p->backoff), err);
}

static enum inbox_partition_state view_state(enum partition_state state) {
  switch (state) {
  case PARTITION_BACKING_OFF:
    return INBOX_PARTITION_BACKING_OFF;
  case PARTITION_STOPPED:
    return INBOX_PARTITION_STOPPED;
  case PARTITION_WAITING:
  case PARTITION_READING:
    break;
  }
  return INBOX_PARTITION_READING;
}

/* Markers of transactions behind the last message count for nothing: what was fetched is known, whatever it was. */
static int64_t lag_of(const struct partition *p, const struct consumer *consumer) {
  bool all_handled = p->count == 0 && p->state == PARTITION_READING;
  return p->next_offset < 0 ? -1 : consumer_lag(consumer, &p->at, all_handled ? p->read_offset : p->next_offset);
}

void partition_describe(const struct partition *p, const struct consumer *consumer, struct inbox_partition_view *view) {
  *view = (struct inbox_partition_view){.partition = p->at.partition,
                                        .state = view_state(p->state),
                                        .next_offset = p->next_offset,
                                        .lag = lag_of(p, consumer),
                                        .attempts = p->attempts,
                                        .code = p->error.code};
  snprintf(view->topic, sizeof view->topic, "%s", p->at.topic);
  snprintf(view->message, sizeof view->message, "%.*s", (int)sizeof view->message - 1, p->error.message);
  int64_t behind_ms = clock_wall_us() / 1000 - p->oldest_ms;
  view->behind_ms = p->oldest_ms >= 0 && behind_ms > 0 ? behind_ms : 0;
}
