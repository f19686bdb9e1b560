/* Slices: absent is not empty. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "bridge/base/slice.h"

static void absent_is_not_empty(void **state) {
  (void)state;
  assert_false(slice_present(SLICE_ABSENT));
  assert_false(slice_present(slice_of(NULL)));
  assert_true(slice_present(slice_of("")));
  assert_false(slice_equal(SLICE_ABSENT, slice_of("")));
  assert_false(slice_equal(slice_of(""), SLICE_ABSENT));
  assert_true(slice_equal(SLICE_ABSENT, SLICE_ABSENT));
}

static void slices_are_equal_by_all_their_bytes(void **state) {
  (void)state;
  const char a[] = "ab\0c", b[] = "ab\0d";
  assert_true(slice_equal(slice_from(a, 3), slice_from(b, 3)));
  assert_false(slice_equal(slice_from(a, 4), slice_from(b, 4)));
  assert_false(slice_equal(slice_from(a, 2), slice_from(a, 3)));
  assert_true(slice_equal(slice_from(a, 0), slice_from(b + 2, 0)));
}

static void a_slice_can_be_compared_with_a_text(void **state) {
  (void)state;
  assert_true(slice_is(slice_of("abc"), "abc"));
  assert_true(slice_is(slice_from("abcd", 3), "abc"));
  assert_false(slice_is(slice_of("abc"), "ab"));
  assert_false(slice_is(slice_of("ab"), "abc"));
  assert_false(slice_is(slice_from("ab\0", 3), "ab"));
  assert_false(slice_is(SLICE_ABSENT, ""));
}

static void printf_arguments_take_absent_and_huge_slices(void **state) {
  (void)state;
  char out[16];
  snprintf(out, sizeof out, "[%.*s]", SLICE_ARG(SLICE_ABSENT));
  assert_string_equal(out, "[]");
  snprintf(out, sizeof out, "[%.*s]", SLICE_ARG(slice_from("abc", 2)));
  assert_string_equal(out, "[ab]");
  snprintf(out, sizeof out, "[%.*s]", SLICE_ARG(slice_from("abc", SIZE_MAX)));
  assert_string_equal(out, "[abc]");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(absent_is_not_empty),
      cmocka_unit_test(slices_are_equal_by_all_their_bytes),
      cmocka_unit_test(a_slice_can_be_compared_with_a_text),
      cmocka_unit_test(printf_arguments_take_absent_and_huge_slices),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
