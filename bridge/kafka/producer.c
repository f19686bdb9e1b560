/* See producer.h. The life of a producer and its transactions; produce.c has its messages. */
#include "bridge/kafka/producer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/clock.h"
#include "bridge/base/memory.h"
#include "bridge/kafka/producer_state.h"

#define QUEUE_KBYTES_UNLIMITED 2097151 /* librdkafka's own maximum */

/* What depends on several properties, or on what the user said. */
static bool adjust(struct producer *p, rd_kafka_conf_t *conf, const struct producer_limits *limits, struct error *err) {
  p->batch_bytes = kafka_conf_get_int(conf, "batch.size", 1000000);
  if (limits != NULL && limits->batch_bytes > 0 && limits->batch_bytes < p->batch_bytes)
    p->batch_bytes = limits->batch_bytes;
  p->socket_timeout_ms = kafka_conf_get_int(conf, "socket.timeout.ms", 10000);
  p->queue_bytes_max = kafka_conf_get_int(conf, "queue.buffering.max.kbytes", 8192) * 1024;
  return kafka_conf_set_int(conf, "batch.size", p->batch_bytes, err) &&
         kafka_conf_set_int(conf, "queue.buffering.max.kbytes", QUEUE_KBYTES_UNLIMITED, err);
}

struct producer *producer_new(const struct kafka_settings *settings, const struct producer_limits *limits,
                              struct error *err) {
  struct producer *p = memory_alloc(sizeof *p);
  kafka_link_init(&p->link, KAFKA_ROLE_PRODUCER);
  p->link.owner = p;
  p->transactional_id = kafka_transactional_id(settings->instance);
  p->random_state = (uint64_t)clock_wall_us() | 1;
  rd_kafka_conf_t *conf = kafka_conf_new(settings, &p->link, err);
  if (conf == NULL)
    goto fail;
  rd_kafka_conf_set_dr_msg_cb(conf, producer_on_delivery);
  if (!adjust(p, conf, limits, err)) {
    rd_kafka_conf_destroy(conf);
    goto fail;
  }
  p->rk = kafka_handle_new(conf, &p->link, err);
  if (p->rk != NULL)
    return p;
fail:
  producer_free(p);
  return NULL;
}

void producer_free(struct producer *p) {
  if (p == NULL)
    return;
  p->discarding = true;
  atomic_store(&p->link.quiet, true); /* librdkafka complains about what we drop on purpose */
  if (p->rk != NULL) {
    rd_kafka_purge(p->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    producer_free_topics(p);
    /* Joins librdkafka's threads: afterwards nothing touches the caller's memory. */
    rd_kafka_destroy(p->rk);
  }
  free(p->failures);
  free(p->transactional_id);
  free(p);
}

void producer_set_quiet(struct producer *p, bool quiet) {
  atomic_store(&p->link.quiet, quiet);
}

static bool is_fenced(rd_kafka_resp_err_t code) {
  return code == RD_KAFKA_RESP_ERR__FENCED || code == RD_KAFKA_RESP_ERR_PRODUCER_FENCED ||
         code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH;
}

bool producer_fail(struct producer *p, enum error_kind kind, rd_kafka_resp_err_t code, const char *doing,
                   const char *text, struct error *err) {
  char fatal_text[512] = "";
  rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(p->rk, fatal_text, sizeof fatal_text);
  if (is_fenced(code) || is_fenced(fatal)) {
    error_set(err, ERROR_FENCED, "%s: transactional.id %s was taken over by another producer: %s", doing,
              p->transactional_id, is_fenced(fatal) ? fatal_text : text);
    return false;
  }
  const char *why = fatal != RD_KAFKA_RESP_ERR_NO_ERROR ? fatal_text : text;
  const char *also = p->delivery_error[0] != '\0' ? "; " : "";
  if (code == RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED ||
      fatal == RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED) {
    error_set(err, kind, "%s: not authorised to use transactional.id %s: %s", doing, p->transactional_id, why);
    return error_remedy(err, "grant Write and Describe on TransactionalId %s to the user of walferry",
                        p->transactional_id);
  }
  if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) {
    const char *topic = kafka_refusals_topic(&p->link.refusals);
    error_set(err, kind, "%s: not authorised to write to topic %s: %s", doing, topic == NULL ? "(unknown)" : topic,
              why);
    return error_remedy(err, "grant Write and Describe on topic %s to the user of walferry",
                        topic == NULL ? "(the one that the log line kafka.log names)" : topic);
  }
  if (code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED) {
    error_set(err, kind, "%s: not authorised: %s", doing, why);
    return error_remedy(err, "grant Read on the group to the user of walferry");
  }
  if (code == RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT || fatal == RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT) {
    error_set(err, ERROR_CONFIG, "%s: %s", doing, why);
    return error_remedy(err, "lower transaction.timeout.ms in kafka.properties, or raise transaction.max.timeout.ms of "
                             "the brokers");
  }
  if (code == RD_KAFKA_RESP_ERR__TIMED_OUT)
    return error_set(err, kind, "%s: timed out: %s%s%s%s", doing, why, also, p->delivery_error,
                     kafka_link_hint(p->rk, &p->link).text);
  return error_set(err, kind, "%s: %s%s%s", doing, why, also, p->delivery_error);
}

