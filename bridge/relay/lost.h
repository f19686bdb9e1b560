/* Events that Kafka has and the database no longer has, after a failover or a restored backup: the records of this
 * instance whose transaction lies behind the point up to which the server knows its history. Only reads. */
#ifndef WALFERRY_RELAY_LOST_H
#define WALFERRY_RELAY_LOST_H

#include "bridge/kafka/consumer.h"
#include "bridge/relay/position.h"

struct lost_event { /* texts are borrowed for the call; absent where the record has no such header */
  const char *topic;
  int32_t partition;
  int64_t offset;
  struct slice id, type;
  lsn_t lsn; /* of the commit */
};

struct lost_found {
  int64_t events;
  int64_t doubtful;  /* more that are LOST_DOUBTFUL */
  int topics_unread; /* that do not exist any more or could not be read; the last error is in why */
  struct error why;
};

/* Is it a record of this instance, made by way of the stream? Told by wf_lsn, by no mark of a replay or a snapshot, and
 * by a `source` that does not look like the default one of another instance; a row's own may look so too. *lsn is its
 * commit LSN, unless it is another's. */
enum lost_whose { LOST_OTHERS = 1, LOST_OURS, LOST_DOUBTFUL };
enum lost_whose lost_whose(const struct consumer_message *message, const char *instance, lsn_t *lsn);

struct lost_limits {
  int64_t deadline_ms;       /* by clock_monotonic_ms: what is not read by then stays unread */
  const _Atomic(bool) *stop; /* and once it is set */
};

/* Reads the end of each topic that the position was ever written with, back to the last record below `from`, and gives
 * each event of ours at or behind it to take, in the order of offsets within a partition. */
void lost_find(const struct kafka_settings *settings, const struct position *position, lsn_t from,
               const struct lost_limits *limits, void (*take)(void *ctx, const struct lost_event *event), void *ctx,
               struct lost_found *found);

/* The same within 30 s, logged: the first hundred as "relay.lost_event". err, a refusal, is told how many there are and
 * what lists them. */
void lost_report(const struct kafka_settings *settings, const struct position *position, lsn_t from,
                 const _Atomic(bool) *stop, struct error *err);

#endif
