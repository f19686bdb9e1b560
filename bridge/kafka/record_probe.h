/* Looks at single records of a topic, to learn whether it still is the topic that was read before: a topic that was
 * deleted and made again has other records at the same offsets. No group, nothing stored at the broker. One thread owns
 * a probe. */
#ifndef WALFERRY_KAFKA_RECORD_PROBE_H
#define WALFERRY_KAFKA_RECORD_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#include "bridge/base/slice.h"
#include "bridge/kafka/client.h"

struct record_probe;
struct record_probe *record_probe_new(const struct kafka_settings *settings, struct error *err);
void record_probe_free(struct record_probe *probe); /* accepts NULL */

/* The first offset of a partition, and the end of what is committed in it: where the next record can stand, or the
 * first of a transaction that is still open. ERROR_RETRY when the brokers do not answer within timeout_ms, or do not
 * let it be read. */
bool record_probe_range(struct record_probe *probe, const char *topic, int32_t partition, int timeout_ms, int64_t *low,
                        int64_t *end, struct error *err);

enum record_presence {
  RECORD_FOUND = 1,
  RECORD_COMPACTED, /* the log goes around it: compacted away, or no committed record ever stood there */
  RECORD_DELETED,   /* the log begins behind it: retention, or somebody deleted records */
  RECORD_BEYOND_END /* the log ends before it */
};

struct record_facts {
  enum record_presence presence;
  int64_t low, end;     /* as record_probe_range */
  int64_t timestamp_ms; /* of the record, if found; -1: none */
  struct slice header;  /* the last value of the header asked for; absent where the record lacks it. Borrowed until the
                           next call */
};

/* The committed record at this offset. Errors as above. */
bool record_probe_look(struct record_probe *probe, const char *topic, int32_t partition, int64_t offset,
                       const char *header, int timeout_ms, struct record_facts *facts, struct error *err);

#endif
