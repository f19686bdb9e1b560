/* What is counted of what was committed. */
#include "tests/unit/relay/relay_fixture.h"

#include "bridge/relay/totals.h"

static void quarantined_records_are_counted_by_code_and_the_rest_together(void **state) {
  (void)state;
  static struct totals totals;
  char code[16];
  struct record_header header = {.name = RECORD_HEADER_ERROR_CODE};
  struct record plain = {.key = slice_of("k"), .value = slice_of("four")};
  struct record bad = {.headers = &header, .header_count = 1, .quarantined = true};
  for (int i = 0; i < TOTALS_CODES_MAX + 2; i++) {
    snprintf(code, sizeof code, "code_%d", i);
    header.value = slice_of(code);
    totals_add_commit(&totals, (const struct record *const[]){&plain, &bad}, 2, 1000);
  }
  assert_int_equal(totals.kafka_transactions, TOTALS_CODES_MAX + 2);
  assert_int_equal(totals.records, 2 * (TOTALS_CODES_MAX + 2));
  assert_int_equal(totals.bytes, 5 * (TOTALS_CODES_MAX + 2));
  assert_int_equal(totals.quarantined, TOTALS_CODES_MAX + 2);
  assert_int_equal(totals.code_count, TOTALS_CODES_MAX);
  assert_string_equal(totals.codes[0].code, "code_0");
  assert_int_equal(totals.codes[0].count, 1);
  assert_int_equal(totals.codes[TOTALS_CODES_MAX - 1].count, 3);
}

static void a_postgres_transaction_counts_where_it_ends(void **state) {
  (void)state;
  static struct totals totals;
  struct segment last = {.ends = true}, first = {.ends = false, .next = &last};
  totals_add_transactions(&totals, &first);
  assert_int_equal(totals.transactions, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(quarantined_records_are_counted_by_code_and_the_rest_together),
      cmocka_unit_test(a_postgres_transaction_counts_where_it_ends),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
