/* See record_probe.h. */
#include "bridge/kafka/record_probe.h"

#include <stdlib.h>

#include "bridge/base/clock.h"
#include "bridge/base/memory.h"
#include "bridge/kafka/reader.h"

struct record_probe {
  struct kafka_reader reader;
  rd_kafka_message_t *message; /* what the facts given last point into */
};

struct record_probe *record_probe_new(const struct kafka_settings *settings, struct error *err) {
  struct record_probe *probe = memory_alloc(sizeof *probe);
  if (kafka_reader_open(&probe->reader, settings, err))
    return probe;
  record_probe_free(probe);
  return NULL;
}

static void forget(struct record_probe *probe) {
  if (probe->message != NULL)
    rd_kafka_message_destroy(probe->message);
  probe->message = NULL;
}

void record_probe_free(struct record_probe *probe) {
  if (probe == NULL)
    return;
  forget(probe);
  kafka_reader_close(&probe->reader);
  free(probe);
}

bool record_probe_range(struct record_probe *probe, const char *topic, int32_t partition, int timeout_ms, int64_t *low,
                        int64_t *end, struct error *err) {
  forget(probe);
  return kafka_reader_topic(&probe->reader, topic, timeout_ms, err) &&
         kafka_reader_range(&probe->reader, partition, low, end, err);
}

/* The first record at or behind the offset that fetching began at; NULL where none is committed yet. */
static bool read_first(struct record_probe *probe, int32_t partition, struct error *err) {
  rd_kafka_resp_err_t last = RD_KAFKA_RESP_ERR__TIMED_OUT;
  while (clock_monotonic_ms() < probe->reader.deadline) {
    rd_kafka_message_t *m = kafka_reader_next(&probe->reader, partition);
    if (m == NULL)
      continue;
    if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
      probe->message = m;
      return true;
    }
    last = m->err;
    rd_kafka_message_destroy(m);
    if (last == RD_KAFKA_RESP_ERR__PARTITION_EOF)
      return true;
    if (kafka_error_is_authorization(last))
      break;
  }
  return kafka_reader_fail(&probe->reader, last, err);
}

static void describe(const rd_kafka_message_t *m, const char *header, struct record_facts *facts) {
  rd_kafka_headers_t *headers;
  const void *value;
  size_t len;
  facts->presence = RECORD_FOUND;
  facts->timestamp_ms = rd_kafka_message_timestamp(m, NULL);
  if (rd_kafka_message_headers(m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR &&
      rd_kafka_header_get_last(headers, header, &value, &len) == RD_KAFKA_RESP_ERR_NO_ERROR && value != NULL)
    facts->header = slice_from(value, len);
}

bool record_probe_look(struct record_probe *probe, const char *topic, int32_t partition, int64_t offset,
                       const char *header, int timeout_ms, struct record_facts *facts, struct error *err) {
  struct record_facts found = {.presence = RECORD_COMPACTED, .timestamp_ms = -1, .header = SLICE_ABSENT};
  if (!record_probe_range(probe, topic, partition, timeout_ms, &found.low, &found.end, err))
    return false;
  if (offset < found.low || offset >= found.end) {
    found.presence = offset < found.low ? RECORD_DELETED : RECORD_BEYOND_END;
    *facts = found;
    return true;
  }
  if (rd_kafka_consume_start(probe->reader.rkt, partition, offset) != 0)
    return kafka_reader_fail(&probe->reader, rd_kafka_last_error(), err);
  bool ok = read_first(probe, partition, err);
  rd_kafka_consume_stop(probe->reader.rkt, partition);
  if (!ok)
    return false;
  if (probe->message != NULL && probe->message->offset == offset)
    describe(probe->message, header, &found);
  *facts = found;
  return true;
}
