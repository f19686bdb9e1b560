/* bridge/ops/init_sql.h: the SQL byte for byte, and bodies that would like to end early. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "bridge/ops/init_sql.h"

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

static char names[][32] = {"public", "outbox", "Sales", "out\"box", "k\"ey", "tenant"};
static const struct table_spec plain = {.schema = names[0], .table = names[1]};
static const struct table_spec hostile = {
    .schema = names[2], .table = names[3], .columns = {[FIELD_KEY] = names[4], [FIELD_TENANT_ID] = names[5]}};

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

/* The text, which must hold no NUL. Borrowed. */
static const char *text(struct buffer *sql) {
  assert_false(sql->overflow);
  buffer_append_char(sql, '\0');
  assert_int_equal(strlen(sql->data), sql->len - 1);
  sql->len--;
  return sql->data;
}

static void expect_in(struct buffer *sql, const char *piece) {
  if (strstr(text(sql), piece) == NULL)
    fail_msg("\"%s\" is not in\n%s", piece, sql->data);
}

static void expect_not_in(struct buffer *sql, const char *piece) {
  if (strstr(text(sql), piece) != NULL)
    fail_msg("\"%s\" is in\n%s", piece, sql->data);
}

static int occurrences(const char *in, const char *piece) {
  int count = 0;
  for (const char *at = in; (at = strstr(at, piece)) != NULL; at += strlen(piece))
    count++;
  return count;
}

/* The body must not end at what only looks like the tag around it. */
static void names_with_dollar_tags_get_another_tag_around_them(void **state) {
  struct buffer *sql = *state;
  init_sql_emit_message(sql, "a$walferry$b");
  expect_in(sql, "AS $walferry1$\n");
  expect_in(sql, "'a$walferry$b'");
  expect_in(sql, "END $walferry1$;\n");
  buffer_clear(sql);
  init_sql_emit_message(sql, "$walferry$ and $walferry1$");
  expect_in(sql, "AS $walferry2$\n");
  expect_in(sql, "END $walferry2$;\n");
  static char schema[] = "public", table[] = "out$walferry$box";
  bool has[FIELD_COUNT] = {false};
  buffer_clear(sql);
  init_sql_emit(sql, &(struct table_spec){.schema = schema, .table = table}, has);
  expect_in(sql, "END $walferry1$;\n");
  buffer_clear(sql);
  init_sql_role(sql, "r$walferry$", true, NULL, 0);
  expect_in(sql, "DO $walferry1$ BEGIN\n");
  expect_in(sql, "END $walferry1$;\n");
}

static void table_has_a_column_per_role_and_a_size_check(void **state) {
  struct buffer *sql = *state;
  init_sql_table(sql, &plain);
  assert_string_equal(text(sql), "CREATE SCHEMA IF NOT EXISTS \"public\";\n"
                                 "CREATE TABLE IF NOT EXISTS \"public\".\"outbox\" (\n"
                                 "  \"id\" uuid NOT NULL DEFAULT gen_random_uuid(),\n"
                                 "  \"aggregatetype\" text NOT NULL,\n"
                                 "  \"aggregateid\" text NOT NULL,\n"
                                 "  \"type\" text NOT NULL,\n"
                                 "  \"payload\" jsonb,\n"
                                 "  \"occurred_at\" timestamptz NOT NULL DEFAULT now(),\n"
                                 "  \"version\" text,\n"
                                 "  \"source\" text,\n"
                                 "  \"correlation_id\" text,\n"
                                 "  \"causation_id\" text,\n"
                                 "  \"trace_id\" text,\n"
                                 "  \"traceparent\" text,\n"
                                 "  \"tenant_id\" text,\n"
                                 "  \"actor_id\" text,\n"
                                 "  \"actor_type\" text,\n"
                                 "  \"topic\" text,\n"
                                 "  \"partition\" integer,\n"
                                 "  \"headers\" jsonb,\n"
                                 "  \"content_type\" text,\n"
                                 "  PRIMARY KEY (\"id\"),\n"
                                 "  CONSTRAINT payload_size CHECK (octet_length(\"payload\"::text) <= 67108864)\n);\n");
}

