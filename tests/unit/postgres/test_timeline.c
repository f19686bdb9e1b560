/* Timeline history files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bridge/postgres/timeline.h"

#define FROM_POSTGRES                                                                                                  \
  "1\t0/3000060\tno recovery target specified\n\n"                                                                     \
  "2\t16/B374D848\tbefore 2026-01-01 00:00:00+00\n"

static bool find(const char *text, size_t len, uint32_t timeline, bool *found, lsn_t *end, struct error *err) {
  char *exact = malloc(len == 0 ? 1 : len); /* for the sanitizer */
  assert_non_null(exact);
  memcpy(exact, text, len);
  bool ok = timeline_history_find(slice_from(exact, len), timeline, found, end, err);
  free(exact);
  return ok;
}

static void ancestors_are_found_with_their_end(void **state) {
  (void)state;
  static const struct {
    const char *text;
    uint32_t timeline;
    bool found;
    lsn_t end;
  } cases[] = {
      {FROM_POSTGRES, 1, true, UINT64_C(0x3000060)},
      {FROM_POSTGRES, 2, true, UINT64_C(0x16B374D848)},
      {FROM_POSTGRES, 3, false, 0},
      {FROM_POSTGRES, 0, false, 0},
      {"", 1, false, 0},
      {"\n\n \t\n", 1, false, 0},
      {"# 1\t0/1\n", 1, false, 0},
      {"  # a comment\n  4 \t A/B  \n", 4, true, UINT64_C(0xA0000000B)},
      {"1\t0/5\tno newline at the end", 1, true, 5},
      {"1\t0/5", 1, true, 5},
      {"1\t0/5\r\n7\t0/9\treason\r\n", 7, true, 9},
      {"4294967295\tFFFFFFFF/FFFFFFFF\tlast", UINT32_MAX, true, UINT64_MAX},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    bool found = !cases[i].found;
    lsn_t end = 0;
    assert_true(find(cases[i].text, strlen(cases[i].text), cases[i].timeline, &found, &end, NULL));
    assert_true(found == cases[i].found);
    assert_true(end == cases[i].end);
  }
}

static void malformed_histories_are_rejected(void **state) {
  (void)state;
  static const char *const cases[] = {
      "1",
      "1\t",
      "1\t\n0/5",
      "x\t0/5\treason",
      "-1\t0/5\treason",
      "01\t0/5\treason",
      "0\t0/5\treason",
      "4294967296\t0/5\treason",
      "1\t05\treason",
      "1\t0/\treason",
      "1\t/5\treason",
      "1\t0/G\treason",
      "1\t0/123456789\treason",
      "1\t0/5,\treason",
      "2\t0/5\ta\n2\t0/6\tb",
      "2\t0/5\ta\n1\t0/6\tb",
      "1\t0/5\tgood\nbad",
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    bool found = true;
    lsn_t end = 77;
    struct error err = {.kind = ERROR_NONE};
    assert_false(find(cases[i], strlen(cases[i]), 1, &found, &end, &err));
    assert_int_equal(err.kind, ERROR_FATAL);
    assert_true(found);
    assert_true(end == 77);
  }
}

static void truncation_never_finds_a_later_timeline(void **state) {
  (void)state;
  static const char text[] = FROM_POSTGRES;
  for (size_t len = 0; len < sizeof text; len++) {
    bool found = false;
    lsn_t end = 0;
    struct error err = {.kind = ERROR_NONE};
    bool ok = find(text, len, 2, &found, &end, &err);
    assert_true(ok || err.kind == ERROR_FATAL);
    if (ok && found)
      assert_true(end <= UINT64_C(0x16B374D848) && len > strlen("1\t0/3000060\tno recovery target specified\n\n2\t"));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ancestors_are_found_with_their_end),
      cmocka_unit_test(malformed_histories_are_rejected),
      cmocka_unit_test(truncation_never_finds_a_later_timeline),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
