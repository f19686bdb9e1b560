/* The environment in configured texts, and connection strings above all. */
#include <sys/stat.h>
#include <unistd.h>

#include "bridge/base/memory.h"
#include "config/expand.h"
#include "tests/unit/config/config_fixture.h"

static int set_environment(void **state) {
  (void)state;
  setenv("WF_HOST", "db.example", 1);
  setenv("WF_EMPTY", "", 1);
  setenv("WF_ODD", "a b'c\\d=$e${f}", 1);
  setenv("WF_URL", "postgres://u:p%40w@h:5433/d", 1);
  setenv("WF_NUMBER", "7", 1);
  unsetenv("WF_UNSET");
  return 0;
}

static void references_are_replaced(void **state) {
  (void)state;
  static const struct {
    const char *text, *expanded;
  } cases[] = {
      {"plain", "plain"},
      {"", ""},
      {"${WF_HOST}", "db.example"},
      {"x${WF_HOST}y${WF_NUMBER}z", "xdb.exampley7z"},
      {"${WF_EMPTY}", ""},
      {"${WF_EMPTY:-d}", "d"},
      {"${WF_UNSET:-d:-e}", "d:-e"},
      {"${WF_UNSET:-}", ""},
      {"${WF_HOST:-d}", "db.example"},
      {"$$", "$"},
      {"$${WF_HOST}", "${WF_HOST}"},
      {"${WF_ODD}", "a b'c\\d=$e${f}"},
      {"}{", "}{"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct error err = {.kind = ERROR_NONE};
    char *expanded = expand_environment(cases[i].text, &err);
    assert_non_null(expanded);
    assert_string_equal(expanded, cases[i].expanded);
    free(expanded);
  }
}

static void malformed_references_are_refused_at_their_value(void **state) {
  (void)state;
  static const struct refusal cases[] = {
      {"undefined",
       "name: ${WF_UNSET}\n"
       "postgres: {conninfo: host=db}\nkafka: {brokers: k}\n",
       "1:7", "`name`: the environment variable WF_UNSET is not set", "${WF_UNSET:-default}"},
      {"undefined in conninfo", "name: a\npostgres:\n  conninfo: host=db user=${WF_UNSET}\nkafka: {brokers: k}\n",
       "3:13", "`postgres.conninfo`: user: the environment variable WF_UNSET", "set WF_UNSET"},
      {"undefined in a property", PG "kafka:\n  brokers: k\n  properties: [a=b, \"sasl.password=${WF_UNSET}\"]\n",
       "5:21", "`kafka.properties[1]`: the environment variable WF_UNSET", "set"},
      {"single dollar", PG "kafka:\n  brokers: a$b\n", "4:12", "a single dollar", "$$"},
      {"dollar at the end", PG "kafka:\n  brokers: a$\n", "4:12", "a single dollar", "$$"},
      {"not closed", PG "kafka:\n  brokers: ${WF_HOST\n", "4:12", "without its \"}\"", "${NAME}"},
      {"no name", PG "kafka:\n  brokers: ${}\n", "4:12", "not a reference", "NAME"},
      {"digit in front", PG "kafka:\n  brokers: ${1A}\n", "4:12", "not a reference", "NAME"},
      {"dash alone", PG "kafka:\n  brokers: ${WF_HOST-x}\n", "4:12", "\"${WF_HOST\" is not a reference", "NAME"},
      {"nested", PG "kafka:\n  brokers: ${WF_UNSET:-${WF_HOST}}\n", "4:12", "holds a dollar", "inside"},
      {"empty after expansion", PG "kafka:\n  brokers: ${WF_EMPTY}\n", "4:12", "is empty after", ":-default"},
      {"number", PG "kafka:\n  brokers: k\n  topics: {partitions: \"${WF_HOST}\"}\n", "5:24",
       "\"db.example\" is not a whole number", "from 1 to 100000"},
  };
  ASSERT_REFUSED(cases);
}

static void expanded_text_beyond_all_bounds_is_refused(void **state) {
  (void)state;
  char *large = memory_alloc(1100000);
  memset(large, 'x', 1099999);
  struct error err = {.kind = ERROR_NONE};
  assert_null(expand_environment(large, &err));
  assert_part("large", err.message, "longer than");
  free(large);
}

static struct config *load_conninfo(const char *conninfo) {
  char *yaml = memory_format("name: shop\npostgres:\n  conninfo: %s\nkafka: {brokers: k}\n", conninfo);
  struct config *config = load(yaml);
  free(yaml);
  return config;
}

static void connection_strings_keep_each_value_apart(void **state) {
  (void)state;
  static const struct {
    const char *text, *conninfo;
  } cases[] = {
      {"host=${WF_HOST} dbname=shop", "dbname='shop' host='db.example'"},
      {"password=${WF_EMPTY} dbname=shop", "password='' dbname='shop'"},
      {"password=${WF_UNSET:-} dbname=shop", "password='' dbname='shop'"},
      {"password=${WF_ODD} dbname=shop", "password='a b\\'c\\\\d=$e${f}' dbname='shop'"},
      {"password='x y' dbname=shop", "password='x y' dbname='shop'"},
      {"password=a$$b", "password='a$b'"},
      {"postgres://${WF_EMPTY:-me}:${WF_ODD}@${WF_HOST}:5433/shop",
       "user='me' password='a b\\'c\\\\d=$e${f}' dbname='shop' host='db.example' port='5433'"},
      {"postgresql://${WF_HOST:-h}:${WF_UNSET:-5444}/${WF_UNSET:-d/b}?sslmode=${WF_UNSET:-require}&application_name=x",
       "dbname='d/b' host='db.example' port='5444' application_name='x' sslmode='require'"},
      {"${WF_URL}", "user='u' password='p@w' dbname='d' host='h' port='5433'"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct config *config = load_conninfo(cases[i].text);
    assert_string_equal(config->postgres.conninfo, cases[i].conninfo);
    config_free(config);
  }
}

static void bad_connection_strings_are_refused_without_their_secrets(void **state) {
  (void)state;
#define CONNINFO(text) "name: a\npostgres:\n  conninfo: " text "\nkafka: {brokers: k}\n"
  static const struct refusal cases[] = {
      {"no pair", CONNINFO("db"), "3:13", "not a connection string: missing \"=\" after \"db\"", "host=db port=5432"},
      {"unknown keyword", CONNINFO("hots=db"), "3:13", "hots", "keyword=value"},
      {"loose password", CONNINFO("password=my hunter2 host=x"), "3:13", "libpq cannot split it", "single quotes"},
      {"replication", CONNINFO("host=db replication=database"), "3:13", "sets replication", "remove"},
      {"undefined whole", CONNINFO("${WF_UNSET}"), "3:13", "WF_UNSET is not set", ""},
      {"bad whole", CONNINFO("${WF_HOST}"), "3:13", "not a connection string", ""},
  };
  ASSERT_REFUSED(cases);
  struct error err;
  const char *yaml = cases[2].yaml;
  assert_null(config_parse("f.yaml", yaml, strlen(yaml), &err));
  assert_null(strstr(err.message, "hunter2"));
  assert_null(strstr(err.remedy, "hunter2"));
}

/* This config file with the file "secret" beside it, in a new folder; NULL content: no such file. */
static struct config *load_beside_secret(const char *yaml, const char *content, struct error *err) {
  char folder[] = "/tmp/walferry-config.XXXXXX";
  assert_non_null(mkdtemp(folder));
  char *secret = memory_format("%s/secret", folder), *path = memory_format("%s/f.yaml", folder);
  if (content != NULL) {
    FILE *file = fopen(secret, "w");
    assert_non_null(file);
    fputs(content, file);
    fclose(file);
    assert_int_equal(chmod(secret, 0600), 0);
  }
  *err = (struct error){.kind = ERROR_NONE};
  struct config *config = config_parse(path, yaml, strlen(yaml), err);
  unlink(secret);
  rmdir(folder);
  free(path);
  free(secret);
  return config;
}

static struct config *load_with_password(const char *conninfo, const char *content, struct error *err) {
  char *yaml =
      memory_format("name: shop\npostgres:\n  conninfo: %s\n  password_file: secret\nkafka: {brokers: k}\n", conninfo);
  struct config *config = load_beside_secret(yaml, content, err);
  free(yaml);
  return config;
}

static void password_file_joins_the_connection_string(void **state) {
  (void)state;
  struct error err;
  struct config *config = load_with_password("host=db", "it's a \\ secret\n", &err);
  assert_non_null(config);
  assert_string_equal(config->postgres.conninfo, "host='db' password='it\\'s a \\\\ secret'");
  config_free(config);
}

static void password_file_problems_are_refused(void **state) {
  (void)state;
  static const struct {
    const char *conninfo, *content, *what;
  } cases[] = {
      {"host=db", NULL, "cannot be opened: No such file"},
      {"host=db", "", "the file is empty"},
      {"host=db", "\n", "the file is empty"},
      {"host=db", "hunter2\nhunter3\n", "more than one line"},
      {"host=db password=x", "hunter2\n", "has a password already"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct error err;
    assert_null(load_with_password(cases[i].conninfo, cases[i].content, &err));
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_part("place", err.message, "/f.yaml:4:18: ");
    assert_part("what", err.message, cases[i].what);
    assert_null(strstr(err.message, "hunter"));
    assert_true(err.remedy[0] != '\0');
  }
  static const struct refusal folder = {
      "folder", "name: a\npostgres: {conninfo: host=db, password_file: /tmp}\nkafka: {brokers: k}\n", "2:46",
      "not a regular file", "password alone"};
  assert_refused(&folder, 1);
}

static void kafkas_password_file_is_the_property_sasl_password(void **state) {
  (void)state;
  static const char yaml[] = PG "kafka:\n  brokers: k\n  properties: [sasl.username=u]\n  password_file: secret\n";
  struct error err;
  struct config *config = load_beside_secret(yaml, "p=w $x ${y}\n", &err);
  assert_non_null(config);
  assert_int_equal(config->kafka.properties.count, 2);
  assert_string_equal(config->kafka.properties.items[0], "sasl.username=u");
  assert_string_equal(config->kafka.properties.items[1], "sasl.password=p=w $x ${y}");
  config_free(config);
}

static void kafkas_password_stands_in_one_place(void **state) {
  (void)state;
  static const char yaml[] =
      PG "kafka:\n  brokers: k\n  properties: [sasl.password=hunter1]\n  password_file: secret\n";
  struct error err;
  assert_null(load_beside_secret(yaml, "hunter2\n", &err));
  assert_int_equal(err.kind, ERROR_CONFIG);
  assert_part("place", err.message, "/f.yaml:6:18: ");
  assert_part("what", err.message, "has a sasl.password already");
  assert_part("remedy", err.remedy, "remove");
  assert_null(strstr(err.message, "hunter"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(references_are_replaced),
      cmocka_unit_test(malformed_references_are_refused_at_their_value),
      cmocka_unit_test(expanded_text_beyond_all_bounds_is_refused),
      cmocka_unit_test(connection_strings_keep_each_value_apart),
      cmocka_unit_test(bad_connection_strings_are_refused_without_their_secrets),
      cmocka_unit_test(password_file_joins_the_connection_string),
      cmocka_unit_test(password_file_problems_are_refused),
      cmocka_unit_test(kafkas_password_file_is_the_property_sasl_password),
      cmocka_unit_test(kafkas_password_stands_in_one_place),
  };
  return cmocka_run_group_tests(tests, set_environment, NULL);
}
