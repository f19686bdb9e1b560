/* bridge/ops/pages.h: which page has which status, and that what is JSON is JSON, whatever the errors say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "bridge/ops/pages.h"
#include "bridge/ops/watched_relay.h"

static struct watched_relay source = {.slot = "slot_1", .publication = "pub_1"};
static const struct watched watched = {
    .class = &watched_relay_class, .source = &source, .name = "shop", .started_us = 1};

static struct progress_snapshot streaming(void) {
  return (struct progress_snapshot){.state = PROGRESS_STREAMING,
                                    .peer = PROGRESS_NOBODY,
                                    .failed_peer = PROGRESS_NOBODY,
                                    .silence_max_ms = 25000,
                                    .position_commit_lsn = 0x100,
                                    .position_ack_lsn = 0x180};
}

/* The page's text, the caller's to free. */
static char *text_of(const char *path, const struct progress_snapshot *s, int *status) {
  const struct page *page = page_find(path);
  assert_non_null(page);
  struct buffer out;
  buffer_init(&out, 1 << 20);
  *status = page->write(&watched, s, &out);
  assert_false(out.overflow);
  buffer_append_char(&out, '\0');
  return out.data;
}

static json_t *json_of(const char *path, const struct progress_snapshot *s, int *status) {
  char *text = text_of(path, s, status);
  json_error_t error;
  json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &error);
  if (root == NULL)
    fail_msg("%s: %s in %s", path, error.text, text);
  free(text);
  return root;
}

static const char *string_at(const json_t *object, const char *key) {
  return json_string_value(json_object_get(object, key));
}

static void the_index_lists_every_page(void **state) {
  (void)state;
  struct progress_snapshot s = streaming();
  int status;
  char *text = text_of("/", &s, &status);
  assert_int_equal(status, 200);
  static const char *const paths[] = {"/metrics", "/healthz", "/readyz", "/status"};
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
    assert_non_null(page_find(paths[i]));
    assert_non_null(strstr(text, paths[i]));
  }
  assert_null(page_find("/metrics/"));
  assert_null(page_find(""));
  free(text);
}

static void readiness_is_the_status(void **state) {
  (void)state;
  struct progress_snapshot s = streaming();
  int status;
  json_t *page = json_of("/readyz", &s, &status);
  assert_int_equal(status, 200);
  assert_true(json_is_true(json_object_get(page, "ready")));
  assert_true(json_is_null(json_object_get(page, "error")));
  json_decref(page);
  s.kafka_away = true;
  snprintf(s.kafka_error, sizeof s.kafka_error, "%s", "a \"quoted\" \\ name\n\x01");
  page = json_of("/readyz", &s, &status);
  assert_int_equal(status, 503);
  assert_string_equal(string_at(page, "reason"), "kafka_away");
  assert_string_equal(string_at(page, "error"), s.kafka_error);
  json_decref(page);
}

static void health_is_the_status(void **state) {
  (void)state;
  struct progress_snapshot s = streaming();
  int status;
  json_decref(json_of("/healthz", &s, &status));
  assert_int_equal(status, 200);
  s.turned_ago_ms = 61000;
  json_t *page = json_of("/healthz", &s, &status);
  assert_int_equal(status, 503);
  assert_true(json_is_false(json_object_get(page, "alive")));
  assert_int_equal(json_integer_value(json_object_get(page, "relay_thread_step_seconds_ago")), 61);
  json_decref(page);
}

static void the_status_of_a_relay_that_knows_nothing_yet(void **state) {
  (void)state;
  struct progress_snapshot s = {.state = PROGRESS_STARTING, .peer = PROGRESS_NOBODY, .failed_peer = PROGRESS_NOBODY};
  int status;
  json_t *page = json_of("/status", &s, &status);
  assert_int_equal(status, 200);
  assert_true(json_is_null(json_object_get(page, "position")));
  assert_true(json_is_null(json_object_get(page, "last_error")));
  assert_true(json_is_null(json_object_get(json_object_get(page, "slot"), "read_at")));
  assert_int_equal(json_object_size(json_object_get(page, "lag")), 0);
  json_decref(page);
}

static void the_status_tells_position_slot_and_last_error(void **state) {
  (void)state;
  struct progress_snapshot s = streaming();
  s.failed_us = 1;
  s.failed_kind = ERROR_RETRY;
  snprintf(s.failed_message, sizeof s.failed_message, "%s", "server \"db1\" went away");
  s.slot_read_us = 1;
  s.slot = (struct catalog_slot){
      .exists = true, .wal_lsn = 0x500, .restart_lsn = 0x100, .confirmed_flush_lsn = 0x180, .wal_status = "reserved"};
  s.lag_us = 1234567;
  s.published.code_count = 1;
  s.published.codes[0] = (struct totals_code){.code = "missing_id", .count = 4};
  int status;
  json_t *page = json_of("/status", &s, &status);
  assert_string_equal(string_at(json_object_get(page, "position"), "end_lsn"), "0/180");
  const json_t *slot = json_object_get(page, "slot");
  assert_string_equal(string_at(slot, "name"), "slot_1");
  assert_int_equal(json_integer_value(json_object_get(slot, "retained_bytes")), 0x400);
  const json_t *lag = json_object_get(page, "lag");
  assert_int_equal(json_integer_value(json_object_get(lag, "bytes")), 0x380);
  assert_true(json_real_value(json_object_get(lag, "seconds")) > 1.2);
  assert_int_equal(json_integer_value(json_object_get(json_object_get(page, "quarantined"), "missing_id")), 4);
  const json_t *last = json_object_get(page, "last_error");
  assert_string_equal(string_at(last, "error"), s.failed_message);
  assert_string_equal(string_at(last, "kind"), "retry");
  json_decref(page);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_index_lists_every_page),
      cmocka_unit_test(readiness_is_the_status),
      cmocka_unit_test(health_is_the_status),
      cmocka_unit_test(the_status_of_a_relay_that_knows_nothing_yet),
      cmocka_unit_test(the_status_tells_position_slot_and_last_error),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
