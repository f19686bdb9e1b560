/* bridge/event/record.h: the record of an event, its headers and every problem. */
#include "tests/unit/event/event_fixture.h"

#include <stdlib.h>

#include "bridge/event/headers.h"
#include "bridge/event/record.h"

#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define TRACEPARENT "00-" TRACE "-00f067aa0ba902b7-01"

struct fixture {
  struct router *router;
  struct record_rules rules;
  struct record_builder *builder;
};

static int setup(void **state) {
  static struct fixture f;
  static const struct route_spec routes[] = {{.type = "Rental*", .topic = "fleet.rentals"},
                                             {.type = "Made", .topic = "${aggregate}.made"},
                                             {.type = "Tenant*", .topic = "${tenant_id}.t"}};
  f.router = router_new(routes, 3, NULL);
  f.rules = (struct record_rules){
      .instance = "shop", .layout = ENVELOPE_STANDARD, .router = f.router, .quarantine_topic = "shop.quarantine"};
  f.builder = record_builder_new(&f.rules);
  *state = &f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  record_builder_free(f->builder);
  record_builder_free(NULL);
  router_free(f->router);
  return 0;
}

static struct record *build(void **state, const struct event *event) {
  struct fixture *f = *state;
  struct problem problem = {.code = "stale"};
  struct record *record = record_build(f->builder, event, NULL, &problem);
  if (record == NULL)
    fail_msg("%s: %s", problem.code, problem.message);
  assert_null(problem.code);
  return record;
}

static void assert_headers(const struct record *record, const char *const (*expected)[2], size_t count) {
  for (size_t i = 0; i < count && i < (size_t)record->header_count; i++) {
    assert_string_equal(record->headers[i].name, expected[i][0]);
    assert_text(record->headers[i].value, expected[i][1]);
  }
  assert_int_equal(record->header_count, count);
}

static void an_event_becomes_a_record(void **state) {
  struct event event = fixture_event();
  struct record *record = build(state, &event);
  assert_string_equal(record->topic, "fleet.rentals");
  assert_text(record->key, "r-17");
  assert_text(record->value,
              "{\"id\":\"e-1\",\"type\":\"RentalReserved\",\"occurred_at\":\"2026-11-21T08:01:58.123456Z\","
              "\"source\":\"shop.public.outbox\",\"payload\":{\"a\": 1},\"metadata\":{\"partition_key\":\"r-17\"}}");
  static const char *const headers[][2] = {{"id", "e-1"},
                                           {"type", "RentalReserved"},
                                           {"source", "shop.public.outbox"},
                                           {"content-type", "application/json"},
                                           {"wf_lsn", "16/B374D848"},
                                           {"wf_tx", "4294967295"}};
  assert_headers(record, headers, COUNT_OF(headers));
  assert_int_equal(record->timestamp_ms, 1795248118123);
  assert_int_equal(record->partition, RECORD_PARTITION_BY_KEY);
  assert_false(record->quarantined);
  assert_null(record->next);
  assert_string_equal(record->origin, "public.outbox");
  assert_text(record->id, "e-1");
  assert_int_equal(record->commit_lsn, FIXTURE_LSN);
  assert_int_equal(record->xid, 4294967295);
  assert_int_equal(record->index, 7);
  record_free(record);
  record_free(NULL);
}

static void a_record_outlives_what_it_was_made_of(void **state) {
  char id[] = "e-9", headers[] = "{\"h\":\"v\"}";
  struct event event = fixture_event();
  event.fields[FIELD_ID] = slice_of(id);
  event.fields[FIELD_HEADERS] = slice_of(headers);
  struct record *first = build(state, &event);
  memset(id, 'x', 3);
  memset(headers, 'x', sizeof headers - 1);
  event.fields[FIELD_HEADERS] = SLICE_ABSENT;
  event.commit_lsn++;
  event.xid = 1;
  struct record *second = build(state, &event);
  assert_text(first->id, "e-9");
  assert_string_equal(first->headers[6].name, "h");
  assert_text(first->headers[6].value, "v");
  assert_text(first->headers[4].value, "16/B374D848");
  assert_text(second->headers[4].value, "16/B374D849");
  assert_text(second->headers[5].value, "1");
  record_free(first);
  record_free(second);
}

