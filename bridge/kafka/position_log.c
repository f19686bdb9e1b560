/* See position_log.h. Reads with librdkafka's simple consumer: no group, hence no coordinator, no join, no permission
 * on a group, and nothing stored at the broker. */
#include "bridge/kafka/position_log.h"

#include <stdlib.h>

#include "bridge/base/clock.h"
#include "bridge/base/memory.h"
#include "bridge/base/slice.h"
#include "bridge/kafka/conf.h"

#define FIRST_LOOK_BACK 64 /* offsets: about thirty positions, each with its commit marker */
#define CONSUME_SLICE_MS 100

struct log_reader {
  struct kafka_link link;
  rd_kafka_t *rk;
  rd_kafka_topic_t *rkt;
  const char *topic;
  struct slice key;
  int64_t deadline; /* clock_monotonic_ms */
  bool found;       /* a record with the key was seen, tombstones included */
  char *value;      /* of the newest one seen; NULL for a tombstone */
  size_t len;
};

static bool fail(const struct log_reader *r, rd_kafka_resp_err_t code, struct error *err) {
  if (kafka_error_is_authorization(code)) {
    error_set(err, ERROR_RETRY, "topic %s: not authorised to read it", r->topic);
    return error_remedy(err, "grant Read and Describe on topic %s to the user of walferry", r->topic);
  }
  return error_set(err, ERROR_RETRY, "topic %s: the brokers did not let it be read in time: %s%s", r->topic,
                   rd_kafka_err2str(code), kafka_link_hint(r->rk, &r->link).text);
}

static bool reader_open(struct log_reader *r, const struct kafka_settings *settings, struct error *err) {
  kafka_link_init(&r->link, KAFKA_ROLE_READER);
  rd_kafka_conf_t *conf = kafka_conf_new(settings, &r->link, err);
  if (conf == NULL)
    return false;
  r->rk = kafka_handle_new(conf, &r->link, err);
  if (r->rk == NULL)
    return false;
  r->rkt = rd_kafka_topic_new(r->rk, r->topic, NULL);
  return r->rkt != NULL || fail(r, rd_kafka_last_error(), err);
}

static void reader_close(struct log_reader *r) {
  if (r->rkt != NULL)
    rd_kafka_topic_destroy(r->rkt);
  if (r->rk != NULL)
    rd_kafka_destroy(r->rk);
}

static void keep(struct log_reader *r, const rd_kafka_message_t *m) {
  if (m->key == NULL || !slice_equal(slice_from(m->key, m->key_len), r->key))
    return;
  free(r->value);
  r->found = true;
  r->value = m->payload == NULL ? NULL : memory_copy(m->payload, m->len);
  r->len = m->payload == NULL ? 0 : m->len;
}

/* Reads from `start` until everything before `stop_at` was seen. An EOF event carries the offset that would be fetched
 * next; it comes at the last stable offset, which an open transaction holds back. */
static bool scan_started(struct log_reader *r, int64_t stop_at, struct error *err) {
  rd_kafka_resp_err_t last = RD_KAFKA_RESP_ERR__TIMED_OUT;
  int64_t stable = -1;
  while (clock_monotonic_ms() < r->deadline) {
    rd_kafka_poll(r->rk, 0);
    rd_kafka_message_t *m = rd_kafka_consume(r->rkt, 0, CONSUME_SLICE_MS);
    if (m == NULL)
      continue;
    rd_kafka_resp_err_t code = m->err;
    int64_t offset = m->offset;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
      keep(r, m);
    rd_kafka_message_destroy(m);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
      if (offset >= stop_at || (code == RD_KAFKA_RESP_ERR_NO_ERROR && offset + 1 >= stop_at))
        return true;
      stable = code == RD_KAFKA_RESP_ERR__PARTITION_EOF ? offset : -1;
      continue;
    }
    if (kafka_error_is_authorization(code))
      return fail(r, code, err);
    last = code;
  }
  if (stable < 0)
    return fail(r, last, err);
  error_set(err, ERROR_RETRY, "topic %s: a transaction is still open in it: readable up to offset %lld of %lld",
            r->topic, (long long)stable, (long long)stop_at);
  return error_remedy(err, "it ends by itself after the transaction.timeout.ms of the producer that left it open");
}

static bool scan(struct log_reader *r, int64_t start, int64_t stop_at, struct error *err) {
  if (rd_kafka_consume_start(r->rkt, 0, start) != 0)
    return fail(r, rd_kafka_last_error(), err);
  bool ok = scan_started(r, stop_at, err);
  rd_kafka_consume_stop(r->rkt, 0);
  return ok;
}

/* Windows of doubling length before the end, the newest first; the first that holds the key has its newest record. */
static bool look_back(struct log_reader *r, int64_t low, int64_t end, struct error *err) {
  int64_t stop_at = end;
  for (int64_t span = FIRST_LOOK_BACK; stop_at > low && !r->found; span *= 2) {
    int64_t start = end - low > span ? end - span : low;
    if (!scan(r, start, stop_at, err))
      return false;
    stop_at = start;
  }
  return true;
}

bool position_log_read(struct kafka_admin *admin, const struct kafka_settings *settings, const char *topic,
                       const char *key, int timeout_ms, char **value, size_t *len, struct error *err) {
  struct log_reader r = {.topic = topic, .key = slice_of(key), .deadline = clock_monotonic_ms() + timeout_ms};
  int64_t low = 0, end = 0;
  bool ok = kafka_admin_log(admin, topic, 0, timeout_ms, &low, &end, err);
  if (ok && end > low) {
    ok = reader_open(&r, settings, err) && look_back(&r, low, end, err);
    reader_close(&r);
  }
  if (!ok) {
    free(r.value);
    return false;
  }
  *value = r.value;
  *len = r.len;
  return true;
}
