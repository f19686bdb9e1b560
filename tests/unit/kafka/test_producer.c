/* What becomes of librdkafka's errors, and where keys are placed. */
#include <stdlib.h>
#include <string.h>

#include "bridge/base/clock.h"
#include "bridge/base/log.h"
#include "bridge/kafka/producer.h"
#include "tests/unit/kafka/mock_cluster.h"

static struct producer *ready_producer(void) {
  struct error err;
  struct producer *p = producer_new(&mock.settings, NULL, &err);
  assert_non_null(p);
  if (!producer_init(p, 10000, NULL, &err))
    fail_msg("init: %s", err.message);
  assert_true(producer_begin(p, &err));
  return p;
}

static bool send_text(struct producer *p, const char *topic, const char *value, void *tag, struct error *err) {
  struct record_header headers[] = {{"id", slice_of("7")}, {"source", SLICE_ABSENT}};
  struct producer_message m = {.topic = topic,
                               .partition = 0,
                               .key = slice_of("key"),
                               .value = slice_of(value),
                               .headers = headers,
                               .header_count = 2,
                               .tag = tag};
  return producer_send(p, &m, 5000, NULL, err);
}

static void keys_are_placed_as_java_places_them(void **state) {
  (void)state;
  /* org.apache.kafka.common.utils.UtilsTest.testMurmur2 */
  static const struct {
    const char *key;
    int32_t hash;
  } cases[] = {{"21", -973932308},
               {"foobar", -790332482},
               {"a-little-bit-long-string", -985981536},
               {"a-little-bit-longer-string", -1486304829},
               {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
               {"abc", 479470107}};
  struct error err;
  struct producer *p = producer_new(&mock.settings, NULL, &err);
  static const int32_t counts[] = {1, 2, 3, 12, 50, 1000};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    for (size_t j = 0; j < sizeof counts / sizeof counts[0]; j++)
      assert_int_equal(producer_partition(p, slice_of(cases[i].key), counts[j]),
                       (cases[i].hash & 0x7fffffff) % counts[j]);
  /* An empty key is a key: always the same place. */
  assert_int_equal(producer_partition(p, slice_of(""), 50), producer_partition(p, slice_of(""), 50));
  producer_free(p);
}

static void absent_keys_are_spread(void **state) {
  (void)state;
  struct error err;
  struct producer *p = producer_new(&mock.settings, NULL, &err);
  int seen[4] = {0};
  for (int i = 0; i < 400; i++) {
    int32_t partition = producer_partition(p, SLICE_ABSENT, 4);
    assert_in_range(partition, 0, 3);
    seen[partition]++;
  }
  for (int i = 0; i < 4; i++)
    assert_true(seen[i] > 20);
  producer_free(p);
}

static void a_transaction_commits_without_trouble(void **state) {
  (void)state;
  struct producer *p = ready_producer();
  struct error err;
  const struct producer_failure *failures;
  int64_t elapsed_ms = -1;
  assert_true(send_text(p, "a", "one", NULL, &err));
  assert_true(send_text(p, "b", "", NULL, &err));
  assert_true(send_text(p, "a", NULL, NULL, &err));
  assert_true(producer_flush(p, 5000, NULL, &err));
  assert_true(producer_commit(p, 10000, NULL, &elapsed_ms, &err));
  assert_in_range(elapsed_ms, 0, 10000);
  assert_int_equal(producer_failures(p, &failures), 0);
  assert_int_equal(producer_trouble_since_begin(p), 0);
  producer_free(p);
}

static void it_rests_after_a_commit_until_the_markers_are_written(void **state) {
  (void)state;
  struct producer *p = ready_producer();
  struct error err;
  assert_true(send_text(p, "a", "one", NULL, &err));
  int64_t began_us = clock_monotonic_us();
  assert_true(producer_commit(p, 10000, NULL, NULL, &err));
  producer_rest(p);
  assert_in_range(clock_monotonic_us() - began_us, 2000, 10000000);
  producer_free(p);
}

static void a_record_refused_for_what_it_is_comes_back_with_its_tag(void **state) {
  (void)state;
  static const rd_kafka_resp_err_t codes[] = {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
                                              RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, RD_KAFKA_RESP_ERR_INVALID_RECORD,
                                              RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, RD_KAFKA_RESP_ERR_POLICY_VIOLATION};
  for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
    struct producer *p = ready_producer();
    struct error err = {0};
    const struct producer_failure *failures;
    int tag;
    mock_fail_next(API_PRODUCE, codes[i]);
    assert_true(send_text(p, "a", "one", &tag, &err));
    assert_false(producer_commit(p, 10000, NULL, NULL, &err));
    assert_int_equal(err.kind, ERROR_START_OVER);
    assert_non_null(strstr(err.message, "topic a"));
    assert_int_equal(producer_failures(p, &failures), 1);
    assert_ptr_equal(failures[0].tag, &tag);
    assert_string_equal(failures[0].reason, rd_kafka_err2name(codes[i]));
    producer_free(p);
  }
}

