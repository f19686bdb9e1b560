/* The newest committed records of a topic, only to look at: no group, nothing stored at the broker. */
#ifndef WALFERRY_KAFKA_TOPIC_TAIL_H
#define WALFERRY_KAFKA_TOPIC_TAIL_H

#include <stdbool.h>

#include "bridge/base/slice.h"
#include "bridge/kafka/client.h"

struct topic_tail_record {
  int64_t timestamp_ms; /* -1: none */
  struct slice header;  /* the value of the header asked for; absent where the record lacks it */
};

/* Reads, read_committed, the last `offsets_max` offsets of each of `partitions` partitions (transaction markers have
 * offsets too) and gives each record to take, in the order of offsets within a partition; the record is borrowed for
 * the call. *whole: nothing older was left out. ERROR_RETRY when the brokers do not answer within timeout_ms. */
bool topic_tail_read(const struct kafka_settings *settings, const char *topic, int32_t partitions, int64_t offsets_max,
                     const char *header, int timeout_ms, void (*take)(void *to, const struct topic_tail_record *record),
                     void *to, bool *whole, struct error *err);

#endif
