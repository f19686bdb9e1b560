/* See topic_scan.h. */
#include "bridge/kafka/topic_scan.h"

#include <stdlib.h>

#include "bridge/base/clock.h"
#include "bridge/base/memory.h"
#include "bridge/kafka/message_copy.h"
#include "bridge/kafka/reader.h"

#define STORED_RETRY_MS 100

struct topic_scan {
  struct kafka_reader reader;
  const char *topic;
  const char *group;
  struct kafka_link link; /* of group_rk */
  rd_kafka_t *group_rk;   /* a handle that has a group, which it does not join */
  rd_kafka_topic_partition_list_t *stored;
  int32_t partition; /* begun; -1: none */
};

static bool open_group(struct topic_scan *scan, const struct kafka_settings *settings, struct error *err) {
  kafka_link_init(&scan->link, KAFKA_ROLE_READER);
  rd_kafka_conf_t *conf = kafka_conf_new(settings, &scan->link, err);
  if (conf == NULL)
    return false;
  if (!kafka_conf_set(conf, "group.id", scan->group, err)) {
    rd_kafka_conf_destroy(conf);
    return false;
  }
  scan->group_rk = kafka_handle_new(conf, &scan->link, err);
  return scan->group_rk != NULL;
}

struct topic_scan *topic_scan_new(const struct kafka_settings *settings, const char *topic, const char *group,
                                  struct error *err) {
  struct topic_scan *scan = memory_alloc(sizeof *scan);
  scan->topic = topic;
  scan->group = group;
  scan->partition = -1;
  if (kafka_reader_open(&scan->reader, settings, err) && open_group(scan, settings, err) &&
      kafka_reader_topic(&scan->reader, topic, 0, err))
    return scan;
  topic_scan_free(scan);
  return NULL;
}

static void end_partition(struct topic_scan *scan) {
  if (scan->partition >= 0)
    rd_kafka_consume_stop(scan->reader.rkt, scan->partition);
  scan->partition = -1;
}

void topic_scan_free(struct topic_scan *scan) {
  if (scan == NULL)
    return;
  end_partition(scan);
  kafka_reader_close(&scan->reader);
  if (scan->stored != NULL)
    rd_kafka_topic_partition_list_destroy(scan->stored);
  if (scan->group_rk != NULL)
    rd_kafka_destroy(scan->group_rk);
  free(scan);
}

bool topic_scan_range(struct topic_scan *scan, int32_t partition, int timeout_ms, int64_t *low, int64_t *end,
                      struct error *err) {
  scan->reader.deadline = clock_monotonic_ms() + timeout_ms;
  return kafka_reader_range(&scan->reader, partition, low, end, err);
}

static bool fail_stored(struct topic_scan *scan, rd_kafka_resp_err_t code, struct error *err) {
  if (kafka_error_is_authorization(code)) {
    error_set(err, ERROR_RETRY, "group %s: not authorised to read its offsets", scan->group);
    return error_remedy(err, "grant Read and Describe on group %s to the user of walferry", scan->group);
  }
  return error_set(err, ERROR_RETRY, "group %s: its offsets cannot be read: %s%s", scan->group, rd_kafka_err2str(code),
                   kafka_link_hint(scan->group_rk, &scan->link).text);
}

bool topic_scan_stored(struct topic_scan *scan, int32_t partition, int timeout_ms, int64_t *next, struct slice *text,
                       struct error *err) {
  int64_t deadline = clock_monotonic_ms() + timeout_ms;
  for (;;) {
    if (scan->stored != NULL)
      rd_kafka_topic_partition_list_destroy(scan->stored);
    scan->stored = rd_kafka_topic_partition_list_new(1);
    const rd_kafka_topic_partition_t *found = rd_kafka_topic_partition_list_add(scan->stored, scan->topic, partition);
    int64_t left = deadline - clock_monotonic_ms();
    rd_kafka_resp_err_t code = rd_kafka_committed(scan->group_rk, scan->stored, left > 1 ? (int)left : 1);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
      code = found->err;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
      *next = found->offset >= 0 ? found->offset : -1;
      *text = found->metadata == NULL ? SLICE_ABSENT : slice_from(found->metadata, found->metadata_size);
      return true;
    }
    if (kafka_error_is_authorization(code) || clock_monotonic_ms() >= deadline)
      return fail_stored(scan, code, err);
    clock_sleep_ms(STORED_RETRY_MS);
  }
}

bool topic_scan_begin(struct topic_scan *scan, int32_t partition, int64_t offset, struct error *err) {
  end_partition(scan);
  if (rd_kafka_consume_start(scan->reader.rkt, partition, offset) != 0)
    return kafka_reader_fail(&scan->reader, rd_kafka_last_error(), err);
  scan->partition = partition;
  return true;
}

enum topic_scan_step topic_scan_next(struct topic_scan *scan, struct consumer_message **message, struct error *err) {
  rd_kafka_message_t *m = kafka_reader_next(&scan->reader, scan->partition);
  if (m == NULL)
    return TOPIC_SCAN_NOTHING;
  enum topic_scan_step step = TOPIC_SCAN_MESSAGE;
  if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
    *message = consumer_message_copy(m, scan->topic);
  } else if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
    step = TOPIC_SCAN_END;
  } else {
    kafka_reader_fail(&scan->reader, m->err, err);
    step = TOPIC_SCAN_FAILED;
  }
  rd_kafka_message_destroy(m);
  return step;
}

void topic_scan_message_free(struct consumer_message *message) {
  free(message);
}
