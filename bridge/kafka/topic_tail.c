/* See topic_tail.h. One partition after the other: this is for a person who looks, not for speed. */
#include "bridge/kafka/topic_tail.h"

#include "bridge/base/clock.h"
#include "bridge/kafka/conf.h"

#define CONSUME_SLICE_MS 100
#define RETRY_MS 50

struct tail {
  struct kafka_link link;
  rd_kafka_t *rk;
  rd_kafka_topic_t *rkt;
  const char *topic;
  const char *header;
  int64_t deadline; /* clock_monotonic_ms */
  void (*take)(void *to, const struct topic_tail_record *record);
  void *to;
};

static int left_ms(const struct tail *t) {
  int64_t left = t->deadline - clock_monotonic_ms();
  return left > 1 ? (int)left : 1;
}

static bool fail(const struct tail *t, rd_kafka_resp_err_t code, struct error *err) {
  if (kafka_error_is_authorization(code)) {
    error_set(err, ERROR_RETRY, "topic %s: not authorised to read it", t->topic);
    return error_remedy(err, "grant Read and Describe on topic %s to the user of walferry", t->topic);
  }
  return error_set(err, ERROR_RETRY, "topic %s: the brokers did not let it be read in time: %s%s", t->topic,
                   rd_kafka_err2str(code), kafka_link_hint(t->rk, &t->link).text);
}

/* The end of what is committed: a read_committed handle is told the last stable offset. */
static bool query_range(const struct tail *t, int32_t partition, int64_t *low, int64_t *end, struct error *err) {
  for (;;) {
    rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(t->rk, t->topic, partition, low, end, left_ms(t));
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
      return true;
    if (kafka_error_is_authorization(code) || clock_monotonic_ms() >= t->deadline)
      return fail(t, code, err);
    clock_sleep_ms(RETRY_MS);
  }
}

static void hand_over(const struct tail *t, const rd_kafka_message_t *m) {
  struct topic_tail_record record = {.timestamp_ms = rd_kafka_message_timestamp(m, NULL), .header = SLICE_ABSENT};
  rd_kafka_headers_t *headers;
  const void *value;
  size_t len;
  if (rd_kafka_message_headers(m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR &&
      rd_kafka_header_get_last(headers, t->header, &value, &len) == RD_KAFKA_RESP_ERR_NO_ERROR && value != NULL)
    record.header = slice_from(value, len);
  t->take(t->to, &record);
}

/* The EOF event comes behind everything that can be read. */
static bool read_to_end(const struct tail *t, int32_t partition, int64_t end, struct error *err) {
  rd_kafka_resp_err_t last = RD_KAFKA_RESP_ERR__TIMED_OUT;
  while (clock_monotonic_ms() < t->deadline) {
    rd_kafka_poll(t->rk, 0);
    rd_kafka_message_t *m = rd_kafka_consume(t->rkt, partition, CONSUME_SLICE_MS);
    if (m == NULL)
      continue;
    rd_kafka_resp_err_t code = m->err;
    int64_t offset = m->offset;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && offset < end)
      hand_over(t, m);
    rd_kafka_message_destroy(m);
    if (code == RD_KAFKA_RESP_ERR__PARTITION_EOF || (code == RD_KAFKA_RESP_ERR_NO_ERROR && offset + 1 >= end))
      return true;
    if (kafka_error_is_authorization(code))
      return fail(t, code, err);
    last = code;
  }
  return fail(t, last == RD_KAFKA_RESP_ERR_NO_ERROR ? RD_KAFKA_RESP_ERR__TIMED_OUT : last, err);
}

static bool read_partition(const struct tail *t, int32_t partition, int64_t offsets_max, bool *whole,
                           struct error *err) {
  int64_t low, end;
  if (!query_range(t, partition, &low, &end, err))
    return false;
  if (low >= end)
    return true;
  bool cut = end - low > offsets_max;
  if (cut)
    *whole = false;
  if (rd_kafka_consume_start(t->rkt, partition, cut ? end - offsets_max : low) != 0)
    return fail(t, rd_kafka_last_error(), err);
  bool ok = read_to_end(t, partition, end, err);
  rd_kafka_consume_stop(t->rkt, partition);
  return ok;
}

bool topic_tail_read(const struct kafka_settings *settings, const char *topic, int32_t partitions, int64_t offsets_max,
                     const char *header, int timeout_ms, void (*take)(void *to, const struct topic_tail_record *record),
                     void *to, bool *whole, struct error *err) {
  struct tail t = {
      .topic = topic, .header = header, .deadline = clock_monotonic_ms() + timeout_ms, .take = take, .to = to};
  kafka_link_init(&t.link, KAFKA_ROLE_READER);
  rd_kafka_conf_t *conf = kafka_conf_new(settings, &t.link, err);
  t.rk = conf == NULL ? NULL : kafka_handle_new(conf, &t.link, err);
  if (t.rk == NULL)
    return false;
  t.rkt = rd_kafka_topic_new(t.rk, topic, NULL);
  bool ok = t.rkt != NULL || fail(&t, rd_kafka_last_error(), err);
  bool all = true;
  for (int32_t partition = 0; ok && partition < partitions; partition++)
    ok = read_partition(&t, partition, offsets_max, &all, err);
  if (t.rkt != NULL)
    rd_kafka_topic_destroy(t.rkt);
  rd_kafka_destroy(t.rk);
  if (ok)
    *whole = all;
  return ok;
}
