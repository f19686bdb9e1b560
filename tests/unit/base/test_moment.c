/* bridge/base/moment.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bridge/base/moment.h"

#define NOW_US INT64_C(1795219200000000) /* 2026-11-21T00:00:00Z */

static void times_are_read_as_people_write_them(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int64_t us;
  } cases[] = {
      {"2026-11-21T00:00:00Z", NOW_US},
      {"2026-11-21 01:00:00+01", NOW_US},
      {"2026-11-21 00:00:00", NOW_US},
      {"2026-11-21", NOW_US},
      {"2026-11-20", NOW_US - INT64_C(86400000000)},
      {"0s", NOW_US},
      {"90s", NOW_US - 90 * INT64_C(1000000)},
      {"15m", NOW_US - 15 * INT64_C(60000000)},
      {"2h", NOW_US - 2 * INT64_C(3600000000)},
      {"7d", NOW_US - 7 * INT64_C(86400000000)},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    int64_t us = 0;
    if (!moment_parse(cases[i].text, NOW_US, &us) || us != cases[i].us)
      fail_msg("%s: %lld", cases[i].text, (long long)us);
  }
}

static void other_texts_are_no_times(void **state) {
  (void)state;
  static const char *const texts[] = {"",    "now", "2h ago", "h",          "-1h",      "1w",         "1.5h",
                                      "10x", "10",  "2026",   "2026-13-01", "2026-1-1", "2026-11-21x"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    int64_t us = 42;
    if (moment_parse(texts[i], NOW_US, &us) || us != 42)
      fail_msg("%s was taken for a time", texts[i]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(times_are_read_as_people_write_them),
      cmocka_unit_test(other_texts_are_no_times),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
