/* bridge/relay/suspects.h: remembered by both commit LSN and index, until settled. */
#include "tests/unit/relay/relay_fixture.h"

#include "bridge/relay/suspects.h"

static void nobody_is_suspected_at_first(void **state) {
  (void)state;
  struct suspects *s = suspects_new();
  assert_false(suspects_has(s, 0, 0));
  assert_true(suspects_empty(s));
  suspects_settle(s, 1, 1);
  suspects_free(s);
}

static void a_suspect_is_known_by_transaction_and_index(void **state) {
  (void)state;
  struct suspects *s = suspects_new();
  suspects_add(s, 0x100, 3);
  suspects_add(s, 0x100, 3); /* again: no matter */
  assert_true(suspects_has(s, 0x100, 3));
  assert_false(suspects_empty(s));
  assert_false(suspects_has(s, 0x100, 2));
  assert_false(suspects_has(s, 0x101, 3));
  assert_false(suspects_has(s, 3, 0x100));
  suspects_settle(s, 0x100, 4);
  assert_true(suspects_has(s, 0x100, 3));
  suspects_settle(s, 0x100, 3);
  assert_false(suspects_has(s, 0x100, 3));
  assert_true(suspects_empty(s));
  suspects_free(s);
}

static void a_refusal_is_remembered_until_it_is_settled(void **state) {
  (void)state;
  struct suspects *s = suspects_new();
  suspects_refuse(s, 0x100, 3, "nobody"); /* no suspect */
  assert_false(suspects_has(s, 0x100, 3));
  assert_null(suspects_refusal(s, 0x100, 3));
  suspects_add(s, 0x100, 3);
  assert_null(suspects_refusal(s, 0x100, 3));
  suspects_refuse(s, 0x100, 3, "INVALID_RECORD");
  assert_string_equal(suspects_refusal(s, 0x100, 3), "INVALID_RECORD");
  assert_true(suspects_has(s, 0x100, 3));
  suspects_settle(s, 0x100, 3);
  assert_null(suspects_refusal(s, 0x100, 3));
  suspects_free(s);
}

static void many_are_kept_apart(void **state) {
  (void)state;
  struct suspects *s = suspects_new();
  for (uint64_t i = 0; i < 2000; i++)
    suspects_add(s, UINT64_MAX - i % 50, i);
  for (uint64_t i = 0; i < 2000; i += 2)
    suspects_settle(s, UINT64_MAX - i % 50, i);
  for (uint64_t i = 0; i < 2000; i++)
    assert_int_equal(suspects_has(s, UINT64_MAX - i % 50, i), i % 2 == 1);
  suspects_free(s); /* with those that are left */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nobody_is_suspected_at_first),
      cmocka_unit_test(a_suspect_is_known_by_transaction_and_index),
      cmocka_unit_test(a_refusal_is_remembered_until_it_is_settled),
      cmocka_unit_test(many_are_kept_apart),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
