/* Backoff: doubling spans, the cap, and jitter within the upper half. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bridge/base/backoff.h"

static void each_delay_lies_in_the_upper_half_of_its_span(void **state) {
  (void)state;
  static const int64_t spans[] = {100, 200, 400, 800, 1000, 1000, 1000};
  for (uint64_t seed = 0; seed < 200; seed++) {
    struct backoff b;
    backoff_init(&b, 100, 1000, seed);
    for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++) {
      int64_t delay = backoff_next_ms(&b);
      assert_in_range(delay, spans[i] / 2, spans[i]);
    }
  }
}

static void a_reset_begins_with_the_first_span(void **state) {
  (void)state;
  struct backoff b;
  backoff_init(&b, 100, 100000, 1);
  for (int i = 0; i < 8; i++)
    backoff_next_ms(&b);
  assert_int_equal(b.attempts, 8);
  backoff_reset(&b);
  assert_int_equal(b.attempts, 0);
  assert_in_range(backoff_next_ms(&b), 50, 100);
}

static void the_same_seed_gives_the_same_delays(void **state) {
  (void)state;
  struct backoff a, b;
  backoff_init(&a, 100, 10000, 42);
  backoff_init(&b, 100, 10000, 42);
  for (int i = 0; i < 50; i++)
    assert_true(backoff_next_ms(&a) == backoff_next_ms(&b));
}

static void delays_are_spread(void **state) {
  (void)state;
  struct backoff b;
  backoff_init(&b, 1000, 1000, 7);
  int64_t low = INT64_MAX, high = 0;
  for (int i = 0; i < 1000; i++) {
    int64_t delay = backoff_next_ms(&b);
    low = delay < low ? delay : low;
    high = delay > high ? delay : high;
  }
  assert_true(low < 550 && high > 950);
}

static void thousands_of_attempts_stay_at_the_cap(void **state) {
  (void)state;
  struct backoff b;
  backoff_init(&b, 1, 30000, 3);
  for (int i = 0; i < 5000; i++)
    assert_in_range(backoff_next_ms(&b), 0, 30000);
  assert_in_range(backoff_next_ms(&b), 15000, 30000);
}

static void small_spans_are_not_zero(void **state) {
  (void)state;
  struct backoff b;
  backoff_init(&b, 1, 1, 0);
  for (int i = 0; i < 10; i++)
    assert_int_equal(backoff_next_ms(&b), 1);
}

static void a_first_delay_above_the_cap_is_capped(void **state) {
  (void)state;
  struct backoff b;
  backoff_init(&b, 5000, 100, 9);
  assert_in_range(backoff_next_ms(&b), 50, 100);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_delay_lies_in_the_upper_half_of_its_span),
      cmocka_unit_test(a_reset_begins_with_the_first_span),
      cmocka_unit_test(the_same_seed_gives_the_same_delays),
      cmocka_unit_test(delays_are_spread),
      cmocka_unit_test(thousands_of_attempts_stay_at_the_cap),
      cmocka_unit_test(small_spans_are_not_zero),
      cmocka_unit_test(a_first_delay_above_the_cap_is_capped),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
