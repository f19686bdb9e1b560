/* bridge/ops/remedy.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bridge/ops/remedy.h"

static void commands_are_as_they_are_typed(void **state) {
  (void)state;
  static const struct {
    const char *text, *path, *typed;
  } cases[] = {
      {"run `walferry init CONFIG`", "/etc/walferry/shop.yaml", "run `walferry init /etc/walferry/shop.yaml`"},
      {"walferry position CONFIG set new --confirm NAME, then `walferry init CONFIG`", "shop.yaml",
       "walferry position shop.yaml set new --confirm shop, then `walferry init shop.yaml`"},
      {"`walferry drop CONFIG --confirm NAME`; CONFIG", "a b.yaml",
       "`walferry drop 'a b.yaml' --confirm shop`; 'a b.yaml'"},
      {"walferry init CONFIG", "it's.yaml", "walferry init 'it'\\''s.yaml'"},
      {"walferry init CONFIG", "", "walferry init "},
      {"CONFIG first, then host=NAME, group: NAME, CONFIGS and ${CONFIG}", "x",
       "x first, then host=NAME, group: NAME, CONFIGS and ${CONFIG}"},
      {"--confirm NAMES", "x", "--confirm NAMES"},
      {"", "x", ""},
      {NULL, "x", NULL},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char *typed = remedy_typed(cases[i].text, cases[i].path, "shop");
    if (cases[i].typed == NULL)
      assert_null(typed);
    else
      assert_string_equal(typed, cases[i].typed);
    free(typed);
  }
}

static void both_texts_of_an_error_are_completed(void **state) {
  (void)state;
  struct error err;
  error_refuse(&err, "slot_missing", "it lacks (`walferry status CONFIG --lost` lists them)");
  error_remedy(&err, "walferry init CONFIG");
  remedy_complete(&err, "shop.yaml", "shop");
  assert_string_equal(err.message, "it lacks (`walferry status shop.yaml --lost` lists them)");
  assert_string_equal(err.remedy, "walferry init shop.yaml");
  assert_string_equal(err.code, "slot_missing");
}

static void what_becomes_too_long_stays_as_it_is(void **state) {
  (void)state;
  struct error err;
  char path[sizeof err.remedy];
  memset(path, 'p', sizeof path - 1);
  path[sizeof path - 1] = '\0';
  error_refuse(&err, "slot_missing", "gone");
  error_remedy(&err, "walferry init CONFIG");
  remedy_complete(&err, path, "shop");
  assert_string_equal(err.remedy, "walferry init CONFIG");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(commands_are_as_they_are_typed),
      cmocka_unit_test(both_texts_of_an_error_are_completed),
      cmocka_unit_test(what_becomes_too_long_stays_as_it_is),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
