/* bridge/relay/facts.h, as far as it needs no server. */
#include "tests/unit/relay/relay_fixture.h"

#include "bridge/relay/facts.h"

static void publication_is_insert_only_by_way_of_the_root(void **state) {
  (void)state;
  static char names[][16] = {"public", "outbox", "Sales", "out\"box"};
  static struct table_spec tables[] = {{.schema = names[0], .table = names[1]},
                                       {.schema = names[2], .table = names[3]}};
  static const struct {
    int tables;
    const char *sql;
  } cases[] = {
      {0, "CREATE PUBLICATION \"my\"\"pub\" WITH (publish = 'insert', publish_via_partition_root = true)"},
      {1, "CREATE PUBLICATION \"my\"\"pub\" FOR TABLE \"public\".\"outbox\" WITH (publish = 'insert', "
          "publish_via_partition_root = true)"},
      {2, "CREATE PUBLICATION \"my\"\"pub\" FOR TABLE \"public\".\"outbox\", \"Sales\".\"out\"\"box\" WITH (publish = "
          "'insert', publish_via_partition_root = true)"},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct relay_settings settings = {.publication = "my\"pub",
                                      .intake = {.tables = tables, .table_count = cases[i].tables}};
    char *sql = facts_publication_sql(&settings);
    assert_string_equal(sql, cases[i].sql);
    free(sql);
  }
}

static char *const sent[] = {(char *)(uintptr_t) "id", (char *)(uintptr_t) "aggregateid"};

static void named_columns_have_to_be_sent(void **state) {
  (void)state;
  static char names[][16] = {"public", "outbox", "id", "aggregateid", "occurred_at"};
  struct table_spec table = {.schema = names[0], .table = names[1]};
  struct catalog_publication_table published = {
      .schema = "public", .table = "outbox", .exists = true, .entry_oid = 5, .column_count = 2};
  char *columns[] = {sent[0], sent[1]};
  published.columns = columns;
  struct facts facts = {
      .publication = {.exists = true, .oid = 4, .inserts = true, .tables = &published, .table_count = 1}};
  struct relay_settings settings = {.publication = "p", .intake = {.tables = &table, .table_count = 1}};
  struct error err = {.kind = ERROR_NONE};
  assert_true(facts_check_publication(&facts, &settings, &err)); /* no names given: the stream tells */
  table.columns[FIELD_ID] = names[2];
  table.columns[FIELD_KEY] = names[3];
  assert_true(facts_check_publication(&facts, &settings, &err));
  table.columns[FIELD_OCCURRED_AT] = names[4];
  assert_false(facts_check_publication(&facts, &settings, &err));
  expect_refusal("occurred_at", &err, "column_missing");
  for (int f = 0; f < FIELD_COUNT; f++) /* all of them named */
    table.columns[f] = names[2];
  assert_true(facts_check_publication(&facts, &settings, &err));
}

static void plugins_are_found_by_their_whole_names(void **state) {
  (void)state;
  static const struct {
    const char *list;
    bool listed;
  } cases[] = {
      {"wal2json", true},
      {"pgoutput, test_decoding, wal2json", true},
      {"wal2json,pgoutput", true},
      {"pgoutput, \"wal2json\"", true},
      {" wal2json , pgoutput", true},
      {"", false},
      {"pgoutput", false},
      {"wal2json2, my_wal2json", false},
      {"\"pgoutput, test_decoding, wal2json\"", false},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    if (facts_plugin_listed(cases[i].list, "wal2json") != cases[i].listed)
      fail_msg("%s", cases[i].list);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(plugins_are_found_by_their_whole_names),
      cmocka_unit_test(publication_is_insert_only_by_way_of_the_root),
      cmocka_unit_test(named_columns_have_to_be_sent),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
