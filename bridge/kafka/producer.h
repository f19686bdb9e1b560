/* A transactional producer of one generation. Owned by the publisher thread alone.
 *
 * What librdkafka may do behind our back is counted: `trouble` rises with each broken connection that had carried a
 * request. After any trouble since the last begin the producer must be replaced, even when the commit returned success:
 * a delayed EndTxn may still reach the coordinator and would end the next transaction of the same epoch. */
#ifndef WALFERRY_KAFKA_PRODUCER_H
#define WALFERRY_KAFKA_PRODUCER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bridge/base/record_header.h"
#include "bridge/base/slice.h"
#include "bridge/kafka/client.h"

/* Within this the brokers have most likely written the markers of a committed transaction. */
#define PRODUCER_MARKERS_US 2000

struct producer;

struct producer_limits {
  int64_t batch_bytes; /* batch.size: no larger than the smallest topic limit */
};

/* Defaults (before the user's properties): acks=all, idempotence, LZ4, linger.ms 0, socket.nagle.disable,
 * socket.timeout.ms 10 s, transaction.timeout.ms 60 s, queue.buffering.max.kbytes 8 MB, queue.buffering.max.messages
 * 50,000, message.max.bytes 1e9 (the broker's limits decide), topic.metadata.refresh. ERROR_CONFIG for a bad property.
 */
struct producer *producer_new(const struct kafka_settings *settings, const struct producer_limits *limits,
                              struct error *err);
/* Drops what is in flight (purge, then destroy; bounded). Accepts NULL. */
void producer_free(struct producer *p);

/* Fences any older producer of the instance and ends its open transaction. In slices of at most 500 ms; returns
 * ERROR_STOPPED as soon as *stop is true, ERROR_RETRY after timeout_ms. */
bool producer_init(struct producer *p, int timeout_ms, const _Atomic(bool) *stop, struct error *err);

bool producer_begin(struct producer *p, struct error *err); /* remembers the trouble count */

struct producer_message {
  const char *topic;
  int32_t partition;       /* as given; no partitioner runs */
  struct slice key, value; /* borrowed until the message is delivered or the producer freed; absent: NULL */
  int64_t timestamp_ms;    /* 0: now */
  const struct record_header *headers;
  int header_count;
  void *tag; /* comes back in producer_failures */
};
/* Queues one message; waits while librdkafka's queue is full (serving callbacks), at most timeout_ms and until *stop.
 */
bool producer_send(struct producer *p, const struct producer_message *message, int timeout_ms,
                   const _Atomic(bool) *stop, struct error *err);

/* Waits until all that was sent is delivered or failed. Used by probes. */
bool producer_flush(struct producer *p, int timeout_ms, const _Atomic(bool) *stop, struct error *err);

/* Puts a consumer group's offset of a partition, and a text beside it, into the transaction: it holds once, and only
 * if, the transaction is committed. The group has no members. Errors, stop and time as for producer_commit. */
struct producer_offset {
  const char *group, *topic;
  int32_t partition;
  int64_t next; /* of the next message */
  struct slice text;
};
bool producer_send_offset(struct producer *p, const struct producer_offset *offset, int timeout_ms,
                          const _Atomic(bool) *stop, struct error *err);

/* Commits, in slices of 500 ms, at most timeout_ms in all. *elapsed_ms: how long it took.
 * Any error means: this transaction's fate is unknown or it is aborted; free the producer and re-read the position.
 * kind: ERROR_FENCED when another producer has our transactional id, ERROR_START_OVER for all else, ERROR_STOPPED. */
bool producer_commit(struct producer *p, int timeout_ms, const _Atomic(bool) *stop, int64_t *elapsed_ms,
                     struct error *err);
/* Sleeps until PRODUCER_MARKERS_US after the last commit. The brokers answer a commit before its markers are written,
 * turn away a transaction that begins meanwhile, and librdkafka tries that again 20 ms later. */
void producer_rest(const struct producer *p);
/* Best effort, bounded. */
bool producer_abort(struct producer *p, int timeout_ms, struct error *err);

/* Messages that the broker refused for what they are (too large, invalid record, invalid timestamp, policy), as opposed
 * to where it stands, since the last begin: tags in *tags (borrowed until the next begin), codes as Kafka names them.
 */
struct producer_failure {
  void *tag;
  char reason[64];
};
int producer_failures(const struct producer *p, const struct producer_failure **failures);

/* Whether librdkafka's complaints are logged; at first they are. */
void producer_set_quiet(struct producer *p, bool quiet);

/* Connections lost since the last begin. */
int producer_trouble_since_begin(const struct producer *p);
int64_t producer_batch_bytes(const struct producer *p);
int64_t producer_socket_timeout_ms(const struct producer *p);

/* Java-compatible: murmur2 of the key modulo partition_count; a random partition for an absent key. */
int32_t producer_partition(struct producer *p, struct slice key, int32_t partition_count);

#endif
