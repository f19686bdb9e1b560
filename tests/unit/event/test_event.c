/* bridge/event/event.h: roles, bindings, and the event of an inserted row. */
#include "tests/unit/event/event_fixture.h"

#include <string.h>

static char *name(const char *text) {
  return (char *)(uintptr_t)text; /* struct relation owns its names, so they are not const */
}

static void each_role_has_a_name(void **state) {
  (void)state;
  for (int f = 0; f < FIELD_COUNT; f++)
    assert_non_null(event_field_name((enum event_field)f));
  assert_string_equal(event_field_name(FIELD_KEY), "key");
  assert_string_equal(event_field_name(FIELD_CONTENT_TYPE), "content_type");
  assert_null(event_field_name(FIELD_COUNT));
}

enum { COLUMNS = 7 };

struct table {
  struct column columns[COLUMNS];
  struct relation relation;
};

/* Debezium's columns, in another order, with occurred_at and one that nobody asks for. */
static void table_init(struct table *t, uint32_t payload_oid) {
  *t = (struct table){.columns = {{name("payload"), payload_oid},
                                  {name("aggregateid"), 25},
                                  {name("id"), 2950},
                                  {name("aggregatetype"), 25},
                                  {name("type"), 25},
                                  {name("occurred_at"), 1184},
                                  {name("note"), 25}}};
  t->relation = (struct relation){.oid = 16400,
                                  .serial = 0,
                                  .schema = name("public"),
                                  .table = name("outbox"),
                                  .column_count = COLUMNS,
                                  .columns = t->columns};
}

static struct table_spec outbox(void) {
  return (struct table_spec){.schema = name("public"), .table = name("outbox")};
}

static void columns_are_bound_by_default_names(void **state) {
  (void)state;
  struct table t;
  table_init(&t, 3802);
  struct table_spec spec = outbox();
  struct binding b;
  binding_init(&b, &spec);
  assert_string_equal(b.origin, "public.outbox");
  assert_int_equal(b.position[FIELD_ID], -1);
  assert_true(binding_update(&b, &t.relation, NULL));
  assert_int_equal(b.position[FIELD_ID], 2);
  assert_int_equal(b.position[FIELD_TYPE], 4);
  assert_int_equal(b.position[FIELD_KEY], 1);
  assert_int_equal(b.position[FIELD_AGGREGATE], 3);
  assert_int_equal(b.position[FIELD_PAYLOAD], 0);
  assert_int_equal(b.position[FIELD_OCCURRED_AT], 5);
  assert_int_equal(b.position[FIELD_VERSION], -1);
  binding_free(&b);
}

static void a_configured_column_beats_the_default(void **state) {
  (void)state;
  struct table t;
  table_init(&t, 114);
  struct table_spec spec = outbox();
  spec.columns[FIELD_TENANT_ID] = name("note");
  spec.columns[FIELD_KEY] = name("id");
  struct binding b;
  binding_init(&b, &spec);
  assert_true(binding_update(&b, &t.relation, NULL));
  assert_int_equal(b.position[FIELD_TENANT_ID], 6);
  assert_int_equal(b.position[FIELD_KEY], 2);
  binding_free(&b);
}

static void a_new_description_moves_the_columns(void **state) {
  (void)state;
  struct table t;
  table_init(&t, 114);
  struct table_spec spec = outbox();
  struct binding b;
  binding_init(&b, &spec);
  assert_true(binding_update(&b, &t.relation, NULL));
  t.columns[6].name = name("version");
  assert_true(binding_update(&b, &t.relation, NULL)); /* the same serial: not looked at again */
  assert_int_equal(b.position[FIELD_VERSION], -1);
  t.relation.serial = 1;
  assert_true(binding_update(&b, &t.relation, NULL));
  assert_int_equal(b.position[FIELD_VERSION], 6);
  binding_free(&b);
}

static void a_missing_column_is_refused_by_name(void **state) {
  (void)state;
  static const struct {
    int removed;            /* this column is renamed */
    enum event_field field; /* or this role is configured as "no_such" */
    const char *column, *role;
  } cases[] = {
      {2, FIELD_COUNT, "id", "id"},
      {4, FIELD_COUNT, "type", "type"},
      {1, FIELD_COUNT, "aggregateid", "key"},
      {3, FIELD_COUNT, "aggregatetype", "aggregate"},
      {0, FIELD_COUNT, "payload", "payload"},
      {-1, FIELD_TRACE_ID, "no_such", "trace_id"},
      {-1, FIELD_PAYLOAD, "no_such", "payload"},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct table t;
    table_init(&t, 114);
    struct table_spec spec = outbox();
    if (cases[i].removed >= 0)
      t.columns[cases[i].removed].name = name("renamed");
    else
      spec.columns[cases[i].field] = name("no_such");
    struct binding b;
    binding_init(&b, &spec);
    struct error err = {0};
    assert_false(binding_update(&b, &t.relation, &err));
    assert_int_equal(err.kind, ERROR_REFUSED);
    assert_string_equal(err.code, "column_missing");
    assert_non_null(strstr(err.message, "public.outbox"));
    assert_non_null(strstr(err.message, cases[i].column));
    assert_non_null(strstr(err.message, cases[i].role));
    assert_true(err.remedy[0] != '\0');
    assert_false(binding_update(&b, &t.relation, &err)); /* and it stays so */
    binding_free(&b);
  }
}

