/* The clocks, and RFC 3339 texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bridge/base/clock.h"

static void times_are_written_as_rfc_3339(void **state) {
  (void)state;
  static const struct {
    int64_t unix_us;
    const char *text;
  } cases[] = {
      {0, "1970-01-01T00:00:00Z"},
      {1, "1970-01-01T00:00:00.000001Z"},
      {-1, "1969-12-31T23:59:59.999999Z"},
      {-1000000, "1969-12-31T23:59:59Z"},
      {-1500000, "1969-12-31T23:59:58.500000Z"},
      {CLOCK_POSTGRES_EPOCH_US, "2000-01-01T00:00:00Z"},
      {INT64_C(1795248118123456), "2026-11-21T08:01:58.123456Z"},
      {INT64_C(1582934400000000), "2020-02-29T00:00:00Z"},
      {INT64_C(253402300799999999), "9999-12-31T23:59:59.999999Z"},
      {INT64_C(-62135596800000000), "0001-01-01T00:00:00Z"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    assert_string_equal(clock_rfc3339(cases[i].unix_us).text, cases[i].text);
}

static void times_at_the_ends_of_the_range_fit(void **state) {
  (void)state;
  assert_string_equal(clock_rfc3339(INT64_MAX).text, "294247-01-10T04:00:54.775807Z");
  assert_string_equal(clock_rfc3339(INT64_MIN).text, "-290308-12-21T19:59:05.224192Z");
}

static void the_monotonic_clock_does_not_go_back(void **state) {
  (void)state;
  int64_t last = clock_monotonic_us();
  for (int i = 0; i < 1000; i++) {
    int64_t now = clock_monotonic_us();
    assert_true(now >= last);
    last = now;
  }
  assert_true(clock_monotonic_ms() >= last / 1000);
}

static void sleeping_takes_its_time(void **state) {
  (void)state;
  int64_t from = clock_monotonic_us();
  clock_sleep_ms(20);
  assert_true(clock_monotonic_us() - from >= 20000);
  clock_sleep_ms(0);
  clock_sleep_ms(-1); /* returns at once */
}

static void deadlines_are_monotonic_and_whole(void **state) {
  (void)state;
  static const int64_t spans_ms[] = {0, 1, 999, 1000, 61001};
  for (size_t i = 0; i < sizeof spans_ms / sizeof spans_ms[0]; i++) {
    int64_t from = clock_monotonic_us();
    struct timespec due = clock_deadline(spans_ms[i]);
    assert_in_range(due.tv_nsec, 0, 999999999);
    int64_t us = (int64_t)due.tv_sec * 1000000 + due.tv_nsec / 1000;
    assert_in_range(us, from + spans_ms[i] * 1000, clock_monotonic_us() + spans_ms[i] * 1000);
  }
}

static void the_wall_clock_is_in_this_century(void **state) {
  (void)state;
  int64_t now = clock_wall_us();
  assert_true(now > CLOCK_POSTGRES_EPOCH_US);
  assert_true(now < INT64_C(4102444800000000)); /* 2100 */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(times_are_written_as_rfc_3339),        cmocka_unit_test(times_at_the_ends_of_the_range_fit),
      cmocka_unit_test(the_monotonic_clock_does_not_go_back), cmocka_unit_test(sleeping_takes_its_time),
      cmocka_unit_test(deadlines_are_monotonic_and_whole),    cmocka_unit_test(the_wall_clock_is_in_this_century),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
