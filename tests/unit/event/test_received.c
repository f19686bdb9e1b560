/* bridge/event/received.h: what a handler sees of each record, and that nothing is lost on the way through Kafka. */
#include "tests/unit/event/event_fixture.h"

#include <stdlib.h>

#include "bridge/event/received.h"

#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define TRACEPARENT "00-" TRACE "-00f067aa0ba902b7-01"
#define HEADERS_MAX 12

/* A record of literals, and what has to come of it; NULL: not looked at. */
struct received_case {
  const char *name;
  const char *value; /* NULL: a tombstone */
  const char *headers[HEADERS_MAX][2];
  enum received_layout layout;
  const char *id, *type, *envelope;
  const char *contradicted;
  const char *problem; /* its code */
};

static struct received_record record_of(struct slice value, const struct record_header *headers, int count) {
  return (struct received_record){.topic = "fleet.rentals",
                                  .partition = 3,
                                  .offset = 42,
                                  .key = slice_of("r-17"),
                                  .value = value,
                                  .headers = headers,
                                  .header_count = count,
                                  .timestamp_ms = 1795248118123};
}

/* Where something expected is NULL nothing must be there. */
static void check_case(struct received_reader *reader, const struct received_case *c) {
  struct record_header headers[HEADERS_MAX];
  int count = 0;
  for (; count < HEADERS_MAX && c->headers[count][0] != NULL; count++)
    headers[count] = (struct record_header){.name = c->headers[count][0], .value = slice_of(c->headers[count][1])};
  struct received_record record = record_of(slice_of(c->value), headers, count);
  struct received event;
  struct problem problem = {.code = "stale"};
  print_message("%s\n", c->name);
  bool ok = received_read(reader, &record, &event, &problem);
  assert_int_equal(ok, c->problem == NULL);
  assert_text(slice_of(problem.code), c->problem);
  assert_int_equal(event.layout, c->layout);
  assert_int_equal(event.tombstone, c->value == NULL);
  assert_text(event.id, c->id == NULL ? "fleet.rentals/3/42" : c->id);
  assert_int_equal(event.id_is_place, c->id == NULL);
  assert_text(event.type, c->type);
  assert_text(event.envelope, c->envelope);
  assert_text(slice_of(event.contradicted), c->contradicted);
}

static void check_cases(struct received_reader *reader, const struct received_case *cases, size_t count) {
  for (size_t i = 0; i < count; i++)
    check_case(reader, &cases[i]);
}

/* Way and back. */

static struct event full_event(void) {
  struct event event = fixture_event();
  event.occurred_at_us = INT64_C(1795248118123000); /* the record's timestamp has no more than milliseconds */
  event.fields[FIELD_ID] = slice_of("e-\"1\"\t\u00fc");
  event.fields[FIELD_KEY] = slice_of("r-17");
  event.fields[FIELD_PAYLOAD] = slice_of("{\"b\" : [1.50, 1e400, \"\\u00fc\\u0041\"],\n \"a\":{},\"a\":-0.0}");
  event.fields[FIELD_VERSION] = slice_of("3");
  event.fields[FIELD_SOURCE] = slice_of("a shop/public.outbox");
  event.fields[FIELD_CORRELATION_ID] = slice_of("c-1");
  event.fields[FIELD_CAUSATION_ID] = slice_of("d-1");
  event.fields[FIELD_TRACEPARENT] = slice_of(TRACEPARENT);
  event.fields[FIELD_TENANT_ID] = slice_of("acme");
  event.fields[FIELD_ACTOR_ID] = slice_of("12");
  event.fields[FIELD_ACTOR_TYPE] = slice_of("user");
  return event;
}

static struct record *relayed(enum envelope_layout layout, const struct event *event) {
  static const struct route_spec route = {.type = "*", .topic = "t"};
  struct router *router = router_new(&route, 1, NULL);
  struct record_rules rules = {.instance = "shop", .layout = layout, .router = router, .quarantine_topic = "q"};
  struct record_builder *builder = record_builder_new(&rules);
  struct problem problem = {.code = NULL};
  struct record *record = record_build(builder, event, NULL, &problem);
  if (record == NULL)
    fail_msg("%s: %s", problem.code, problem.message);
  record_builder_free(builder);
  router_free(router);
  return record;
}