static void a_row_without_a_transaction_has_no_header_of_one(void **state) {
  struct event event = fixture_event();
  event.xid = 0;
  struct record *record = build(state, &event);
  assert_false(slice_present(record_header_value(record, HEADER_TX)));
  assert_text(record_header_value(record, HEADER_LSN), "16/B374D848");
  record_free(record);
}

static void a_mark_is_the_last_of_walferrys_own_headers(void **state) {
  struct fixture *f = *state;
  f->rules.mark = (struct record_header){.name = HEADER_REPLAY, .value = slice_of("run-1")};
  struct event event = fixture_event();
  event.fields[FIELD_HEADERS] = slice_of("{\"h\":\"v\"}");
  struct record *record = build(state, &event);
  assert_int_equal(record->header_count, 8);
  assert_string_equal(record->headers[6].name, "wf_replay");
  assert_text(record->headers[6].value, "run-1");
  assert_string_equal(record->headers[7].name, "h");
  f->rules.mark = (struct record_header){.name = NULL};
  record_free(record);
}

static void what_is_known_stands_in_the_headers(void **state) {
  struct event event = fixture_event();
  event.fields[FIELD_SOURCE] = slice_of("booking");
  event.fields[FIELD_CORRELATION_ID] = slice_of("c");
  event.fields[FIELD_CAUSATION_ID] = slice_of("d");
  event.fields[FIELD_TRACE_ID] = slice_of("t");
  event.fields[FIELD_TRACEPARENT] = slice_of(TRACEPARENT);
  event.fields[FIELD_TENANT_ID] = slice_of("acme");
  event.fields[FIELD_CONTENT_TYPE] = slice_of("application/x");
  event.fields[FIELD_PARTITION] = slice_of("2147483647");
  event.fields[FIELD_TOPIC] = slice_of("own");
  event.occurred_at_us = -1;
  struct record *record = build(state, &event);
  static const char *const headers[][2] = {{"id", "e-1"},
                                           {"type", "RentalReserved"},
                                           {"source", "booking"},
                                           {"correlation_id", "c"},
                                           {"causation_id", "d"},
                                           {"trace_id", "t"},
                                           {"traceparent", TRACEPARENT},
                                           {"tenant_id", "acme"},
                                           {"content-type", "application/x"},
                                           {"wf_lsn", "16/B374D848"},
                                           {"wf_tx", "4294967295"}};
  assert_headers(record, headers, COUNT_OF(headers));
  assert_int_equal(record->partition, INT32_MAX);
  assert_string_equal(record->topic, "own");
  assert_int_equal(record->timestamp_ms, -1);
  record_free(record);
}

static void custom_headers_follow(void **state) {
  struct event event = fixture_event();
  event.fields[FIELD_HEADERS] =
      slice_of(" {\"a\\u00fc\":\"b\\n\", \"n\": 1.50, \"t\":true, \"none\":null, \"content-type\":\"x/y\", "
               "\"traceparent\":\"00-2\", \"id\":\"e-1\", \"\\u0062\":\"\"} ");
  struct record *record = build(state, &event);
  static const char *const headers[][2] = {{"id", "e-1"},
                                           {"type", "RentalReserved"},
                                           {"source", "shop.public.outbox"},
                                           {"content-type", "x/y"},
                                           {"wf_lsn", "16/B374D848"},
                                           {"wf_tx", "4294967295"},
                                           {"a\u00fc", "b\n"},
                                           {"n", "1.50"},
                                           {"t", "true"},
                                           {"traceparent", "00-2"},
                                           {"b", ""}};
  assert_headers(record, headers, COUNT_OF(headers));
  record_free(record);
}

