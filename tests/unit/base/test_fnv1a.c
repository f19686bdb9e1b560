/* The hash of positions and quarantine records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bridge/base/fnv1a.h"

/* Vectors: http://www.isthe.com/chongo/tech/comp/fnv/, FNV-1a 64. */
static void known_hashes_are_met_and_continue(void **state) {
  (void)state;
  assert_true(fnv1a(FNV1A_START, "", 0) == UINT64_C(0xcbf29ce484222325));
  assert_true(fnv1a(FNV1A_START, "a", 1) == UINT64_C(0xaf63dc4c8601ec8c));
  assert_true(fnv1a(FNV1A_START, "foobar", 6) == UINT64_C(0x85944171f73967e8));
  uint64_t hash = fnv1a(FNV1A_START, "foo", 3);
  assert_true(fnv1a(hash, "bar", 3) == UINT64_C(0x85944171f73967e8));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(known_hashes_are_met_and_continue)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
