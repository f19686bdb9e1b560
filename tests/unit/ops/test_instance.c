/* bridge/ops/instance.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bridge/ops/instance.h"

static void instances_are_known_as_postgres_shows_them(void **state) {
  (void)state;
  static const char long_name[] = "a23456789012345678901234567890123456789012345678901234567890123";
  static const struct {
    const char *name, *conninfo, *shown;
  } cases[] = {
      {"shop", "host='db1'", "walferry/shop"},
      {"shop", "host='db1' application_name='mine'", "mine"},
      {long_name, "host='db1'", "walferry/a23456789012345678901234567890123456789012345678901234"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char *name = instance_application_name(cases[i].conninfo, cases[i].name);
    assert_string_equal(name, cases[i].shown);
    free(name);
  }
}

static void a_command_that_looks_is_not_taken_for_an_instance(void **state) {
  (void)state;
  char *name = instance_command_name("shop", "status");
  assert_string_equal(name, "shop status");
  free(name);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(instances_are_known_as_postgres_shows_them),
      cmocka_unit_test(a_command_that_looks_is_not_taken_for_an_instance),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
