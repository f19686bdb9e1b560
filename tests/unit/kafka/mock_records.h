/* Records in the mock cluster, for the tests of what reads. */
#ifndef WALFERRY_TESTS_MOCK_RECORDS_H
#define WALFERRY_TESTS_MOCK_RECORDS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/memory.h"
#include "bridge/kafka/producer.h"
#include "tests/unit/kafka/mock_cluster.h"

#define MOCK_RECORD_TIME_MS 1700000000000

/* `count` records into a partition: the i-th has key "key-i", header id "id-i", time MOCK_RECORD_TIME_MS + i, and the
 * value "value-i", or one of value_size bytes where that is not 0. */
static inline void mock_produce(const char *topic, int32_t partition, int count, size_t value_size) {
  static const char *const plain[] = {"compression.codec=none"};
  struct kafka_settings settings = mock.settings;
  settings.properties = plain;
  settings.property_count = 1;
  struct error err;
  struct producer *p = producer_new(&settings, NULL, &err);
  assert_true(producer_init(p, 10000, NULL, &err));
  assert_true(producer_begin(p, &err));
  char *large = memory_alloc(value_size + 1);
  for (int i = 0; i < count; i++) {
    char key[24], id[24], value[24];
    snprintf(key, sizeof key, "key-%d", i);
    snprintf(id, sizeof id, "id-%d", i);
    snprintf(value, sizeof value, "value-%d", i);
    struct record_header header = {.name = "id", .value = slice_of(id)};
    struct producer_message m = {.topic = topic,
                                 .partition = partition,
                                 .key = slice_of(key),
                                 .value = value_size > 0 ? slice_from(large, value_size) : slice_of(value),
                                 .timestamp_ms = MOCK_RECORD_TIME_MS + i,
                                 .headers = &header,
                                 .header_count = 1};
    assert_true(producer_send(p, &m, 5000, NULL, &err));
    assert_true(producer_flush(p, 5000, NULL, &err)); /* the producer borrows key and value; a batch of its own */
  }
  assert_true(producer_commit(p, 10000, NULL, NULL, &err));
  producer_free(p);
  free(large);
}

#endif
