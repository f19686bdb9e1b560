/* bridge/inbox/failure.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bridge/inbox/failure.h"

static void sqlstates_have_their_class(void **state) {
  (void)state;
  static const struct {
    const char *sqlstate;
    enum failure_class failure;
    const char *code;
  } cases[] = {
      {"40001", FAILURE_TRANSIENT, "retries_exhausted"},
      {"40P01", FAILURE_TRANSIENT, "retries_exhausted"},
      {"55P03", FAILURE_TRANSIENT, "retries_exhausted"},
      {"53100", FAILURE_TRANSIENT, "retries_exhausted"},
      {"57014", FAILURE_TRANSIENT, "handler_timeout"},
      {"58030", FAILURE_TRANSIENT, "retries_exhausted"},
      {"08006", FAILURE_LOST, "handler_crashed"},
      {"57P02", FAILURE_LOST, "handler_crashed"},
      {"57P01", FAILURE_NOT_COUNTED, NULL},
      {"57P03", FAILURE_NOT_COUNTED, NULL},
      {"25006", FAILURE_NOT_COUNTED, NULL},
      {"25P03", FAILURE_NOT_COUNTED, NULL},
      {"P0001", FAILURE_POISON, "handler_failed"},
      {"23505", FAILURE_POISON, "handler_failed"},
      {"22P05", FAILURE_POISON, "handler_failed"},
      {"42883", FAILURE_POISON, "handler_failed"},
      {"XX000", FAILURE_POISON, "handler_failed"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    enum failure_class failure = failure_classify(cases[i].sqlstate);
    if (failure != cases[i].failure)
      fail_msg("%s has class %d", cases[i].sqlstate, (int)failure);
    if (cases[i].code != NULL)
      assert_string_equal(failure_code(failure, cases[i].sqlstate), cases[i].code);
  }
}

static void details_hold_what_is_known_in_whole_characters(void **state) {
  (void)state;
  static char large[40000];
  struct buffer json;
  buffer_init(&json, 1 << 20);
  struct pipeline_failure failure = {.sqlstate = "P0001", .message = "no \"way\"", .hint = "none"};
  failure_details(&json, &failure);
  assert_true(
      slice_is(buffer_slice(&json), "{\"sqlstate\":\"P0001\",\"message\":\"no \\\"way\\\"\",\"hint\":\"none\"}"));
  for (size_t i = 0; i + 3 < sizeof large; i += 3)
    memcpy(large + i, "\xe2\x82\xac", 3);
  failure.message = large;
  assert_int_equal(failure_message(&failure).len, 16383); /* 16,384 is within a character */
  buffer_free(&json);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(sqlstates_have_their_class),
                                     cmocka_unit_test(details_hold_what_is_known_in_whole_characters)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