static void header_columns_stand_before_the_headers_column(void **state) {
  struct event event = fixture_event();
  struct record_header columns[] = {{"traceparent", slice_of("00-3")},
                                    {"absent", SLICE_ABSENT},
                                    {"empty", slice_of("")},
                                    {"type", slice_of("RentalReserved")},
                                    {"content-type", slice_of("x/y")}};
  event.column_headers = columns;
  event.column_header_count = COUNT_OF(columns);
  event.fields[FIELD_HEADERS] = slice_of("{\"h\":\"v\"}");
  struct record *record = build(state, &event);
  memset(columns, 0, sizeof columns); /* the record has copies */
  static const char *const headers[][2] = {{"id", "e-1"},
                                           {"type", "RentalReserved"},
                                           {"source", "shop.public.outbox"},
                                           {"content-type", "x/y"},
                                           {"wf_lsn", "16/B374D848"},
                                           {"wf_tx", "4294967295"},
                                           {"traceparent", "00-3"},
                                           {"empty", ""},
                                           {"h", "v"}};
  assert_headers(record, headers, COUNT_OF(headers));
  record_free(record);
}

static void a_header_column_contradicts_nothing(void **state) {
  static const struct {
    const char *name, *value, *custom;
  } cases[] = {{"id", "other", NULL}, {"x", "1", "{\"x\":\"1\"}"}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct event event = fixture_event();
    const struct record_header column = {cases[i].name, slice_of(cases[i].value)};
    event.column_headers = &column;
    event.column_header_count = 1;
    event.fields[FIELD_HEADERS] = slice_of(cases[i].custom);
    struct problem problem;
    assert_null(record_build(((struct fixture *)*state)->builder, &event, NULL, &problem));
    assert_string_equal(problem.code, "headers_invalid");
  }
}

static void a_hundred_custom_headers_are_taken_and_no_more(void **state) {
  struct buffer text;
  buffer_init(&text, 100000);
  for (int count = 100; count <= 101; count++) {
    buffer_clear(&text);
    for (int i = 0; i < count; i++)
      buffer_printf(&text, "%c\"h%d\":\"%d\"", i == 0 ? '{' : ',', i, i);
    buffer_append_char(&text, '}');
    struct event event = fixture_event();
    event.fields[FIELD_HEADERS] = buffer_slice(&text);
    struct problem problem;
    struct record *record = record_build(((struct fixture *)*state)->builder, &event, NULL, &problem);
    assert_int_equal(record != NULL, count == 100);
    if (record == NULL)
      assert_string_equal(problem.code, "headers_invalid");
    else
      assert_text(record->headers[105].value, "99");
    record_free(record);
  }
  buffer_free(&text);
}

static void large_headers_leave_no_memory_behind(void **state) {
  size_t size = (size_t)2 << 20;
  char *text = malloc(size);
  memset(text, 'x', size);
  memcpy(text, "{\"h\":\"", 6);
  memcpy(text + size - 2, "\"}", 2);
  struct event event = fixture_event();
  event.fields[FIELD_HEADERS] = slice_from(text, size);
  struct record *record = build(state, &event);
  assert_int_equal(record->headers[6].value.len, size - 8);
  record_free(record);
  event.fields[FIELD_HEADERS] = slice_of("{\"h\":\"v\"}");
  record = build(state, &event);
  assert_text(record->headers[6].value, "v");
  record_free(record);
  free(text);
}

static void each_origin_has_its_own_default_source(void **state) {
  struct event event = fixture_event();
  static const char *const origins[] = {"public.outbox", "walferry", "sales.outbox"};
  static const char *const sources[] = {"shop.public.outbox", "shop.walferry", "shop.sales.outbox"};
  for (size_t i = 0; i < COUNT_OF(origins); i++) {
    event.origin = origins[i];
    struct record *record = build(state, &event);
    assert_text(record->headers[2].value, sources[i]);
    assert_string_equal(record->origin, origins[i]);
    record_free(record);
  }
}

