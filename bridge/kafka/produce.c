/* The messages of a producer: sending, delivery reports, placement. See producer.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "bridge/base/clock.h"
#include "bridge/base/memory.h"
#include "bridge/kafka/producer_state.h"

#define FULL_POLL_MS 10

struct topic_handle {
  char *name;
  rd_kafka_topic_t *rkt;
  UT_hash_handle hh;
};

static rd_kafka_topic_t *find_topic(struct producer *p, const char *name) {
  if (name[0] == '\0')
    return NULL; /* librdkafka would take it and wait */
  if (p->last_topic != NULL && strcmp(p->last_topic->name, name) == 0)
    return p->last_topic->rkt;
  struct topic_handle *topic = NULL;
  HASH_FIND_STR(p->topics, name, topic);
  if (topic == NULL) {
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(p->rk, name, NULL);
    if (rkt == NULL)
      return NULL;
    topic = memory_alloc(sizeof *topic);
    topic->name = memory_string(name);
    topic->rkt = rkt;
    HASH_ADD_KEYPTR(hh, p->topics, topic->name, strlen(topic->name), topic);
  }
  p->last_topic = topic;
  return topic->rkt;
}

void producer_free_topics(struct producer *p) {
  struct topic_handle *topic, *next;
  HASH_ITER(hh, p->topics, topic, next) {
    HASH_DEL(p->topics, topic);
    rd_kafka_topic_destroy(topic->rkt);
    free(topic->name);
    free(topic);
  }
  p->last_topic = NULL;
}

/* Refused for what the message is; sent again it would be refused again. (INVALID_MSG is how brokers before 2.4 refuse
 * a NULL key on a compacted topic; RECORD_LIST_TOO_LARGE and MSG_SIZE_TOO_LARGE fall on all messages of a batch.) */
static bool is_about_the_message(rd_kafka_resp_err_t code) {
  return code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE || code == RD_KAFKA_RESP_ERR_INVALID_RECORD ||
         code == RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP || code == RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE ||
         code == RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION || code == RD_KAFKA_RESP_ERR_POLICY_VIOLATION ||
         code == RD_KAFKA_RESP_ERR_INVALID_MSG || code == RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE ||
         code == RD_KAFKA_RESP_ERR__BAD_MSG;
}

/* Consequences of another failure or of our own abort, not reasons. */
static bool is_consequence(rd_kafka_resp_err_t code) {
  return code == RD_KAFKA_RESP_ERR__PURGE_QUEUE || code == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT ||
         code == RD_KAFKA_RESP_ERR__DESTROY;
}

static void note_failure(struct producer *p, const char *topic, rd_kafka_resp_err_t code, const char *text, void *tag) {
  if (p->delivery_error[0] == '\0')
    snprintf(p->delivery_error, sizeof p->delivery_error, "delivery to topic %s: %s: %s", topic,
             rd_kafka_err2name(code), text);
  if (!is_about_the_message(code)) {
    if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
      kafka_refusals_note_topic(&p->link.refusals, slice_of(topic));
    p->delivery_doubtful = true;
    return;
  }
  if (p->failure_count == p->failure_capacity) {
    p->failure_capacity = p->failure_capacity == 0 ? 8 : p->failure_capacity * 2;
    p->failures = memory_resize(p->failures, (size_t)p->failure_capacity * sizeof *p->failures);
  }
  struct producer_failure *failure = &p->failures[p->failure_count++];
  failure->tag = tag;
  snprintf(failure->reason, sizeof failure->reason, "%s", rd_kafka_err2name(code));
}

void producer_on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque) {
  (void)rk;
  const struct kafka_link *link = opaque;
  struct producer *p = link->owner;
  if (p->discarding)
    return;
  p->queued_bytes -= (int64_t)(message->len + message->key_len);
  p->queued_messages--;
  if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
    return;
  if (is_consequence(message->err)) {
    p->delivery_doubtful = true;
    return;
  }
  note_failure(p, rd_kafka_topic_name(message->rkt), message->err, rd_kafka_err2str(message->err), message->_private);
}

void producer_forget_failures(struct producer *p) {
  p->failure_count = 0;
  p->delivery_error[0] = '\0';
  p->delivery_doubtful = false;
}

int producer_failures(const struct producer *p, const struct producer_failure **failures) {
  *failures = p->failures;
  return p->failure_count;
}

/* librdkafka takes pointers to what it does not change as void *. */
static void *unconst(const char *data) {
  union {
    const char *in;
    void *out;
  } pun = {.in = data};
  return pun.out;
}

