/* See topic_tail.h. One partition after the other: this is for a person who looks, not for speed. */
#include "bridge/kafka/topic_tail.h"

#include "bridge/base/clock.h"
#include "bridge/kafka/reader.h"

struct tail {
  struct kafka_reader reader;
  const char *header;
  void (*take)(void *to, const struct topic_tail_record *record);
  void *to;
};

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
  while (clock_monotonic_ms() < t->reader.deadline) {
    rd_kafka_message_t *m = kafka_reader_next(&t->reader, partition);
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
      return kafka_reader_fail(&t->reader, code, err);
    last = code;
  }
  return kafka_reader_fail(&t->reader, last == RD_KAFKA_RESP_ERR_NO_ERROR ? RD_KAFKA_RESP_ERR__TIMED_OUT : last, err);
}

static bool read_partition(const struct tail *t, int32_t partition, int64_t offsets_max, bool *whole,
                           struct error *err) {
  int64_t low, end;
  if (!kafka_reader_range(&t->reader, partition, &low, &end, err))
    return false;
  if (low >= end)
    return true;
  bool cut = end - low > offsets_max;
  if (cut)
    *whole = false;
  if (rd_kafka_consume_start(t->reader.rkt, partition, cut ? end - offsets_max : low) != 0)
    return kafka_reader_fail(&t->reader, rd_kafka_last_error(), err);
  bool ok = read_to_end(t, partition, end, err);
  rd_kafka_consume_stop(t->reader.rkt, partition);
  return ok;
}

bool topic_tail_read(const struct kafka_settings *settings, const char *topic, int32_t partitions, int64_t offsets_max,
                     const char *header, int timeout_ms, void (*take)(void *to, const struct topic_tail_record *record),
                     void *to, bool *whole, struct error *err) {
  struct tail t = {.header = header, .take = take, .to = to};
  bool ok = kafka_reader_open(&t.reader, settings, err) && kafka_reader_topic(&t.reader, topic, timeout_ms, err);
  bool all = true;
  for (int32_t partition = 0; ok && partition < partitions; partition++)
    ok = read_partition(&t, partition, offsets_max, &all, err);
  kafka_reader_close(&t.reader);
  if (ok)
    *whole = all;
  return ok;
}
