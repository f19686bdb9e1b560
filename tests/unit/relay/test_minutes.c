/* bridge/relay/minutes.h: a copy at the first commit of each minute, and tombstones for those behind the window, once.
 */
#include "tests/unit/relay/relay_fixture.h"

#include <string.h>

#include "bridge/relay/minutes.h"

#define MINUTE(n) (INT64_C(1795248000000000) + (n)*MINUTES_US)
#define KEEP (10 * MINUTES_US)

static void each_minute_has_one_copy(void **state) {
  (void)state;
  struct position p;
  position_init(&p);
  struct minutes_step step = minutes_step(KEEP, 0, MINUTE(3) + 5, MINUTE(3) + 5, &p);
  assert_true(step.due);
  assert_int_equal(step.minute_us, MINUTE(3));
  assert_int_equal(step.drop_count, 0);
  assert_int_equal(p.history_since_us, MINUTE(3));
  assert_false(minutes_step(KEEP, MINUTE(3), MINUTE(4) - 1, MINUTE(4) - 1, &p).due);
  assert_true(minutes_step(KEEP, MINUTE(3), MINUTE(4), MINUTE(4), &p).due);
  assert_int_equal(p.history_since_us, MINUTE(3));
}

static void the_window_and_a_minute_are_kept(void **state) {
  (void)state;
  struct position p;
  position_init(&p);
  p.history_since_us = MINUTE(0);
  assert_int_equal(minutes_step(KEEP, 0, MINUTE(11), MINUTE(11), &p).drop_count, 0);
  struct minutes_step step = minutes_step(KEEP, 0, MINUTE(12), MINUTE(12), &p);
  assert_int_equal(step.drop_count, 1);
  assert_int_equal(step.drop_from_us, MINUTE(0));
  assert_int_equal(p.history_since_us, MINUTE(1));
}

/* After a long rest there are many, and they go little by little. */
static void tombstones_of_one_commit_are_bounded_and_none_is_left_out(void **state) {
  (void)state;
  struct position p;
  position_init(&p);
  p.history_since_us = MINUTE(0);
  int64_t expected = MINUTE(0);
  int rounds = 0;
  for (int now = 211;; now++, rounds++) {
    struct minutes_step step = minutes_step(KEEP, 0, MINUTE(now), MINUTE(now), &p);
    assert_int_equal(step.drop_from_us, expected);
    assert_true(step.drop_count <= MINUTES_DROPS_MAX);
    expected += step.drop_count * MINUTES_US;
    assert_int_equal(p.history_since_us, expected);
    if (step.drop_count < MINUTES_DROPS_MAX) {
      assert_int_equal(expected, MINUTE(now - 11));
      break;
    }
  }
  assert_int_equal(rounds, 3);
}

static void a_clock_that_was_put_back_drops_nothing(void **state) {
  (void)state;
  struct position p;
  position_init(&p);
  p.history_since_us = MINUTE(100);
  struct minutes_step step = minutes_step(KEEP, MINUTE(100), MINUTE(40), MINUTE(40), &p);
  assert_true(step.due);
  assert_int_equal(step.drop_count, 0);
  assert_int_equal(p.history_since_us, MINUTE(40));
}

static void a_clock_that_jumps_ahead_is_followed_slowly(void **state) {
  (void)state;
  struct minutes_clock clock = {.window_us = 0};
  assert_int_equal(minutes_clock(&clock, MINUTE(0), 5), MINUTE(0));
  assert_int_equal(minutes_clock(&clock, MINUTE(1), 5 + MINUTES_US), MINUTE(1));
  assert_int_equal(minutes_clock(&clock, MINUTE(9000), 5 + 2 * MINUTES_US), MINUTE(3));
  assert_int_equal(minutes_clock(&clock, MINUTE(9001), 5 + 3 * MINUTES_US), MINUTE(5));
  assert_int_equal(minutes_clock(&clock, MINUTE(4), 5 + 4 * MINUTES_US), MINUTE(4));

  struct position p;
  position_init(&p);
  p.history_since_us = MINUTE(0);
  assert_int_equal(minutes_step(KEEP, MINUTE(1), MINUTE(9000), MINUTE(3), &p).drop_count, 0);
}

static void keys_tell_the_minute(void **state) {
  (void)state;
  char key[MINUTES_KEY_SIZE], word[2 * MINUTES_KEY_SIZE];
  minutes_key(INT64_C(1795309680000000) + 59999999, key);
  assert_string_equal(key, "at/2026-11-22T01:08Z");
  minutes_word_key(INT64_C(1795309680000001), word);
  assert_string_equal(word, "set/2026-11-22T01:08:00.000001Z");
  assert_true(minutes_is_key(slice_of(key)));
  assert_false(minutes_is_key(slice_of(word)));
  assert_false(minutes_is_key(slice_of("at/")));
  assert_false(minutes_is_key(slice_of("current")));
  assert_true(minutes_is_word_key(slice_of(word)));
  assert_false(minutes_is_word_key(slice_of(key)));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_minute_has_one_copy),
      cmocka_unit_test(the_window_and_a_minute_are_kept),
      cmocka_unit_test(tombstones_of_one_commit_are_bounded_and_none_is_left_out),
      cmocka_unit_test(a_clock_that_was_put_back_drops_nothing),
      cmocka_unit_test(a_clock_that_jumps_ahead_is_followed_slowly),
      cmocka_unit_test(keys_tell_the_minute),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