static struct received receive(struct received_reader *reader, const struct record *record) {
  struct received_record arrived = record_of(record->value, record->headers, record->header_count);
  struct received event;
  struct problem problem = {.code = NULL};
  arrived.key = record->key;
  arrived.timestamp_ms = record->timestamp_ms;
  if (!received_read(reader, &arrived, &event, &problem))
    fail_msg("%s: %s", problem.code, problem.message);
  assert_null(event.contradicted);
  return event;
}

/* Layouts that have no place for a field, in value or headers, lose it. */
static const struct {
  enum envelope_layout written;
  enum received_layout layout;
  bool version, actor;
} ways[] = {{ENVELOPE_STANDARD, RECEIVED_STANDARD, true, true},
            {ENVELOPE_CONTRACT, RECEIVED_CONTRACT, true, false},
            {ENVELOPE_ACTOR, RECEIVED_ACTOR, true, true},
            {ENVELOPE_CLOUDEVENTS, RECEIVED_CLOUDEVENTS, true, true},
            {ENVELOPE_PAYLOAD, RECEIVED_PAYLOAD, false, false}};

static void every_layout_comes_back_as_the_standard_one(void **state) {
  for (size_t i = 0; i < COUNT_OF(ways); i++) {
    struct event event = full_event();
    struct record *record = relayed(ways[i].written, &event);
    if (!ways[i].version)
      event.fields[FIELD_VERSION] = SLICE_ABSENT;
    if (!ways[i].actor)
      event.fields[FIELD_ACTOR_ID] = event.fields[FIELD_ACTOR_TYPE] = SLICE_ABSENT;
    struct record *standard = relayed(ENVELOPE_STANDARD, &event);
    struct received got = receive(*state, record);
    assert_int_equal(got.layout, ways[i].layout);
    assert_slice(got.envelope, standard->value);
    assert_slice(got.id, event.fields[FIELD_ID]);
    assert_false(got.id_is_place);
    assert_slice(got.type, event.fields[FIELD_TYPE]);
    assert_slice(got.source, event.fields[FIELD_SOURCE]);
    assert_slice(got.identity_source, event.fields[FIELD_SOURCE]);
    assert_slice(got.correlation_id, event.fields[FIELD_CORRELATION_ID]);
    assert_slice(got.causation_id, event.fields[FIELD_CAUSATION_ID]);
    assert_text(got.trace_id, TRACE);
    assert_text(got.traceparent, TRACEPARENT);
    assert_slice(got.tenant_id, event.fields[FIELD_TENANT_ID]);
    record_free(standard);
    record_free(record);
  }
}

static void the_smallest_event_comes_back_in_every_layout(void **state) {
  for (size_t i = 0; i < COUNT_OF(ways); i++) {
    struct event event = fixture_event();
    event.occurred_at_us = INT64_C(1795248118000000);
    event.fields[FIELD_PAYLOAD] = SLICE_ABSENT;
    struct record *record = relayed(ways[i].written, &event), *standard = relayed(ENVELOPE_STANDARD, &event);
    struct received got = receive(*state, record);
    assert_int_equal(got.layout, ways[i].layout);
    assert_int_equal(got.tombstone, ways[i].layout == RECEIVED_PAYLOAD);
    assert_slice(got.envelope, standard->value);
    assert_text(got.source, "shop.public.outbox");
    assert_false(slice_present(got.correlation_id) || slice_present(got.trace_id) || slice_present(got.tenant_id));
    record_free(standard);
    record_free(record);
  }
}

