/* bridge/ops/metrics.h: the text format, what a relay leaves out when it is not known, and histograms. The format as a
 * whole is checked by promtool in tests/integration/test_http.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bridge/ops/metrics.h"
#include "bridge/ops/watched_relay.h"

/* The page of a relay, the caller's to free. */
static char *page(const struct progress_snapshot *s) {
  const struct metrics_process process = {
      .version = "1.2.3", .librdkafka = "2.0.2", .started_us = INT64_C(1795263170507154), .resident_bytes = -1};
  struct buffer out;
  buffer_init(&out, 1 << 20);
  const struct metrics metrics = {.out = &out, .name = "shop"};
  struct vitals vitals;
  watched_relay_class.judge(s, &vitals);
  metrics_process(&metrics, &process);
  metrics_vitals(&metrics, &vitals);
  watched_relay_class.write_metrics(s, &metrics);
  assert_false(out.overflow);
  buffer_append_char(&out, '\0');
  return out.data;
}

static void assert_line(const char *text, const char *line) {
  size_t len = strlen(line);
  for (const char *at = text; (at = strstr(at, line)) != NULL; at += len)
    if ((at == text || at[-1] == '\n') && at[len] == '\n')
      return;
  fail_msg("no line \"%s\" in\n%s", line, text);
}

static void assert_absent(const char *text, const char *word) {
  if (strstr(text, word) != NULL)
    fail_msg("\"%s\" is in\n%s", word, text);
}

static struct progress_snapshot streaming(void) {
  return (struct progress_snapshot){.state = PROGRESS_STREAMING,
                                    .peer = PROGRESS_NOBODY,
                                    .silence_max_ms = 25000,
                                    .queue_bytes = 17,
                                    .queue_bytes_max = 4194304,
                                    .received = 0x16B374D848,
                                    .lag_us = 1500000,
                                    .unpublished_events = 3,
                                    .position_commit_lsn = 100,
                                    .position_ack_lsn = 120,
                                    .position_commit_time_us = INT64_C(1795263170000042)};
}

static void a_streaming_relay_tells_position_lag_and_queue(void **state) {
  (void)state;
  struct progress_snapshot s = streaming();
  char *text = page(&s);
  assert_line(text, "# TYPE walferry_ready gauge");
  assert_line(text, "walferry_ready{name=\"shop\"} 1");
  assert_line(text, "walferry_build_info{name=\"shop\",version=\"1.2.3\",librdkafka=\"2.0.2\"} 1");
  assert_line(text, "process_start_time_seconds{name=\"shop\"} 1795263170.507154");
  assert_line(text, "walferry_relay_state{name=\"shop\",state=\"starting\"} 0");
  assert_line(text, "walferry_relay_state{name=\"shop\",state=\"streaming\"} 1");
  assert_line(text, "walferry_lag_seconds{name=\"shop\"} 1.500000");
  assert_line(text, "walferry_unpublished_events{name=\"shop\"} 3");
  assert_line(text, "walferry_queue_bytes{name=\"shop\"} 17");
  assert_line(text, "walferry_received_lsn{name=\"shop\"} 97500059720");
  assert_line(text, "walferry_position_lsn{name=\"shop\"} 120");
  assert_line(text, "walferry_position_commit_timestamp_seconds{name=\"shop\"} 1795263170.000042");
  assert_absent(text, "process_resident_memory_bytes");
  assert_absent(text, "walferry_slot_");
  assert_absent(text, "walferry_last_error");
  free(text);
}

static void a_standby_tells_nothing_that_it_cannot_know(void **state) {
  (void)state;
  struct progress_snapshot s = {.state = PROGRESS_STANDBY, .peer = PROGRESS_NOBODY, .unpublished_events = 3};
  char *text = page(&s);
  assert_line(text, "walferry_ready{name=\"shop\"} 0");
  assert_line(text, "walferry_relay_state{name=\"shop\",state=\"standby\"} 1");
  assert_absent(text, "walferry_lag_");
  assert_absent(text, "walferry_unpublished");
  assert_absent(text, "walferry_queue_");
  assert_absent(text, "walferry_position_");
  assert_absent(text, "walferry_received_");
  free(text);
}

static void a_slot_is_told_with_the_time_at_which_it_was_read(void **state) {
  (void)state;
  struct progress_snapshot s = streaming();
  s.slot_read_us = INT64_C(1795263171000000);
  s.slot = (struct catalog_slot){.exists = true,
                                 .wal_lsn = 10000,
                                 .confirmed_flush_lsn = 9000,
                                 .restart_lsn = 4000,
                                 .wal_status = "unreserved",
                                 .wal_keep_bytes_max = 1048576,
                                 .safe_wal_known = true,
                                 .safe_wal_bytes = -5};
  char *text = page(&s);
  assert_line(text, "walferry_slot_read_timestamp_seconds{name=\"shop\"} 1795263171.000000");
  assert_line(text, "walferry_slot_exists{name=\"shop\"} 1");
  assert_line(text, "walferry_lag_bytes{name=\"shop\"} 1000");
  assert_line(text, "walferry_slot_retained_bytes{name=\"shop\"} 6000");
  assert_line(text, "walferry_slot_wal_keep_limit_bytes{name=\"shop\"} 1048576");
  assert_line(text, "walferry_slot_safe_wal_bytes{name=\"shop\"} -5");
  assert_line(text, "walferry_slot_wal_status{name=\"shop\",status=\"reserved\"} 0");
  assert_line(text, "walferry_slot_wal_status{name=\"shop\",status=\"unreserved\"} 1");
  free(text);
}

