/* bridge/relay/worklist.h: which tables are those of a work list, and which cannot be copied. */
#include "tests/unit/relay/relay_fixture.h"

#include "bridge/relay/worklist.h"
#include "decoders/relation.h"

static void lists_of_both_kinds_are_told_from_tables_of_others(void **state) {
  (void)state;
  static const struct {
    const char *schema, *table, *column;
    bool holds;
  } cases[] = {{"walferry", "snapshot_192d1a0_0", WORKLIST_ORDINAL, true},
               {"walferry", "replay_660d70c36a1ad_12", WORKLIST_ORDINAL, true},
               {"public", "replay_660d70c36a1ad_12", WORKLIST_ORDINAL, false},
               {"walferry", "outbox_replay_1", WORKLIST_ORDINAL, false},
               {"walferry", "replay_1_0", "id", false}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct relation *relation = relation_new(1, slice_of(cases[i].schema), slice_of(cases[i].table), 1);
    relation_set_column(relation, 0, slice_of(cases[i].column), 20);
    if (worklist_holds(relation) != cases[i].holds)
      fail_msg("%s.%s (%s)", cases[i].schema, cases[i].table, cases[i].column);
    relation_free(relation);
  }
}

static void a_table_with_the_lists_own_column_is_named(void **state) {
  (void)state;
  char *columns[] = {"id", WORKLIST_ORDINAL};
  struct catalog_publication_table tables[] = {
      {.schema = "public", .table = "one", .exists = true, .columns = columns, .column_count = 1},
      {.schema = "public", .table = "two", .exists = true, .columns = columns, .column_count = 1}};
  struct catalog_publication facts = {.exists = true, .tables = tables, .table_count = 2};
  struct error err = {.kind = ERROR_NONE};
  assert_true(worklist_suits(&facts, &err));
  tables[1].column_count = 2;
  assert_false(worklist_suits(&facts, &err));
  assert_int_equal(err.kind, ERROR_CONFIG);
  assert_non_null(strstr(err.message, "public.two"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(lists_of_both_kinds_are_told_from_tables_of_others),
      cmocka_unit_test(a_table_with_the_lists_own_column_is_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
