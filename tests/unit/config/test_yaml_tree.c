/* The strict pass: what YAML lets through and a config file must not have, with its exact place. */
#include "tests/unit/config/config_fixture.h"

static void broken_yaml_is_refused_where_it_breaks(void **state) {
  (void)state;
  static const struct refusal cases[] = {
      {"tab", "name: shop\n\tpostgres: 1\n", "2:1", "not valid YAML", "tabs"},
      {"open quote", "name: \"shop\n", "2:1", "not valid YAML", "quotes"},
      {"open brace", "name: {a: 1\n", "2:1", "not valid YAML", ""},
      {"bare star", "name: *\n", "1:8", "not valid YAML", "double quotes"},
      {"reference in braces", "kafka: {brokers: ${K}}\n", "1:19", "not valid YAML", "${...}"},
      {"not UTF-8", "name: \"\xff\"\n", "1:8", "not valid YAML", "UTF-8"},
      {"not UTF-8, after others", "# \xc3\xa4\nname: \xc3\xa4\xff\n", "2:8", "not valid YAML", "UTF-8"},
  };
  ASSERT_REFUSED(cases);
}

static void empty_files_are_refused(void **state) {
  (void)state;
  static const struct refusal cases[] = {
      {"nothing", "", "1:1", "the file is empty", "shop.yaml"},
      {"blanks", "\n\n", "1:1", "the file is empty", "shop.yaml"},
      {"a comment", "# name: shop\n", "1:1", "the file is empty", "shop.yaml"},
      {"a document of nothing", "---\n", "2:1", "must be a mapping", ""},
      {"null", "null\n", "1:1", "the file must be a mapping", ""},
      {"a list", "- name\n", "1:1", "the file must be a mapping (key: value), but is a list", ""},
      {"a word", "shop\n", "1:1", "the file must be a mapping (key: value), but is a single value", ""},
  };
  ASSERT_REFUSED(cases);
}

static void what_a_config_file_does_not_need_is_refused(void **state) {
  (void)state;
  static const struct refusal cases[] = {
      {"second document", BASE "---\nname: other\n", "4:1", "second document", "its own file"},
      {"empty second document", BASE "---\n", "4:1", "second document", "remove"},
      {"anchor", "name: &n shop\n", "1:7", "an anchor", "write the value out"},
      {"anchor on a mapping", "name: shop\npostgres: &p\n  conninfo: x\n", "2:11", "an anchor", ""},
      {"anchor on a list", "kafka:\n  properties: &p [a=b]\n", "2:15", "an anchor", ""},
      {"alias", "name: *n\n", "1:7", "an alias", "double quotes"},
      {"merge key", BASE "log:\n  <<: {level: info}\n", "5:3", "unknown key \"<<\"", "level"},
      {"tag", "name: !!int 3\n", "1:7", "a tag", ""},
      {"tag on a mapping", "name: shop\nlog: !x {level: info}\n", "2:6", "a tag", ""},
      {"deep", "a: [[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]\n", "1:19", "nested too deeply", ""},
  };
  ASSERT_REFUSED(cases);
}

static void unknown_keys_are_refused_with_the_possible_ones(void **state) {
  (void)state;
  static const struct refusal cases[] = {
      {"top", BASE "realy: {}\n", "4:1", "unknown key \"realy\" in the file",
       "did you mean \"relay\"? possible keys here: name, postgres, kafka, relay, inbox, http, log"},
      {"nothing near", BASE "wal: {}\n", "4:1", "unknown key \"wal\"", "possible keys here: name"},
      {"later keys are not offered", BASE "tenant: {}\n", "4:1", "unknown key \"tenant\"", "possible keys here: name"},
      {"nested", "name: a\npostgres:\n  conninfo: host=db\n  slots: x\n", "4:3", "\"slots\" in `postgres`",
       "did you mean \"slot\"? possible keys here: conninfo, password_file, slot, publication, decoder, create"},
      {"in a list", RELAY "  routes:\n    - {type: A, topic: t}\n    - {typ: B, topic: t}\n", "8:8",
       "\"typ\" in `relay.routes[1]`", "did you mean \"type\"? possible keys here: type, topic"},
      {"column", BASE "relay:\n  tables: [{table: a, columns: {Key: b}}]\n", "5:33",
       "\"Key\" in `relay.tables[0].columns`", "did you mean \"key\"? possible keys here: id, type, key, aggregate"},
      {"empty key", BASE "\"\": 1\n", "4:1", "unknown key \"\"", "possible keys"},
      {"list as key", BASE "[a]: 1\n", "4:1", "a key must be a plain word", "key: value"},
      {"NUL in a key", BASE "\"name\\0\": 1\n", "4:1", "a key must be a plain word", ""},
  };
  ASSERT_REFUSED(cases);
}

static void keys_of_later_versions_are_not_supported_yet(void **state) {
  (void)state;
  static const struct refusal cases[] = {
      {"tenants", BASE "tenants: [a]\n", "4:1", "`tenants` is not supported yet", "remove"},
      {"contracts", RELAY "  contracts: x\n", "6:3", "`relay.contracts` is not supported yet", "remove"},
  };
  ASSERT_REFUSED(cases);
}