static void a_table_has_what_becomes_of_its_rows(void **state) {
  struct buffer *sql = *state;
  struct table_spec spec = hostile;
  spec.published_at = "sent \"at\"";
  spec.after_publish = AFTER_PUBLISH_DELETE;
  init_sql_table(sql, &spec);
  expect_not_in(sql, "sent");
  expect_not_in(sql, "PARTITION BY");
  buffer_clear(sql);
  init_sql_role(sql, "r", true, &spec, 1);
  expect_in(sql, "GRANT SELECT, DELETE ON \"Sales\".\"out\"\"box\" TO \"r\";\n");
  buffer_clear(sql);
  spec.after_publish = AFTER_PUBLISH_MARK;
  spec.by_day = true;
  init_sql_table(sql, &spec);
  expect_in(sql, "  \"sent \"\"at\"\"\" timestamptz,\n  PRIMARY KEY (\"id\", \"occurred_at\"),\n");
  expect_in(sql, "\n) PARTITION BY RANGE (\"occurred_at\");\n");
  buffer_clear(sql);
  init_sql_role(sql, "r", true, &spec, 1);
  expect_in(sql, "GRANT SELECT, UPDATE (\"sent \"\"at\"\"\") ON ");
}

static void configured_names_are_used_and_quoted(void **state) {
  struct buffer *sql = *state;
  init_sql_table(sql, &hostile);
  expect_in(sql, "CREATE SCHEMA IF NOT EXISTS \"Sales\";");
  expect_in(sql, "CREATE TABLE IF NOT EXISTS \"Sales\".\"out\"\"box\" (");
  expect_in(sql, "  \"k\"\"ey\" text NOT NULL,\n");
  expect_in(sql, "  \"tenant\" text,\n");
  expect_not_in(sql, "\"aggregateid\"");
  expect_not_in(sql, "\"tenant_id\"");
}

static void a_snapshot_needs_a_place_for_its_work_list(void **state) {
  struct buffer *sql = *state;
  init_sql_snapshot(sql, "fer\"ry");
  expect_in(sql, "GRANT CREATE ON SCHEMA walferry TO \"fer\"\"ry\";");
}

static void every_role_has_a_column(void **state) {
  (void)state;
  for (enum event_field field = 0; field < FIELD_COUNT; field++)
    assert_non_null(init_column(&plain, field));
  assert_string_equal(init_column(&plain, FIELD_KEY), "aggregateid");
  assert_string_equal(init_column(&hostile, FIELD_KEY), "k\"ey");
}

#define PARAMETERS                                                                                                     \
  "(aggregate text, type text, key text, payload jsonb,\n"                                                             \
  "    version text DEFAULT NULL,\n"                                                                                   \
  "    correlation_id text DEFAULT NULL,\n"                                                                            \
  "    causation_id text DEFAULT NULL,\n"                                                                              \
  "    trace_id text DEFAULT NULL,\n"                                                                                  \
  "    traceparent text DEFAULT NULL,\n"                                                                               \
  "    tenant_id text DEFAULT NULL,\n"                                                                                 \
  "    actor_id text DEFAULT NULL,\n"                                                                                  \
  "    actor_type text DEFAULT NULL,\n"                                                                                \
  "    topic text DEFAULT NULL,\n"                                                                                     \
  "    headers jsonb DEFAULT NULL,\n"                                                                                  \
  "    id uuid DEFAULT gen_random_uuid())\n"                                                                           \
  "RETURNS uuid LANGUAGE plpgsql AS $walferry$\n#variable_conflict use_variable\nBEGIN\n"

static void emit_writes_the_columns_that_the_table_has(void **state) {
  struct buffer *sql = *state;
  bool has[FIELD_COUNT] = {[FIELD_CORRELATION_ID] = true, [FIELD_TENANT_ID] = true, [FIELD_HEADERS] = true};
  init_sql_emit(sql, &hostile, has);
  assert_string_equal(
      text(sql),
      "CREATE SCHEMA IF NOT EXISTS walferry;\nCREATE OR REPLACE FUNCTION walferry.emit" PARAMETERS
      "  INSERT INTO \"Sales\".\"out\"\"box\" (\"id\", \"aggregatetype\", \"type\", \"k\"\"ey\", \"payload\", "
      "\"correlation_id\", \"tenant\", \"headers\")\n"
      "  VALUES (emit.id, emit.aggregate, emit.type, emit.key, emit.payload,\n"
      "    coalesce(emit.correlation_id, nullif(current_setting('walferry.correlation_id', true), '')),\n"
      "    coalesce(emit.tenant_id, nullif(current_setting('walferry.tenant_id', true), '')),\n"
      "    emit.headers);\n"
      "  RETURN emit.id;\nEND $walferry$;\n");
}