static void payloads_that_are_no_json_arrive_as_strings(void **state) {
  static const struct {
    const char *payload, *content_type, *expected;
  } cases[] = {{"plain \"text\"", "text/plain", "\"plain \\\"text\\\"\""},
               {"17", "text/csv", "\"17\""},
               {"17", "application/vnd.x+json; charset=UTF-8", "17"},
               {"\xff\xfe", "application/octet-stream", "\"//4=\""}};
  static const enum envelope_layout layouts[] = {ENVELOPE_CLOUDEVENTS, ENVELOPE_PAYLOAD};
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    for (size_t j = 0; j < COUNT_OF(layouts); j++) {
      struct event event = fixture_event();
      event.payload_form = PAYLOAD_TEXT;
      event.fields[FIELD_PAYLOAD] = slice_of(cases[i].payload);
      event.fields[FIELD_CONTENT_TYPE] = slice_of(cases[i].content_type);
      struct record *record = relayed(layouts[j], &event);
      struct received got = receive(*state, record);
      char expected[64];
      snprintf(expected, sizeof expected, "\"payload\":%s,\"metadata\"", cases[i].expected);
      if (memmem(got.envelope.data, got.envelope.len, expected, strlen(expected)) == NULL)
        fail_msg("%.*s lacks %s", SLICE_ARG(got.envelope), expected);
      record_free(record);
    }
}

#define TIME "\"occurred_at\":\"2026-11-21T08:01:58.123000Z\""
#define META "\"metadata\":{\"partition_key\":\"r-17\"}"

static void what_the_value_lacks_is_taken_from_headers(void **state) {
  static const struct received_case cases[] = {
      {"all from headers",
       "{\"a\":1}",
       {{"id", "e"}, {"type", "T"}, {"source", "s"}, {"correlation_id", "c"}, {"tenant_id", "t"}, {"wf_lsn", "0/1"}},
       RECEIVED_PAYLOAD,
       "e",
       "T",
       .envelope =
           "{\"id\":\"e\",\"type\":\"T\"," TIME ",\"source\":\"s\",\"correlation_id\":\"c\",\"payload\":{\"a\":1},"
           "\"metadata\":{\"partition_key\":\"r-17\",\"tenant_id\":\"t\"}}"},
      {"some from headers",
       "{\"type\":\"T\",\"payload\":1,\"metadata\":{\"partition_key\":\"own\"}}",
       {{"trace_id", "t"}, {"source", "s"}},
       RECEIVED_STANDARD,
       NULL,
       "T",
       .envelope =
           "{\"id\":\"fleet.rentals/3/42\",\"type\":\"T\"," TIME ",\"source\":\"s\",\"trace_id\":\"t\",\"payload\":1,"
           "\"metadata\":{\"partition_key\":\"own\"}}"},
      {"the last header of a name counts, an empty id is none",
       "1",
       {{"type", "A"}, {"type", "B"}, {"id", ""}, {"wf_lsn", "0/1"}},
       RECEIVED_PAYLOAD,
       NULL,
       "B",
       .envelope = "{\"id\":\"fleet.rentals/3/42\",\"type\":\"B\"," TIME ",\"payload\":1," META "}"},
      {"nothing known",
       "[ ]",
       {{NULL}},
       RECEIVED_PAYLOAD,
       NULL,
       NULL,
       .envelope = "{\"id\":\"fleet.rentals/3/42\"," TIME ",\"payload\":[ ]," META "}"},
      {"a tombstone without anything",
       NULL,
       {{"other", NULL}},
       RECEIVED_PAYLOAD,
       NULL,
       NULL,
       .envelope = "{\"id\":\"fleet.rentals/3/42\"," TIME ",\"payload\":null," META "}"},
  };
  check_cases(*state, cases, COUNT_OF(cases));
}

#define EVENT(members) "{\"id\":\"e\",\"type\":\"T\"," TIME members ",\"payload\":1}"
#define EVENT_BACK(members) "{\"id\":\"e\",\"type\":\"T\"," TIME members ",\"payload\":1," META "}"

