/* bridge/relay/history.h: where in the WAL a time lies. */
#include "tests/unit/relay/relay_fixture.h"

#include "bridge/relay/history.h"

#define MINUTE_US HISTORY_SLACK_US

static void a_time_lies_behind_an_entry_that_the_servers_clock_puts_before_it(void **state) {
  (void)state;
  struct history_entry entries[] = {
      {.at_us = 1, .lsn = 0x100, .system_id = "7"},
      {.at_us = 2, .lsn = 0x200, .commit_lsn = 0x1F0, .commit_time_us = 10 * MINUTE_US, .system_id = "7"},
      {.at_us = 3, .lsn = 0x300, .commit_lsn = 0x2F0, .commit_time_us = 20 * MINUTE_US, .system_id = "7"},
      {.at_us = 4, .lsn = 0x900, .commit_lsn = 0x8F0, .commit_time_us = 20 * MINUTE_US, .system_id = "8"},
      {.at_us = 5, .lsn = 0x400, .floor = 0x400, .system_id = "7"}, /* set, and nothing published since */
  };
  struct history history = {.entries = entries, .count = COUNT_OF(entries)};
  static const struct {
    int64_t time_us;
    lsn_t expected;
  } cases[] = {{0, 0},
               {1, 0x100},
               {11 * MINUTE_US, 0x100},
               {11 * MINUTE_US + 1, 0x200},
               {21 * MINUTE_US, 0x200},
               {90 * MINUTE_US, 0x300}};
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    assert_lsn(history_start(&history, cases[i].time_us, "7"), cases[i].expected);
  assert_lsn(history_start(&history, 90 * MINUTE_US, "9"), 0);
}

static void a_server_that_went_back_begins_where_it_did(void **state) {
  (void)state;
  struct history_entry entries[] = {
      {.at_us = 1, .lsn = 0x900, .commit_lsn = 0x8F0, .commit_time_us = 10 * MINUTE_US, .system_id = "7"},
      {.at_us = 2, .lsn = 0x300, .floor = 0x300, .system_id = "7"},
      {.at_us = 3, .lsn = 0x400, .commit_lsn = 0x3F0, .commit_time_us = 30 * MINUTE_US, .system_id = "7"},
  };
  struct history history = {.entries = entries, .count = COUNT_OF(entries)};
  assert_lsn(history_start(&history, 20 * MINUTE_US, "7"), 0x300);
  assert_lsn(history_start(&history, 40 * MINUTE_US, "7"), 0x400);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_time_lies_behind_an_entry_that_the_servers_clock_puts_before_it),
      cmocka_unit_test(a_server_that_went_back_begins_where_it_did),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
