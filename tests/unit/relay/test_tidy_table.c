/* bridge/relay/tidy_table.h: the statements, arrays of ids, and what is refused with which SQL. */
#include "tests/unit/relay/relay_fixture.h"

#include "bridge/relay/tidy_table.h"

static char names[][16] = {"Sales", "out\"box", "the id"};
static const struct table_spec marked = {.schema = names[0],
                                         .table = names[1],
                                         .columns = {[FIELD_ID] = names[2]},
                                         .after_publish = AFTER_PUBLISH_MARK,
                                         .published_at = "done"};
static const struct table_spec deleted = {.schema = names[0], .table = names[1], .after_publish = AFTER_PUBLISH_DELETE};

static void statements_name_table_columns_and_type(void **state) {
  (void)state;
  struct buffer sql;
  buffer_init(&sql, 1 << 16);
  struct tidy_table table = {.spec = &marked, .exists = true, .id_type = "character varying", .equals = "="};
  tidy_table_sql(&table, &sql);
  assert_string_equal(sql.data, "UPDATE ONLY \"Sales\".\"out\"\"box\" SET \"done\" = now() WHERE \"the id\" = ANY "
                                "($1::character varying[]) AND \"done\" IS NULL");
  buffer_clear(&sql);
  table = (struct tidy_table){
      .spec = &deleted, .exists = true, .id_type = "public.ulid", .equals = "OPERATOR(public.=)", .partitioned = true};
  tidy_table_sql(&table, &sql);
  assert_string_equal(sql.data, "DELETE FROM \"Sales\".\"out\"\"box\" WHERE \"id\" OPERATOR(public.=) ANY "
                                "($1::public.ulid[])");
  buffer_free(&sql);
}

static void ids_stand_in_an_array_as_they_are(void **state) {
  (void)state;
  struct buffer array;
  buffer_init(&array, 1 << 16);
  static const char *const ids[] = {"1", "a b", "{,}", "\"", "\\x", "a\\\"b", "NULL"};
  for (size_t i = 0; i < COUNT_OF(ids); i++)
    tidy_table_append_id(&array, slice_of(ids[i]));
  buffer_append(&array, "", 1);
  assert_string_equal(array.data, "{\"1\",\"a b\",\"{,}\",\"\\\"\",\"\\\\x\",\"a\\\\\\\"b\",\"NULL\"");
  buffer_free(&array);
}

#define FINE .exists = true, .id_type = "uuid", .may_read = true, .may_change = true
#define TABLE "\"Sales\".\"out\"\"box\""

static void what_is_missing_is_named_with_its_sql(void **state) {
  (void)state;
  static const struct {
    const char *name;
    struct tidy_table table;
    const char *message; /* NULL: nothing is refused */
    const char *remedy;
  } cases[] = {
      {"fine", {.spec = &marked, FINE, .mark_type = "timestamp with time zone"}, NULL, NULL},
      {"no such table", {.spec = &marked}, NULL, NULL},
      {"no column",
       {.spec = &marked, FINE},
       "no column \"done\"",
       "ALTER TABLE " TABLE " ADD COLUMN \"done\" timestamptz"},
      {"wrong type", {.spec = &marked, FINE, .mark_type = "boolean"}, "of type boolean", "published_at"},
      {"no update",
       {.spec = &marked, .exists = true, .may_read = true, .mark_type = "timestamp without time zone"},
       "lacks UPDATE of",
       "GRANT SELECT, UPDATE (\"done\") ON " TABLE " TO \"re\"\"lay\""},
      {"no delete", {.spec = &deleted, .exists = true, .may_read = true}, "lacks DELETE", "GRANT SELECT, DELETE ON"},
      {"no select", {.spec = &deleted, .exists = true, .may_change = true}, "lacks SELECT", "GRANT SELECT, DELETE ON"},
      {"row security", {.spec = &deleted, FINE, .rows_hidden = true}, "row security", "BYPASSRLS"},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct error err = {.kind = ERROR_NONE};
    bool ok = tidy_table_judge(&cases[i].table, "re\"lay", &err);
    if (ok != (cases[i].message == NULL))
      fail_msg("%s: %s", cases[i].name, err.message);
    if (ok)
      continue;
    if (strstr(err.message, cases[i].message) == NULL || strstr(err.remedy, cases[i].remedy) == NULL)
      fail_msg("%s: %s; %s", cases[i].name, err.message, err.remedy);
    expect_refusal(cases[i].name, &err, "after_publish_denied");
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(statements_name_table_columns_and_type),
      cmocka_unit_test(ids_stand_in_an_array_as_they_are),
      cmocka_unit_test(what_is_missing_is_named_with_its_sql),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
