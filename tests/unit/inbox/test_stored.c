/* bridge/inbox/stored.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bridge/inbox/stored.h"

static const struct stored_row whole = {.topic = "fleet.rentals",
                                        .partition = "3",
                                        .offset = "9000000000",
                                        .timestamp_ms = "-1",
                                        .key = "\\x00ff",
                                        .headers = "[{\"name\": \"a\", \"value\": \"b\"}, {\"name\": \"c\"}]",
                                        .value = "\\x7b7d"};

static void a_row_is_the_record_that_it_was(void **state) {
  (void)state;
  struct stored stored = {.headers = {.items = NULL}};
  struct received_record record;
  struct problem problem = {.code = NULL};
  assert_true(stored_read(&stored, &whole, &record, &problem));
  assert_string_equal(record.topic, "fleet.rentals");
  assert_int_equal(record.partition, 3);
  assert_int_equal(record.offset, INT64_C(9000000000));
  assert_int_equal(record.timestamp_ms, -1);
  assert_true(slice_equal(record.key, slice_from("\0\xff", 2)));
  assert_true(slice_is(record.value, "{}"));
  assert_int_equal(record.header_count, 2);
  assert_string_equal(record.headers[0].name, "a");
  assert_true(slice_is(record.headers[0].value, "b"));
  assert_false(slice_present(record.headers[1].value));
  stored_free(&stored);
}

static void what_is_null_is_absent_and_what_is_empty_is_not(void **state) {
  (void)state;
  struct stored stored = {.headers = {.items = NULL}};
  struct received_record record;
  struct problem problem = {.code = NULL};
  struct stored_row row = {.topic = "t", .partition = "0", .offset = "0", .timestamp_ms = "0"};
  assert_true(stored_read(&stored, &whole, &record, &problem)); /* leaves nothing behind */
  assert_true(stored_read(&stored, &row, &record, &problem));
  assert_false(slice_present(record.key) || slice_present(record.value));
  assert_int_equal(record.header_count, 0);
  row.key = row.value = "\\x";
  row.headers = "[]";
  assert_true(stored_read(&stored, &row, &record, &problem));
  assert_true(slice_is(record.key, "") && slice_is(record.value, ""));
  stored_free(&stored);
}

static void what_no_inbox_wrote_is_a_problem(void **state) {
  (void)state;
  static const struct {
    struct stored_row row;
    const char *code;
  } cases[] = {
      {{.topic = "t", .partition = "0", .offset = "0", .timestamp_ms = "0", .headers = "{}"}, "headers_invalid"},
      {{.topic = "t", .partition = "0", .offset = "0", .timestamp_ms = "0", .headers = "[1]"}, "headers_invalid"},
      {{.topic = "t", .partition = "0", .offset = "0", .timestamp_ms = "0", .key = "abc"}, "payload_not_json"},
      {{.topic = "t", .partition = "0", .offset = "0", .timestamp_ms = "0", .value = "\\x0"}, "payload_not_json"},
      {{.topic = "t", .partition = "-1", .offset = "0", .timestamp_ms = "0"}, "payload_not_json"},
      {{.topic = "t", .partition = "0", .offset = "x", .timestamp_ms = "0"}, "payload_not_json"},
  };
  struct stored stored = {.headers = {.items = NULL}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct received_record record;
    struct problem problem = {.code = NULL};
    assert_false(stored_read(&stored, &cases[i].row, &record, &problem));
    assert_string_equal(problem.code, cases[i].code);
    assert_int_equal(record.header_count, 0);
  }
  stored_free(&stored);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_row_is_the_record_that_it_was),
      cmocka_unit_test(what_is_null_is_absent_and_what_is_empty_is_not),
      cmocka_unit_test(what_no_inbox_wrote_is_a_problem),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