static void the_value_counts_where_a_header_contradicts(void **state) {
  static const struct received_case cases[] = {
      {"id",
       EVENT(""),
       {{"id", "other"}, {"type", "T"}, {"wf_lsn", "0/1"}},
       RECEIVED_STANDARD,
       "e",
       "T",
       .envelope = EVENT_BACK(""),
       .contradicted = "id"},
      {"an ill-formed one too",
       EVENT(""),
       {{"type", "\xff"}},
       RECEIVED_STANDARD,
       "e",
       "T",
       .envelope = EVENT_BACK(""),
       .contradicted = "type"},
      {"the same text",
       EVENT(",\"source\":\"\\u0073\""),
       {{"source", "s"}, {"id", "e"}, {"content-type", "x/y"}},
       RECEIVED_STANDARD,
       "e",
       "T",
       .envelope = EVENT_BACK(",\"source\":\"s\"")},
      {"a source that is no URI",
       "{\"specversion\":\"1.0\",\"id\":\"e\",\"source\":\"a%20b\",\"type\":\"T\"}",
       {{"source", "a b"}},
       RECEIVED_CLOUDEVENTS,
       "e",
       "T",
       .envelope = "{\"id\":\"e\",\"type\":\"T\"," TIME ",\"source\":\"a b\",\"payload\":null," META "}"},
      {"another source",
       "{\"specversion\":\"1.0\",\"id\":\"e\",\"source\":\"a%20b\",\"type\":\"T\",\"data\":\"x\"}",
       {{"source", "c"}},
       RECEIVED_CLOUDEVENTS,
       "e",
       "T",
       .envelope = "{\"id\":\"e\",\"type\":\"T\"," TIME ",\"source\":\"a%20b\",\"payload\":\"x\"," META "}",
       .contradicted = "source"},
  };
  check_cases(*state, cases, COUNT_OF(cases));
}

static void a_payload_that_resembles_an_envelope_is_a_payload(void **state) {
#define WALFERRYS                                                                                                      \
  {                                                                                                                    \
    {"id", "e"}, {"type", "T"}, {                                                                                      \
      "wf_lsn", "0/1"                                                                                                  \
    }                                                                                                                  \
  }
#define BARE(payload)                                                                                                  \
  payload, WALFERRYS, RECEIVED_PAYLOAD, "e", "T",                                                                      \
      .envelope = "{\"id\":\"e\",\"type\":\"T\"," TIME ",\"payload\":" payload "," META "}"
  static const struct received_case cases[] = {
      {"no time", BARE("{\"id\":1,\"type\":\"card\",\"payload\":{}}")},
      {"no id", BARE("{\"type\":\"card\",\"ts\":1,\"payload\":{}}")},
      {"an id of another kind", BARE("{\"id\":{},\"type\":\"card\",\"ts\":1,\"payload\":{}}")},
      {"a type of another kind", BARE("{\"id\":1,\"type\":7,\"ts\":1,\"payload\":{}}")},
      {"no payload", BARE("{\"id\":1,\"type\":\"card\",\"ts\":1}")},
      {"other CloudEvents", BARE("{\"specversion\":\"0.3\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\"}")},
      {"part of a CloudEvent", BARE("{\"specversion\":\"1.0\",\"id\":\"1\",\"type\":\"t\"}")},
      {"what a converter would write", BARE("{\"schema\":null,\"payload\":1}")},
      {"a string with JSON", BARE("\"{\\\"a\\\":1}\"")},
      {"a name twice", BARE("{\"id\":1,\"id\":2}")},
  };
  check_cases(*state, cases, COUNT_OF(cases));
}

