/* bridge/ops/watched_inbox.h: the inbox on the pages, and what the service manager is told of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "bridge/ops/daemon.h"
#include "bridge/ops/pages.h"
#include "bridge/ops/watched_inbox.h"

static struct watched_inbox source = {.group = "accounting"};
static const struct watched watched = {
    .class = &watched_inbox_class, .source = &source, .name = "shop", .started_us = 1};

static struct inbox_handler_counts handlers[] = {
    {.type = "Rental\"Reserved\"", .outcomes = {[INBOX_PROCESSED] = 40}, .retries = 3},
    {.type = NULL, .outcomes = {[INBOX_DEAD_LETTERED] = 2}}};
static struct inbox_partition_view partitions[] = {
    {.topic = "fleet",
     .partition = 0,
     .state = INBOX_PARTITION_READING,
     .next_offset = 12,
     .lag = 4,
     .behind_ms = 1500},
    {.topic = "fleet",
     .partition = 1,
     .state = INBOX_PARTITION_BACKING_OFF,
     .next_offset = 7,
     .lag = 2,
     .behind_ms = 90001,
     .attempts = 3,
     .code = "handler_failed",
     .message = "no \"such\" rental\n\x01"},
    {.topic = "fleet",
     .partition = 2,
     .state = INBOX_PARTITION_STOPPED,
     .next_offset = -1,
     .lag = -1,
     .code = "topic_recreated",
     .message = "another record lies there"},
};

/* With the first so many of the partitions. */
static struct inbox_snapshot streaming(size_t partition_count) {
  return (struct inbox_snapshot){.state = INBOX_STREAMING,
                                 .peer = INBOX_NOBODY,
                                 .failed_peer = INBOX_NOBODY,
                                 .messages = 41,
                                 .handlers = handlers,
                                 .handler_count = 2,
                                 .partitions = partitions,
                                 .partition_count = partition_count};
}

static json_t *json_of(const char *path, const struct inbox_snapshot *s, int *status) {
  struct buffer out;
  buffer_init(&out, 1 << 20);
  *status = page_find(path)->write(&watched, s, &out);
  assert_false(out.overflow);
  json_error_t error;
  json_t *root = json_loadb(out.data, out.len, JSON_REJECT_DUPLICATES, &error);
  if (root == NULL)
    fail_msg("%s: %s in %.*s", path, error.text, (int)out.len, out.data);
  buffer_free(&out);
  return root;
}

static const char *string_at(const json_t *object, const char *key) {
  return json_string_value(json_object_get(object, key));
}

static int64_t integer_at(const json_t *object, const char *key) {
  return json_integer_value(json_object_get(object, key));
}

static void a_partition_that_backs_off_is_named_and_leaves_it_ready(void **state) {
  (void)state;
  struct inbox_snapshot s = streaming(2);
  int status;
  json_t *page = json_of("/readyz", &s, &status);
  assert_int_equal(status, 200);
  assert_true(json_is_true(json_object_get(page, "ready")) && json_is_null(json_object_get(page, "error")));
  assert_string_equal(string_at(page, "reason"), "streaming");
  const json_t *held_up = json_object_get(page, "held_up");
  assert_int_equal(json_array_size(held_up), 1);
  const json_t *partition = json_array_get(held_up, 0);
  assert_string_equal(string_at(partition, "state"), "backing_off");
  assert_string_equal(string_at(partition, "error"), partitions[1].message);
  assert_int_equal(integer_at(partition, "attempts"), 3);
  json_decref(page);
}

static void a_partition_that_is_stopped_makes_it_not_ready(void **state) {
  (void)state;
  struct inbox_snapshot s = streaming(3);
  int status;
  json_t *page = json_of("/readyz", &s, &status);
  assert_int_equal(status, 503);
  assert_string_equal(string_at(page, "reason"), "partition_stopped");
  assert_string_equal(string_at(page, "error"), "fleet [2], topic_recreated: another record lies there");
  const json_t *held_up = json_object_get(page, "held_up");
  assert_int_equal(json_array_size(held_up), 2);
  assert_string_equal(string_at(json_array_get(held_up, 1), "code"), "topic_recreated");
  json_decref(page);
  json_decref(json_of("/healthz", &s, &status));
  assert_int_equal(status, 200);
}

static void health_is_the_status(void **state) {
  (void)state;
  struct inbox_snapshot s = streaming(1);
  s.turned_ago_ms = 61000;
  int status;
  json_t *page = json_of("/healthz", &s, &status);
  assert_int_equal(status, 503);
  assert_true(json_is_false(json_object_get(page, "alive")));
  assert_int_equal(integer_at(page, "inbox_thread_step_seconds_ago"), 61);
  json_decref(page);
}

