/* The inside of a consumer, shared by consumer.c (its life, events, messages), assignment.c (its partitions) and
 * leave.c (its end). */
#ifndef WALFERRY_KAFKA_CONSUMER_STATE_H
#define WALFERRY_KAFKA_CONSUMER_STATE_H

#include "bridge/kafka/conf.h"
#include "bridge/kafka/consumer.h"

/* A partition that is being read. */
struct consumer_reading {
  int64_t next_offset; /* nothing below is given to the caller */
  bool reading;
  bool flowing;   /* something of it arrived since it was started */
  bool held;      /* the caller wants it paused */
  bool paused;    /* what librdkafka was told last */
  bool unsettled; /* it was told since the last rebalance */
};

struct consumer_topic {
  char *name;
  struct consumer_reading *partitions; /* by number */
  int32_t partition_count;
};

/* A rebalance as librdkafka tells it. */
enum consumer_rebalance { REBALANCE_NONE = 0, REBALANCE_ASSIGN, REBALANCE_REVOKE, REBALANCE_LOSE };

struct consumer {
  rd_kafka_t *rk;
  struct kafka_link link;
  char *group;
  struct consumer_topic *topics;
  int topic_count;
  int reading_count;

  enum consumer_rebalance rebalance;     /* the one that waits for its answer */
  bool told;                             /* the caller knows of it */
  struct consumer_partition *partitions; /* of it; partition_count of them */
  int partition_count;
  struct consumer_partition at; /* of an event about one partition */

  bool assigned; /* an assignment has come at least once */
  bool leaving;  /* rebalances are answered by themselves */

  int64_t held_bytes, held_bytes_max;
  bool full; /* held_bytes reached its bound: all is paused until half of it is free */
};

/* NULL: no topic of ours. */
struct consumer_topic *consumer_find_topic(const struct consumer *c, const char *name);
/* NULL unless it is being read. */
struct consumer_reading *consumer_find(const struct consumer *c, const char *topic, int32_t partition);

/* librdkafka's rebalance callback, in the thread that polls; opaque is the link. */
void consumer_on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *partitions,
                           void *opaque);
/* Answers a rebalance that waits: nothing is started, what is taken away is ended. */
void consumer_answer_for_leaving(struct consumer *c);

/* Tells librdkafka whether the partition is to be paused, where it does not know. */
void consumer_apply_pause(struct consumer *c, const char *topic, int32_t partition, struct consumer_reading *reading);
/* Sets or ends `full` by what is held. */
void consumer_apply_bound(struct consumer *c);

/* Frees what consumer_new made; rk must be gone. */
void consumer_discard(struct consumer *c);

#endif