static void debeziums_forms_are_read(void **state) {
#define SCHEMA(type) "{\"schema\":{\"type\":\"" type "\",\"optional\":false},\"payload\":"
#define BACK(id, payload) "{\"id\":\"" id "\",\"type\":\"T\"," TIME ",\"payload\":" payload "," META "}"
#define TYPELESS(payload) "{\"id\":\"e\"," TIME ",\"payload\":" payload "," META "}"
#define ID                                                                                                             \
  {                                                                                                                    \
    { "id", "e" }                                                                                                      \
  }
#define ID_TYPE                                                                                                        \
  {                                                                                                                    \
    {"id", "e"}, {                                                                                                     \
      "eventType", "T"                                                                                                 \
    }                                                                                                                  \
  }
  static const struct received_case cases[] = {
      {"string converter", "{\"a\": 0.10}", ID, RECEIVED_DEBEZIUM, "e", NULL, .envelope = TYPELESS("{\"a\": 0.10}")},
      {"type as a header", "{}", ID_TYPE, RECEIVED_DEBEZIUM, "e", "T", .envelope = BACK("e", "{}")},
      {"tombstone", NULL, ID_TYPE, RECEIVED_DEBEZIUM, "e", "T", .envelope = BACK("e", "null")},
      {"JSON converter without schemas", " \"{\\\"a\\\": 0.10}\" ", ID_TYPE, RECEIVED_DEBEZIUM, "e", "T",
       .envelope = BACK("e", "{\"a\": 0.10}")},
      {"a text that is no JSON", "\"a b\"", ID_TYPE, RECEIVED_DEBEZIUM, "e", "T", .envelope = BACK("e", "\"a b\"")},
      {"with schemas", SCHEMA("string") "\"{\\\"a\\\": 1E400}\"}", ID_TYPE, RECEIVED_DEBEZIUM, "e", "T",
       .envelope = BACK("e", "{\"a\": 1E400}")},
      {"expanded, with schemas", SCHEMA("struct") " {\"a\": 1}}", ID_TYPE, RECEIVED_DEBEZIUM, "e", "T",
       .envelope = BACK("e", "{\"a\": 1}")},
      {"null, with schemas", SCHEMA("string") "null}", ID_TYPE, RECEIVED_DEBEZIUM, "e", "T",
       .envelope = BACK("e", "null")},
      {"no schema", "{\"payload\":3,\"schema\":null}", ID_TYPE, RECEIVED_DEBEZIUM, "e", "T",
       .envelope = BACK("e", "3")},
      {"JSON headers",
       "{}",
       {{"id", "\"e\\u0031\""}, {"eventType", SCHEMA("string") "\"T\"}"}},
       RECEIVED_DEBEZIUM,
       "e1",
       "T",
       .envelope = BACK("e1", "{}")},
      {"JSON headers with numbers",
       "{}",
       {{"id", SCHEMA("int64") "17}"}, {"type", "\"T\""}},
       RECEIVED_DEBEZIUM,
       "17",
       "T",
       .envelope = BACK("17", "{}")},
      {"type in the value", "{\"type\":\"T\",\"payload\":\"{\\\"a\\\": 1}\"}", ID, RECEIVED_DEBEZIUM, "e", "T",
       .envelope = BACK("e", "{\"a\": 1}")},
      {"type in the value, with schemas", SCHEMA("struct") "{\"eventType\":\"T\",\"payload\":\"[1.0]\"}}", ID,
       RECEIVED_DEBEZIUM, "e", "T", .envelope = BACK("e", "[1.0]")},
      {"no header at all, but schemas",
       SCHEMA("string") "\"7\"}",
       {{NULL}},
       RECEIVED_DEBEZIUM,
       NULL,
       NULL,
       .envelope = "{\"id\":\"fleet.rentals/3/42\"," TIME ",\"payload\":7," META "}"},
      {"a whole envelope as payload",
       "\""
       "{\\\"id\\\":1,\\\"type\\\":\\\"T\\\",\\\"ts\\\":\\\"2026-11-21\\u002008:01:58.123Z\\\","
       "\\\"payload\\\":\\\"[1]\\\"}"
       "\"",
       {{"id", "1"}},
       RECEIVED_CONTRACT,
       "1",
       "T",
       .envelope = BACK("1", "\"[1]\"")},
  };
  check_cases(*state, cases, COUNT_OF(cases));
}

