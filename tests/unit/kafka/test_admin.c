/* Admin calls against brokers that are away or cannot do them. (The mock cluster knows neither CreateTopics nor
 * DescribeConfigs; making and describing topics is tested against a real broker.) */
#include <stdlib.h>
#include <string.h>

#include "bridge/base/clock.h"
#include "bridge/base/log.h"
#include "bridge/kafka/admin.h"
#include "tests/unit/kafka/mock_cluster.h"

static void a_broker_that_answers_is_reachable(void **state) {
  (void)state;
  struct error err = {0};
  struct kafka_admin *admin = kafka_admin_new(&mock.settings, &err);
  assert_non_null(admin);
  assert_true(kafka_admin_reachable(admin, 5000, &err));
  kafka_admin_free(admin);
}

static void the_cluster_has_an_id(void **state) {
  (void)state;
  struct error err = {0};
  char *id = NULL, *again = NULL;
  struct kafka_admin *admin = kafka_admin_new(&mock.settings, &err);
  assert_true(kafka_admin_cluster_id(admin, 5000, &id, &err));
  assert_true(kafka_admin_cluster_id(admin, 5000, &again, &err));
  assert_non_null(strstr(id, "mockCluster"));
  assert_string_equal(id, again);
  free(id);
  free(again);
  kafka_admin_free(admin);
}

static void calls_to_brokers_that_are_away_end_at_their_deadline(void **state) {
  (void)state;
  struct kafka_settings away = {.brokers = "127.0.0.1:1", .instance = "t"};
  struct error err = {0};
  struct kafka_topic_facts facts = {.partitions = 77};
  bool known = true;
  char *id = NULL;
  struct kafka_admin *admin = kafka_admin_new(&away, &err);
  int64_t started = clock_monotonic_ms();
  assert_false(kafka_admin_reachable(admin, 500, &err));
  assert_int_equal(err.kind, ERROR_RETRY);
  assert_false(kafka_admin_cluster_id(admin, 500, &id, &err));
  assert_int_equal(err.kind, ERROR_RETRY);
  assert_null(id);
  assert_false(kafka_admin_topic(admin, "t", 500, &facts, &known, &err));
  assert_int_equal(err.kind, ERROR_RETRY);
  assert_non_null(strstr(err.message, "topic t"));
  assert_int_equal(facts.partitions, 77);
  assert_false(
      kafka_admin_create_topic(admin, "t", &(struct topic_shape){.partitions = 1, .replication = 1}, 500, &err));
  assert_int_equal(err.kind, ERROR_RETRY);
  assert_false(kafka_admin_delete_topic(admin, "t", 500, &err));
  assert_int_equal(err.kind, ERROR_RETRY);
  kafka_admin_free(admin);
  assert_in_range(clock_monotonic_ms() - started, 1000, 8000);
}

static void configs_that_cannot_be_described_leave_the_facts_alone(void **state) {
  (void)state;
  struct error err = {0};
  struct kafka_topic_facts facts = {.partitions = 77};
  rd_kafka_mock_topic_create(mock.cluster, "there", 2, 1);
  struct kafka_admin *admin = kafka_admin_new(&mock.settings, &err);
  assert_false(kafka_admin_topic(admin, "there", 3000, &facts, NULL, &err));
  assert_int_equal(err.kind, ERROR_RETRY);
  assert_int_equal(facts.partitions, 77);
  kafka_admin_free(admin);
}

static void impossible_topics_are_a_matter_of_the_config(void **state) {
  (void)state;
  struct error err = {0};
  struct kafka_admin *admin = kafka_admin_new(&mock.settings, &err);
  assert_false(
      kafka_admin_create_topic(admin, "t", &(struct topic_shape){.partitions = -5, .replication = 1}, 500, &err));
  assert_int_equal(err.kind, ERROR_CONFIG);
  kafka_admin_free(admin);
  kafka_admin_free(NULL);
}

int main(void) {
  log_setup(LOG_ERROR, LOG_TEXT);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_broker_that_answers_is_reachable),
      cmocka_unit_test(the_cluster_has_an_id),
      cmocka_unit_test(calls_to_brokers_that_are_away_end_at_their_deadline),
      cmocka_unit_test(configs_that_cannot_be_described_leave_the_facts_alone),
      cmocka_unit_test(impossible_topics_are_a_matter_of_the_config),
  };
  return cmocka_run_group_tests(tests, mock_start, mock_stop);
}
