/* Looking back from the end of a log for the newest record of a key. What transactions do to it is tested against a
 * real broker: the mock cluster writes no markers. */
#include <stdlib.h>
#include <string.h>

#include "bridge/base/clock.h"
#include "bridge/base/log.h"
#include "bridge/kafka/position_log.h"
#include "bridge/kafka/producer.h"
#include "tests/unit/kafka/mock_cluster.h"

/* One record of "current" (NULL: a tombstone), followed by `others` of another key. */
static void write_log(const char *topic, const char *value, int others) {
  struct error err;
  struct producer *p = producer_new(&mock.settings, NULL, &err);
  assert_true(producer_init(p, 10000, NULL, &err));
  assert_true(producer_begin(p, &err));
  for (int i = 0; i <= others; i++) {
    struct producer_message m = {.topic = topic,
                                 .key = slice_of(i == 0 ? "current" : "at/1"),
                                 .value = i == 0 ? slice_of(value) : slice_of("other")};
    assert_true(producer_send(p, &m, 5000, NULL, &err));
  }
  assert_true(producer_commit(p, 10000, NULL, NULL, &err));
  producer_free(p);
}

static bool read_log(const struct kafka_settings *settings, const char *topic, const char *key, int timeout_ms,
                     char **value, size_t *len, struct error *err) {
  struct kafka_admin *admin = kafka_admin_new(settings, err);
  bool ok = position_log_read(admin, settings, topic, key, timeout_ms, value, len, err);
  kafka_admin_free(admin);
  return ok;
}

static char *read_current(const char *topic) {
  struct error err = {0};
  char *value = NULL;
  size_t len = 0;
  if (!read_log(&mock.settings, topic, "current", 10000, &value, &len, &err))
    fail_msg("read: %s", err.message);
  assert_int_equal(len, value == NULL ? 0 : strlen(value));
  return value;
}

static void assert_current(const char *topic, const char *expected) {
  char *value = read_current(topic);
  if (expected == NULL)
    assert_null(value);
  else
    assert_string_equal(value, expected);
  free(value);
}

static void the_newest_value_is_read(void **state) {
  (void)state;
  write_log("newest", "one", 0);
  write_log("newest", "two", 3);
  assert_current("newest", "two");
}

static void a_value_far_from_the_end_is_found(void **state) {
  (void)state;
  write_log("far", "one", 0);
  write_log("far", "two", 1000);
  assert_current("far", "two");
}

static void a_tombstone_hides_what_was_before(void **state) {
  (void)state;
  write_log("tombstone", "one", 0);
  write_log("tombstone", NULL, 100);
  assert_current("tombstone", NULL);
}

static void an_empty_value_is_a_value(void **state) {
  (void)state;
  write_log("empty_value", "", 0);
  assert_current("empty_value", "");
}

static void a_key_that_is_not_there_reads_as_none(void **state) {
  (void)state;
  write_log("nokey", "one", 300);
  struct error err = {0};
  char *value = NULL;
  size_t len = 0;
  assert_true(read_log(&mock.settings, "nokey", "at/2", 10000, &value, &len, &err));
  assert_null(value);
}

static void an_empty_topic_reads_as_none(void **state) {
  (void)state;
  rd_kafka_mock_topic_create(mock.cluster, "empty", 1, 1);
  assert_current("empty", NULL);
}

static void brokers_that_are_away_end_the_read_at_its_deadline(void **state) {
  (void)state;
  struct kafka_settings away = {.brokers = "127.0.0.1:1", .instance = "t"};
  struct error err = {0};
  char *value = NULL;
  size_t len = 0;
  int64_t started = clock_monotonic_ms();
  assert_false(read_log(&away, "any", "current", 700, &value, &len, &err));
  assert_in_range(clock_monotonic_ms() - started, 600, 3000);
  assert_int_equal(err.kind, ERROR_RETRY);
  assert_non_null(strstr(err.message, "topic any"));
}

int main(void) {
  log_setup(LOG_ERROR, LOG_TEXT);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_newest_value_is_read),
      cmocka_unit_test(a_value_far_from_the_end_is_found),
      cmocka_unit_test(a_tombstone_hides_what_was_before),
      cmocka_unit_test(an_empty_value_is_a_value),
      cmocka_unit_test(a_key_that_is_not_there_reads_as_none),
      cmocka_unit_test(an_empty_topic_reads_as_none),
      cmocka_unit_test(brokers_that_are_away_end_the_read_at_its_deadline),
  };
  return cmocka_run_group_tests(tests, mock_start, mock_stop);
}