typedef rd_kafka_error_t *transaction_call(rd_kafka_t *rk, int timeout_ms);

/* Calls again while librdkafka says that the same call goes on, in slices, so that *stop and the deadline are heard.
 * The codes: retriable (a timed out slice among them) means call again; whatever else ends it. */
static bool call_in_slices(struct producer *p, transaction_call *call, const char *doing, int timeout_ms,
                           const _Atomic(bool) *stop, enum error_kind kind, struct error *err) {
  int64_t deadline = clock_monotonic_ms() + timeout_ms;
  for (;;) {
    if (producer_stopped(stop))
      return error_set(err, ERROR_STOPPED, "%s: asked to stop", doing);
    int64_t left = deadline - clock_monotonic_ms();
    int slice = left > PRODUCER_SLICE_MS ? PRODUCER_SLICE_MS : left > 1 ? (int)left : 1;
    int64_t started = clock_monotonic_ms();
    rd_kafka_error_t *error = call(p->rk, slice);
    rd_kafka_poll(p->rk, 0);
    if (error == NULL)
      return true;
    if (!kafka_refusals_check(&p->link.refusals, p->link.last_error, err)) { /* it would go on until the deadline */
      rd_kafka_error_destroy(error);
      err->kind = kind; /* whether it is the config's fault is for the next start to say */
      return error_wrap(err, "%s", doing);
    }
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    bool again = rd_kafka_error_is_retriable(error) && !rd_kafka_error_is_fatal(error) &&
                 !rd_kafka_error_txn_requires_abort(error) && clock_monotonic_ms() < deadline;
    if (!again) {
      bool late = rd_kafka_error_is_retriable(error) && !rd_kafka_error_is_fatal(error);
      char text[512];
      snprintf(text, sizeof text, "%s", rd_kafka_error_string(error));
      rd_kafka_error_destroy(error);
      return producer_fail(p, kind, late ? RD_KAFKA_RESP_ERR__TIMED_OUT : code, doing, text, err);
    }
    rd_kafka_error_destroy(error);
    if (code != RD_KAFKA_RESP_ERR__TIMED_OUT && clock_monotonic_ms() - started < 50)
      clock_sleep_ms(50); /* refused at once: not a busy loop */
  }
}

bool producer_init(struct producer *p, int timeout_ms, const _Atomic(bool) *stop, struct error *err) {
  if (!call_in_slices(p, rd_kafka_init_transactions, "taking over the transactional id", timeout_ms, stop, ERROR_RETRY,
                      err))
    return false;
  /* What broke before is no matter: a late request of ours can only be an InitProducerId, which would fence us. */
  p->trouble_at_begin = atomic_load(&p->link.trouble);
  return true;
}

