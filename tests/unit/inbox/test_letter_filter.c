/* bridge/inbox/letter_filter.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bridge/inbox/letter_filter.h"

#define NOW_US INT64_C(1795219200000000) /* 2026-11-21T00:00:00Z */

static void what_is_not_asked_for_is_null(void **state) {
  (void)state;
  struct letter_filter filter = {.state = LETTER_ANY};
  struct letter_filter_params params;
  letter_filter_params(&filter, "accounting", &params);
  assert_string_equal(params.values[0], "accounting");
  for (int i = 1; i < LETTER_FILTER_PARAMS; i++)
    assert_null(params.values[i]);
  letter_filter_params_free(&params);
  assert_false(letter_filter_narrows(&filter));
}

static void all_that_is_asked_for_has_its_parameter(void **state) {
  (void)state;
  struct letter_filter filter = {.id = INT64_MAX,
                                 .type = "a*b%c_d\\e",
                                 .code = "handler_failed",
                                 .has_since = true,
                                 .since_us = NOW_US,
                                 .has_until = true,
                                 .until_us = NOW_US + 1,
                                 .state = LETTER_OPEN};
  static const char *const expected[] = {"accounting",
                                         "9223372036854775807",
                                         "a%b\\%c\\_d\\\\e",
                                         "handler_failed",
                                         "2026-11-21T00:00:00Z",
                                         "2026-11-21T00:00:00.000001Z",
                                         "open"};
  struct letter_filter_params params;
  letter_filter_params(&filter, "accounting", &params);
  for (int i = 0; i < LETTER_FILTER_PARAMS; i++)
    assert_string_equal(params.values[i], expected[i]);
  letter_filter_params_free(&params);
}

static void each_filter_but_the_state_narrows(void **state) {
  (void)state;
  static const struct letter_filter filters[] = {
      {.id = 1}, {.type = "*"}, {.code = ""}, {.has_since = true}, {.has_until = true}};
  for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
    assert_true(letter_filter_narrows(&filters[i]));
  assert_false(letter_filter_narrows(&(struct letter_filter){.state = LETTER_REPLAYED}));
}

static void letters_that_are_no_rows_are_filtered_alike(void **state) {
  (void)state;
  static const int64_t at = 1000;
  static const struct {
    struct letter_filter filter;
    const char *type, *code;
    const int64_t *first_failure_us;
    bool matches;
  } cases[] = {
      {{.type = NULL}, NULL, "c", NULL, true},
      {{.type = "R"}, "R", "c", NULL, true},
      {{.type = "R"}, "Rx", "c", NULL, false},
      {{.type = "R*"}, "Rx", "c", NULL, true},
      {{.type = "%"}, "Rx", "c", NULL, false},
      {{.type = "R"}, NULL, "c", NULL, false},
      {{.type = "*"}, NULL, "c", NULL, true},
      {{.type = ""}, NULL, "c", NULL, true},
      {{.code = "c"}, "R", "c", NULL, true},
      {{.code = "*"}, "R", "c", NULL, false},
      {{.type = "R", .code = "d"}, "R", "c", NULL, false},
      {{.has_since = true, .since_us = 1000}, "R", "c", &at, true},
      {{.has_since = true, .since_us = 1001}, "R", "c", &at, false},
      {{.has_until = true, .until_us = 1000}, "R", "c", &at, false},
      {{.has_until = true, .until_us = 1001}, "R", "c", &at, true},
      {{.has_since = true, .since_us = 0}, "R", "c", NULL, false},
      {{.has_until = true, .until_us = INT64_MAX}, "R", "c", NULL, false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    if (letter_filter_matches(&cases[i].filter, slice_of(cases[i].type), slice_of(cases[i].code),
                              cases[i].first_failure_us) != cases[i].matches)
      fail_msg("%zu", i);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_not_asked_for_is_null),
      cmocka_unit_test(all_that_is_asked_for_has_its_parameter),
      cmocka_unit_test(each_filter_but_the_state_narrows),
      cmocka_unit_test(letters_that_are_no_rows_are_filtered_alike),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
