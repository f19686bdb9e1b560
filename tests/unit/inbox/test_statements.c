/* bridge/inbox/statements.h: what can be seen of the statements without a server; the rest is in test_inbox_sql.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bridge/inbox/statements.h"

/* $1 to $n without a gap; n. */
static int parameters(const char *sql) {
  int count = 0;
  for (char name[8]; snprintf(name, sizeof name, "$%d:", count + 1) > 0 && strstr(sql, name) != NULL;)
    count++;
  for (const char *at = strchr(sql, '$'); at != NULL; at = strchr(at + 1, '$'))
    assert_in_range(strtol(at + 1, NULL, 10), 1, count);
  return count;
}

static void every_statement_has_a_name_of_its_own_and_typed_parameters_without_a_gap(void **state) {
  (void)state;
  static const int counts[INBOX_STATEMENT_COUNT] = {
      [INBOX_HANDLER_LOOK] = 1,     [INBOX_OFFSET_READ] = 3,    [INBOX_OFFSET_ENTER] = 5,
      [INBOX_OFFSET_CLAIM] = 5,     [INBOX_OFFSET_EVICT] = 3,   [INBOX_OFFSET_RELEASE] = 4,
      [INBOX_OFFSET_SWAP] = 9,      [INBOX_ATTEMPT_BEGIN] = 5,  [INBOX_ATTEMPT_FAILED] = 5,
      [INBOX_ATTEMPT_UNCOUNT] = 4,  [INBOX_ATTEMPT_FORGET] = 4, [INBOX_DEAD_LETTER] = 15,
      [INBOX_DEAD_LETTER_EMIT] = 1, [INBOX_HOLD_LOCK] = 3,      [INBOX_DEAD_LETTER_RESOLVE] = 2,
      [INBOX_PARKED_NEXT] = 4,      [INBOX_PARKED_REMOVE] = 1,  [INBOX_HOLD_RELEASE] = 3,
      [INBOX_MAINTAIN] = 1,         [INBOX_PARK] = 8,
  };
  for (int i = 0; i < INBOX_STATEMENT_COUNT; i++) {
    assert_non_null(inbox_statements[i].name);
    assert_int_equal(parameters(inbox_statements[i].sql), counts[i]);
    for (int other = 0; other < i; other++)
      assert_string_not_equal(inbox_statements[i].name, inbox_statements[other].name);
  }
}

static void the_handler_is_called_by_its_name_as_it_is_written(void **state) {
  (void)state;
  struct buffer sql;
  buffer_init(&sql, 1 << 16);
  inbox_statement_call(&sql, "Fleet.on_Event$1", INBOX_REPLAY);
  buffer_append_char(&sql, '\0');
  assert_non_null(strstr(sql.data, " \"Fleet\".\"on_Event$1\"($9::text::jsonb) "));
  assert_null(strstr(sql.data, "inbox_holds"));
  assert_null(strstr(sql.data, "inbox_parked"));
  buffer_free(&sql);
}

static void a_replay_takes_the_first_parameters_of_handling(void **state) {
  (void)state;
  static const struct {
    enum inbox_calling calling;
    int parameters;
  } cases[] = {{INBOX_HANDLE, 16}, {INBOX_REPLAY, 9}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct buffer sql;
    buffer_init(&sql, 1 << 16);
    inbox_statement_call(&sql, "fleet.on_event", cases[i].calling);
    buffer_append_char(&sql, '\0');
    assert_int_equal(parameters(sql.data), cases[i].parameters);
    buffer_free(&sql);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_statement_has_a_name_of_its_own_and_typed_parameters_without_a_gap),
      cmocka_unit_test(the_handler_is_called_by_its_name_as_it_is_written),
      cmocka_unit_test(a_replay_takes_the_first_parameters_of_handling),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
