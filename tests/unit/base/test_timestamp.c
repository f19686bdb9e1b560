/* bridge/base/timestamp.h */
#include "tests/unit/event/event_fixture.h"

#include "bridge/base/clock.h"
#include "bridge/base/timestamp.h"

static void what_postgres_and_rfc_3339_write_is_read(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int64_t us;
  } cases[] = {
      {"2026-11-21 08:01:58.123456+00", 1795248118123456},
      {"2026-11-21 08:01:58+00", 1795248118000000},
      {"2026-11-21 08:01:58.5+00", 1795248118500000},
      {"2026-11-21 13:31:58.123456+05:30", 1795248118123456},
      {"2026-11-21 05:01:58-03", 1795248118000000},
      {"2026-11-21 04:31:58-03:30", 1795248118000000},
      {"1890-01-01 00:00:00+00:53:28", -2524524808000000},
      {"2026-11-21 08:01:58.123456", 1795248118123456},
      {"2026-11-21T08:01:58.123456Z", 1795248118123456},
      {"2026-11-21t08:01:58z", 1795248118000000},
      {"2026-11-21T08:01:58.123456789Z", 1795248118123456},
      {"2026-11-21T08:01:60Z", 1795248120000000},
      {"1970-01-01 00:00:00+00", 0},
      {"1969-12-31 23:59:59.999999+00", -1},
      {"2000-02-29 23:59:59+00", 951868799000000},
      {"0001-01-01 00:00:00+00", -62135596800000000},
      {"9999-12-31 23:59:59.999999+00", 253402300799999999},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    int64_t us = 42;
    if (!timestamp_parse(slice_of(cases[i].text), &us) || us != cases[i].us)
      fail_msg("%s gave %lld", cases[i].text, (long long)us);
  }
}

static void what_is_no_timestamp_of_these_years_is_rejected(void **state) {
  (void)state;
  static const char *const cases[] = {
      "",
      "infinity",
      "-infinity",
      "2026-11-21",
      "2026-11-21 ",
      "2026-11-21X08:01:58Z",
      "2026-11-21 08:01",
      "2026-11-21 08:01:5",
      "2026-11-21 08:01:58.",
      "2026-11-21 08:01:58.Z",
      "2026-11-21 08:01:58+",
      "2026-11-21 08:01:58+5",
      "2026-11-21 08:01:58+05:3",
      "2026-11-21 08:01:58+05:30:1",
      "2026-11-21 08:01:58+24",
      "2026-11-21 08:01:58 UTC",
      "2026-11-21 08:01:58+00 BC",
      "2026-11-21 08:01:58Z ",
      "2026-13-01 00:00:00+00",
      "2026-00-01 00:00:00+00",
      "2026-04-31 00:00:00+00",
      "2026-02-29 00:00:00+00",
      "1900-02-29 00:00:00+00",
      "2026-11-21 24:00:00+00",
      "2026-11-21 08:60:00+00",
      "2026-11-21 08:01:61+00",
      "0000-01-01 00:00:00+00",
      "12026-11-21 08:01:58+00",
      "0001-01-01 00:00:00+01",
      "9999-12-31 23:59:59-01",
      "21.11.2026 08:01:58",
      "1795248118",
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    int64_t us = 42;
    if (timestamp_parse(slice_of(cases[i]), &us) || us != 42)
      fail_msg("\"%s\" was taken", cases[i]);
  }
}

static void a_time_is_written_as_rfc_3339_and_read_back(void **state) {
  (void)state;
  static const int64_t cases[] = {0,
                                  -1,
                                  1795248118123456,
                                  1795248118000000,
                                  951868799000000,
                                  -999999,
                                  951782400000000,
                                  68169600000000,
                                  -62135596800000000,
                                  253402300799999999,
                                  4107542400000000,
                                  1709164800000001};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    char text[TIMESTAMP_TEXT_SIZE];
    size_t len = timestamp_format(cases[i], text);
    assert_int_equal(text[len], '\0');
    int64_t us;
    assert_true(timestamp_parse(slice_from(text, len), &us));
    assert_int_equal(us, cases[i]);
    if (cases[i] > -62000000000000000) /* strftime does not pad the year 1 */
      assert_string_equal(text, clock_rfc3339(cases[i]).text);
  }
}

static void every_day_of_five_centuries_survives(void **state) {
  (void)state;
  for (int64_t day = -100000; day < 100000; day++) {
    char text[TIMESTAMP_TEXT_SIZE];
    int64_t us;
    assert_true(timestamp_parse(slice_from(text, timestamp_format(day * 86400000000, text)), &us));
    assert_int_equal(us, day * 86400000000);
  }
}

static void times_out_of_range_are_written_as_the_nearest_one(void **state) {
  (void)state;
  char text[TIMESTAMP_TEXT_SIZE];
  timestamp_format(INT64_MIN, text);
  assert_string_equal(text, "0001-01-01T00:00:00Z");
  timestamp_format(INT64_MAX, text);
  assert_string_equal(text, "9999-12-31T23:59:59.999999Z");
}

static void milliseconds_are_rounded_down(void **state) {
  (void)state;
  assert_int_equal(timestamp_floor_ms(1999), 1);
  assert_int_equal(timestamp_floor_ms(0), 0);
  assert_int_equal(timestamp_floor_ms(-1), -1);
  assert_int_equal(timestamp_floor_ms(-1000), -1);
  assert_int_equal(timestamp_floor_ms(-1001), -2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_postgres_and_rfc_3339_write_is_read),
      cmocka_unit_test(what_is_no_timestamp_of_these_years_is_rejected),
      cmocka_unit_test(a_time_is_written_as_rfc_3339_and_read_back),
      cmocka_unit_test(every_day_of_five_centuries_survives),
      cmocka_unit_test(times_out_of_range_are_written_as_the_nearest_one),
      cmocka_unit_test(milliseconds_are_rounded_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
