/* One partition that the group has given to us: how far it is, what is fetched of it, and when it may go on. Kept in
 * memory only: what must outlive the process stands in walferry.inbox_offsets and inbox_attempts. */
#ifndef WALFERRY_INBOX_PARTITION_H
#define WALFERRY_INBOX_PARTITION_H

#include "bridge/base/backoff.h"
#include "bridge/inbox/report.h"
#include "bridge/inbox/store.h"
#include "bridge/kafka/consumer.h"

enum partition_state {
  PARTITION_WAITING = 1, /* to be admitted at due_ms: its offset is not read yet, or has to be read again */
  PARTITION_READING,
  PARTITION_BACKING_OFF, /* read on from next_offset at due_ms */
  PARTITION_STOPPED      /* refused; looked at again at due_ms */
};

/* What is to be done with a message, decided once. */
struct partition_message {
  struct partition_message *next;
  struct consumer_message *message;
  enum registry_action action; /* REGISTRY_DEAD_LETTER also where it cannot be read */
  int handler;                 /* with REGISTRY_CALL; else -1 */
};

struct partition {
  struct consumer_partition at;
  enum partition_state state;
  int64_t due_ms; /* clock_monotonic_ms */

  int64_t claim;       /* 0: none */
  int64_t next_offset; /* as committed */
  int64_t read_offset; /* fetched up to here; more than what is queued where only markers follow */
  int64_t until;       /* the end of what was committed at admission */
  int64_t heard_ms;    /* when something came of it, or it was admitted; clock_monotonic_ms */
  bool doubtful;       /* so much later came more that its topic may have been made again meanwhile: judge it first */

  /* Messages from..below run by themselves: one of them failed in a batch, or it is not known which. Those before
   * counted_below have their attempt counted before the call. */
  int64_t alone_from, alone_below;
  int64_t counted_below;
  int to_single; /* of what comes, so many more messages run by themselves: offsets have gaps */
  int to_count;  /* and so many more have their attempt counted */
  struct backoff backoff;

  struct partition_message *first, *last;
  int count;
  int64_t bytes; /* that they hold */
  bool paused;

  /* For the report. */
  int64_t oldest_ms; /* when the message that is waited for was written; -1: none is waited for */
  int attempts;
  struct error error; /* of what holds it up */
};

void partition_init(struct partition *p, const struct consumer_partition *at, int64_t backoff_ms,
                    int64_t backoff_max_ms, uint64_t seed);
/* It was admitted, or judged again. */
void partition_heard(struct partition *p);
/* Behind the last. */
void partition_push(struct partition *p, struct consumer *consumer, struct partition_message *message);
/* The first; also its consumer's memory. */
void partition_pop(struct partition *p, struct consumer *consumer);
void partition_drop(struct partition *p, struct consumer *consumer); /* all of them */

/* Is the message at this offset one that runs by itself? */
bool partition_alone(const struct partition *p, int64_t offset);

/* Ends the reading, and forgets what was fetched; until delay_ms have passed. */
bool partition_rest(struct partition *p, struct consumer *consumer, enum partition_state state, int64_t delay_ms,
                    struct error *err);
/* The next message is tried again, after a while that grows. */
bool partition_back_off(struct partition *p, struct consumer *consumer, struct error *err);

void partition_describe(const struct partition *p, const struct consumer *consumer, struct inbox_partition_view *view);

#endif
