/* The newest committed records of a partition, from where they begin: found by looking back from the end in growing
 * steps, so that what it costs depends on what is looked for and not on the size of the log. No group, nothing stored
 * at the broker. One thread owns a handle. */
#ifndef WALFERRY_KAFKA_TOPIC_BACK_H
#define WALFERRY_KAFKA_TOPIC_BACK_H

#include "bridge/kafka/consumer.h"

struct topic_back;
/* Once *stop is set (NULL: nothing stops it) reading ends with ERROR_STOPPED. */
struct topic_back *topic_back_new(const struct kafka_settings *settings, const _Atomic(bool) *stop, struct error *err);
void topic_back_free(struct topic_back *back); /* accepts NULL */

/* Gives to take, in the order of offsets, the records behind the last one that is_old finds to be old, or all that are
 * retained if none is; messages are borrowed for the call. is_old is called for some of them more than once.
 * ERROR_RETRY when the brokers do not answer within timeout_ms, or do not let it be read. */
bool topic_back_read(struct topic_back *back, const char *topic, int32_t partition, int timeout_ms,
                     bool (*is_old)(void *ctx, const struct consumer_message *message),
                     void (*take)(void *ctx, const struct consumer_message *message), void *ctx, struct error *err);

#endif
