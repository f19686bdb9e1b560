/* Reading a topic without a group: no coordinator, no join, no permission on a group, and nothing stored at the broker.
 * Internal to bridge/kafka; what it is used for says whose thread it is. */
#ifndef WALFERRY_KAFKA_READER_H
#define WALFERRY_KAFKA_READER_H

#include "bridge/kafka/conf.h"

#define KAFKA_READER_SLICE_MS 100

struct kafka_reader {
  struct kafka_link link;
  rd_kafka_t *rk;
  rd_kafka_topic_t *rkt;
  const char *topic;
  int64_t deadline;          /* clock_monotonic_ms, of all that is done with the topic */
  const _Atomic(bool) *stop; /* ends kafka_reader_range with ERROR_STOPPED; NULL: nothing does */
};

/* A read_committed handle; kafka_reader_close also after a failure. */
bool kafka_reader_open(struct kafka_reader *r, const struct kafka_settings *settings, struct error *err);
void kafka_reader_close(struct kafka_reader *r);
/* From here on it is about this topic (borrowed). */
bool kafka_reader_topic(struct kafka_reader *r, const char *topic, int timeout_ms, struct error *err);

/* ERROR_RETRY: not authorised, or no answer in time. Returns false. */
bool kafka_reader_fail(const struct kafka_reader *r, rd_kafka_resp_err_t code, struct error *err);
/* Where the log begins, and the end of what is committed in it (the last stable offset). */
bool kafka_reader_range(const struct kafka_reader *r, int32_t partition, int64_t *low, int64_t *end, struct error *err);
/* One message or error of the partition that rd_kafka_consume_start was called for; NULL after a slice without one. */
rd_kafka_message_t *kafka_reader_next(const struct kafka_reader *r, int32_t partition);

#endif