static void a_refusal_that_is_not_about_the_record_is_no_failure_and_names_the_topic(void **state) {
  (void)state;
  struct producer *p = ready_producer();
  struct error err = {0};
  const struct producer_failure *failures;
  mock_fail_next(API_PRODUCE, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
  assert_true(send_text(p, "secret", "one", NULL, &err));
  assert_false(producer_flush(p, 5000, NULL, &err));
  assert_int_equal(err.kind, ERROR_START_OVER);
  assert_false(producer_commit(p, 10000, NULL, NULL, &err));
  assert_int_equal(err.kind, ERROR_START_OVER);
  assert_non_null(strstr(err.message, "topic secret"));
  assert_int_equal(producer_failures(p, &failures), 0);
  producer_free(p);
}

static void messages_purged_by_an_abort_are_no_failures(void **state) {
  (void)state;
  struct producer *p = ready_producer();
  struct error err = {0};
  const struct producer_failure *failures;
  assert_true(send_text(p, "a", "one", NULL, &err));
  assert_true(producer_abort(p, 10000, &err));
  assert_int_equal(producer_failures(p, &failures), 0);
  producer_free(p);
}

static void an_empty_topic_name_is_a_failure_at_once(void **state) {
  (void)state;
  struct producer *p = ready_producer();
  struct error err = {0};
  const struct producer_failure *failures;
  int tag;
  assert_false(send_text(p, "", "one", &tag, &err));
  assert_int_equal(err.kind, ERROR_START_OVER);
  assert_int_equal(producer_failures(p, &failures), 1);
  assert_ptr_equal(failures[0].tag, &tag);
  producer_free(p);
}

static void fencing_is_told_from_other_errors(void **state) {
  (void)state;
  static const rd_kafka_resp_err_t codes[] = {RD_KAFKA_RESP_ERR_PRODUCER_FENCED,
                                              RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH};
  for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
    struct producer *p = ready_producer();
    struct error err = {0};
    mock_fail_next(API_END_TXN, codes[i]);
    assert_true(send_text(p, "a", "one", NULL, &err));
    assert_false(producer_commit(p, 10000, NULL, NULL, &err));
    assert_int_equal(err.kind, ERROR_FENCED);
    assert_non_null(strstr(err.message, "walferry.t"));
    assert_false(producer_begin(p, &err));
    assert_int_equal(err.kind, ERROR_FENCED);
    producer_free(p);
  }
}

static void a_connection_lost_in_a_commit_that_succeeds_is_counted(void **state) {
  (void)state;
  struct producer *p = ready_producer();
  struct error err = {0};
  assert_true(send_text(p, "a", "one", NULL, &err));
  assert_true(producer_flush(p, 5000, NULL, &err));
  assert_int_equal(producer_trouble_since_begin(p), 0);
  mock_fail_next(API_END_TXN, RD_KAFKA_RESP_ERR__TRANSPORT); /* the mock closes the connection */
  if (!producer_commit(p, 20000, NULL, NULL, &err))
    fail_msg("commit: %s", err.message);
  assert_true(producer_trouble_since_begin(p) > 0);
  assert_true(producer_begin(p, &err));
  assert_int_equal(producer_trouble_since_begin(p), 0);
  producer_free(p);
}