struct row {
  struct table table;
  struct table_spec spec;
  struct binding binding;
  struct value values[COLUMNS];
  struct change change;
  struct event event;
};

static void row_init(struct row *r, uint32_t payload_oid) {
  table_init(&r->table, payload_oid);
  r->spec = outbox();
  binding_init(&r->binding, &r->spec);
  assert_true(binding_update(&r->binding, &r->table.relation, NULL));
  static const char *const texts[COLUMNS] = {"{}", "r-17", "e-1", "Rental", "Reserved", NULL, "x"};
  for (int i = 0; i < COLUMNS; i++)
    r->values[i] = (struct value){.kind = texts[i] == NULL ? VALUE_NULL : VALUE_TEXT, .text = slice_of(texts[i])};
  r->change = (struct change){.kind = CHANGE_INSERT, .insert = {.relation = &r->table.relation, .values = r->values}};
  memset(&r->event, 0x5A, sizeof r->event); /* the event before: nothing of it may stay */
  r->event.commit_time_us = FIXTURE_COMMIT_US;
}

static void a_row_becomes_an_event(void **state) {
  (void)state;
  struct row r;
  row_init(&r, 114);
  r.values[5] = (struct value){.kind = VALUE_TEXT, .text = slice_of("2026-11-21 08:01:58.123456+00")};
  assert_true(event_from_insert(&r.binding, &r.change, &r.event, NULL));
  assert_string_equal(r.event.origin, "public.outbox");
  assert_text(r.event.fields[FIELD_ID], "e-1");
  assert_text(r.event.fields[FIELD_TYPE], "Reserved");
  assert_text(r.event.fields[FIELD_KEY], "r-17");
  assert_text(r.event.fields[FIELD_AGGREGATE], "Rental");
  assert_text(r.event.fields[FIELD_PAYLOAD], "{}");
  assert_int_equal(r.event.occurred_at_us, 1795248118123456);
  assert_false(r.event.occurred_at_invalid);
  for (int f = FIELD_VERSION; f < FIELD_COUNT; f++)
    assert_false(slice_present(r.event.fields[f]));
  binding_free(&r.binding);
}

static void a_null_is_absent_and_the_commit_time_serves(void **state) {
  (void)state;
  struct row r;
  row_init(&r, 114);
  r.values[0] = (struct value){.kind = VALUE_NULL};
  assert_true(event_from_insert(&r.binding, &r.change, &r.event, NULL));
  assert_false(slice_present(r.event.fields[FIELD_PAYLOAD]));
  assert_false(slice_present(r.event.fields[FIELD_OCCURRED_AT]));
  assert_int_equal(r.event.occurred_at_us, FIXTURE_COMMIT_US);
  assert_false(r.event.occurred_at_invalid);
  binding_free(&r.binding);
}

static const struct header_column note_and_key[] = {{"note", "x-note"}, {"aggregateid", "x-key"}};

static void row_with_headers(struct row *r) {
  row_init(r, 114);
  binding_free(&r->binding);
  r->spec.headers = note_and_key;
  r->spec.header_count = COUNT_OF(note_and_key);
  binding_init(&r->binding, &r->spec);
}

static void header_columns_are_read_with_the_row(void **state) {
  (void)state;
  struct row r;
  row_with_headers(&r);
  assert_true(binding_update(&r.binding, &r.table.relation, NULL));
  assert_true(event_from_insert(&r.binding, &r.change, &r.event, NULL));
  assert_int_equal(r.event.column_header_count, 2);
  assert_string_equal(r.event.column_headers[0].name, "x-note");
  assert_text(r.event.column_headers[0].value, "x");
  assert_text(r.event.column_headers[1].value, "r-17");
  r.values[6] = (struct value){.kind = VALUE_NULL};
  assert_true(event_from_insert(&r.binding, &r.change, &r.event, NULL));
  assert_false(slice_present(r.event.column_headers[0].value));
  struct error err = {.kind = ERROR_NONE};
  r.values[6] = (struct value){.kind = VALUE_UNCHANGED};
  assert_false(event_from_insert(&r.binding, &r.change, &r.event, &err));
  assert_int_equal(err.kind, ERROR_FATAL);
  binding_free(&r.binding);
}