static void a_held_back_slot_has_its_limits_beside_it(void **state) {
  (void)state;
  struct progress_snapshot s = streaming();
  s.retained_read_us = 1;
  s.retained_since_us = INT64_C(1795263171000000);
  s.retained_keep_ms = 86400000;
  s.retained_keep_bytes = 1048576;
  s.retained = (struct catalog_slot){.exists = true, .wal_lsn = 10000, .restart_lsn = 4000, .wal_status = "reserved"};
  char *text = page(&s);
  assert_line(text, "walferry_replay_slot_since_timestamp_seconds{name=\"shop\"} 1795263171.000000");
  assert_line(text, "walferry_replay_slot_keep_seconds{name=\"shop\"} 86400");
  assert_line(text, "walferry_replay_slot_retained_bytes{name=\"shop\"} 6000");
  assert_line(text, "walferry_replay_slot_keep_limit_bytes{name=\"shop\"} 1048576");
  free(text);
}

static void a_slot_that_is_lost_or_gone_keeps_nothing(void **state) {
  (void)state;
  struct progress_snapshot s = streaming();
  s.slot_read_us = 1;
  s.slot = (struct catalog_slot){.exists = true, .wal_lsn = 10000, .wal_status = "lost", .wal_keep_bytes_max = -1};
  char *text = page(&s);
  assert_line(text, "walferry_slot_wal_status{name=\"shop\",status=\"lost\"} 1");
  assert_absent(text, "walferry_slot_retained_bytes");
  assert_absent(text, "walferry_slot_wal_keep_limit_bytes");
  assert_absent(text, "walferry_slot_safe_wal_bytes");
  free(text);
  s.slot = (struct catalog_slot){.exists = false};
  text = page(&s);
  assert_line(text, "walferry_slot_exists{name=\"shop\"} 0");
  assert_absent(text, "walferry_server_wal_lsn");
  free(text);
}

static void buckets_are_cumulated(void **state) {
  (void)state;
  struct progress_snapshot s = streaming();
  histogram_add(&s.published.commit, 1000);
  histogram_add(&s.published.commit, 3000);
  histogram_add(&s.published.commit, 3001);
  histogram_add(&s.published.commit, INT64_C(3600000000));
  char *text = page(&s);
  assert_line(text, "# TYPE walferry_kafka_commit_seconds histogram");
  assert_line(text, "walferry_kafka_commit_seconds_bucket{name=\"shop\",le=\"0.001\"} 1");
  assert_line(text, "walferry_kafka_commit_seconds_bucket{name=\"shop\",le=\"0.0025\"} 1");
  assert_line(text, "walferry_kafka_commit_seconds_bucket{name=\"shop\",le=\"0.005\"} 3");
  assert_line(text, "walferry_kafka_commit_seconds_bucket{name=\"shop\",le=\"600\"} 3");
  assert_line(text, "walferry_kafka_commit_seconds_bucket{name=\"shop\",le=\"+Inf\"} 4");
  assert_line(text, "walferry_kafka_commit_seconds_sum{name=\"shop\"} 3600.007001");
  assert_line(text, "walferry_kafka_commit_seconds_count{name=\"shop\"} 4");
  free(text);
}

static void failures_and_quarantine_are_told_by_code(void **state) {
  (void)state;
  struct progress_snapshot s = {.state = PROGRESS_RECOVERING,
                                .peer = PROGRESS_NOBODY,
                                .failed_peer = PROGRESS_POSTGRES,
                                .failed_kind = ERROR_RETRY,
                                .failed_code = "decode_failed",
                                .failed_us = 5,
                                .failed_message = "not for metrics",
                                .recoveries_retry = 2,
                                .generation = 3};
  s.published.quarantined = 9;
  s.published.code_count = 2;
  s.published.codes[0] = (struct totals_code){.code = "missing_id", .count = 4};
  s.published.codes[1] = (struct totals_code){.code = "unroutable", .count = 5};
  char *text = page(&s);
  assert_line(text, "walferry_generations_total{name=\"shop\"} 3");
  assert_line(text, "walferry_recoveries_total{name=\"shop\",kind=\"retry\"} 2");
  assert_line(text, "walferry_recoveries_total{name=\"shop\",kind=\"fenced\"} 0");
  assert_line(text,
              "walferry_last_error_timestamp_seconds{name=\"shop\",kind=\"retry\",code=\"decode_failed\"} 0.000005");
  assert_line(text, "walferry_events_quarantined_total{name=\"shop\"} 9");
  assert_line(text, "walferry_quarantined_by_code_total{name=\"shop\",code=\"unroutable\"} 5");
  assert_absent(text, "not for metrics");
  free(text);
}

static void any_text_is_a_label(void **state) {
  (void)state;
  struct buffer out;
  buffer_init(&out, 1 << 10);
  const struct metrics metrics = {.out = &out, .name = "shop"};
  metrics_sample(&metrics, "m", METRICS_LABELS({"type", "a \"b\" \\ c\nd"}, {"code", ""}));
  metrics_number(&metrics, -1);
  buffer_append_char(&out, '\0');
  assert_string_equal(out.data, "m{name=\"shop\",type=\"a \\\"b\\\" \\\\ c\\nd\",code=\"\"} -1\n");
  buffer_free(&out);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_streaming_relay_tells_position_lag_and_queue),
      cmocka_unit_test(a_standby_tells_nothing_that_it_cannot_know),
      cmocka_unit_test(a_slot_is_told_with_the_time_at_which_it_was_read),
      cmocka_unit_test(a_held_back_slot_has_its_limits_beside_it),
      cmocka_unit_test(a_slot_that_is_lost_or_gone_keeps_nothing),
      cmocka_unit_test(buckets_are_cumulated),
      cmocka_unit_test(failures_and_quarantine_are_told_by_code),
      cmocka_unit_test(any_text_is_a_label),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
