/* Single records, and where a log begins and ends. What compaction does is tested against a real broker. */
#include <stdlib.h>
#include <string.h>

#include "bridge/base/clock.h"
#include "bridge/base/log.h"
#include "bridge/base/memory.h"
#include "bridge/kafka/record_probe.h"
#include "tests/unit/kafka/mock_cluster.h"
#include "tests/unit/kafka/mock_records.h"

static struct record_probe *open_probe(void) {
  struct error err;
  struct record_probe *probe = record_probe_new(&mock.settings, &err);
  assert_non_null(probe);
  return probe;
}

static struct record_facts look(struct record_probe *probe, const char *topic, int64_t offset) {
  struct record_facts facts = {.presence = RECORD_FOUND};
  struct error err = {0};
  if (!record_probe_look(probe, topic, 0, offset, "id", 10000, &facts, &err))
    fail_msg("look: %s", err.message);
  return facts;
}

static void a_record_is_known_by_time_and_header(void **state) {
  (void)state;
  mock_produce("known", 0, 5, 0);
  struct record_probe *probe = open_probe();
  struct record_facts facts = look(probe, "known", 3);
  assert_int_equal(facts.presence, RECORD_FOUND);
  assert_int_equal(facts.timestamp_ms, MOCK_RECORD_TIME_MS + 3);
  assert_true(slice_is(facts.header, "id-3"));
  assert_int_equal(facts.low, 0);
  assert_int_equal(facts.end, 5);
  assert_true(slice_is(look(probe, "known", 0).header, "id-0")); /* and so on with the same handle */
  record_probe_free(probe);
}

static void a_record_without_the_header_is_found(void **state) {
  (void)state;
  mock_produce("bare", 0, 1, 0);
  struct record_probe *probe = open_probe();
  struct record_facts facts;
  struct error err;
  assert_true(record_probe_look(probe, "bare", 0, 0, "other", 10000, &facts, &err));
  assert_int_equal(facts.presence, RECORD_FOUND);
  assert_false(slice_present(facts.header));
  record_probe_free(probe);
}

static void what_lies_behind_the_end_is_told(void **state) {
  (void)state;
  mock_produce("short", 0, 2, 0);
  rd_kafka_mock_topic_create(mock.cluster, "nothing", 1, 1);
  struct record_probe *probe = open_probe();
  assert_int_equal(look(probe, "short", 1).presence, RECORD_FOUND);
  assert_int_equal(look(probe, "short", 2).presence, RECORD_BEYOND_END);
  assert_int_equal(look(probe, "nothing", 0).presence, RECORD_BEYOND_END);
  int64_t low = -1, end = -1;
  struct error err;
  assert_true(record_probe_range(probe, "short", 0, 10000, &low, &end, &err));
  assert_int_equal(low, 0);
  assert_int_equal(end, 2);
  record_probe_free(probe);
}

static void what_retention_deleted_is_told(void **state) {
  (void)state;
  mock_produce("retention", 0, 60, 200000); /* the mock keeps 5 MB */
  struct record_probe *probe = open_probe();
  struct record_facts facts = look(probe, "retention", 0);
  assert_int_equal(facts.presence, RECORD_DELETED);
  assert_in_range(facts.low, 1, 59);
  assert_int_equal(look(probe, "retention", facts.low).presence, RECORD_FOUND);
  record_probe_free(probe);
}

static void brokers_that_are_away_end_the_look_at_its_deadline(void **state) {
  (void)state;
  struct kafka_settings away = {.brokers = "127.0.0.1:1", .instance = "t"};
  struct error err = {0};
  struct record_facts facts = {.end = 77};
  struct record_probe *probe = record_probe_new(&away, &err);
  int64_t started = clock_monotonic_ms();
  assert_false(record_probe_look(probe, "any", 0, 0, "id", 700, &facts, &err));
  assert_in_range(clock_monotonic_ms() - started, 600, 3000);
  assert_int_equal(err.kind, ERROR_RETRY);
  assert_non_null(strstr(err.message, "topic any"));
  assert_int_equal(facts.end, 77);
  record_probe_free(probe);
  record_probe_free(NULL);
}

int main(void) {
  log_setup(LOG_ERROR, LOG_TEXT);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_record_is_known_by_time_and_header),
      cmocka_unit_test(a_record_without_the_header_is_found),
      cmocka_unit_test(what_lies_behind_the_end_is_told),
      cmocka_unit_test(what_retention_deleted_is_told),
      cmocka_unit_test(brokers_that_are_away_end_the_look_at_its_deadline),
  };
  return cmocka_run_group_tests(tests, mock_start, mock_stop);
}
