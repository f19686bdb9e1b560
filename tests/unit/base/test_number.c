/* Numbers from text: whole and in range, or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bridge/base/number.h"

static void whole_numbers_in_range_are_read(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int64_t min, max, value;
  } cases[] = {
      {"0", 0, 0, 0},
      {"7", 0, 10, 7},
      {"10", 0, 10, 10},
      {"-10", -10, 10, -10},
      {"9223372036854775807", INT64_MIN, INT64_MAX, INT64_MAX},
      {"-9223372036854775808", INT64_MIN, INT64_MAX, INT64_MIN},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    int64_t value = 99;
    assert_true(number_parse(slice_of(cases[i].text), cases[i].min, cases[i].max, &value));
    assert_true(value == cases[i].value);
  }
}

static void what_is_no_whole_number_is_refused_and_nothing_written(void **state) {
  (void)state;
  static const char *const cases[] = {"",
                                      "-",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "1\n",
                                      "01",
                                      "00",
                                      "-01",
                                      "-0",
                                      "--1",
                                      "1-",
                                      "1.0",
                                      "1e3",
                                      "0x10",
                                      "30s",
                                      "abc",
                                      "1,0",
                                      "1_0",
                                      "nan",
                                      "\xd9\xa1",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "18446744073709551616",
                                      "99999999999999999999999999"};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    int64_t value = 99;
    assert_false(number_parse(slice_of(cases[i]), INT64_MIN, INT64_MAX, &value));
    assert_true(value == 99);
  }
  int64_t value = 99;
  assert_false(number_parse(SLICE_ABSENT, 0, 10, &value));
  assert_false(number_parse(slice_from("1\0", 2), 0, 10, &value));
  assert_true(value == 99);
}

static void numbers_beyond_the_range_are_refused(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int64_t min, max;
  } cases[] = {{"0", 1, 9}, {"10", 1, 9}, {"-1", 0, 9}, {"5", -9, -1}, {"-10", -9, -1}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    int64_t value = 99;
    assert_false(number_parse(slice_of(cases[i].text), cases[i].min, cases[i].max, &value));
    assert_true(value == 99);
  }
}

static void unsigned_numbers_reach_their_full_range(void **state) {
  (void)state;
  uint64_t value = 99;
  assert_false(number_parse_u64(slice_of("18446744073709551616"), UINT64_MAX, &value));
  assert_false(number_parse_u64(slice_of("18446744073709551620"), UINT64_MAX, &value));
  assert_false(number_parse_u64(slice_of("-1"), UINT64_MAX, &value));
  assert_false(number_parse_u64(slice_of("256"), 255, &value));
  assert_true(value == 99);
  assert_true(number_parse_u64(slice_of("18446744073709551615"), UINT64_MAX, &value));
  assert_true(value == UINT64_MAX);
  assert_true(number_parse_u64(slice_of("255"), 255, &value));
  assert_true(value == 255);
}

static void only_the_slice_is_read(void **state) {
  (void)state;
  int64_t value = 0;
  assert_true(number_parse(slice_from("1234", 2), 0, 100, &value));
  assert_true(value == 12);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(whole_numbers_in_range_are_read),
      cmocka_unit_test(what_is_no_whole_number_is_refused_and_nothing_written),
      cmocka_unit_test(numbers_beyond_the_range_are_refused),
      cmocka_unit_test(unsigned_numbers_reach_their_full_range),
      cmocka_unit_test(only_the_slice_is_read),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
