/* bridge/relay/retain.h: where the held-back slot has to stand, and whether it is one. */
#include "tests/unit/relay/relay_fixture.h"

#include <string.h>

#include "bridge/relay/retain.h"

static void the_slot_stands_where_the_window_begins(void **state) {
  (void)state;
  static const struct retain_sample samples[] = {{100, 0x100}, {160, 0x200}, {220, 0x300}};
  static const struct {
    const char *name;
    int64_t now_us;
    lsn_t needed, restart, committed, pinned, expected;
  } cases[] = {
      {"the window is younger than all", 150, 0x400, 0x100, 0x300, 0, 0},
      {"begins with the first", 200, 0x400, 0x100, 0x300, 0, 0x100},
      {"just before the second", 259, 0x400, 0x100, 0x300, 0, 0x100},
      {"the second", 260, 0x400, 0x100, 0x300, 0, 0x200},
      {"behind all", 1000, 0x400, 0x100, 0x380, 0, 0x300},
      {"never beyond what is committed", 1000, 0x400, 0x100, 0x280, 0, 0x280},
      {"a replay holds it", 1000, 0x400, 0x100, 0x380, 0x180, 0x180},
      {"a replay behind it does not", 260, 0x400, 0x100, 0x380, 0x250, 0x200},
      {"too much WAL", 200, 0x1900, 0x100, 0x1800, 0, 0x900},
      {"as much as it may be", 200, 0x1100, 0x100, 0x1100, 0, 0x100},
      {"a replay, and too much WAL", 1000, 0x1900, 0x100, 0x1800, 0x180, 0x900},
      {"too much WAL, which is not committed", 200, 0x9900, 0x100, 0x500, 0, 0x500},
      {"the relay's own slot keeps it", 200, 0x1100, 0x100, 0x9800, 0, 0x100},
      {"an invalid slot keeps nothing", 200, 0x9900, 0, 0x500, 0, 0x100},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct retain_view view = {.samples = samples,
                               .sample_count = 3,
                               .now_us = cases[i].now_us,
                               .keep_us = 100,
                               .keep_bytes = 0x1000,
                               .needed_lsn = cases[i].needed,
                               .restart_lsn = cases[i].restart,
                               .committed = cases[i].committed,
                               .pinned = cases[i].pinned};
    if (retain_target(&view) != cases[i].expected)
      fail_msg("%s: %s", cases[i].name, lsn_format(retain_target(&view)).text);
  }
}

static void a_place_of_before_the_server_went_back_is_none(void **state) {
  (void)state;
  struct retain_sample samples[] = {{100, 0x100}, {160, 0x700}, {220, 0x900}};
  retain_clip(samples, 3, 0x300);
  assert_lsn(samples[0].lsn, 0x100);
  assert_lsn(samples[1].lsn, 0x300);
  assert_lsn(samples[2].lsn, 0x300);
}

static void a_window_begins_when_the_relay_first_stood_at_the_slot(void **state) {
  (void)state;
  const struct retain_sample samples[] = {{100, 0x100}, {160, 0x200}, {220, 0x200}, {280, 0x200}, {340, 0x300}};
  const struct {
    lsn_t lsn;
    int64_t us;
  } cases[] = {{0xff, 0},    {0x100, 100}, {0x180, 100}, {0x200, 160} /* idle since then */,
               {0x280, 280}, {0x300, 340}, {0x400, 340}};
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    assert_int_equal(retain_since(samples, 5, cases[i].lsn), cases[i].us);
  assert_int_equal(retain_since(samples, 0, 0x100), 0);
}

static void only_a_slot_of_ours_that_lives_is_usable(void **state) {
  (void)state;
  struct catalog_slot good = {.exists = true, .logical = true, .plugin = "pgoutput", .database = "shop"};
  struct error err = {.kind = ERROR_NONE};
  assert_true(retain_usable("r", &good, "pgoutput", "shop", &err));
  struct catalog_slot missing = {.exists = false}, physical = good, plugin = good, database = good, lost = good,
                      invalid = good, temporary = good;
  physical.logical = false;
  strcpy(plugin.plugin, "wal2json");
  strcpy(database.database, "other");
  strcpy(lost.wal_status, "lost");
  strcpy(invalid.invalidation_reason, "rows_removed");
  temporary.temporary = true;
  const struct {
    const struct catalog_slot *slot;
    const char *code;
  } cases[] = {{&missing, "slot_missing"},   {&physical, "slot_mismatch"}, {&plugin, "slot_mismatch"},
               {&database, "slot_mismatch"}, {&lost, "slot_invalidated"},  {&invalid, "slot_invalidated"},
               {&temporary, "slot_mismatch"}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    assert_false(retain_usable("held", cases[i].slot, "pgoutput", "shop", &err));
    expect_refusal("held", &err, cases[i].code);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_slot_stands_where_the_window_begins),
      cmocka_unit_test(a_place_of_before_the_server_went_back_is_none),
      cmocka_unit_test(a_window_begins_when_the_relay_first_stood_at_the_slot),
      cmocka_unit_test(only_a_slot_of_ours_that_lives_is_usable),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
