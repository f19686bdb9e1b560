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

static void the_list_of_plugins_is_read_as_the_server_reads_it(void **state) {
  (void)state;
  static const struct {
    const char *list;
    enum plugin_listed listed;
  } cases[] = {
      {"pgoutput, test_decoding, wal2json", PLUGIN_LISTED},
      {"wal2json,pgoutput", PLUGIN_LISTED},
      {"\"pgoutput\"", PLUGIN_LISTED},
      {"  pgoutput  ", PLUGIN_LISTED},
      {"\"pgoutput, test_decoding, wal2json\"", PLUGIN_LIST_QUOTED},
      {"\"wal2json,pgoutput\"", PLUGIN_LIST_QUOTED},
      {"\"pgoutput, wal2json\", pgoutput", PLUGIN_LISTED},
      {"", PLUGIN_NOT_LISTED},
      {"test_decoding", PLUGIN_NOT_LISTED},
      {"pgoutput2, my_pgoutput", PLUGIN_NOT_LISTED},
      {"\"test_decoding, wal2json\"", PLUGIN_NOT_LISTED},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    if (facts_plugin_listed(cases[i].list, "pgoutput") != cases[i].listed)
      fail_msg("%s", cases[i].list);
}

static void a_plugin_that_is_not_allowed_is_refused_in_both_forms(void **state) {
  (void)state;
  struct facts facts = {.server = {.plugin_list_known = true, .plugin_list = "test_decoding"},
                        .admit = {.plugin = "pgoutput"}};
  struct error err;
  assert_false(facts_check_plugin(&facts, &err));
  expect_refusal("not listed", &err, "plugin_not_allowed");
  snprintf(facts.server.plugin_list, sizeof facts.server.plugin_list, "\"pgoutput, wal2json\"");
  assert_false(facts_check_plugin(&facts, &err));
  assert_non_null(strstr(err.message, "one quoted string"));
  expect_refusal("quoted", &err, "plugin_not_allowed");
  facts.server.plugin_list_known = false;
  assert_true(facts_check_plugin(&facts, &err)); /* the server itself will say */
}

static void failover_slots_take_postgres_17(void **state) {
  (void)state;
  struct facts facts = {.server = {.version = 160009}};
  struct error err;
  assert_true(facts_check_failover(&facts, &(struct relay_settings){.failover = false}, &err));
  assert_false(facts_check_failover(&facts, &(struct relay_settings){.failover = true}, &err));
  expect_refusal("16", &err, "failover_unsupported");
  facts.server.version = 170000;
  assert_true(facts_check_failover(&facts, &(struct relay_settings){.failover = true}, &err));
}

static void a_standbys_own_slot_is_no_failover_slot(void **state) {
  (void)state;
  struct facts facts = {.server = {.version = 170011, .in_recovery = true},
                        .admit = {.slot_name = "walferry_shop", .slot = {.exists = true}}};
  const struct relay_settings plain = {.failover = false}, failover = {.failover = true};
  struct error err;
  assert_true(facts_check_failover_slot(&facts, &plain, &err));
  assert_false(facts_check_failover_slot(&facts, &failover, &err));
  assert_non_null(strstr(err.message, "walferry_shop"));
  expect_refusal("own", &err, "failover_unsupported");
  facts.admit.slot.synced = true; /* waits for a promotion */
  assert_true(facts_check_failover_slot(&facts, &failover, &err));
  facts.admit.slot.synced = facts.server.in_recovery = false;
  assert_true(facts_check_failover_slot(&facts, &failover, &err));
}

static void a_standby_serves_only_with_a_slot_of_its_own(void **state) {
  (void)state;
  static const struct {
    int version;
    bool in_recovery, exists, synced, serves;
  } cases[] = {
      {150019, false, false, false, true}, {170011, false, true, true, true}, /* promoted */
      {160015, true, true, false, true},   {150019, true, true, false, false},
      {170011, true, false, false, false}, {170011, true, true, true, false},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct facts facts = {
        .server = {.version = cases[i].version, .in_recovery = cases[i].in_recovery},
        .admit = {.slot_name = "walferry_shop", .slot = {.exists = cases[i].exists, .synced = cases[i].synced}}};
    struct error err = {.kind = ERROR_NONE};
    if (facts_check_primary(&facts, &err) != cases[i].serves)
      fail_msg("case %zu", i);
    if (cases[i].serves)
      continue;
    assert_int_equal(err.kind, ERROR_RETRY);
    assert_string_equal(err.code, "server_is_standby");
    assert_non_null(strstr(err.message, "walferry_shop"));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(publication_is_insert_only_by_way_of_the_root),
      cmocka_unit_test(named_columns_have_to_be_sent),
      cmocka_unit_test(the_list_of_plugins_is_read_as_the_server_reads_it),
      cmocka_unit_test(a_plugin_that_is_not_allowed_is_refused_in_both_forms),
      cmocka_unit_test(failover_slots_take_postgres_17),
      cmocka_unit_test(a_standbys_own_slot_is_no_failover_slot),
      cmocka_unit_test(a_standby_serves_only_with_a_slot_of_its_own),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
