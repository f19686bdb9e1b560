/* See reader.h. */
#include "bridge/kafka/reader.h"

#include "bridge/base/clock.h"

#define RETRY_MS 50
#define STOP_SLICE_MS 2000

bool kafka_reader_open(struct kafka_reader *r, const struct kafka_settings *settings, struct error *err) {
  *r = (struct kafka_reader){.rk = NULL};
  kafka_link_init(&r->link, KAFKA_ROLE_READER);
  rd_kafka_conf_t *conf = kafka_conf_new(settings, &r->link, err);
  r->rk = conf == NULL ? NULL : kafka_handle_new(conf, &r->link, err);
  return r->rk != NULL;
}

void kafka_reader_close(struct kafka_reader *r) {
  if (r->rkt != NULL)
    rd_kafka_topic_destroy(r->rkt);
  if (r->rk != NULL)
    rd_kafka_destroy(r->rk);
}

bool kafka_reader_topic(struct kafka_reader *r, const char *topic, int timeout_ms, struct error *err) {
  if (r->rkt != NULL)
    rd_kafka_topic_destroy(r->rkt);
  r->topic = topic;
  r->deadline = clock_monotonic_ms() + timeout_ms;
  r->rkt = rd_kafka_topic_new(r->rk, topic, NULL);
  return r->rkt != NULL || kafka_reader_fail(r, rd_kafka_last_error(), err);
}

bool kafka_reader_fail(const struct kafka_reader *r, rd_kafka_resp_err_t code, struct error *err) {
  if (kafka_error_is_authorization(code)) {
    error_set(err, ERROR_RETRY, "topic %s: not authorised to read it", r->topic);
    return error_remedy(err, "grant Read and Describe on topic %s to the user of walferry", r->topic);
  }
  return error_set(err, ERROR_RETRY, "topic %s: the brokers did not let it be read in time: %s%s", r->topic,
                   rd_kafka_err2str(code), kafka_link_hint(r->rk, &r->link).text);
}

static int left_ms(const struct kafka_reader *r) {
  int64_t left = r->deadline - clock_monotonic_ms();
  return left > 1 ? (int)left : 1;
}

/* A read_committed handle is told the last stable offset. */
bool kafka_reader_range(const struct kafka_reader *r, int32_t partition, int64_t *low, int64_t *end,
                        struct error *err) {
  for (;;) {
    if (r->stop != NULL && *r->stop)
      return error_set(err, ERROR_STOPPED, "stopped");
    int wait_ms = r->stop != NULL && left_ms(r) > STOP_SLICE_MS ? STOP_SLICE_MS : left_ms(r);
    rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(r->rk, r->topic, partition, low, end, wait_ms);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
      return true;
    if (kafka_error_is_authorization(code) || clock_monotonic_ms() >= r->deadline)
      return kafka_reader_fail(r, code, err);
    clock_sleep_ms(RETRY_MS);
  }
}

rd_kafka_message_t *kafka_reader_next(const struct kafka_reader *r, int32_t partition) {
  rd_kafka_poll(r->rk, 0);
  return rd_kafka_consume(r->rkt, partition, KAFKA_READER_SLICE_MS);
}
