/* Which transactions the catalogs show: what needs no server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bridge/postgres/catalog.h"

static void a_horizon_covers_what_committed_before_it_and_was_not_under_way(void **state) {
  (void)state;
  uint32_t running[] = {90, 95};
  static const struct {
    uint32_t xid_max;
    lsn_t commit_lsn;
    uint32_t xid;
    bool covered;
  } cases[] = {
      {100, 0xfff, 99, true},   {100, 0x1000, 99, false},     {100, 0xfff, 100, false},
      {100, 0xfff, 101, false}, {100, 0xfff, 90, false},      {100, 0xfff, 95, false},
      {100, 0xfff, 94, true},   {5, 0xfff, UINT32_MAX, true}, {UINT32_MAX, 0xfff, 5, false}, /* xids wrap around */
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct catalog_horizon horizon = {
        .wal_end = 0x1000, .xid_max = cases[i].xid_max, .running = running, .running_count = 2};
    assert_true(catalog_horizon_covers(&horizon, cases[i].commit_lsn, cases[i].xid) == cases[i].covered);
  }
}

static void nothing_is_covered_before_the_first_look(void **state) {
  (void)state;
  struct catalog_horizon none = {.running = NULL};
  assert_false(catalog_horizon_covers(&none, 0x1000, 700));
  catalog_horizon_free(&none);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_horizon_covers_what_committed_before_it_and_was_not_under_way),
      cmocka_unit_test(nothing_is_covered_before_the_first_look),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
