/* A run of finished records of one Postgres transaction: what the source hands to the publisher. */
#ifndef WALFERRY_RELAY_SEGMENT_H
#define WALFERRY_RELAY_SEGMENT_H

#include "bridge/event/record.h"

struct segment {
  struct segment *next;

  lsn_t commit_lsn; /* 0: no transaction, idle progress only */
  uint32_t xid;
  int64_t commit_time_us;

  struct record *first;
  struct record *last;
  int count;
  struct blocks memory; /* of the records */
  size_t message_bytes; /* that librdkafka will need for them besides */
  size_t bytes;         /* all of it */

  uint64_t next_index; /* of the change behind the last one here */
  uint64_t hash;       /* running hash of the transaction's changes before next_index */
  bool ends;           /* the transaction's commit was received: */
  lsn_t end_lsn;       /* then, and for idle progress, its end */

  bool covered; /* its rows are in Kafka already, and are only to be marked or deleted; it never ends a transaction */
};

/* The refusal "row_invalid" of a row that cannot be published where the config says stop; returns false. */
bool segment_refuse_row(const char *origin, struct slice id, lsn_t commit_lsn, uint32_t xid, uint64_t index,
                        const struct problem *problem, struct error *err);

struct segment *segment_new(void);
void segment_append(struct segment *segment, struct record *record); /* made in its memory */
void segment_free(struct segment *segment);                          /* with its records; accepts NULL */
void segment_free_list(struct segment *first);

static inline bool segment_is_idle(const struct segment *segment) {
  return segment->commit_lsn == 0;
}

#endif