static void emit_for_a_bare_table_has_the_same_parameters(void **state) {
  struct buffer *sql = *state;
  const bool has[FIELD_COUNT] = {false};
  init_sql_emit(sql, &plain, has);
  assert_string_equal(text(sql),
                      "CREATE SCHEMA IF NOT EXISTS walferry;\nCREATE OR REPLACE FUNCTION walferry.emit" PARAMETERS
                      "  INSERT INTO \"public\".\"outbox\" (\"id\", \"aggregatetype\", \"type\", \"aggregateid\", "
                      "\"payload\")\n"
                      "  VALUES (emit.id, emit.aggregate, emit.type, emit.key, emit.payload);\n"
                      "  RETURN emit.id;\nEND $walferry$;\n");
}

static void emit_message_is_transactional_and_writes_an_envelope(void **state) {
  struct buffer *sql = *state;
  init_sql_emit_message(sql, "it's");
  expect_in(sql, "CREATE OR REPLACE FUNCTION walferry.emit_message" PARAMETERS);
  expect_in(sql, "  PERFORM pg_logical_emit_message(true, 'it''s', '{' || concat_ws(',',\n");
  expect_in(sql, "    '\"aggregate\":' || to_json(emit_message.aggregate)::text,\n");
  expect_in(sql, "    '\"version\":' || to_json(emit_message.version)::text,\n");
  expect_in(sql, "    '\"headers\":' || emit_message.headers::text,\n");
  expect_in(sql, "json_build_object('id', emit_message.actor_id,");
  expect_in(sql, "    '\"payload\":' || coalesce(emit_message.payload::text, 'null')) || '}');\n");
  expect_not_in(sql, "'\"actor_id\":'");
  expect_not_in(sql, "emit.id");
}

static void role_is_created_if_missing_and_may_read_the_tables(void **state) {
  struct buffer *sql = *state;
  const struct table_spec tables[] = {plain, hostile};
  init_sql_role(sql, "o'w\"n", true, tables, 2);
  assert_string_equal(text(sql), "DO $walferry$ BEGIN\n"
                                 "  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'o''w\"n') THEN\n"
                                 "    CREATE ROLE \"o'w\"\"n\" LOGIN REPLICATION;\n"
                                 "  END IF;\nEND $walferry$;\n"
                                 "GRANT USAGE ON SCHEMA walferry TO \"o'w\"\"n\";\n"
                                 "GRANT USAGE ON SCHEMA \"public\" TO \"o'w\"\"n\";\n"
                                 "GRANT SELECT ON \"public\".\"outbox\" TO \"o'w\"\"n\";\n"
                                 "GRANT USAGE ON SCHEMA \"Sales\" TO \"o'w\"\"n\";\n"
                                 "GRANT SELECT ON \"Sales\".\"out\"\"box\" TO \"o'w\"\"n\";\n");
}

/* The bodies stand between two of them; one more in a name would end the body early. */
static void bodies_are_quoted_once(void **state) {
  struct buffer *sql = *state;
  const bool has[FIELD_COUNT] = {false};
  init_sql_emit(sql, &plain, has);
  assert_int_equal(occurrences(text(sql), "$walferry$"), 2);
  buffer_clear(sql);
  init_sql_emit_message(sql, "walferry");
  assert_int_equal(occurrences(text(sql), "$walferry$"), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(names_with_dollar_tags_get_another_tag_around_them),
      TEST(table_has_a_column_per_role_and_a_size_check),
      TEST(a_table_has_what_becomes_of_its_rows),
      TEST(configured_names_are_used_and_quoted),
      TEST(a_snapshot_needs_a_place_for_its_work_list),
      TEST(every_role_has_a_column),
      TEST(emit_writes_the_columns_that_the_table_has),
      TEST(emit_for_a_bare_table_has_the_same_parameters),
      TEST(emit_message_is_transactional_and_writes_an_envelope),
      TEST(role_is_created_if_missing_and_may_read_the_tables),
      TEST(bodies_are_quoted_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
