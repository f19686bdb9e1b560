/* The inside of a producer, shared by producer.c (its life and its transactions) and produce.c (its messages). */
#ifndef WALFERRY_KAFKA_PRODUCER_STATE_H
#define WALFERRY_KAFKA_PRODUCER_STATE_H

#include "bridge/kafka/conf.h"
#include "bridge/kafka/producer.h"

#define PRODUCER_SLICE_MS 500

struct topic_handle;

struct producer {
  rd_kafka_t *rk;
  struct kafka_link link;
  char *transactional_id;
  struct topic_handle *topics; /* by name */
  struct topic_handle *last_topic;
  int trouble_at_begin;
  int64_t committed_us; /* monotonic, when the last commit returned; 0: none */
  bool discarding;      /* being freed: delivery reports mean nothing any more, tags may be gone */

  int64_t batch_bytes;
  int64_t socket_timeout_ms;
  int64_t queue_bytes_max; /* queue.buffering.max.kbytes; kept here, because librdkafka refuses one larger message */
  int64_t queued_bytes;
  int64_t queued_messages;

  struct producer_failure *failures;
  int failure_count;
  int failure_capacity;
  char delivery_error[256]; /* the first failed delivery since the last begin, whatever its reason; "" is none */
  bool delivery_doubtful;   /* one failed for another reason than what it is */

  /* Of producer_send_offset, during that call. */
  rd_kafka_topic_partition_list_t *offsets;
  rd_kafka_consumer_group_metadata_t *offsets_group;

  uint64_t random_state;
};

/* librdkafka's delivery report; opaque is the link. */
void producer_on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque);
void producer_forget_failures(struct producer *p);
void producer_free_topics(struct producer *p);

/* Turns an error code of librdkafka into ERROR_FENCED when it means that, else `kind`. Returns false. */
bool producer_fail(struct producer *p, enum error_kind kind, rd_kafka_resp_err_t code, const char *doing,
                   const char *text, struct error *err);

static inline bool producer_stopped(const _Atomic(bool) *stop) {
  return stop != NULL && atomic_load(stop);
}

#endif