static void an_empty_key_is_a_key(void **state) {
  struct event event = fixture_event();
  event.fields[FIELD_KEY] = slice_of("");
  struct record *record = build(state, &event);
  assert_true(slice_present(record->key));
  assert_int_equal(record->key.len, 0);
  record_free(record);
}

static void each_problem_has_its_code(void **state) {
  static char long_topic[5000];
  memset(long_topic, 'a', sizeof long_topic - 1);
  const struct {
    enum event_field field;
    const char *text;
    const char *code;
  } cases[] = {
      {FIELD_ID, NULL, "missing_id"},
      {FIELD_ID, "", "missing_id"},
      {FIELD_TYPE, NULL, "missing_type"},
      {FIELD_TYPE, "", "missing_type"},
      {FIELD_KEY, NULL, "missing_key"},
      {FIELD_TYPE, "Unknown", "unroutable"},
      {FIELD_TYPE, "TenantX", "unroutable"},
      {FIELD_TOPIC, "a b", "topic_illegal"},
      {FIELD_TOPIC, "", "topic_illegal"},
      {FIELD_TOPIC, "walferry.position.other", "topic_illegal"},
      {FIELD_TOPIC, "__consumer_offsets", "topic_illegal"},
      {FIELD_TOPIC, long_topic, "topic_illegal"},
      {FIELD_PARTITION, "-1", "partition_invalid"},
      {FIELD_PARTITION, "2147483648", "partition_invalid"},
      {FIELD_PARTITION, "one", "partition_invalid"},
      {FIELD_PARTITION, "", "partition_invalid"},
      {FIELD_HEADERS, "", "headers_invalid"},
      {FIELD_HEADERS, "[]", "headers_invalid"},
      {FIELD_HEADERS, "\"{}\"", "headers_invalid"},
      {FIELD_HEADERS, "{\"a\":{}}", "headers_invalid"},
      {FIELD_HEADERS, "{\"a\":[]}", "headers_invalid"},
      {FIELD_HEADERS, "{\"a\":1,\"\\u0061\":1}", "headers_invalid"},
      {FIELD_HEADERS, "{\"\":1}", "headers_invalid"},
      {FIELD_HEADERS, "{\"a\\u0000b\":1}", "headers_invalid"},
      {FIELD_HEADERS, "{\"id\":\"other\"}", "headers_invalid"},
      {FIELD_HEADERS, "{\"wf_lsn\":\"0/1\"}", "headers_invalid"},
      {FIELD_HEADERS, "{\"wf_x\":1}", "headers_invalid"},
      {FIELD_HEADERS, "{\"a\":1", "headers_invalid"},
      {FIELD_PAYLOAD, "hello", "payload_not_json"},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct event event = fixture_event();
    event.payload_form = PAYLOAD_TEXT;
    event.fields[cases[i].field] = slice_of(cases[i].text);
    struct problem problem = {.code = NULL};
    struct record *record = record_build(((struct fixture *)*state)->builder, &event, NULL, &problem);
    if (record != NULL || problem.code == NULL || strcmp(problem.code, cases[i].code) != 0)
      fail_msg("case %zu: %s", i, problem.code == NULL ? "none" : problem.code);
    assert_true(problem.message[0] != '\0');
  }
}

static void a_bad_occurred_at_is_a_problem(void **state) {
  struct event event = fixture_event();
  event.occurred_at_invalid = true;
  struct problem problem;
  assert_null(record_build(((struct fixture *)*state)->builder, &event, NULL, &problem));
  assert_string_equal(problem.code, "occurred_at_invalid");
}

