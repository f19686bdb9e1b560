/* bridge/ops/status_print.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "bridge/ops/status_print.h"

static char *print(const struct status *status, void (*form)(const struct status *, FILE *)) {
  char *text = NULL;
  size_t len = 0;
  FILE *out = open_memstream(&text, &len);
  form(status, out);
  fclose(out);
  return text;
}

static struct health_reader readers[] = {{.pid = 7, .address = "10.0.0.1", .since = "2026-11-21T08:00:00Z"},
                                         {.pid = 9, .since = "2026-11-21T08:01:00Z"}};

static struct status whole(void) {
  struct status status = {
      .instance = "shop",
      .slot_name = "walferry_shop",
      .quarantine_topic = "shop.quarantine",
      .postgres_read = true,
      .server = {.version = 170002, .database = "shop"},
      .health = {.flush_lsn = 0x2000},
      .slot = {.exists = true,
               .active = true,
               .active_pid = 7,
               .wal_status = "reserved",
               .confirmed_flush_lsn = 0x1000,
               .restart_lsn = 0x1000,
               .wal_lsn = 0x1000 + (1 << 20)},
      .slot_use = {.holder = "walferry/shop", .lag_us = 1500},
      .readers = readers,
      .reader_count = 2,
      .position_read = true,
      .position = {.state = POSITION_SET, .commit_lsn = 0xF00, .end_lsn = 0x1000, .complete = true, .timeline = 1},
      .quarantine_read = true,
      .quarantine_exists = true,
      .quarantine_whole = true,
  };
  return status;
}

static json_t *as_json(const struct status *status) {
  char *text = print(status, status_print_json);
  json_t *json = json_loads(text, 0, NULL);
  if (json == NULL)
    fail_msg("no JSON: %s", text);
  free(text);
  return json;
}

static void text_lines_up_and_fits_a_terminal(void **state) {
  (void)state;
  struct status status = whole();
  status_count_code(&status, slice_of("payload_not_json"), 1000);
  char *text = print(&status, status_print_text);
  assert_non_null(strstr(text, "instance      shop\n"));
  assert_non_null(strstr(text, "postgres      17.2, database shop, WAL up to 0/2000\n"));
  assert_non_null(strstr(text, "instances     1 active, 1 standby\n"));
  assert_non_null(strstr(text, "lag           4096 bytes of WAL, 0.002 s\n"));
  assert_non_null(strstr(text, "payload_not_json          1  1970-01-01T00:00:01Z to 1970-01-01T00:00:01Z\n"));
  for (const char *line = text; *line != '\0'; line += strcspn(line, "\n") + 1)
    if (strcspn(line, "\n") > 80)
      fail_msg("%s", line);
  free(text);
}

static void codes_are_counted_with_first_and_last(void **state) {
  (void)state;
  struct status status = whole();
  status_count_code(&status, slice_of("unroutable"), 5000);
  status_count_code(&status, slice_of("missing_id"), 4000);
  status_count_code(&status, slice_of("unroutable"), 3000);
  status_count_code(&status, SLICE_ABSENT, 1);
  assert_int_equal(status.quarantined, 4);
  assert_int_equal(status.code_count, 3);
  assert_string_equal(status.codes[0].code, "unroutable");
  assert_int_equal(status.codes[0].records, 2);
  assert_int_equal(status.codes[0].first_ms, 3000);
  assert_int_equal(status.codes[0].last_ms, 5000);
  assert_string_equal(status.codes[2].code, "unknown");
}

static void more_codes_than_have_room_are_still_counted(void **state) {
  (void)state;
  struct status status = whole();
  for (int i = 0; i < STATUS_CODES_MAX + 5; i++) {
    char code[80];
    snprintf(code, sizeof code, "c%d%070d", i, 0); /* and longer than the room for one */
    status_count_code(&status, slice_of(code), i);
  }
  assert_int_equal(status.code_count, STATUS_CODES_MAX);
  assert_int_equal(status.quarantined, STATUS_CODES_MAX + 5);
}

static void what_is_not_known_is_null(void **state) {
  (void)state;
  struct status status = whole();
  status.postgres_read = false;
  error_set(&status.postgres_error, ERROR_RETRY, "away");
  json_t *json = as_json(&status);
  assert_true(json_is_null(json_object_get(json, "slot")));
  assert_true(json_is_null(json_object_get(json, "instances")));
  assert_true(json_is_null(json_object_get(json_object_get(json, "lag"), "bytes")));
  assert_string_equal(json_string_value(json_object_get(json_object_get(json, "postgres"), "error")), "away");
  assert_string_equal(json_string_value(json_object_get(json_object_get(json, "position"), "lsn")), "0/1000");
  assert_true(json_is_false(json_object_get(json, "ok")));
  json_decref(json);

  status = whole();
  status.position_read = status.quarantine_read = false;
  error_set(&status.kafka_error, ERROR_RETRY, "gone");
  json = as_json(&status);
  assert_true(json_is_null(json_object_get(json, "position")));
  assert_true(json_is_null(json_object_get(json, "quarantine")));
  assert_string_equal(json_string_value(json_object_get(json_object_get(json, "kafka"), "error")), "gone");
  assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "instances"), "standby")), 1);
  json_decref(json);
}

static void lag_is_never_negative_and_idle_means_none(void **state) {
  (void)state;
  struct status status = whole();
  status.health.flush_lsn = 0x500; /* read before the position was */
  status.slot_use.lag_us = -1;
  json_t *lag = as_json(&status), *inner = json_object_get(lag, "lag");
  assert_int_equal(json_integer_value(json_object_get(inner, "bytes")), 0);
  assert_true(json_number_value(json_object_get(inner, "seconds")) == 0.0);
  json_decref(lag);
  status.health.flush_lsn = 0x2000;
  lag = as_json(&status);
  assert_true(json_is_null(json_object_get(json_object_get(lag, "lag"), "seconds")));
  json_decref(lag);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(text_lines_up_and_fits_a_terminal),
      cmocka_unit_test(codes_are_counted_with_first_and_last),
      cmocka_unit_test(more_codes_than_have_room_are_still_counted),
      cmocka_unit_test(what_is_not_known_is_null),
      cmocka_unit_test(lag_is_never_negative_and_idle_means_none),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
