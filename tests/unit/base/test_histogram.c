/* bridge/base/histogram.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "bridge/base/histogram.h"

static void bounds_rise(void **state) {
  (void)state;
  for (int i = 1; i < HISTOGRAM_BOUNDS; i++)
    assert_true(histogram_bounds_us[i] > histogram_bounds_us[i - 1]);
}

static void a_bound_belongs_to_its_own_bucket(void **state) {
  (void)state;
  struct histogram h = {.count = 0};
  for (int i = 0; i < HISTOGRAM_BOUNDS; i++) {
    histogram_add(&h, histogram_bounds_us[i]);
    assert_int_equal(h.buckets[i], 1);
  }
  histogram_add(&h, histogram_bounds_us[0] + 1);
  assert_int_equal(h.buckets[1], 2);
  assert_int_equal(h.count, HISTOGRAM_BOUNDS + 1);
}

static void what_exceeds_all_bounds_is_counted_and_summed(void **state) {
  (void)state;
  struct histogram h = {.count = 0};
  int64_t day_us = INT64_C(86400000000);
  histogram_add(&h, day_us);
  histogram_add(&h, 1);
  assert_int_equal(h.buckets[HISTOGRAM_BOUNDS], 1);
  assert_int_equal(h.buckets[0], 1);
  assert_int_equal(h.count, 2);
  assert_true(h.sum_us == day_us + 1);
}

static void a_negative_duration_counts_as_zero(void **state) {
  (void)state;
  struct histogram h = {.count = 0};
  histogram_add(&h, -5000000);
  assert_int_equal(h.buckets[0], 1);
  assert_int_equal(h.sum_us, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bounds_rise),
      cmocka_unit_test(a_bound_belongs_to_its_own_bucket),
      cmocka_unit_test(what_exceeds_all_bounds_is_counted_and_summed),
      cmocka_unit_test(a_negative_duration_counts_as_zero),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
