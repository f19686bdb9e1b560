/* bridge/inbox/report.h: when an inbox is ready or hangs, what is counted, and that any thread may look meanwhile (also
 * run under ThreadSanitizer). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "bridge/base/clock.h"
#include "bridge/inbox/report.h"

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

static const struct handler_spec handlers[] = {{"RentalReserved", "accounting.on_rental_reserved"}, {"Audit*", NULL}};

static struct inbox_partition_view stopped_partitions[] = {
    {.topic = "fleet", .partition = 1, .state = INBOX_PARTITION_READING},
    {.topic = "fleet",
     .partition = 2,
     .state = INBOX_PARTITION_STOPPED,
     .code = "topic_recreated",
     .message = "another record lies at offset 7"},
    {.topic = "fleet", .partition = 3, .state = INBOX_PARTITION_STOPPED, .code = "offset_gone"},
};
static struct inbox_partition_view slow_partitions[] = {
    {.topic = "fleet", .state = INBOX_PARTITION_BACKING_OFF, .code = "handler_failed", .message = "no such rental"}};

#define STREAMING .state = INBOX_STREAMING, .failed_peer = INBOX_NOBODY, .call_limit_ms = 30000
#define RECOVERING .state = INBOX_RECOVERING, .peer = INBOX_NOBODY

static void readiness_follows_servers_and_partitions(void **state) {
  (void)state;
  static const struct {
    const char *name;
    struct inbox_snapshot s;
    const char *reason; /* "streaming": ready */
    const char *details;
  } cases[] = {
      {"well", {STREAMING, .peer = INBOX_NOBODY}, "streaming", ""},
      {"busy with itself for long", {STREAMING, .peer = INBOX_NOBODY, .peer_ms = 100000}, "streaming", ""},
      {"a call within its time", {STREAMING, .peer = INBOX_POSTGRES, .peer_ms = 35000}, "streaming", ""},
      {"a call beyond it", {STREAMING, .peer = INBOX_POSTGRES, .peer_ms = 35001}, "postgres_away", "waited for"},
      {"Kafka has no handlers", {STREAMING, .peer = INBOX_KAFKA, .peer_ms = 5001}, "kafka_away", "waited for"},
      {"no broker answers",
       {STREAMING, .peer = INBOX_POSTGRES, .kafka_away = true, .kafka_error = "all brokers are down"},
       "kafka_away",
       "all brokers are down"},
      {"both are away",
       {STREAMING, .peer = INBOX_POSTGRES, .peer_ms = 90000, .kafka_away = true, .kafka_error = "all brokers are down"},
       "postgres_away",
       "waited for"},
      {"one partition of three goes on",
       {STREAMING, .peer = INBOX_NOBODY, .partitions = stopped_partitions, .partition_count = 3},
       "partition_stopped",
       "fleet [2], topic_recreated: another record lies at offset 7; and 1 more"},
      {"one is stopped",
       {STREAMING, .peer = INBOX_NOBODY, .partitions = stopped_partitions + 2, .partition_count = 1},
       "partition_stopped",
       "fleet [3], offset_gone: "},
      {"one backs off",
       {STREAMING, .peer = INBOX_NOBODY, .partitions = slow_partitions, .partition_count = 1},
       "streaming",
       ""},
      {"starting", {.state = INBOX_STARTING, .peer = INBOX_POSTGRES}, "starting", ""},
      {"starting in vain", {.state = INBOX_STARTING, .peer = INBOX_KAFKA, .peer_ms = 9000}, "kafka_away", "waited for"},
      {"stopping", {.state = INBOX_STOPPING, .peer = INBOX_NOBODY}, "stopping", ""},
      {"Postgres refused",
       {RECOVERING, .failed_kind = ERROR_RETRY, .failed_peer = INBOX_POSTGRES, .failed_message = "refused"},
       "postgres_away",
       "refused"},
      {"no broker at the start",
       {RECOVERING, .failed_kind = ERROR_RETRY, .failed_peer = INBOX_KAFKA, .failed_message = "no broker"},
       "kafka_away",
       "no broker"},
      {"a new consumer is needed",
       {RECOVERING, .failed_kind = ERROR_START_OVER, .failed_peer = INBOX_KAFKA, .failed_message = "fenced"},
       "recovering",
       "fenced"},
      {"a statement that should not fail",
       {RECOVERING, .failed_kind = ERROR_FATAL, .failed_peer = INBOX_POSTGRES, .failed_message = "no such table"},
       "recovering",
       "no such table"},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct inbox_readiness r;
    inbox_readiness(&cases[i].s, &r);
    if (strcmp(r.reason, cases[i].reason) != 0 || r.ready != (strcmp(cases[i].reason, "streaming") == 0))
      fail_msg("%s: %s, ready %d", cases[i].name, r.reason, r.ready);
    if (cases[i].details[0] == '\0' ? r.details[0] != '\0' : strstr(r.details, cases[i].details) == NULL)
      fail_msg("%s: details \"%s\"", cases[i].name, r.details);
  }
}

