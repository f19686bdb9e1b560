/* Reads a topic once: from given offsets to where what is committed ended when it was asked, record by record, and
 * knows what a consumer group without members has stored for it. Nothing is stored at the broker by a scan. One thread
 * owns it.
 *
 * Errors of kind ERROR_RETRY: the brokers do not answer, or do not let it be read; after any error free the scan. */
#ifndef WALFERRY_KAFKA_TOPIC_SCAN_H
#define WALFERRY_KAFKA_TOPIC_SCAN_H

#include "bridge/kafka/consumer.h"

struct topic_scan;
/* topic and group are borrowed. */
struct topic_scan *topic_scan_new(const struct kafka_settings *settings, const char *topic, const char *group,
                                  struct error *err);
void topic_scan_free(struct topic_scan *scan); /* accepts NULL */

/* Where a partition's log begins, and the end of what is committed in it. */
bool topic_scan_range(struct topic_scan *scan, int32_t partition, int timeout_ms, int64_t *low, int64_t *end,
                      struct error *err);
/* What the group has stored for a partition: the offset of the next message, -1 for none, and the text beside it,
 * borrowed until the next call. What a transaction that is still open has stored is waited for. */
bool topic_scan_stored(struct topic_scan *scan, int32_t partition, int timeout_ms, int64_t *next, struct slice *text,
                       struct error *err);

/* Begins with a partition; another one that was begun ends. */
bool topic_scan_begin(struct topic_scan *scan, int32_t partition, int64_t offset, struct error *err);
enum topic_scan_step {
  TOPIC_SCAN_NOTHING = 1, /* in a short while */
  TOPIC_SCAN_MESSAGE,     /* *message is the caller's: topic_scan_message_free */
  TOPIC_SCAN_END,         /* all that is committed was read */
  TOPIC_SCAN_FAILED       /* err */
};
enum topic_scan_step topic_scan_next(struct topic_scan *scan, struct consumer_message **message, struct error *err);
void topic_scan_message_free(struct consumer_message *message); /* accepts NULL */

#endif