static void the_status_tells_partitions_handlers_and_dead_letters(void **state) {
  (void)state;
  struct inbox_snapshot s = streaming(3);
  s.dead_letter_codes = 1;
  s.dead_letters[0] = (struct inbox_dead_letter_count){.code = "handler_failed", .count = 5};
  s.failed_us = 1;
  s.failed_kind = ERROR_RETRY;
  snprintf(s.failed_message, sizeof s.failed_message, "%s", "server \"db1\" went away");
  int status;
  json_t *page = json_of("/status", &s, &status);
  assert_int_equal(status, 200);
  assert_string_equal(string_at(page, "name"), "shop");
  assert_string_equal(string_at(page, "group"), "accounting");
  assert_int_equal(integer_at(page, "events"), 42);
  assert_int_equal(integer_at(json_object_get(page, "batches"), "messages"), 41);
  assert_int_equal(integer_at(json_object_get(page, "lag"), "messages"), 6);
  assert_true(json_real_value(json_object_get(json_object_get(page, "lag"), "seconds")) > 90);
  const json_t *list = json_object_get(page, "partitions");
  assert_int_equal(json_array_size(list), 3);
  assert_int_equal(integer_at(json_array_get(list, 0), "next_offset"), 12);
  assert_true(json_is_null(json_object_get(json_array_get(list, 0), "code")));
  assert_true(json_is_null(json_object_get(json_array_get(list, 2), "next_offset")));
  assert_true(json_is_null(json_object_get(json_array_get(list, 2), "lag")));
  list = json_object_get(page, "handlers");
  assert_int_equal(json_array_size(list), 2);
  assert_string_equal(string_at(json_array_get(list, 0), "type"), handlers[0].type);
  assert_int_equal(integer_at(json_array_get(list, 0), "retries"), 3);
  assert_int_equal(integer_at(json_array_get(list, 0), "dead_lettered"), 0);
  assert_true(json_is_null(json_object_get(json_array_get(list, 1), "type")));
  assert_int_equal(integer_at(json_object_get(page, "dead_letters"), "handler_failed"), 5);
  assert_string_equal(string_at(json_object_get(page, "last_error"), "error"), s.failed_message);
  json_decref(page);
}

static void the_index_says_whose_pages_these_are(void **state) {
  (void)state;
  struct inbox_snapshot s = streaming(0);
  struct buffer out;
  buffer_init(&out, 1 << 12);
  assert_int_equal(page_find("/")->write(&watched, &s, &out), 200);
  buffer_append_char(&out, '\0');
  assert_non_null(strstr(out.data, "inbox of instance shop"));
  assert_non_null(strstr(out.data, "/status    state, partitions, lag"));
  buffer_free(&out);
}

static struct daemon_message message;

static const char *tell(struct daemon_told *told, const struct inbox_snapshot *s, int64_t now_ms) {
  struct vitals vitals;
  watched_inbox_class.judge(s, &vitals);
  daemon_message(told, &vitals, false, 1000, now_ms, &message);
  return message.text;
}

static void an_inbox_is_ready_for_the_service_manager_once_it_streams(void **state) {
  (void)state;
  struct daemon_told told = {.ready = false};
  struct inbox_snapshot s = {.state = INBOX_STARTING, .peer = INBOX_NOBODY, .turned_ago_ms = 1000000};
  assert_string_equal(tell(&told, &s, 0), "STATUS=starting");
  s = streaming(1);
  s.turned_ago_ms = 1000000;
  assert_string_equal(tell(&told, &s, 10), "READY=1\nSTATUS=streaming, 1 partition, 42 events handled");
  s.partition_count = 3;
  assert_string_equal(tell(&told, &s, 2000), "");
  assert_string_equal(tell(&told, &s, 2010), "STATUS=streaming, 3 partitions, 42 events handled, 1 backing off, "
                                             "1 stopped: fleet [2], topic_recreated: another record lies there");
}

static void an_inbox_that_retries_is_ready_and_says_why(void **state) {
  (void)state;
  struct inbox_snapshot s = {.state = INBOX_RECOVERING,
                             .peer = INBOX_NOBODY,
                             .failed_kind = ERROR_RETRY,
                             .failed_message = "no broker answers",
                             .recoveries_retry = 1};
  struct daemon_told told = {.ready = false};
  assert_string_equal(tell(&told, &s, 0), "READY=1\nSTATUS=recovering: no broker answers");
  s.recoveries_retry++;
  assert_string_equal(tell(&told, &s, 10), "STATUS=recovering: no broker answers");
}

static void a_long_call_feeds_the_watchdog_until_it_is_overdue(void **state) {
  (void)state;
  struct inbox_snapshot s = streaming(0);
  struct daemon_told told = {.ready = true};
  s.peer = INBOX_POSTGRES;
  s.call_limit_ms = 600000;
  s.turned_ago_ms = s.peer_ms = 500000;
  assert_non_null(strstr(tell(&told, &s, 1000000), "WATCHDOG=1"));
  s.turned_ago_ms = s.peer_ms = 780001;
  assert_null(strstr(tell(&told, &s, 2000000), "WATCHDOG=1"));
}

static void a_moment_is_looked_up_and_forgotten(void **state) {
  (void)state;
  static const struct handler_spec specs[] = {{"RentalReserved", "accounting.on_rental_reserved"}};
  struct watched_inbox inbox = {.report = inbox_report_new(specs, 1), .group = "accounting"};
  inbox_report_partition(inbox.report, &partitions[0]);
  struct inbox_snapshot *moment = watched_inbox_class.look(&inbox);
  assert_int_equal(moment->partition_count, 1);
  assert_string_equal(moment->handlers[0].type, "RentalReserved");
  watched_inbox_class.forget(moment);
  inbox_report_free(inbox.report);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_partition_that_backs_off_is_named_and_leaves_it_ready),
      cmocka_unit_test(a_partition_that_is_stopped_makes_it_not_ready),
      cmocka_unit_test(health_is_the_status),
      cmocka_unit_test(the_status_tells_partitions_handlers_and_dead_letters),
      cmocka_unit_test(the_index_says_whose_pages_these_are),
      cmocka_unit_test(an_inbox_is_ready_for_the_service_manager_once_it_streams),
      cmocka_unit_test(an_inbox_that_retries_is_ready_and_says_why),
      cmocka_unit_test(a_long_call_feeds_the_watchdog_until_it_is_overdue),
      cmocka_unit_test(a_moment_is_looked_up_and_forgotten),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