static void a_template_makes_the_topic(void **state) {
  struct event event = fixture_event();
  event.fields[FIELD_TYPE] = slice_of("Made");
  struct record *record = build(state, &event);
  assert_string_equal(record->topic, "Rental.made");
  record_free(record);
}

static void a_trace_id_comes_from_a_traceparent_where_there_is_no_other(void **state) {
  static const struct {
    const char *traceparent, *trace_id, *header, *id_header;
    bool dropped;
  } cases[] = {
      {TRACEPARENT, NULL, TRACEPARENT, TRACE, false},
      {TRACEPARENT, "t", TRACEPARENT, "t", false},
      {"00-1", NULL, NULL, NULL, true},
      {"", "t", NULL, "t", true},
      {NULL, "t", NULL, "t", false},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct event event = fixture_event();
    event.fields[FIELD_TRACEPARENT] = slice_of(cases[i].traceparent);
    event.fields[FIELD_TRACE_ID] = slice_of(cases[i].trace_id);
    struct record *record = build(state, &event);
    assert_text(record_header_value(record, "traceparent"), cases[i].header);
    assert_text(record_header_value(record, "trace_id"), cases[i].id_header);
    assert_int_equal(record->trace_dropped, cases[i].dropped);
    record_free(record);
  }
}

static void a_type_may_be_published_with_its_version(void **state) {
  static const struct {
    const char *type, *version, *published;
  } cases[] = {
      {"order.created", "1", "order.created.v1"},
      {"order.created.v1", "1", "order.created.v1"},
      {"order.created.v1", "2", "order.created.v1.v2"},
      {"order.created", NULL, "order.created"},
      {"order.created", "", "order.created"},
      {"v1", "1", "v1.v1"},
      {".v1", "1", ".v1"},
  };
  struct fixture *f = *state;
  static const struct route_spec route = {.type = "*", .topic = "t"};
  struct router *router = router_new(&route, 1, NULL);
  struct record_rules rules = f->rules;
  rules.router = router;
  rules.versioned_types = true;
  struct record_builder *builder = record_builder_new(&rules);
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct event event = fixture_event();
    event.fields[FIELD_TYPE] = slice_of(cases[i].type);
    event.fields[FIELD_VERSION] = slice_of(cases[i].version);
    struct problem problem;
    struct record *record = record_build(builder, &event, NULL, &problem);
    assert_text(record_header_value(record, "type"), cases[i].published);
    char member[64];
    snprintf(member, sizeof member, ",\"type\":\"%s\",", cases[i].published);
    assert_non_null(memmem(record->value.data, record->value.len, member, strlen(member)));
    record_free(record);
  }
  record_builder_free(builder);
  router_free(router);
}

static void a_topic_of_its_own_and_a_suffix_come_behind_the_route(void **state) {
  static const struct {
    const char *topic, *suffix, *wanted;
  } cases[] = {{NULL, NULL, "rentals"}, {"mine", NULL, "mine"}, {NULL, ".again", "rentals.again"}};
  static const struct route_spec route = {.type = "RentalReserved", .topic = "rentals"};
  struct fixture *f = *state;
  struct router *router = router_new(&route, 1, NULL);
  struct record_rules rules = f->rules;
  rules.router = router;
  struct record_builder *builder = record_builder_new(&rules);
  struct event event = fixture_event();
  struct problem problem;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    event.fields[FIELD_TYPE] = slice_of("RentalReserved");
    rules.topic = cases[i].topic;
    rules.topic_suffix = cases[i].suffix;
    struct record *record = record_build(builder, &event, NULL, &problem);
    assert_string_equal(record->topic, cases[i].wanted);
    record_free(record);
    event.fields[FIELD_TYPE] = slice_of("Other"); /* has no route, and so gets no topic either */
    assert_null(record_build(builder, &event, NULL, &problem));
    assert_string_equal(problem.code, "unroutable");
  }
  record_builder_free(builder);
  router_free(router);
}

