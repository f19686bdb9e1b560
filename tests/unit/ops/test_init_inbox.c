/* bridge/ops/init_inbox.h: the script's order, its layout, and who may what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "bridge/inbox/statements.h"
#include "bridge/ops/init_inbox.h"

static int setup(void **state) {
  static struct buffer sql;
  buffer_init(&sql, 1 << 20);
  *state = &sql;
  return 0;
}

static int teardown(void **state) {
  buffer_free(*state);
  return 0;
}

static const char *text(struct buffer *sql) {
  buffer_append_char(sql, '\0');
  assert_int_equal(strlen(sql->data), sql->len - 1);
  sql->len--;
  return sql->data;
}

static void another_layout_ends_the_script_before_anything_is_made(void **state) {
  struct buffer *sql = *state;
  init_inbox_sql(sql);
  char needs[64];
  snprintf(needs, sizeof needs, "this walferry needs layout %d'", INBOX_LAYOUT);
  const char *check = strstr(text(sql), needs);
  assert_non_null(check);
  assert_non_null(strstr(check, "USING ERRCODE = 'WF001'"));
  assert_true(strstr(sql->data, "CREATE TABLE") > check);
}

/* What a second run would do again. */
static void what_is_there_is_left(void **state) {
  struct buffer *sql = *state;
  init_inbox_sql(sql);
  static const struct {
    const char *verb;
    const char *as;
  } cases[] = {{"\nCREATE TABLE ", "\nCREATE TABLE IF NOT EXISTS "},
               {"\nCREATE INDEX ", "\nCREATE INDEX IF NOT EXISTS "},
               {"\nCREATE UNIQUE INDEX ", "\nCREATE UNIQUE INDEX IF NOT EXISTS "},
               {"\nCREATE FUNCTION ", "\nCREATE OR REPLACE FUNCTION "}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    for (const char *at = text(sql); (at = strstr(at, cases[i].verb)) != NULL; at++)
      assert_memory_equal(at, cases[i].as, strlen(cases[i].as));
}

static void the_role_may_add_marks_but_not_take_them_away(void **state) {
  struct buffer *sql = *state;
  init_inbox_grants(sql, "o'w\"n");
  const char *grants = text(sql);
  assert_non_null(strstr(grants, "GRANT SELECT, INSERT ON walferry.inbox_processed_messages TO \"o'w\"\"n\";\n"));
  assert_non_null(strstr(grants, "GRANT SELECT, INSERT, UPDATE ON walferry.inbox_offsets TO \"o'w\"\"n\";\n"));
  assert_non_null(strstr(grants, "GRANT EXECUTE ON FUNCTION walferry.inbox_maintain(interval) TO \"o'w\"\"n\";\n"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(another_layout_ends_the_script_before_anything_is_made),
      TEST(what_is_there_is_left),
      TEST(the_role_may_add_marks_but_not_take_them_away),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