bool producer_begin(struct producer *p, struct error *err) {
  producer_forget_failures(p);
  p->trouble_at_begin = atomic_load(&p->link.trouble);
  rd_kafka_error_t *error = rd_kafka_begin_transaction(p->rk);
  if (error == NULL)
    return true;
  producer_fail(p, ERROR_START_OVER, rd_kafka_error_code(error), "beginning a transaction",
                rd_kafka_error_string(error), err);
  rd_kafka_error_destroy(error);
  return false;
}

bool producer_flush(struct producer *p, int timeout_ms, const _Atomic(bool) *stop, struct error *err) {
  int64_t deadline = clock_monotonic_ms() + timeout_ms;
  while (p->queued_messages > 0) {
    if (producer_stopped(stop))
      return error_set(err, ERROR_STOPPED, "flushing: asked to stop");
    int64_t left = deadline - clock_monotonic_ms();
    if (left <= 0)
      return producer_fail(p, ERROR_START_OVER, RD_KAFKA_RESP_ERR__TIMED_OUT, "flushing", "messages not delivered",
                           err);
    rd_kafka_flush(p->rk, left > PRODUCER_SLICE_MS ? PRODUCER_SLICE_MS : (int)left);
  }
  if (p->delivery_doubtful)
    return producer_fail(p, ERROR_START_OVER, RD_KAFKA_RESP_ERR_NO_ERROR, "flushing", "delivery failed", err);
  return true;
}

static rd_kafka_error_t *send_offsets(rd_kafka_t *rk, int timeout_ms) {
  const struct kafka_link *link = rd_kafka_opaque(rk);
  const struct producer *p = link->owner;
  return rd_kafka_send_offsets_to_transaction(rk, p->offsets, p->offsets_group, timeout_ms);
}

bool producer_send_offset(struct producer *p, const struct producer_offset *offset, int timeout_ms,
                          const _Atomic(bool) *stop, struct error *err) {
  p->offsets = rd_kafka_topic_partition_list_new(1);
  rd_kafka_topic_partition_t *partition =
      rd_kafka_topic_partition_list_add(p->offsets, offset->topic, offset->partition);
  partition->offset = offset->next;
  if (offset->text.len > 0) {
    partition->metadata = memory_copy(offset->text.data, offset->text.len); /* librdkafka frees it */
    partition->metadata_size = offset->text.len;
  }
  p->offsets_group = rd_kafka_consumer_group_metadata_new(offset->group);
  bool ok = call_in_slices(p, send_offsets, "storing offsets", timeout_ms, stop, ERROR_START_OVER, err);
  rd_kafka_consumer_group_metadata_destroy(p->offsets_group);
  rd_kafka_topic_partition_list_destroy(p->offsets);
  if (!ok)
    error_wrap(err, "group %s", offset->group);
  return ok;
}

bool producer_commit(struct producer *p, int timeout_ms, const _Atomic(bool) *stop, int64_t *elapsed_ms,
                     struct error *err) {
  int64_t started = clock_monotonic_ms();
  bool ok = call_in_slices(p, rd_kafka_commit_transaction, "committing", timeout_ms, stop, ERROR_START_OVER, err);
  if (elapsed_ms != NULL)
    *elapsed_ms = clock_monotonic_ms() - started;
  p->committed_us = clock_monotonic_us();
  return ok;
}

void producer_rest(const struct producer *p) {
  int64_t left_us = p->committed_us + PRODUCER_MARKERS_US - clock_monotonic_us();
  if (p->committed_us != 0 && left_us > 0)
    clock_sleep_us(left_us);
}

bool producer_abort(struct producer *p, int timeout_ms, struct error *err) {
  return call_in_slices(p, rd_kafka_abort_transaction, "aborting", timeout_ms, NULL, ERROR_START_OVER, err);
}

int producer_trouble_since_begin(const struct producer *p) {
  return atomic_load(&p->link.trouble) - p->trouble_at_begin;
}

int64_t producer_batch_bytes(const struct producer *p) {
  return p->batch_bytes;
}

int64_t producer_socket_timeout_ms(const struct producer *p) {
  return p->socket_timeout_ms;
}
