/* bridge/ops/drop.h: what can be said without servers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "bridge/ops/drop.h"

static void only_the_configs_own_name_confirms(void **state) {
  (void)state;
  struct error err = {.kind = ERROR_NONE};
  assert_true(drop_confirm("shop", "shop", &err));
  assert_int_equal(err.kind, ERROR_NONE);
  static const char *const others[] = {"", "Shop", "sho", "shop2", "store"};
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
    assert_false(drop_confirm("shop", others[i], &err));
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_non_null(strstr(err.message, "the config's name is shop"));
    assert_non_null(strstr(err.message, others[i]));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(only_the_configs_own_name_confirms)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