static void a_forbidden_transactional_id_is_named(void **state) {
  (void)state;
  struct error err = {0};
  struct producer *p = producer_new(&mock.settings, NULL, &err);
  mock_fail_next(API_INIT_PRODUCER_ID, RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
  assert_false(producer_init(p, 10000, NULL, &err));
  assert_int_equal(err.kind, ERROR_RETRY);
  assert_non_null(strstr(err.message, "walferry.t"));
  assert_true(err.remedy[0] != '\0');
  producer_free(p);
}

static void init_without_brokers_ends_at_its_deadline_and_says_why(void **state) {
  (void)state;
  struct kafka_settings away = {.brokers = "127.0.0.1:1", .instance = "t"};
  struct error err = {0};
  struct producer *p = producer_new(&away, NULL, &err);
  int64_t started = clock_monotonic_ms();
  assert_false(producer_init(p, 2500, NULL, &err));
  assert_in_range(clock_monotonic_ms() - started, 2400, 4000);
  assert_int_equal(err.kind, ERROR_RETRY);
  assert_non_null(strstr(err.message, "127.0.0.1:1"));
  _Atomic(bool) stopped = true;
  assert_false(producer_init(p, 60000, &stopped, &err));
  assert_int_equal(err.kind, ERROR_STOPPED);
  started = clock_monotonic_ms();
  producer_free(p);
  assert_true(clock_monotonic_ms() - started < 2000);
}

static void a_message_larger_than_the_queue_enters_when_it_is_alone(void **state) {
  (void)state;
  static const char *const properties[] = {"queue.buffering.max.kbytes=100"};
  struct kafka_settings settings = mock.settings;
  settings.properties = properties;
  settings.property_count = 1;
  struct error err = {0};
  struct producer *p = producer_new(&settings, NULL, &err);
  assert_true(producer_init(p, 10000, NULL, &err));
  assert_true(producer_begin(p, &err));
  char *large = malloc(300001);
  memset(large, 'x', 300000);
  large[300000] = '\0';
  for (int i = 0; i < 5; i++)
    assert_true(send_text(p, "a", large, NULL, &err));
  assert_true(producer_commit(p, 10000, NULL, NULL, &err));
  producer_free(p);
  free(large);
}

static void the_batch_size_is_the_smaller_of_limit_and_property(void **state) {
  (void)state;
  static const char *const properties[] = {"batch.size=200000", "socket.timeout.ms=7000"};
  struct kafka_settings settings = mock.settings;
  settings.properties = properties;
  settings.property_count = 2;
  struct error err = {0};
  struct producer *p = producer_new(&settings, &(struct producer_limits){.batch_bytes = 900000}, &err);
  assert_int_equal(producer_batch_bytes(p), 200000);
  assert_int_equal(producer_socket_timeout_ms(p), 7000);
  producer_free(p);
  p = producer_new(&settings, &(struct producer_limits){.batch_bytes = 90000}, &err);
  assert_int_equal(producer_batch_bytes(p), 90000);
  producer_free(p);
}

int main(void) {
  log_setup(LOG_ERROR, LOG_TEXT);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(keys_are_placed_as_java_places_them),
      cmocka_unit_test(absent_keys_are_spread),
      cmocka_unit_test(a_transaction_commits_without_trouble),
      cmocka_unit_test(it_rests_after_a_commit_until_the_markers_are_written),
      cmocka_unit_test(a_record_refused_for_what_it_is_comes_back_with_its_tag),
      cmocka_unit_test(a_refusal_that_is_not_about_the_record_is_no_failure_and_names_the_topic),
      cmocka_unit_test(messages_purged_by_an_abort_are_no_failures),
      cmocka_unit_test(an_empty_topic_name_is_a_failure_at_once),
      cmocka_unit_test(fencing_is_told_from_other_errors),
      cmocka_unit_test(a_connection_lost_in_a_commit_that_succeeds_is_counted),
      cmocka_unit_test(a_forbidden_transactional_id_is_named),
      cmocka_unit_test(init_without_brokers_ends_at_its_deadline_and_says_why),
      cmocka_unit_test(a_message_larger_than_the_queue_enters_when_it_is_alone),
      cmocka_unit_test(the_batch_size_is_the_smaller_of_limit_and_property),
  };
  return cmocka_run_group_tests(tests, mock_start, mock_stop);
}