static rd_kafka_headers_t *make_headers(const struct producer_message *message) {
  if (message->header_count == 0)
    return NULL;
  rd_kafka_headers_t *headers = rd_kafka_headers_new((size_t)message->header_count);
  for (int i = 0; i < message->header_count; i++) {
    const struct record_header *h = &message->headers[i];
    rd_kafka_header_add(headers, h->name, -1, h->value.data, slice_present(h->value) ? (ssize_t)h->value.len : 0);
  }
  return headers;
}

static rd_kafka_error_t *produce(struct producer *p, const struct producer_message *m, rd_kafka_topic_t *rkt,
                                 rd_kafka_headers_t *headers) {
  /* A NULL pointer is a null key or value, anything else with size 0 an empty one. The value is not copied. */
  rd_kafka_vu_t arguments[8] = {
      {.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = rkt},
      {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = m->partition},
      {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = 0},
      {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {.ptr = unconst(m->value.data), .size = m->value.len}},
      {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {.ptr = unconst(m->key.data), .size = m->key.len}},
      {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = m->timestamp_ms},
      {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = m->tag},
  };
  size_t count = 7;
  if (headers != NULL)
    arguments[count++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers};
  return rd_kafka_produceva(p->rk, arguments, count);
}

/* The byte bound is ours: librdkafka's refuses a message larger than the bound even when its queue is empty. */
static bool has_room(const struct producer *p, int64_t size) {
  return p->queued_messages == 0 || p->queued_bytes + size <= p->queue_bytes_max;
}

bool producer_send(struct producer *p, const struct producer_message *message, int timeout_ms,
                   const _Atomic(bool) *stop, struct error *err) {
  rd_kafka_topic_t *rkt = find_topic(p, message->topic);
  if (rkt == NULL) {
    note_failure(p, message->topic, RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, "illegal topic name", message->tag);
    return error_set(err, ERROR_START_OVER, "topic \"%s\": librdkafka takes no such name", message->topic);
  }
  int64_t size = (int64_t)(message->value.len + message->key.len);
  int64_t deadline = 0; /* the clock is read only when it has to wait */
  rd_kafka_headers_t *headers = make_headers(message);
  for (;;) {
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__QUEUE_FULL;
    char text[256] = "";
    if (has_room(p, size)) {
      rd_kafka_error_t *error = produce(p, message, rkt, headers);
      if (error == NULL)
        break; /* the headers are librdkafka's now */
      code = rd_kafka_error_code(error);
      snprintf(text, sizeof text, "%s", rd_kafka_error_string(error));
      rd_kafka_error_destroy(error);
    }
    if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
      char doing[320];
      snprintf(doing, sizeof doing, "sending to topic %s partition %d", message->topic, (int)message->partition);
      if (is_about_the_message(code))
        note_failure(p, message->topic, code, text, message->tag);
      producer_fail(p, ERROR_START_OVER, code, doing, text, err);
      goto fail;
    }
    if (producer_stopped(stop)) {
      error_set(err, ERROR_STOPPED, "sending: asked to stop");
      goto fail;
    }
    int64_t now = clock_monotonic_ms();
    if (deadline == 0)
      deadline = now + timeout_ms;
    if (now >= deadline) {
      producer_fail(p, ERROR_START_OVER, RD_KAFKA_RESP_ERR__TIMED_OUT, "sending",
                    "the queue stays full, no broker takes messages", err);
      goto fail;
    }
    rd_kafka_poll(p->rk, FULL_POLL_MS);
  }
  p->queued_bytes += size;
  p->queued_messages++;
  /* Delivery reports pile up otherwise until the commit. */
  if ((p->queued_messages & 255) == 0)
    rd_kafka_poll(p->rk, 0);
  return true;
fail:
  if (headers != NULL)
    rd_kafka_headers_destroy(headers);
  return false;
}

static uint64_t next_random(struct producer *p) { /* xorshift64 */
  p->random_state ^= p->random_state << 13;
  p->random_state ^= p->random_state >> 7;
  p->random_state ^= p->random_state << 17;
  return p->random_state;
}

int32_t producer_partition(struct producer *p, struct slice key, int32_t partition_count) {
  if (!slice_present(key))
    return (int32_t)(next_random(p) % (uint64_t)partition_count);
  return rd_kafka_msg_partitioner_murmur2(NULL, key.data, key.len, partition_count, NULL, NULL);
}