static void duplicate_and_missing_keys_are_refused(void **state) {
  (void)state;
  static const struct refusal cases[] = {
      {"duplicate", BASE "log: {level: info}\nname: other\n", "5:1", "duplicate key \"name\", already on line 1",
       "keep one"},
      {"duplicate in braces", BASE "log: {level: info, level: warn}\n", "4:20", "duplicate key \"level\"", ""},
      {"duplicate mapping", BASE "log: {}\nlog: {}\n", "5:1", "duplicate key \"log\"", ""},
      {"no name", "postgres: {conninfo: host=db}\nkafka: {brokers: k}\n", "1:1",
       "the file lacks the required key \"name\"", "add `name:`"},
      {"no postgres", "name: a\nkafka: {brokers: k}\n", "1:1", "\"postgres\"", ""},
      {"no kafka", PG, "1:1", "\"kafka\"", ""},
      {"no conninfo", "name: a\npostgres: {slot: x}\nkafka: {brokers: k}\n", "2:11",
       "`postgres` lacks the required key \"conninfo\"", "add `conninfo:` to `postgres`"},
      {"no brokers", PG "kafka: {properties: []}\n", "3:8", "\"brokers\"", ""},
      {"no table", BASE "relay:\n  tables:\n    - columns: {id: x}\n", "6:7", "`relay.tables[0]` lacks", "table"},
      {"no type", RELAY "  routes: [{topic: t}]\n", "6:12", "\"type\"", ""},
      {"no topic", RELAY "  routes: [{type: t}]\n", "6:12", "\"topic\"", ""},
      {"no group", BASE "inbox: {topics: [a], handlers: [{type: A, call: s.f}]}\n", "4:8", "\"group\"", ""},
      {"no topics", BASE "inbox: {group: a, handlers: [{type: A, call: s.f}]}\n", "4:8", "\"topics\"", ""},
      {"no handlers", BASE "inbox: {group: a, topics: [a]}\n", "4:8", "\"handlers\"", ""},
      {"no listen", BASE "http: {}\n", "4:7", "\"listen\"", ""},
  };
  ASSERT_REFUSED(cases);
}

static void nulls_and_empty_values_are_refused(void **state) {
  (void)state;
  static const struct refusal cases[] = {
      {"empty", "name:\npostgres: {conninfo: host=db}\n", "1:6", "`name` has no value", "default"},
      {"empty text", "name: \"\"\n", "1:7", "`name` has no value", ""},
      {"tilde", "name: ~\n", "1:7", "`name` has no value", ""},
      {"null", "name: null\n", "1:7", "`name` has no value", ""},
      {"Null", "name: Null\n", "1:7", "`name` has no value", ""},
      {"NULL", "name: NULL\n", "1:7", "`name` has no value", ""},
      {"empty section", BASE "relay:\n", "4:7", "`relay` has no value", ""},
      {"empty item", BASE "relay:\n  messages:\n    -\n", "6:6", "`relay.messages[0]` has no value", ""},
      {"NUL", "name: \"a\\0b\"\n", "1:7", "NUL", "remove"},
  };
  ASSERT_REFUSED(cases);
}

static void quoted_null_is_a_text(void **state) {
  (void)state;
  struct config *config = load("name: \"null\"\npostgres: {conninfo: host=db}\nkafka: {brokers: k}\n");
  assert_string_equal(config->name, "null");
  config_free(config);
}

static void wrong_kinds_are_refused(void **state) {
  (void)state;
  static const struct refusal cases[] = {
      {"list for text", "name: [a]\n", "1:7", "`name` must be a single value, but is a list", "one value"},
      {"mapping for text", "name: {a: b}\n", "1:7", "but is a mapping", "one value"},
      {"text for mapping", "name: a\npostgres: host=db\n", "2:11", "`postgres` must be a mapping", "indented"},
      {"text for list", BASE "relay:\n  messages: walferry\n", "5:13", "`relay.messages` must be a list", "[a, b]"},
      {"mapping for list", BASE "relay:\n  tables: {table: x}\n", "5:11", "must be a list", "- item"},
      {"text for an item", BASE "relay:\n  tables: [outbox]\n", "5:12", "`relay.tables[0]` must be a mapping", ""},
      {"mapping for an item", PG "kafka:\n  brokers: k\n  properties: [{a: b}]\n", "5:16", "must be a single value",
       ""},
  };
  ASSERT_REFUSED(cases);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(broken_yaml_is_refused_where_it_breaks),
      cmocka_unit_test(empty_files_are_refused),
      cmocka_unit_test(what_a_config_file_does_not_need_is_refused),
      cmocka_unit_test(unknown_keys_are_refused_with_the_possible_ones),
      cmocka_unit_test(keys_of_later_versions_are_not_supported_yet),
      cmocka_unit_test(duplicate_and_missing_keys_are_refused),
      cmocka_unit_test(nulls_and_empty_values_are_refused),
      cmocka_unit_test(quoted_null_is_a_text),
      cmocka_unit_test(wrong_kinds_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
