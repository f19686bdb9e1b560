/* bridge/ops/metrics.h, what the inbox tells: all series that a count can have are there from the start, and what is
 * not known is left out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bridge/ops/metrics.h"

/* The page, the caller's to free. */
static char *page(const struct inbox_snapshot *s) {
  struct buffer out;
  buffer_init(&out, 1 << 20);
  const struct metrics metrics = {.out = &out, .name = "shop"};
  metrics_inbox(&metrics, s);
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

static void events_are_told_by_type_and_outcome_from_the_start(void **state) {
  (void)state;
  struct inbox_handler_counts handlers[] = {{.type = "RentalReserved"}, {.type = "\"*\""}, {.type = NULL}};
  handlers[0].outcomes[INBOX_PROCESSED] = 12;
  handlers[0].retries = 3;
  handlers[2].outcomes[INBOX_DEAD_LETTERED] = 1;
  struct inbox_snapshot s = {.state = INBOX_STREAMING, .handlers = handlers, .handler_count = 3};
  s.dead_letter_codes = 1;
  s.dead_letters[0] = (struct inbox_dead_letter_count){.code = "unmatched", .count = 1};
  char *text = page(&s);
  assert_line(text, "walferry_inbox_state{name=\"shop\",state=\"streaming\"} 1");
  assert_line(text, "walferry_inbox_state{name=\"shop\",state=\"starting\"} 0");
  assert_line(text, "# TYPE walferry_inbox_events_total counter");
  assert_line(text, "walferry_inbox_events_total{name=\"shop\",type=\"RentalReserved\",outcome=\"processed\"} 12");
  assert_line(text, "walferry_inbox_events_total{name=\"shop\",type=\"RentalReserved\",outcome=\"dead_lettered\"} 0");
  assert_line(text, "walferry_inbox_events_total{name=\"shop\",type=\"\\\"*\\\"\",outcome=\"parked\"} 0");
  assert_line(text, "walferry_inbox_events_total{name=\"shop\",type=\"\",outcome=\"dead_lettered\"} 1");
  assert_line(text, "walferry_inbox_retries_total{name=\"shop\",type=\"RentalReserved\"} 3");
  assert_line(text, "walferry_inbox_dead_letters_total{name=\"shop\",code=\"unmatched\"} 1");
  assert_absent(text, "walferry_inbox_next_offset{");
  free(text);
}

static void times_are_histograms(void **state) {
  (void)state;
  struct inbox_handler_counts handlers[] = {{.type = "RentalReserved"}, {.type = NULL}};
  histogram_add(&handlers[0].time, 900);
  histogram_add(&handlers[0].time, 1500);
  struct inbox_snapshot s = {.state = INBOX_STREAMING, .handlers = handlers, .handler_count = 2, .messages = 500};
  histogram_add(&s.batch_time, 20000);
  char *text = page(&s);
  assert_line(text, "# TYPE walferry_inbox_handler_seconds histogram");
  assert_line(text, "walferry_inbox_handler_seconds_bucket{name=\"shop\",type=\"RentalReserved\",le=\"0.001\"} 1");
  assert_line(text, "walferry_inbox_handler_seconds_bucket{name=\"shop\",type=\"RentalReserved\",le=\"+Inf\"} 2");
  assert_line(text, "walferry_inbox_handler_seconds_sum{name=\"shop\",type=\"RentalReserved\"} 0.002400");
  assert_line(text, "walferry_inbox_handler_seconds_count{name=\"shop\",type=\"\"} 0");
  assert_line(text, "walferry_inbox_batch_seconds_count{name=\"shop\"} 1");
  assert_line(text, "walferry_inbox_batch_messages_total{name=\"shop\"} 500");
  free(text);
}

static void partitions_tell_their_state_and_what_is_known_of_their_lag(void **state) {
  (void)state;
  struct inbox_partition_view partitions[] = {
      {.topic = "fleet", .partition = 0, .state = INBOX_PARTITION_BACKING_OFF, .next_offset = 12, .lag = 4},
      {.topic = "fleet", .partition = 1, .state = INBOX_PARTITION_STOPPED, .next_offset = 7, .lag = -1},
      {.topic = "fleet",
       .partition = 2,
       .state = INBOX_PARTITION_READING,
       .next_offset = -1,
       .lag = -1,
       .behind_ms = 61001},
  };
  struct inbox_snapshot s = {.state = INBOX_STREAMING, .partitions = partitions, .partition_count = 3};
  char *text = page(&s);
  assert_line(text, "walferry_inbox_partition_state{name=\"shop\",topic=\"fleet\",partition=\"0\","
                    "state=\"backing_off\"} 1");
  assert_line(text,
              "walferry_inbox_partition_state{name=\"shop\",topic=\"fleet\",partition=\"0\",state=\"stopped\"} 0");
  assert_line(text,
              "walferry_inbox_partition_state{name=\"shop\",topic=\"fleet\",partition=\"1\",state=\"stopped\"} 1");
  assert_line(text, "walferry_inbox_next_offset{name=\"shop\",topic=\"fleet\",partition=\"1\"} 7");
  assert_absent(text, "walferry_inbox_next_offset{name=\"shop\",topic=\"fleet\",partition=\"2\"}");
  assert_line(text, "walferry_inbox_lag_messages{name=\"shop\",topic=\"fleet\",partition=\"0\"} 4");
  assert_absent(text, "walferry_inbox_lag_messages{name=\"shop\",topic=\"fleet\",partition=\"1\"}");
  assert_line(text, "walferry_inbox_lag_seconds{name=\"shop\",topic=\"fleet\",partition=\"0\"} 0.000000");
  assert_absent(text, "walferry_inbox_lag_seconds{name=\"shop\",topic=\"fleet\",partition=\"1\"}");
  assert_line(text, "walferry_inbox_lag_seconds{name=\"shop\",topic=\"fleet\",partition=\"2\"} 61.001000");
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(events_are_told_by_type_and_outcome_from_the_start),
      cmocka_unit_test(times_are_histograms),
      cmocka_unit_test(partitions_tell_their_state_and_what_is_known_of_their_lag),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
