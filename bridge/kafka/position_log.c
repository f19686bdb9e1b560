/* See position_log.h. */
#include "bridge/kafka/position_log.h"

#include <stdlib.h>

#include "bridge/base/clock.h"
#include "bridge/base/memory.h"
#include "bridge/base/slice.h"
#include "bridge/kafka/reader.h"

#define FIRST_LOOK_BACK 64 /* offsets: about thirty positions, each with its commit marker */

struct log_reader {
  struct kafka_reader reader;
  int timeout_ms;            /* since the last record; 0: the deadline is for all of it */
  const _Atomic(bool) *stop; /* NULL: nothing stops it */
  bool (*take)(void *to, const struct position_log_record *record, struct error *err);
  void *to;
};

/* The newest record of one key. */
struct newest {
  struct slice key;
  bool found;  /* a record with the key was seen, tombstones included */
  char *value; /* of the newest one seen; NULL for a tombstone */
  size_t len;
};

static bool keep(void *to, const struct position_log_record *record, struct error *err) {
  (void)err;
  struct newest *n = to;
  if (!slice_equal(record->key, n->key))
    return true;
  free(n->value);
  n->found = true;
  n->value = slice_present(record->value) ? memory_copy(record->value.data, record->value.len) : NULL;
  n->len = slice_present(record->value) ? record->value.len : 0;
  return true;
}

static bool hand_over(struct log_reader *r, const rd_kafka_message_t *m, struct error *err) {
  if (r->timeout_ms != 0)
    r->reader.deadline = clock_monotonic_ms() + r->timeout_ms;
  struct position_log_record record = {
      .key = m->key == NULL ? SLICE_ABSENT : slice_from(m->key, m->key_len),
      .value = m->payload == NULL ? SLICE_ABSENT : slice_from(m->payload, m->len),
  };
  return r->take(r->to, &record, err);
}

/* Reads from `start` until everything before `stop_at` was seen. An EOF event carries the offset that would be fetched
 * next; it comes at the last stable offset, which an open transaction holds back. */
static bool scan_started(struct log_reader *r, int64_t stop_at, struct error *err) {
  rd_kafka_resp_err_t last = RD_KAFKA_RESP_ERR__TIMED_OUT;
  int64_t stable = -1;
  while (clock_monotonic_ms() < r->reader.deadline) {
    if (r->stop != NULL && *r->stop)
      return error_set(err, ERROR_STOPPED, "stopped");
    rd_kafka_message_t *m = kafka_reader_next(&r->reader, 0);
    if (m == NULL)
      continue;
    rd_kafka_resp_err_t code = m->err;
    int64_t offset = m->offset;
    bool taken = code != RD_KAFKA_RESP_ERR_NO_ERROR || hand_over(r, m, err);
    rd_kafka_message_destroy(m);
    if (!taken)
      return false;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
      if (offset >= stop_at || (code == RD_KAFKA_RESP_ERR_NO_ERROR && offset + 1 >= stop_at))
        return true;
      stable = code == RD_KAFKA_RESP_ERR__PARTITION_EOF ? offset : -1;
      continue;
    }
    if (kafka_error_is_authorization(code))
      return kafka_reader_fail(&r->reader, code, err);
    last = code;
  }
  if (stable < 0)
    return kafka_reader_fail(&r->reader, last, err);
  error_set(err, ERROR_RETRY, "topic %s: a transaction is still open in it: readable up to offset %lld of %lld",
            r->reader.topic, (long long)stable, (long long)stop_at);
  return error_remedy(err, "it ends by itself after the transaction.timeout.ms of the producer that left it open");
}

static bool scan(struct log_reader *r, int64_t start, int64_t stop_at, struct error *err) {
  if (rd_kafka_consume_start(r->reader.rkt, 0, start) != 0)
    return kafka_reader_fail(&r->reader, rd_kafka_last_error(), err);
  bool ok = scan_started(r, stop_at, err);
  rd_kafka_consume_stop(r->reader.rkt, 0);
  return ok;
}

/* Windows of doubling length before the end, the newest first; the first that holds the key has its newest record. */
static bool look_back(struct log_reader *r, const struct newest *newest, int64_t low, int64_t end, struct error *err) {
  int64_t stop_at = end;
  for (int64_t span = FIRST_LOOK_BACK; stop_at > low && !newest->found; span *= 2) {
    int64_t start = end - low > span ? end - span : low;
    if (!scan(r, start, stop_at, err))
      return false;
    stop_at = start;
  }
  return true;
}

static bool open_log(struct log_reader *r, const struct kafka_settings *settings, const char *topic, int64_t deadline,
                     struct error *err) {
  return kafka_reader_open(&r->reader, settings, err) &&
         kafka_reader_topic(&r->reader, topic, (int)(deadline - clock_monotonic_ms()), err);
}

bool position_log_read(struct kafka_admin *admin, const struct kafka_settings *settings, const char *topic,
                       const char *key, int timeout_ms, char **value, size_t *len, struct error *err) {
  int64_t deadline = clock_monotonic_ms() + timeout_ms, low = 0, end = 0;
  struct newest newest = {.key = slice_of(key)};
  struct log_reader r = {.take = keep, .to = &newest};
  bool ok = kafka_admin_log(admin, topic, 0, timeout_ms, &low, &end, err);
  if (ok && end > low) {
    ok = open_log(&r, settings, topic, deadline, err) && look_back(&r, &newest, low, end, err);
    kafka_reader_close(&r.reader);
  }
  if (!ok) {
    free(newest.value);
    return false;
  }
  *value = newest.value;
  *len = newest.len;
  return true;
}

bool position_log_scan(struct kafka_admin *admin, const struct kafka_settings *settings, const char *topic,
                       int64_t from, int timeout_ms, const _Atomic(bool) *stop,
                       bool (*take)(void *to, const struct position_log_record *record, struct error *err), void *to,
                       struct error *err) {
  int64_t deadline = clock_monotonic_ms() + timeout_ms, low = 0, end = 0;
  struct log_reader r = {.timeout_ms = timeout_ms, .stop = stop, .take = take, .to = to};
  bool ok = kafka_admin_log(admin, topic, 0, timeout_ms, &low, &end, err);
  if (ok && end > low && end > from) {
    ok = open_log(&r, settings, topic, deadline, err) && scan(&r, from > low ? from : low, end, err);
    kafka_reader_close(&r.reader);
  }
  return ok;
}
