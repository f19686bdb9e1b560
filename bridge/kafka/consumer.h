/* A member of a consumer group that reads committed records only. It stores nothing of its progress: the caller says
 * where each partition starts, and what it has done with a message is its own matter.
 *
 * One thread owns a consumer and makes all calls below; rebalances are events of consumer_poll, never callbacks. While
 * one waits for its answer no messages come, and librdkafka goes on telling the group that the member lives; between
 * two polls at most max.poll.interval.ms (5 minutes, and at least a minute more than handling_max_ms) may pass, or the
 * group gives the partitions to others.
 *
 *   CONSUMER_ASSIGNED         read the stored offsets, then consumer_assign
 *   CONSUMER_REVOKED, _LOST   finish or drop what is in hand of these partitions, then consumer_release
 *
 * Errors of kind ERROR_RETRY are for the log and for readiness: the consumer itself goes on trying, poll again. After
 * any other kind free it; ERROR_START_OVER and ERROR_FENCED ask for a new one. */
#ifndef WALFERRY_KAFKA_CONSUMER_H
#define WALFERRY_KAFKA_CONSUMER_H

#include <stdbool.h>
#include <stdint.h>

#include "bridge/base/record_header.h"
#include "bridge/base/slice.h"
#include "bridge/kafka/client.h"

struct consumer;

struct consumer_settings {
  const struct kafka_settings *kafka; /* needed by consumer_new only, as are the following */
  const char *group;
  const char *const *topics;
  int topic_count;
  int64_t held_bytes_max; /* of messages that the caller holds; at least that of one is always given */
  int handling_max_ms;    /* how long the caller may be busy with one message, and not poll */
};

/* A copy, so that it holds no more than its own bytes (librdkafka's messages keep the whole fetched batch). Owned by
 * whom consumer_poll gave it to. */
struct consumer_message {
  const char *topic; /* of the consumer */
  int32_t partition;
  int64_t offset;
  int64_t timestamp_ms;    /* -1: none */
  struct slice key, value; /* absent: null */
  int header_count;        /* in the order of the record; a name may come twice */
  struct record_header *headers;
  int64_t held_bytes; /* what it counts towards held_bytes_max */
};

struct consumer_partition {
  const char *topic; /* of the consumer, valid until consumer_free, also in what the caller gives back */
  int32_t partition;
};

/* Where a partition starts. */
struct consumer_start {
  const char *topic;
  int32_t partition;
  int64_t offset; /* of the next message, 0 or more; record_probe_range says where a log begins */
};

enum consumer_event_kind {
  CONSUMER_NOTHING = 1, /* within timeout_ms */
  CONSUMER_MESSAGE,     /* message; the caller frees it */
  CONSUMER_END,         /* partitions[0] was read up to offset, the end of what is committed; more may come */
  CONSUMER_ASSIGNED,    /* partitions in addition to those held, perhaps none; answer with consumer_assign */
  CONSUMER_REVOKED,     /* partitions that go to others, idle ones too, once consumer_release is called */
  CONSUMER_LOST,        /* the same, but others may have them already: nothing of them may be committed */
  CONSUMER_OUT_OF_RANGE /* partitions[0] has no offset `offset` (any more): it does not move until it is stopped, and
                           assigned anew */
};

struct consumer_event {
  enum consumer_event_kind kind;
  struct consumer_message *message;
  const struct consumer_partition
      *partitions; /* of the consumer: until the answer, or the next poll where none is due */
  int partition_count;
  int64_t offset;
};

/* Defaults, before the user's properties: fetch.wait.max.ms 100, queued.max.messages.kbytes 8192 (for all partitions
 * together), fetch.message.max.bytes 128 kB (for each; what one broker sends at a time may exceed the queue by that
 * much, unpacked), topic.metadata.refresh.interval.ms 10 s. Not to be changed: read_committed, cooperative-sticky, no
 * commits of its own, auto.offset.reset=error. ERROR_CONFIG for a bad property or topic name. It begins to join at
 * once. */
struct consumer *consumer_new(const struct consumer_settings *settings, struct error *err);
/* Leaves the group and frees all, in a thread of its own; waits for it at most timeout_ms. (When brokers do not answer
 * librdkafka may take up to session.timeout.ms; the thread then goes on alone.) Messages must be freed before. Accepts
 * NULL. */
void consumer_free(struct consumer *c, int timeout_ms);

/* Waits at most timeout_ms for one event. An event that waits for its answer is not repeated. */
bool consumer_poll(struct consumer *c, int timeout_ms, struct consumer_event *event, struct error *err);
void consumer_message_free(struct consumer *c, struct consumer_message *message); /* accepts NULL */

/* Starts partitions of the group's assignment: the answer to CONSUMER_ASSIGNED, with those that are to be read, perhaps
 * none of them (the others stay ours and idle); and at any time for such an idle one. Messages come in the order of
 * offsets, each once. */
bool consumer_assign(struct consumer *c, const struct consumer_start *starts, int count, struct error *err);
/* The answer to CONSUMER_REVOKED and CONSUMER_LOST. */
bool consumer_release(struct consumer *c, struct error *err);
/* Ends the reading of one partition, which stays ours and idle; true where it was idle. */
bool consumer_stop(struct consumer *c, const struct consumer_partition *partition, struct error *err);

/* Holds one partition back, or lets it go on, behind the last message that was given. One more message may come after
 * consumer_pause. Without effect on a partition that is not being read. */
void consumer_pause(struct consumer *c, const struct consumer_partition *partition);
void consumer_resume(struct consumer *c, const struct consumer_partition *partition);

/* Tells the group's committed offsets to the brokers (offset: of the next message), for those who look at the lag;
 * nobody reads them here. Asynchronous, and a failure is no matter. */
void consumer_commit(struct consumer *c, const struct consumer_start *positions, int count);

/* Offsets from next_offset to the end of the partition's log, as of the last fetch: messages, markers of transactions
 * among them, and what is not committed yet. -1: not known, or not being read. */
int64_t consumer_lag(const struct consumer *c, const struct consumer_partition *partition, int64_t next_offset);

#endif
