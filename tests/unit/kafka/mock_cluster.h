/* librdkafka's own mock cluster, for its errors on demand. It is no witness for exactly-once. */
#ifndef WALFERRY_TESTS_MOCK_CLUSTER_H
#define WALFERRY_TESTS_MOCK_CLUSTER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "bridge/kafka/client.h"

/* Api keys of the Kafka protocol. */
enum {
  API_PRODUCE = 0,
  API_FIND_COORDINATOR = 10,
  API_JOIN_GROUP = 11,
  API_HEARTBEAT = 12,
  API_INIT_PRODUCER_ID = 22,
  API_ADD_PARTITIONS = 24,
  API_END_TXN = 26
};

/* The one cluster that all tests of a program share. */
static struct {
  rd_kafka_t *rk; /* holds the cluster, does nothing else */
  rd_kafka_mock_cluster_t *cluster;
  struct kafka_settings settings;
} mock;

/* Setup and teardown of the group that uses it. */
static inline int mock_start(void **state) {
  (void)state;
  char text[256];
  mock.rk = rd_kafka_new(RD_KAFKA_PRODUCER, NULL, text, sizeof text);
  assert_non_null(mock.rk);
  mock.cluster = rd_kafka_mock_cluster_new(mock.rk, 1);
  assert_non_null(mock.cluster);
  mock.settings = (struct kafka_settings){.brokers = rd_kafka_mock_cluster_bootstraps(mock.cluster), .instance = "t"};
  return 0;
}

static inline int mock_stop(void **state) {
  (void)state;
  rd_kafka_mock_cluster_destroy(mock.cluster);
  rd_kafka_destroy(mock.rk);
  return 0;
}

static inline void mock_fail_next(int16_t api, rd_kafka_resp_err_t code) {
  rd_kafka_mock_push_request_errors(mock.cluster, api, 1, code);
}

#endif
