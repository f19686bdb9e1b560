/* The publisher: turns batches into Kafka transactions that also hold the position. Owned by one thread, as is the
 * producer in it. It lives across generations: what it remembers of refused records and topics must. */
#ifndef WALFERRY_RELAY_PUBLISHER_H
#define WALFERRY_RELAY_PUBLISHER_H

#include "bridge/base/error.h"
#include "bridge/base/stop.h"
#include "bridge/kafka/admin.h"
#include "bridge/kafka/client.h"
#include "bridge/relay/position.h"
#include "bridge/relay/segment.h"
#include "bridge/relay/totals.h"

struct publisher_settings {
  struct kafka_settings kafka; /* its instance names the transactional id and the position topic */
  const char *position_key;    /* of the position in that topic; borrowed */
  const char *quarantine_topic;
  const char *const *dead_letter_topics; /* of the inbox of the same config */
  int dead_letter_topic_count;
  bool stop_on_invalid; /* refuse instead of quarantining */
  bool create_topics;
  struct topic_plan topics;
};

/* How a topic is made: the position topic keeps only replication and min.insync.replicas of the plan, and quarantine
 * and dead-letter topics are never compacted, since their records share keys, or have none. */
struct topic_shape publisher_topic_shape(const struct publisher_settings *settings, const char *topic);
struct topic_shape publisher_position_shape(const struct publisher_settings *settings);

struct publisher;
struct publisher *publisher_new(const struct publisher_settings *settings, const struct stop *stop);
void publisher_free(struct publisher *p); /* accepts NULL */
/* Keeps a history of the position for so long (history.h); without this call none is. */
void publisher_keep_history(struct publisher *p, int64_t keep_ms);
/* Is called whenever publishing has got on by a step and will go on: with many refused records it takes minutes. */
void publisher_set_step(struct publisher *p, void (*step)(void *ctx), void *ctx);

/* Is called for each record once it is committed, as it was sent: a quarantine record where one was made of it. */
void publisher_set_note(struct publisher *p, void (*note)(void *ctx, const struct record *record), void *ctx);

/* Is told each row of a table that is marked or deleted from (table_is_tidied), once its event is committed in Kafka
 * and did not go to the quarantine. Covered rows too; of those, a row that was too large for its topic stays untold as
 * long as the topic's limit says so. NULL: nobody is. */
void publisher_set_row(struct publisher *p, void (*row)(void *ctx, const struct table_spec *table, struct slice id),
                       void *ctx);

/* true when a broker answers within timeout_ms. Credentials and certificates that are refused are ERROR_CONFIG;
 * ERROR_RETRY once they were accepted in this run. */
bool publisher_reachable(struct publisher *p, int timeout_ms, struct error *err);
/* The position topic: created if missing, verified: one partition, compacted only, no unclean leader election. Else
 * ERROR_REFUSED "position_topic_invalid". */
bool publisher_check_position_topic(struct publisher *p, struct error *err);
const char *publisher_position_topic(const struct publisher *p);

/* Makes a new producer (fencing any older one of this instance), THEN reads the stored position into *position. */
bool publisher_open(struct publisher *p, struct position *position, struct error *err);
/* Reads the stored position without a producer, and so without fencing anybody: only to look. POSITION_NONE where its
 * topic does not exist. */
bool publisher_peek(struct publisher *p, struct position *position, struct error *err);
/* Drops the producer and all that is in flight. */
void publisher_close(struct publisher *p);

/* Stores a position on its own, in one Kafka transaction; it is then the committed one. */
bool publisher_store(struct publisher *p, const struct position *position, struct error *err);
/* Publishes a batch and the position behind it in one Kafka transaction. The batch stays the caller's, and must live
 * until the next publisher_publish, publisher_store or publisher_close. Errors: ERROR_START_OVER, ERROR_FENCED,
 * ERROR_RETRY (topic unknown, broker away): drop everything and recover; ERROR_REFUSED ("topic_missing",
 * "partitions_shrunk"). */
bool publisher_publish(struct publisher *p, const struct segment *batch, struct error *err);

/* The same with rows of a work list (of a snapshot, of a replay), whose next row is then `next_row`; the position else
 * stays. */
bool publisher_publish_snapshot(struct publisher *p, const struct segment *batch, uint64_t next_row, struct error *err);

/* The position behind a batch: what is committed with it. */
void publisher_advance(struct position *next, const struct segment *batch);

/* What is committed in Kafka, as far as this producer knows. */
const struct position *publisher_position(const struct publisher *p);

/* To be called before a batch is taken: waits up to 2 ms where the next Kafka transaction would come too soon behind
 * the last for the brokers; what arrives meanwhile goes into it. */
void publisher_rest(const struct publisher *p);

/* Since the start of the process. */
const struct totals *publisher_totals(const struct publisher *p);

/* Progress is logged ("position.committed") at most once a second while busy; this logs what is not logged yet. */
void publisher_log_progress(struct publisher *p);

/* Makes the topics ahead of time (names without fields), if the settings allow. */
bool publisher_prepare_topic(struct publisher *p, const char *topic, struct error *err);

#endif
