/* The position topic as a log: reads the last committed value of a key, or all of them. Writing is the publisher's. */
#ifndef WALFERRY_KAFKA_POSITION_LOG_H
#define WALFERRY_KAFKA_POSITION_LOG_H

#include <stdbool.h>
#include <stddef.h>

#include "bridge/base/slice.h"
#include "bridge/kafka/admin.h"

/* Reads the newest committed record with `key` of partition 0. Call after the producer's init_transactions, so that no
 * transaction of the instance is open. The end is taken read_uncommitted, then everything is read read_committed until
 * that end is reached; it looks back a little from the end and doubles, never scanning from the beginning unless it
 * must. *value is malloc'ed and NUL-terminated, NULL when there is none (or its newest is a tombstone).
 * ERROR_RETRY when the broker does not answer within timeout_ms. */
bool position_log_read(struct kafka_admin *admin, const struct kafka_settings *settings, const char *topic,
                       const char *key, int timeout_ms, char **value, size_t *len, struct error *err);

struct position_log_record { /* borrowed for the call */
  struct slice key;          /* absent: none */
  struct slice value;        /* absent: a tombstone */
};

/* Gives every committed record of partition 0 from this offset on (0: from the oldest) to take, the oldest first, by
 * the same rule; take may end it with false and err, and so does *stop (NULL: nothing), with ERROR_STOPPED. timeout_ms:
 * so long no answer may be missing, however much there is to read. */
bool position_log_scan(struct kafka_admin *admin, const struct kafka_settings *settings, const char *topic,
                       int64_t from, int timeout_ms, const _Atomic(bool) *stop,
                       bool (*take)(void *to, const struct position_log_record *record, struct error *err), void *to,
                       struct error *err);

#endif