static void routes_see_the_type_as_it_is_written(void **state) {
  static const struct route_spec routes[] = {{.type = "Made.v1", .topic = "versioned"},
                                             {.type = "Made", .topic = "${type}.made"}};
  struct router *router = router_new(routes, 2, NULL);
  struct record_rules rules = ((struct fixture *)*state)->rules;
  rules.router = router;
  rules.versioned_types = true;
  struct record_builder *builder = record_builder_new(&rules);
  struct event event = fixture_event();
  event.fields[FIELD_TYPE] = slice_of("Made");
  event.fields[FIELD_VERSION] = slice_of("1");
  struct problem problem;
  struct record *record = record_build(builder, &event, NULL, &problem);
  assert_string_equal(record->topic, "Made.made");
  record_free(record);
  record_builder_free(builder);
  router_free(router);
}

static void a_spread_record_names_no_partition_unless_the_row_does(void **state) {
  static const struct route_spec route = {.type = "*", .topic = "t", .round_robin = true};
  struct router *router = router_new(&route, 1, NULL);
  struct record_rules rules = ((struct fixture *)*state)->rules;
  rules.router = router;
  struct record_builder *builder = record_builder_new(&rules);
  struct event event = fixture_event();
  struct problem problem;
  struct record *record = record_build(builder, &event, NULL, &problem);
  assert_int_equal(record->partition, RECORD_PARTITION_ROUND_ROBIN);
  record_free(record);
  event.fields[FIELD_PARTITION] = slice_of("2");
  record = record_build(builder, &event, NULL, &problem);
  assert_int_equal(record->partition, 2);
  record_free(record);
  record_builder_free(builder);
  router_free(router);
}

/* The content type that a record of the layout has; absent: no such header. */
static struct slice content_type_of(void **state, enum envelope_layout layout, const struct event *event) {
  struct fixture *f = *state;
  struct record_rules rules = f->rules;
  rules.layout = layout;
  struct record_builder *builder = record_builder_new(&rules);
  struct problem problem;
  struct record *record = record_build(builder, event, NULL, &problem);
  static char text[64];
  if (record == NULL)
    fail_msg("%s", problem.message);
  struct slice found = record_header_value(record, "content-type");
  if (slice_present(found)) {
    snprintf(text, sizeof text, "%.*s", SLICE_ARG(found));
    found = slice_of(text);
  }
  record_free(record);
  record_builder_free(builder);
  return found;
}

static void each_layout_knows_its_content_type(void **state) {
  static const char cloudevents[] = "application/cloudevents+json; charset=UTF-8";
  static const struct {
    enum envelope_layout layout;
    enum payload_form form;
    const char *payload, *own, *custom, *expected;
  } cases[] = {
      {ENVELOPE_STANDARD, PAYLOAD_TEXT, "{}", NULL, NULL, "application/json"},
      {ENVELOPE_CONTRACT, PAYLOAD_TEXT, NULL, NULL, NULL, "application/json"},
      {ENVELOPE_ACTOR, PAYLOAD_JSON, "{}", "a/b", NULL, "a/b"},
      {ENVELOPE_CLOUDEVENTS, PAYLOAD_JSON, "{}", NULL, NULL, cloudevents},
      {ENVELOPE_CLOUDEVENTS, PAYLOAD_TEXT, "<a/>", "text/xml", NULL, cloudevents},
      {ENVELOPE_PAYLOAD, PAYLOAD_JSON, "{}", NULL, NULL, "application/json"},
      {ENVELOPE_PAYLOAD, PAYLOAD_JSON, NULL, NULL, NULL, NULL},
      {ENVELOPE_PAYLOAD, PAYLOAD_JSON, NULL, "a/b", NULL, "a/b"},
      {ENVELOPE_PAYLOAD, PAYLOAD_TEXT, "{}", NULL, NULL, NULL},
      {ENVELOPE_PAYLOAD, PAYLOAD_TEXT, "{}", "a/b", NULL, "a/b"},
      {ENVELOPE_PAYLOAD, PAYLOAD_TEXT, "{}", NULL, "{\"content-type\":\"c/d\"}", "c/d"},
      {ENVELOPE_PAYLOAD, PAYLOAD_BYTEA, "\\x00", NULL, NULL, NULL},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct event event = fixture_event();
    event.payload_form = cases[i].form;
    event.fields[FIELD_PAYLOAD] = slice_of(cases[i].payload);
    event.fields[FIELD_CONTENT_TYPE] = slice_of(cases[i].own);
    event.fields[FIELD_HEADERS] = slice_of(cases[i].custom);
    assert_text(content_type_of(state, cases[i].layout, &event), cases[i].expected);
  }
}

