/* LSNs: strict to read, written as Postgres writes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bridge/base/lsn.h"

static void well_formed_lsns_are_read(void **state) {
  (void)state;
  static const struct {
    const char *text;
    lsn_t lsn;
  } cases[] = {
      {"0/0", 0},
      {"0/1", 1},
      {"1/0", 0x100000000},
      {"16/B374D848", 0x16B374D848},
      {"16/b374d848", 0x16B374D848},
      {"00000016/00000001", 0x1600000001},
      {"FFFFFFFF/FFFFFFFF", UINT64_MAX},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    lsn_t lsn = 99;
    assert_true(lsn_parse(slice_of(cases[i].text), &lsn));
    assert_true(lsn == cases[i].lsn);
  }
}

static void anything_else_is_refused_and_nothing_written(void **state) {
  (void)state;
  static const char *const cases[] = {"",      "/",           "0",           "0/",    "/0",     "0//0",
                                      "0/0/0", " 0/0",        "0/0 ",        "0 /0",  "0/ 0",   "g/0",
                                      "0/G",   "000000001/0", "0/-1",        "+0/1",  "0x1/2",  "1/0x2",
                                      "0\\0",  "0/0\n",       "0/000000001", "1.0/2", "latest", "-1/0"};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    lsn_t lsn = 99;
    assert_false(lsn_parse(slice_of(cases[i]), &lsn));
    assert_true(lsn == 99);
  }
  lsn_t lsn = 99;
  assert_false(lsn_parse(SLICE_ABSENT, &lsn));
  assert_false(lsn_parse(slice_from("0/1\0", 4), &lsn));
  assert_true(lsn == 99);
}

static void only_the_slice_is_read(void **state) {
  (void)state;
  lsn_t lsn = 0;
  assert_true(lsn_parse(slice_from("A/12345", 4), &lsn));
  assert_true(lsn == 0xA00000012);
}

static void lsns_are_written_as_postgres_does(void **state) {
  (void)state;
  assert_string_equal(lsn_format(0).text, "0/0");
  assert_string_equal(lsn_format(0x16B374D848).text, "16/B374D848");
  assert_string_equal(lsn_format(0x1600000001).text, "16/1");
  assert_string_equal(lsn_format(UINT64_MAX).text, "FFFFFFFF/FFFFFFFF");
}

static void what_is_written_reads_back(void **state) {
  (void)state;
  for (int bit = 0; bit < 64; bit++) {
    lsn_t lsn = UINT64_C(1) << bit, back = 0;
    struct lsn_text text = lsn_format(lsn);
    assert_true(lsn_parse(slice_of(text.text), &back));
    assert_true(back == lsn);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(well_formed_lsns_are_read),  cmocka_unit_test(anything_else_is_refused_and_nothing_written),
      cmocka_unit_test(only_the_slice_is_read),     cmocka_unit_test(lsns_are_written_as_postgres_does),
      cmocka_unit_test(what_is_written_reads_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