static void a_missing_header_column_is_refused_by_name(void **state) {
  (void)state;
  struct row r;
  row_with_headers(&r);
  r.table.columns[6].name = name("renamed");
  struct error err = {.kind = ERROR_NONE};
  assert_false(binding_update(&r.binding, &r.table.relation, &err));
  assert_int_equal(err.kind, ERROR_REFUSED);
  assert_string_equal(err.code, "column_missing");
  assert_non_null(strstr(err.message, "\"note\""));
  assert_non_null(strstr(err.message, "\"x-note\""));
  r.table.columns[6].name = name("note"); /* and is found once it is back */
  assert_true(binding_update(&r.binding, &r.table.relation, NULL));
  binding_free(&r.binding);
}

static void a_bad_occurred_at_is_kept_for_the_record_to_report(void **state) {
  (void)state;
  struct row r;
  row_init(&r, 114);
  r.values[5] = (struct value){.kind = VALUE_TEXT, .text = slice_of("infinity")};
  assert_true(event_from_insert(&r.binding, &r.change, &r.event, NULL));
  assert_text(r.event.fields[FIELD_OCCURRED_AT], "infinity");
  assert_int_equal(r.event.occurred_at_us, FIXTURE_COMMIT_US);
  assert_true(r.event.occurred_at_invalid);
  binding_free(&r.binding);
}

static void each_row_has_its_own_occurred_at(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int64_t us;
  } rows[] = {{"2026-11-21 08:01:58.123456+00", 1795248118123456},
              {"2026-11-21 08:01:58.123456+00", 1795248118123456},
              {"2026-11-21 08:01:58.123457+00", 1795248118123457},
              {"infinity", FIXTURE_COMMIT_US},
              {"", FIXTURE_COMMIT_US},
              {"2026-11-21 08:01:58.123457+00", 1795248118123457},
              {"2026-11-21 08:01:58.123456000000000000000+00", 1795248118123456}, /* longer than Postgres writes one */
              {"2026-11-21 08:01:58.123457+00", 1795248118123457}};
  struct row r;
  row_init(&r, 114);
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    r.values[5] = (struct value){.kind = VALUE_TEXT, .text = slice_of(rows[i].text)};
    assert_true(event_from_insert(&r.binding, &r.change, &r.event, NULL));
    assert_int_equal(r.event.occurred_at_us, rows[i].us);
    assert_int_equal(r.event.occurred_at_invalid, rows[i].us == FIXTURE_COMMIT_US);
  }
  binding_free(&r.binding);
}

static void the_payload_form_follows_the_type(void **state) {
  (void)state;
  static const struct {
    uint32_t oid;
    enum payload_form form;
  } cases[] = {
      {114, PAYLOAD_JSON}, {3802, PAYLOAD_JSON}, {17, PAYLOAD_BYTEA}, {25, PAYLOAD_TEXT}, {1043, PAYLOAD_TEXT}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct row r;
    row_init(&r, cases[i].oid);
    assert_true(event_from_insert(&r.binding, &r.change, &r.event, NULL));
    assert_int_equal(r.event.payload_form, cases[i].form);
    binding_free(&r.binding);
  }
}

static void an_unchanged_value_in_an_insert_is_fatal(void **state) {
  (void)state;
  struct row r;
  row_init(&r, 114);
  r.values[0] = (struct value){.kind = VALUE_UNCHANGED};
  struct error err = {0};
  assert_false(event_from_insert(&r.binding, &r.change, &r.event, &err));
  assert_int_equal(err.kind, ERROR_FATAL);
  assert_non_null(strstr(err.message, "payload"));
  binding_free(&r.binding);
}

static void a_row_of_an_unbound_description_is_fatal(void **state) {
  (void)state;
  struct row r;
  row_init(&r, 114);
  r.table.relation.serial = 9;
  struct error err = {0};
  assert_false(event_from_insert(&r.binding, &r.change, &r.event, &err));
  assert_int_equal(err.kind, ERROR_FATAL);
  binding_free(&r.binding);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_role_has_a_name),
      cmocka_unit_test(columns_are_bound_by_default_names),
      cmocka_unit_test(a_configured_column_beats_the_default),
      cmocka_unit_test(a_new_description_moves_the_columns),
      cmocka_unit_test(a_missing_column_is_refused_by_name),
      cmocka_unit_test(a_row_becomes_an_event),
      cmocka_unit_test(a_null_is_absent_and_the_commit_time_serves),
      cmocka_unit_test(header_columns_are_read_with_the_row),
      cmocka_unit_test(a_missing_header_column_is_refused_by_name),
      cmocka_unit_test(a_bad_occurred_at_is_kept_for_the_record_to_report),
      cmocka_unit_test(each_row_has_its_own_occurred_at),
      cmocka_unit_test(the_payload_form_follows_the_type),
      cmocka_unit_test(an_unchanged_value_in_an_insert_is_fatal),
      cmocka_unit_test(a_row_of_an_unbound_description_is_fatal),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