static void the_longest_reason_fits(void **state) {
  (void)state;
  struct inbox_partition_view views[2] = {
      {.partition = INT32_MAX, .state = INBOX_PARTITION_STOPPED, .code = "a_code_that_is_as_long_as_codes_are"},
      {.state = INBOX_PARTITION_STOPPED}};
  memset(views[0].topic, 't', sizeof views[0].topic - 1);
  memset(views[0].message, 'm', sizeof views[0].message - 1);
  struct inbox_snapshot s = {STREAMING, .peer = INBOX_NOBODY, .partitions = views, .partition_count = 2};
  struct inbox_readiness r;
  inbox_readiness(&s, &r);
  assert_non_null(strstr(r.details, "m; and 1 more"));
}

static void only_a_thread_that_hangs_is_not_alive(void **state) {
  (void)state;
  static const struct {
    const char *name;
    struct inbox_snapshot s;
    bool alive;
  } cases[] = {
      {"well", {STREAMING, .peer = INBOX_NOBODY}, true},
      {"just in time", {STREAMING, .peer = INBOX_NOBODY, .turned_ago_ms = 60000}, true},
      {"nobody is waited for", {STREAMING, .peer = INBOX_NOBODY, .turned_ago_ms = 60001}, false},
      {"Kafka is away", {STREAMING, .peer = INBOX_KAFKA, .turned_ago_ms = 180000}, true},
      {"a call of Kafka's without end", {STREAMING, .peer = INBOX_KAFKA, .turned_ago_ms = 180001}, false},
      {"a handler, and what is around it", {STREAMING, .peer = INBOX_POSTGRES, .turned_ago_ms = 210000}, true},
      {"a handler without end", {STREAMING, .peer = INBOX_POSTGRES, .turned_ago_ms = 210001}, false},
      {"one that may take an hour",
       {.state = INBOX_STREAMING, .peer = INBOX_POSTGRES, .call_limit_ms = 3600000, .turned_ago_ms = 3780000},
       true},
      {"a partition is stopped",
       {STREAMING, .peer = INBOX_NOBODY, .partitions = stopped_partitions, .partition_count = 3},
       true},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    if (inbox_alive(&cases[i].s) != cases[i].alive)
      fail_msg("%s: alive is %d", cases[i].name, !cases[i].alive);
}

static void a_new_inbox_is_starting_and_alive(void **state) {
  (void)state;
  struct inbox_report *r = inbox_report_new(handlers, COUNT_OF(handlers));
  inbox_report_call_limit(r, 30000);
  struct inbox_snapshot s;
  inbox_report_look(r, &s);
  assert_int_equal(s.state, INBOX_STARTING);
  assert_int_equal(s.call_limit_ms, 30000);
  assert_int_equal(s.partition_count, 0);
  assert_int_equal(s.handler_count, 3);
  assert_string_equal(s.handlers[1].type, "Audit*");
  assert_null(s.handlers[2].type);
  assert_true(inbox_alive(&s) && s.failed_us == 0);
  inbox_snapshot_free(&s);
  inbox_report_free(r);
  inbox_report_free(NULL);
}

static void events_are_counted_by_handler_and_outcome(void **state) {
  (void)state;
  struct inbox_report *r = inbox_report_new(handlers, COUNT_OF(handlers));
  inbox_report_outcome(r, 0, INBOX_PROCESSED, NULL);
  inbox_report_outcome(r, 0, INBOX_PROCESSED, NULL);
  inbox_report_outcome(r, 0, INBOX_DEAD_LETTERED, "handler_failed");
  inbox_report_outcome(r, -1, INBOX_DEAD_LETTERED, "unmatched");
  inbox_report_outcome(r, -1, INBOX_DEAD_LETTERED, "unmatched");
  inbox_report_outcome(r, 1, INBOX_IGNORED, NULL);
  inbox_report_retry(r, 0);
  inbox_report_called(r, 0, 1500);
  inbox_report_batch(r, 7, 2500);
  inbox_report_batch(r, 1, 500);
  struct inbox_snapshot s;
  inbox_report_look(r, &s);
  assert_int_equal(s.handlers[0].outcomes[INBOX_PROCESSED], 2);
  assert_int_equal(s.handlers[0].outcomes[INBOX_DEAD_LETTERED], 1);
  assert_int_equal(s.handlers[0].retries, 1);
  assert_int_equal(s.handlers[0].time.count, 1);
  assert_int_equal(s.handlers[0].time.sum_us, 1500);
  assert_int_equal(s.handlers[1].outcomes[INBOX_IGNORED], 1);
  assert_int_equal(s.handlers[2].outcomes[INBOX_DEAD_LETTERED], 2);
  assert_int_equal(s.dead_letter_codes, 2);
  assert_string_equal(s.dead_letters[0].code, "handler_failed");
  assert_int_equal(s.dead_letters[0].count, 1);
  assert_string_equal(s.dead_letters[1].code, "unmatched");
  assert_int_equal(s.dead_letters[1].count, 2);
  assert_int_equal(s.batches, 2);
  assert_int_equal(s.messages, 8);
  assert_int_equal(s.batch_time.sum_us, 3000);
  inbox_snapshot_free(&s);
  inbox_report_free(r);
}

static void what_exceeds_the_codes_counts_with_the_last(void **state) {
  (void)state;
  struct inbox_report *r = inbox_report_new(NULL, 0);
  char codes[INBOX_DEAD_LETTER_CODES + 2][8];
  for (size_t i = 0; i < COUNT_OF(codes); i++) {
    snprintf(codes[i], sizeof codes[i], "c%zu", i);
    inbox_report_outcome(r, -1, INBOX_DEAD_LETTERED, codes[i]);
  }
  struct inbox_snapshot s;
  inbox_report_look(r, &s);
  assert_int_equal(s.dead_letter_codes, INBOX_DEAD_LETTER_CODES);
  assert_int_equal(s.dead_letters[INBOX_DEAD_LETTER_CODES - 1].count, 3);
  inbox_snapshot_free(&s);
  inbox_report_free(r);
}

static void report(struct inbox_report *r, const char *topic, int32_t partition, int64_t next_offset) {
  struct inbox_partition_view view = {
      .partition = partition, .state = INBOX_PARTITION_READING, .next_offset = next_offset};
  snprintf(view.topic, sizeof view.topic, "%s", topic);
  inbox_report_partition(r, &view);
}

static void partitions_come_change_and_go_in_their_order(void **state) {
  (void)state;
  struct inbox_report *r = inbox_report_new(NULL, 0);
  for (int32_t i = 30; i-- > 0;) /* more than there is room for at first */
    report(r, "b", i, i);
  report(r, "a", 5, 1);
  report(r, "c", -1, 2);
  report(r, "b", 7, 700);
  inbox_report_partition_gone(r, "b", 8);
  inbox_report_partition_gone(r, "b", 8);
  inbox_report_partition_gone(r, "b", 30);
  inbox_report_partition_gone(r, "d", 0);
  struct inbox_snapshot s;
  inbox_report_look(r, &s);
  assert_int_equal(s.partition_count, 31);
  assert_string_equal(s.partitions[0].topic, "a");
  assert_string_equal(s.partitions[30].topic, "c");
  for (size_t i = 1; i < 30; i++) {
    int32_t partition = (int32_t)(i <= 8 ? i - 1 : i);
    assert_int_equal(s.partitions[i].partition, partition);
    assert_int_equal(s.partitions[i].next_offset, partition == 7 ? 700 : partition);
  }
  inbox_snapshot_free(&s);
  inbox_report_free(r);
}

static void what_is_behind_falls_further_behind_until_it_is_reported_again(void **state) {
  (void)state;
  struct inbox_report *r = inbox_report_new(NULL, 0);
  struct inbox_partition_view view = {.topic = "a", .state = INBOX_PARTITION_READING, .behind_ms = 1000};
  inbox_report_partition(r, &view);
  report(r, "b", 0, 0);
  clock_sleep_ms(20);
  struct inbox_snapshot s;
  inbox_report_look(r, &s);
  assert_true(s.partitions[0].behind_ms >= 1019 && s.partitions[0].behind_ms < 60000);
  assert_int_equal(s.partitions[1].behind_ms, 0);
  inbox_snapshot_free(&s);
  view.behind_ms = 0;
  inbox_report_partition(r, &view);
  inbox_report_look(r, &s);
  assert_int_equal(s.partitions[0].behind_ms, 0);
  inbox_snapshot_free(&s);
  inbox_report_free(r);
}

static void a_failure_is_counted_by_kind_and_put_down_to_who_was_talked_to(void **state) {
  (void)state;
  struct inbox_report *r = inbox_report_new(NULL, 0);
  struct error err;
  struct inbox_snapshot s;
  inbox_report_enter(r, INBOX_STREAMING);
  error_set(&err, ERROR_RETRY, "all brokers are down");
  inbox_report_kafka_silent(r, &err);
  inbox_report_look(r, &s);
  assert_true(s.kafka_away && s.state == INBOX_STREAMING);
  assert_string_equal(s.kafka_error, "all brokers are down");
  inbox_snapshot_free(&s);
  inbox_report_kafka_answered(r);
  inbox_report_look(r, &s);
  assert_false(s.kafka_away);
  inbox_snapshot_free(&s);
  inbox_report_kafka_silent(r, &err);
  inbox_report_talk(r, INBOX_POSTGRES);
  error_set(&err, ERROR_RETRY, "connection refused");
  inbox_report_failed(r, &err);
  inbox_report_look(r, &s);
  assert_int_equal(s.state, INBOX_RECOVERING);
  assert_int_equal(s.failed_peer, INBOX_POSTGRES);
  assert_int_equal(s.peer, INBOX_NOBODY);
  assert_string_equal(s.failed_message, "connection refused");
  assert_true(s.failed_us > 0 && !s.kafka_away);
  inbox_snapshot_free(&s);
  error_set(&err, ERROR_START_OVER, "doubt");
  inbox_report_failed(r, &err);
  inbox_report_failed(r, &err);
  error_set(&err, ERROR_FATAL, "no such relation");
  inbox_report_failed(r, &err);
  inbox_report_look(r, &s);
  assert_int_equal(s.recoveries_retry, 1);
  assert_int_equal(s.recoveries_start_over, 2);
  assert_int_equal(s.recoveries_fatal, 1);
  inbox_snapshot_free(&s);
  inbox_report_free(r);
}

static void a_call_that_ends_is_a_step_and_a_word_of_the_server(void **state) {
  (void)state;
  struct inbox_report *r = inbox_report_new(NULL, 0);
  struct inbox_snapshot s;
  inbox_report_talk(r, INBOX_POSTGRES);
  clock_sleep_ms(30);
  inbox_report_look(r, &s);
  assert_true(s.peer_ms >= 29 && s.turned_ago_ms >= 29);
  inbox_snapshot_free(&s);
  inbox_report_turn(r);
  inbox_report_look(r, &s);
  assert_true(s.peer_ms >= 29 && s.turned_ago_ms < 29);
  inbox_snapshot_free(&s);
  inbox_report_called(r, -1, 1);
  inbox_report_look(r, &s);
  assert_true(s.peer_ms < 29 && s.peer == INBOX_POSTGRES);
  inbox_snapshot_free(&s);
  inbox_report_free(r);
}

/* One thread runs an inbox of a changing number of partitions, two look on. */
#define ROUNDS 3000

static void *write_all(void *arg) {
  struct inbox_report *r = arg;
  struct error err;
  error_set(&err, ERROR_RETRY, "away");
  for (int i = 0; i < ROUNDS; i++) {
    inbox_report_enter(r, i % 100 == 0 ? INBOX_RECOVERING : INBOX_STREAMING);
    report(r, "t", i % 40, i);
    if (i % 7 == 0)
      inbox_report_partition_gone(r, "t", (i * 3) % 40);
    inbox_report_talk(r, INBOX_POSTGRES);
    inbox_report_called(r, 0, i);
    inbox_report_outcome(r, 0, INBOX_PROCESSED, NULL);
    inbox_report_outcome(r, -1, INBOX_DEAD_LETTERED, "unmatched");
    inbox_report_retry(r, 0);
    inbox_report_batch(r, 2, i);
    inbox_report_kafka_silent(r, &err);
    inbox_report_kafka_answered(r);
    if (i % 100 == 99)
      inbox_report_failed(r, &err);
    inbox_report_turn(r);
  }
  return NULL;
}

static void *look_on(void *arg) {
  struct inbox_report *r = arg;
  uint64_t seen = 0;
  while (seen < ROUNDS) {
    struct inbox_snapshot s;
    struct inbox_readiness readiness;
    inbox_report_look(r, &s);
    inbox_readiness(&s, &readiness);
    uint64_t processed = s.handlers[0].outcomes[INBOX_PROCESSED];
    bool sound = inbox_alive(&s) && processed >= seen && processed >= s.batches && s.messages == 2 * s.batches;
    for (size_t i = 1; i < s.partition_count; i++)
      sound &= s.partitions[i - 1].partition < s.partitions[i].partition;
    seen = s.batches;
    inbox_snapshot_free(&s);
    if (!sound)
      return r;
  }
  return NULL;
}

static void any_thread_may_look(void **state) {
  (void)state;
  struct inbox_report *r = inbox_report_new(handlers, 1);
  pthread_t writer, readers[2];
  for (size_t i = 0; i < COUNT_OF(readers); i++)
    pthread_create(&readers[i], NULL, look_on, r);
  pthread_create(&writer, NULL, write_all, r);
  pthread_join(writer, NULL);
  for (size_t i = 0; i < COUNT_OF(readers); i++) {
    void *unsound;
    pthread_join(readers[i], &unsound);
    assert_null(unsound);
  }
  inbox_report_free(r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(readiness_follows_servers_and_partitions),
      cmocka_unit_test(the_longest_reason_fits),
      cmocka_unit_test(only_a_thread_that_hangs_is_not_alive),
      cmocka_unit_test(a_new_inbox_is_starting_and_alive),
      cmocka_unit_test(events_are_counted_by_handler_and_outcome),
      cmocka_unit_test(what_exceeds_the_codes_counts_with_the_last),
      cmocka_unit_test(partitions_come_change_and_go_in_their_order),
      cmocka_unit_test(what_is_behind_falls_further_behind_until_it_is_reported_again),
      cmocka_unit_test(a_failure_is_counted_by_kind_and_put_down_to_who_was_talked_to),
      cmocka_unit_test(a_call_that_ends_is_a_step_and_a_word_of_the_server),
      cmocka_unit_test(any_thread_may_look),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