static void keys_are_taken_where_they_are_text(void **state) {
  static const struct {
    struct slice key;
    bool debezium;
    const char *expected;
  } cases[] = {{LITERAL("k"), false, "{\"partition_key\":\"k\"}"},
               {LITERAL("\"k\""), false, "{\"partition_key\":\"\\\"k\\\"\"}"},
               {LITERAL("\"k\""), true, "{\"partition_key\":\"k\"}"},
               {LITERAL("{\"schema\":null,\"payload\":7}"), true, "{\"partition_key\":\"7\"}"},
               {LITERAL("{\"schema\":null,\"payload\":null}"), true, NULL},
               {LITERAL(""), false, "{\"partition_key\":\"\"}"},
               {LITERAL("\0\0\0\1"), false, NULL},
               {LITERAL("\xff"), false, NULL},
               {{NULL, 0}, false, NULL}};
  static const struct record_header headers[] = {{"id", LITERAL("e")}, {"wf_lsn", LITERAL("0/1")}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct received_record record = record_of(slice_of("{}"), headers, cases[i].debezium ? 1 : 2);
    struct received event;
    struct problem problem;
    char expected[256];
    record.key = cases[i].key;
    assert_true(received_read(*state, &record, &event, &problem));
    snprintf(expected, sizeof expected, "{\"id\":\"e\"," TIME ",\"payload\":{}%s%s}",
             cases[i].expected == NULL ? "" : ",\"metadata\":", cases[i].expected == NULL ? "" : cases[i].expected);
    assert_text(event.envelope, expected);
  }
}

static void what_cannot_be_handled_has_a_code(void **state) {
  static const struct received_case cases[] = {
      {"no JSON", "hello", {{"id", "e"}, {"type", "T"}}, RECEIVED_DEBEZIUM, "e", "T", .problem = "payload_not_json"},
      {"half of it", "{\"a\":", {{"type", "T"}}, RECEIVED_PAYLOAD, NULL, "T", .problem = "payload_not_json"},
      {"no bytes", "", {{NULL}}, RECEIVED_PAYLOAD, .problem = "payload_not_json"},
      {"no UTF-8", "{\"a\":\"\xff\"}", {{NULL}}, RECEIVED_PAYLOAD, .problem = "payload_not_json"},
      {"said to be JSON", "a", {{"content-type", "application/json"}}, RECEIVED_PAYLOAD, .problem = "payload_not_json"},
      {"a member twice", EVENT(",\"id\":\"f\""), {{NULL}}, RECEIVED_STANDARD, "e", "T", .problem = "envelope_invalid"},
      {"an object as source",
       EVENT(",\"source\":{}"),
       {{NULL}},
       RECEIVED_STANDARD,
       "e",
       "T",
       .problem = "envelope_invalid"},
      {"no object as actor",
       EVENT(",\"actor\":\"me\""),
       {{NULL}},
       RECEIVED_STANDARD,
       "e",
       "T",
       .problem = "envelope_invalid"},
      {"the actor's id twice",
       EVENT(",\"actor\":{\"id\":1,\"id\":2}"),
       {{NULL}},
       RECEIVED_STANDARD,
       "e",
       "T",
       .problem = "envelope_invalid"},
      {"an array as tenant",
       EVENT(",\"metadata\":{\"tenant_id\":[]}"),
       {{NULL}},
       RECEIVED_STANDARD,
       "e",
       "T",
       .problem = "envelope_invalid"},
      {"a NUL in the id",
       "{\"id\":\"e\\u0000\",\"type\":\"T\",\"ts\":null,\"payload\":1}",
       {{NULL}},
       RECEIVED_CONTRACT,
       NULL,
       "T",
       .problem = "envelope_invalid"},
      {"data twice",
       "{\"specversion\":\"1.0\",\"id\":\"e\",\"source\":\"a\",\"type\":\"T\",\"data\":1,"
       "\"data_base64\":\"\"}",
       {{NULL}},
       RECEIVED_CLOUDEVENTS,
       "e",
       "T",
       .problem = "envelope_invalid"},
      {"no time",
       "{\"id\":\"e\",\"type\":\"T\",\"timestamp\":1795248118,\"payload\":1}",
       {{NULL}},
       RECEIVED_ACTOR,
       "e",
       "T",
       .problem = "occurred_at_invalid"},
      {"a header of bytes",
       "{}",
       {{"type", "T"}, {"tenant_id", "\xff"}},
       RECEIVED_PAYLOAD,
       NULL,
       "T",
       .problem = "headers_invalid"},
      {"the first of several",
       EVENT(",\"source\":{},\"actor\":1"),
       {{"source", "\xff"}},
       RECEIVED_STANDARD,
       "e",
       "T",
       .problem = "envelope_invalid"},
  };
  check_cases(*state, cases, COUNT_OF(cases));
}

