/* Errors: the kind decides, context gathers in front, nothing overflows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bridge/base/error.h"

static const enum error_kind kinds[] = {ERROR_NONE,       ERROR_CONFIG, ERROR_REFUSED, ERROR_RETRY,
                                        ERROR_START_OVER, ERROR_FENCED, ERROR_FATAL,   ERROR_STOPPED};
#define KINDS (sizeof kinds / sizeof kinds[0])

static void setting_an_error_returns_false_and_fills_it(void **state) {
  (void)state;
  struct error err = {.kind = ERROR_NONE};
  assert_false(error_set(&err, ERROR_RETRY, "server %s, attempt %d", "a", 3));
  assert_int_equal(err.kind, ERROR_RETRY);
  assert_null(err.code);
  assert_string_equal(err.message, "server a, attempt 3");
  assert_string_equal(err.remedy, "");
}

static void a_refusal_carries_its_code_and_remedy(void **state) {
  (void)state;
  struct error err = {.kind = ERROR_NONE};
  assert_false(error_refuse(&err, "slot_missing", "slot %s is gone", "s"));
  assert_false(error_remedy(&err, "run %s", "walferry init"));
  assert_int_equal(err.kind, ERROR_REFUSED);
  assert_string_equal(err.code, "slot_missing");
  assert_string_equal(err.message, "slot s is gone");
  assert_string_equal(err.remedy, "run walferry init");
}

static void a_new_error_forgets_the_old_code_and_remedy(void **state) {
  (void)state;
  struct error err = {.kind = ERROR_NONE};
  error_refuse(&err, "slot_missing", "gone");
  error_remedy(&err, "look");
  error_set(&err, ERROR_FATAL, "other");
  assert_null(err.code);
  assert_string_equal(err.remedy, "");
}

static void context_goes_before_the_message_and_keeps_the_kind(void **state) {
  (void)state;
  struct error err = {.kind = ERROR_NONE};
  error_refuse(&err, "slot_lost", "wal removed");
  assert_false(error_wrap(&err, "slot %s", "s"));
  assert_false(error_wrap(&err, "start"));
  assert_string_equal(err.message, "start: slot s: wal removed");
  assert_string_equal(err.code, "slot_lost");
  assert_int_equal(err.kind, ERROR_REFUSED);
}

static void an_error_may_be_made_from_its_own_text(void **state) {
  (void)state;
  struct error err = {.kind = ERROR_NONE};
  error_set(&err, ERROR_RETRY, "inner");
  error_set(&err, ERROR_FATAL, "outer (%s)", err.message);
  assert_string_equal(err.message, "outer (inner)");
  error_wrap(&err, "again %s", err.message);
  assert_string_equal(err.message, "again outer (inner): outer (inner)");
}

static void long_texts_are_cut(void **state) {
  (void)state;
  char text[4000];
  memset(text, 'x', sizeof text - 1);
  text[sizeof text - 1] = '\0';
  struct error err = {.kind = ERROR_NONE};
  error_set(&err, ERROR_FATAL, "%s", text);
  assert_int_equal(strlen(err.message), sizeof err.message - 1);
  error_remedy(&err, "%s", text);
  assert_int_equal(strlen(err.remedy), sizeof err.remedy - 1);
  error_wrap(&err, "%s", text);
  assert_int_equal(strlen(err.message), sizeof err.message - 1);
  error_wrap(&err, "context");
  assert_int_equal(strlen(err.message), sizeof err.message - 1);
  assert_memory_equal(err.message, "context: xxx", 12);
}

static void an_error_may_be_unwanted(void **state) {
  (void)state;
  assert_false(error_set(NULL, ERROR_FATAL, "x"));
  assert_false(error_refuse(NULL, "code", "x"));
  assert_false(error_remedy(NULL, "x"));
  assert_false(error_wrap(NULL, "x"));
}

static void clearing_leaves_nothing(void **state) {
  (void)state;
  struct error err = {.kind = ERROR_NONE};
  error_refuse(&err, "code", "message");
  error_remedy(&err, "remedy");
  error_clear(&err);
  assert_int_equal(err.kind, ERROR_NONE);
  assert_null(err.code);
  assert_string_equal(err.message, "");
  assert_string_equal(err.remedy, "");
}

static void each_kind_has_its_exit_code(void **state) {
  (void)state;
  static const int codes[KINDS] = {0, 2, 3, 1, 1, 4, 1, 0};
  for (size_t i = 0; i < KINDS; i++) {
    struct error err = {.kind = kinds[i]};
    assert_int_equal(error_exit_code(&err), codes[i]);
  }
}

static void each_kind_has_a_name_of_its_own(void **state) {
  (void)state;
  for (size_t i = 0; i < KINDS; i++) {
    assert_string_not_equal(error_kind_name(kinds[i]), "unknown");
    for (size_t j = 0; j < i; j++)
      assert_string_not_equal(error_kind_name(kinds[i]), error_kind_name(kinds[j]));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(setting_an_error_returns_false_and_fills_it),
      cmocka_unit_test(a_refusal_carries_its_code_and_remedy),
      cmocka_unit_test(a_new_error_forgets_the_old_code_and_remedy),
      cmocka_unit_test(context_goes_before_the_message_and_keeps_the_kind),
      cmocka_unit_test(an_error_may_be_made_from_its_own_text),
      cmocka_unit_test(long_texts_are_cut),
      cmocka_unit_test(an_error_may_be_unwanted),
      cmocka_unit_test(clearing_leaves_nothing),
      cmocka_unit_test(each_kind_has_its_exit_code),
      cmocka_unit_test(each_kind_has_a_name_of_its_own),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
