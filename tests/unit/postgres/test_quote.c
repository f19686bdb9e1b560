/* Names that would like to be more than names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bridge/postgres/quote.h"

static void hostile_names_stay_names(void **state) {
  (void)state;
  static const struct {
    const char *name, *identifier, *literal;
  } cases[] = {
      {"outbox", "\"outbox\"", "'outbox'"},
      {"Out Box", "\"Out Box\"", "'Out Box'"},
      {"", "\"\"", "''"},
      {"a\"b", "\"a\"\"b\"", "'a\"b'"},
      {"\"", "\"\"\"\"", "'\"'"},
      {"x\"; DROP TABLE t; --", "\"x\"\"; DROP TABLE t; --\"", "'x\"; DROP TABLE t; --'"},
      {"o'clock", "\"o'clock\"", "'o''clock'"},
      {"''", "\"''\"", "''''''"},
      {"a\\'b", "\"a\\'b\"", "'a\\''b'"},
      {"\xc3\xa4 %s %n", "\"\xc3\xa4 %s %n\"", "'\xc3\xa4 %s %n'"},
  };
  struct buffer sql;
  buffer_init(&sql, 256);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    buffer_clear(&sql);
    quote_identifier(&sql, cases[i].name);
    assert_true(slice_is(buffer_slice(&sql), cases[i].identifier));
    buffer_clear(&sql);
    quote_literal(&sql, cases[i].name);
    assert_true(slice_is(buffer_slice(&sql), cases[i].literal));
  }
  buffer_clear(&sql);
  quote_table(&sql, "a.b", "c\"d");
  assert_true(slice_is(buffer_slice(&sql), "\"a.b\".\"c\"\"d\""));
  buffer_free(&sql);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(hostile_names_stay_names)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