static void a_nul_in_a_header_is_a_problem(void **state) {
  static const struct record_header header = {"correlation_id", LITERAL("a\0b")};
  struct received_record record = record_of(slice_of("{}"), &header, 1);
  struct received event;
  struct problem problem;
  assert_false(received_read(*state, &record, &event, &problem));
  assert_string_equal(problem.code, "headers_invalid");
  assert_non_null(strstr(problem.message, "correlation_id"));
  assert_false(slice_present(event.correlation_id) || slice_present(event.envelope));
}

static void traces_are_taken_where_they_are_well_formed(void **state) {
  static const struct {
    const char *traceparent, *trace_id, *expected_parent, *expected_id;
  } cases[] = {{TRACEPARENT, NULL, TRACEPARENT, TRACE},
               {TRACEPARENT, "own", TRACEPARENT, "own"},
               {"00-1", "own", NULL, "own"},
               {"00-1", NULL, NULL, NULL}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct record_header headers[] = {{"traceparent", slice_of(cases[i].traceparent)},
                                      {"trace_id", slice_of(cases[i].trace_id)}};
    struct received_record record = record_of(slice_of("{}"), headers, 2);
    struct received event;
    struct problem problem;
    assert_true(received_read(*state, &record, &event, &problem));
    assert_text(event.traceparent, cases[i].expected_parent);
    assert_text(event.trace_id, cases[i].expected_id);
  }
}

static void the_topic_is_the_identitys_source_where_there_is_none(void **state) {
  static const struct record_header header = {"id", LITERAL("1")};
  struct received_record record = record_of(slice_of("{}"), &header, 1);
  struct received event;
  struct problem problem;
  assert_true(received_read(*state, &record, &event, &problem));
  assert_false(slice_present(event.source));
  assert_text(event.identity_source, "fleet.rentals");
  assert_text(event.id, "1");
}

static void times_beyond_all_years_are_cut(void **state) {
  static const struct {
    int64_t timestamp_ms;
    const char *expected;
  } cases[] = {
      {INT64_MAX, "9999-12-31T23:59:59.999999Z"}, {INT64_MIN, "0001-01-01T00:00:00Z"}, {0, "1970-01-01T00:00:00Z"}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct received_record record = record_of(slice_of("1"), NULL, 0);
    struct received event;
    struct problem problem;
    char expected[200];
    record.timestamp_ms = cases[i].timestamp_ms;
    assert_true(received_read(*state, &record, &event, &problem));
    snprintf(expected, sizeof expected,
             "{\"id\":\"fleet.rentals/3/42\",\"occurred_at\":\"%s\",\"payload\":1,\"metadata\":{\"partition_key\":"
             "\"r-17\"}}",
             cases[i].expected);
    assert_text(event.envelope, expected);
  }
}

static int setup(void **state) {
  *state = received_reader_new();
  return 0;
}

static int teardown(void **state) {
  received_reader_free(*state);
  received_reader_free(NULL);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_layout_comes_back_as_the_standard_one),
      cmocka_unit_test(the_smallest_event_comes_back_in_every_layout),
      cmocka_unit_test(payloads_that_are_no_json_arrive_as_strings),
      cmocka_unit_test(what_the_value_lacks_is_taken_from_headers),
      cmocka_unit_test(the_value_counts_where_a_header_contradicts),
      cmocka_unit_test(a_payload_that_resembles_an_envelope_is_a_payload),
      cmocka_unit_test(debeziums_forms_are_read),
      cmocka_unit_test(keys_are_taken_where_they_are_text),
      cmocka_unit_test(what_cannot_be_handled_has_a_code),
      cmocka_unit_test(a_nul_in_a_header_is_a_problem),
      cmocka_unit_test(traces_are_taken_where_they_are_well_formed),
      cmocka_unit_test(the_topic_is_the_identitys_source_where_there_is_none),
      cmocka_unit_test(times_beyond_all_years_are_cut),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