/* In structured mode the record's content type says that the value is a CloudEvent. */
static void a_custom_header_may_not_make_something_else_of_a_cloudevent(void **state) {
  struct record_rules rules = ((struct fixture *)*state)->rules;
  rules.layout = ENVELOPE_CLOUDEVENTS;
  struct record_builder *builder = record_builder_new(&rules);
  struct event event = fixture_event();
  struct problem problem;
  event.fields[FIELD_HEADERS] = slice_of("{\"content-type\":\"text/xml\"}");
  assert_null(record_build(builder, &event, NULL, &problem));
  assert_string_equal(problem.code, "headers_invalid");
  record_builder_free(builder);
}

static void a_null_payload_without_an_envelope_is_a_tombstone(void **state) {
  struct record_rules rules = ((struct fixture *)*state)->rules;
  rules.layout = ENVELOPE_PAYLOAD;
  struct record_builder *builder = record_builder_new(&rules);
  struct event event = fixture_event();
  struct problem problem;
  struct record *record = record_build(builder, &event, NULL, &problem);
  assert_text(record->value, "{\"a\": 1}");
  assert_text(record->key, "r-17");
  assert_true(record->bare);
  record_free(record);
  event.fields[FIELD_PAYLOAD] = SLICE_ABSENT;
  record = record_build(builder, &event, NULL, &problem);
  assert_false(slice_present(record->value));
  record_free(record);
  record_builder_free(builder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_event_becomes_a_record),
      cmocka_unit_test(a_record_outlives_what_it_was_made_of),
      cmocka_unit_test(a_mark_is_the_last_of_walferrys_own_headers),
      cmocka_unit_test(a_row_without_a_transaction_has_no_header_of_one),
      cmocka_unit_test(what_is_known_stands_in_the_headers),
      cmocka_unit_test(custom_headers_follow),
      cmocka_unit_test(header_columns_stand_before_the_headers_column),
      cmocka_unit_test(a_header_column_contradicts_nothing),
      cmocka_unit_test(a_hundred_custom_headers_are_taken_and_no_more),
      cmocka_unit_test(large_headers_leave_no_memory_behind),
      cmocka_unit_test(each_origin_has_its_own_default_source),
      cmocka_unit_test(an_empty_key_is_a_key),
      cmocka_unit_test(each_problem_has_its_code),
      cmocka_unit_test(a_bad_occurred_at_is_a_problem),
      cmocka_unit_test(a_template_makes_the_topic),
      cmocka_unit_test(a_trace_id_comes_from_a_traceparent_where_there_is_no_other),
      cmocka_unit_test(a_type_may_be_published_with_its_version),
      cmocka_unit_test(a_topic_of_its_own_and_a_suffix_come_behind_the_route),
      cmocka_unit_test(routes_see_the_type_as_it_is_written),
      cmocka_unit_test(a_spread_record_names_no_partition_unless_the_row_does),
      cmocka_unit_test(each_layout_knows_its_content_type),
      cmocka_unit_test(a_custom_header_may_not_make_something_else_of_a_cloudevent),
      cmocka_unit_test(a_null_payload_without_an_envelope_is_a_tombstone),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
