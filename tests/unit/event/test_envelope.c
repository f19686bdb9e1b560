/* bridge/event/envelope.h: golden envelopes, byte for byte. */
#include "tests/unit/event/event_fixture.h"

#include <stdlib.h>

#include "bridge/event/envelope.h"

static struct problem problem;

/* The value, its three runs joined; absent with the problem filled. Borrowed until the next call. */
static struct slice write_event(struct envelope *envelope, const struct event *event) {
  static char out[4096];
  struct envelope_text text;
  problem = (struct problem){.code = NULL};
  if (!envelope_write(envelope, event, slice_of("shop.public.outbox"), &text, &problem))
    return SLICE_ABSENT;
  assert_null(problem.code);
  const struct slice runs[] = {text.head, text.payload, text.tail};
  size_t len = 0;
  for (size_t i = 0; i < COUNT_OF(runs); i++) {
    assert_true(len + runs[i].len <= sizeof out);
    if (runs[i].len > 0)
      memcpy(out + len, runs[i].data, runs[i].len);
    len += runs[i].len;
  }
  return slice_from(out, len);
}

static void absent_fields_are_left_out(void **state) {
  struct event event = fixture_event();
  assert_text(write_event(*state, &event),
              "{\"id\":\"e-1\",\"type\":\"RentalReserved\",\"occurred_at\":\"2026-11-21T08:01:58.123456Z\","
              "\"source\":\"shop.public.outbox\",\"payload\":{\"a\": 1},\"metadata\":{\"partition_key\":\"r-17\"}}");
}

static void every_field_has_its_place(void **state) {
  struct event event = fixture_event();
  event.occurred_at_us = INT64_C(1795248118000000);
  event.fields[FIELD_VERSION] = slice_of("3");
  event.fields[FIELD_SOURCE] = slice_of("booking");
  event.fields[FIELD_CORRELATION_ID] = slice_of("c");
  event.fields[FIELD_CAUSATION_ID] = slice_of("d");
  event.fields[FIELD_TRACE_ID] = slice_of("t");
  event.fields[FIELD_TENANT_ID] = slice_of("acme");
  event.fields[FIELD_ACTOR_ID] = slice_of("12");
  event.fields[FIELD_ACTOR_TYPE] = slice_of("user");
  assert_text(write_event(*state, &event),
              "{\"id\":\"e-1\",\"type\":\"RentalReserved\",\"version\":3,\"occurred_at\":\"2026-11-21T08:01:58Z\","
              "\"source\":\"booking\",\"correlation_id\":\"c\",\"causation_id\":\"d\",\"trace_id\":\"t\","
              "\"actor\":{\"id\":\"12\",\"type\":\"user\"},\"payload\":{\"a\": 1},"
              "\"metadata\":{\"partition_key\":\"r-17\",\"tenant_id\":\"acme\"}}");
}

static void an_object_with_one_member_has_no_stray_comma(void **state) {
  struct event event = fixture_event();
  event.fields[FIELD_ACTOR_TYPE] = slice_of("user");
  event.fields[FIELD_KEY] = SLICE_ABSENT;
  assert_text(write_event(*state, &event),
              "{\"id\":\"e-1\",\"type\":\"RentalReserved\",\"occurred_at\":\"2026-11-21T08:01:58.123456Z\","
              "\"source\":\"shop.public.outbox\",\"actor\":{\"type\":\"user\"},\"payload\":{\"a\": 1}}");
}

static void texts_are_escaped_and_utf_8_passes(void **state) {
  struct event event = fixture_event();
  event.fields[FIELD_ID] = slice_of("a\"b\\c\n\x01");
  event.fields[FIELD_TYPE] = slice_of("Gr\u00fc\u00dfe \U0001F600");
  event.fields[FIELD_KEY] = slice_of("");
  assert_text(write_event(*state, &event),
              "{\"id\":\"a\\\"b\\\\c\\n\\u0001\",\"type\":\"Gr\u00fc\u00dfe \U0001F600\","
              "\"occurred_at\":\"2026-11-21T08:01:58.123456Z\",\"source\":\"shop.public.outbox\","
              "\"payload\":{\"a\": 1},\"metadata\":{\"partition_key\":\"\"}}");
}

static void a_version_is_a_number_if_it_is_a_plain_integer(void **state) {
  static const struct {
    const char *text, *json;
  } cases[] = {
      {"0", "0"},         {"12", "12"},     {"-3", "-3"},     {"123456789012345678901234", "123456789012345678901234"},
      {"01", "\"01\""},   {"-", "\"-\""},   {"", "\"\""},     {"-0", "\"-0\""},
      {"1.0", "\"1.0\""}, {"v2", "\"v2\""}, {"+1", "\"+1\""}, {"1e3", "\"1e3\""}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct event event = fixture_event();
    event.fields[FIELD_VERSION] = slice_of(cases[i].text);
    char expected[400];
    snprintf(
        expected, sizeof expected,
        "{\"id\":\"e-1\",\"type\":\"RentalReserved\",\"version\":%s,\"occurred_at\":\"2026-11-21T08:01:58.123456Z\","
        "\"source\":\"shop.public.outbox\",\"payload\":{\"a\": 1},\"metadata\":{\"partition_key\":\"r-17\"}}",
        cases[i].json);
    assert_text(write_event(*state, &event), expected);
  }
}

static void payloads_stand_verbatim(void **state) {
  static const struct {
    enum payload_form form;
    const char *text, *json;
  } cases[] = {
      {PAYLOAD_JSON, "{\"b\" : [ 1.50,\n 1e400, 12345678901234567890123.0 ], \"b\":\"\\u00fc\u00fc\"}",
       "{\"b\" : [ 1.50,\n 1e400, 12345678901234567890123.0 ], \"b\":\"\\u00fc\u00fc\"}"},
      {PAYLOAD_TEXT, " [1.50, 1e400] ", " [1.50, 1e400] "},
      {PAYLOAD_TEXT, "\"text\"", "\"text\""},
      {PAYLOAD_BYTEA, "\\x7b2261223aC3bc7d", NULL},
      {PAYLOAD_BYTEA, "\\x7b2261223a22c3BC227d", "{\"a\":\"\u00fc\"}"},
      {PAYLOAD_JSON, NULL, "null"},
      {PAYLOAD_TEXT, NULL, "null"},
      {PAYLOAD_BYTEA, NULL, "null"},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct event event = fixture_event();
    event.payload_form = cases[i].form;
    event.fields[FIELD_PAYLOAD] = slice_of(cases[i].text);
    if (cases[i].json == NULL) {
      assert_false(slice_present(write_event(*state, &event)));
      continue;
    }
    char expected[600];
    snprintf(expected, sizeof expected,
             "{\"id\":\"e-1\",\"type\":\"RentalReserved\",\"occurred_at\":\"2026-11-21T08:01:58.123456Z\","
             "\"source\":\"shop.public.outbox\",\"payload\":%s,\"metadata\":{\"partition_key\":\"r-17\"}}",
             cases[i].json);
    assert_text(write_event(*state, &event), expected);
  }
}

static void a_json_payload_is_not_copied(void **state) {
  struct event event = fixture_event();
  struct envelope_text text;
  assert_true(envelope_write(*state, &event, slice_of("s"), &text, &problem));
  assert_ptr_equal(text.payload.data, event.fields[FIELD_PAYLOAD].data);
}

static void a_payload_that_is_not_json_is_a_problem(void **state) {
  static const struct {
    enum payload_form form;
    const char *text;
  } cases[] = {
      {PAYLOAD_TEXT, "hello"},    {PAYLOAD_TEXT, ""},    {PAYLOAD_TEXT, "{\"a\":\"\xff\"}"}, {PAYLOAD_BYTEA, "\\x"},
      {PAYLOAD_BYTEA, "\\x6869"}, {PAYLOAD_BYTEA, "{}"}, {PAYLOAD_BYTEA, "\\x7b7"},          {PAYLOAD_BYTEA, "\\x7b7g"},
      {PAYLOAD_BYTEA, "\\xg77d"}, {PAYLOAD_BYTEA, "x"},  {PAYLOAD_BYTEA, "\\173\\175"},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct event event = fixture_event();
    event.payload_form = cases[i].form;
    event.fields[FIELD_PAYLOAD] = slice_of(cases[i].text);
    assert_false(slice_present(write_event(*state, &event)));
    assert_string_equal(problem.code, "payload_not_json");
    assert_true(problem.message[0] != '\0');
  }
}

static void a_long_bytea_is_decoded_and_its_memory_given_back(void **state) {
  (void)state;
  size_t bytes = (size_t)3 << 20; /* decoded: spaces around a zero */
  char *hex = malloc(2 + 2 * bytes);
  memcpy(hex, "\\x", 2);
  for (size_t i = 0; i < bytes; i++)
    memcpy(hex + 2 + 2 * i, i == bytes / 2 ? "30" : "20", 2);
  struct event event = fixture_event();
  event.payload_form = PAYLOAD_BYTEA;
  event.fields[FIELD_PAYLOAD] = slice_from(hex, 2 + 2 * bytes);
  struct envelope *envelope = envelope_new(ENVELOPE_STANDARD);
  struct envelope_text text;
  for (int i = 0; i < 2; i++) {
    assert_true(envelope_write(envelope, &event, slice_of("s"), &text, &problem));
    assert_int_equal(text.payload.len, bytes);
    assert_int_equal(text.payload.data[bytes / 2], '0');
  }
  envelope_free(envelope);
  free(hex);
}

/* Escaped, a field grows up to sixfold, so that even one within Postgres' limit may pass ours. */
static void an_envelope_above_the_bound_is_too_large(void **state) {
  (void)state;
  struct event event = fixture_event();
  struct envelope *envelope = envelope_new(ENVELOPE_STANDARD);
  envelope->text.max = 100;
  assert_false(slice_present(write_event(envelope, &event)));
  assert_string_equal(problem.code, "record_too_large");
  envelope->text.max = 1000;
  assert_true(slice_present(write_event(envelope, &event)));
  envelope_free(envelope);
  envelope_free(NULL);
}

/* Every field that a layout may show. */
static struct event full_event(void) {
  struct event event = fixture_event();
  event.occurred_at_us = INT64_C(1795248118000000);
  event.fields[FIELD_VERSION] = slice_of("3");
  event.fields[FIELD_SOURCE] = slice_of("booking system");
  event.fields[FIELD_CORRELATION_ID] = slice_of("c");
  event.fields[FIELD_CAUSATION_ID] = slice_of("d");
  event.fields[FIELD_TRACE_ID] = slice_of("t");
  event.fields[FIELD_TRACEPARENT] = slice_of("00-1");
  event.fields[FIELD_TENANT_ID] = slice_of("acme");
  event.fields[FIELD_ACTOR_ID] = slice_of("12");
  event.fields[FIELD_ACTOR_TYPE] = slice_of("user");
  return event;
}

static void assert_written(enum envelope_layout layout, const struct event *event, const char *expected) {
  struct envelope *envelope = envelope_new(layout);
  assert_text(write_event(envelope, event), expected);
  envelope_free(envelope);
}

static void each_layout_has_its_members(void **state) {
  (void)state;
  static const struct {
    enum envelope_layout layout;
    const char *full, *bare, *null;
  } cases[] = {
      {ENVELOPE_CONTRACT,
       "{\"id\":\"e-1\",\"type\":\"RentalReserved\",\"version\":3,\"ts\":\"2026-11-21T08:01:58Z\",\"traceId\":\"t\","
       "\"payload\":{\"a\": 1}}",
       "{\"id\":\"e-1\",\"type\":\"RentalReserved\",\"ts\":\"2026-11-21T08:01:58.123456Z\",\"payload\":{\"a\": 1}}",
       "{\"id\":\"e-1\",\"type\":\"RentalReserved\",\"ts\":\"2026-11-21T08:01:58.123456Z\",\"payload\":null}"},
      {ENVELOPE_ACTOR,
       "{\"id\":\"e-1\",\"type\":\"RentalReserved\",\"version\":3,\"source\":\"booking system\","
       "\"timestamp\":\"2026-11-21T08:01:58Z\",\"correlation_id\":\"c\",\"causation_id\":\"d\","
       "\"actor\":{\"id\":\"12\",\"type\":\"user\"},\"payload\":{\"a\": 1}}",
       "{\"id\":\"e-1\",\"type\":\"RentalReserved\",\"source\":\"shop.public.outbox\","
       "\"timestamp\":\"2026-11-21T08:01:58.123456Z\",\"payload\":{\"a\": 1}}",
       "{\"id\":\"e-1\",\"type\":\"RentalReserved\",\"source\":\"shop.public.outbox\","
       "\"timestamp\":\"2026-11-21T08:01:58.123456Z\",\"payload\":null}"},
      {ENVELOPE_CLOUDEVENTS,
       "{\"specversion\":\"1.0\",\"id\":\"e-1\",\"source\":\"booking%20system\",\"type\":\"RentalReserved\","
       "\"subject\":\"r-17\",\"time\":\"2026-11-21T08:01:58Z\",\"eventversion\":\"3\",\"correlationid\":\"c\","
       "\"causationid\":\"d\",\"traceid\":\"t\",\"traceparent\":\"00-1\",\"tenantid\":\"acme\",\"actorid\":\"12\","
       "\"actortype\":\"user\",\"partitionkey\":\"r-17\",\"datacontenttype\":\"application/json\","
       "\"data\":{\"a\": 1}}",
       "{\"specversion\":\"1.0\",\"id\":\"e-1\",\"source\":\"shop.public.outbox\",\"type\":\"RentalReserved\","
       "\"subject\":\"r-17\",\"time\":\"2026-11-21T08:01:58.123456Z\",\"partitionkey\":\"r-17\","
       "\"datacontenttype\":\"application/json\",\"data\":{\"a\": 1}}",
       "{\"specversion\":\"1.0\",\"id\":\"e-1\",\"source\":\"shop.public.outbox\",\"type\":\"RentalReserved\","
       "\"subject\":\"r-17\",\"time\":\"2026-11-21T08:01:58.123456Z\",\"partitionkey\":\"r-17\"}"},
      {ENVELOPE_PAYLOAD, "{\"a\": 1}", "{\"a\": 1}", ""},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct event event = full_event();
    assert_written(cases[i].layout, &event, cases[i].full);
    event = fixture_event();
    assert_written(cases[i].layout, &event, cases[i].bare);
    event.fields[FIELD_PAYLOAD] = SLICE_ABSENT;
    assert_written(cases[i].layout, &event, cases[i].null);
  }
}

/* CloudEvents knows no empty attribute. */
static void an_empty_field_is_no_attribute_of_a_cloudevent(void **state) {
  (void)state;
  struct event event = fixture_event();
  static const enum event_field fields[] = {FIELD_KEY,          FIELD_VERSION,  FIELD_SOURCE, FIELD_CORRELATION_ID,
                                            FIELD_CONTENT_TYPE, FIELD_TENANT_ID};
  for (size_t i = 0; i < COUNT_OF(fields); i++)
    event.fields[fields[i]] = slice_of("");
  assert_written(ENVELOPE_CLOUDEVENTS, &event,
                 "{\"specversion\":\"1.0\",\"id\":\"e-1\",\"source\":\"shop.public.outbox\","
                 "\"type\":\"RentalReserved\",\"time\":\"2026-11-21T08:01:58.123456Z\","
                 "\"datacontenttype\":\"application/json\",\"data\":{\"a\": 1}}");
}

static void the_data_of_a_cloudevent_follows_its_content_type(void **state) {
  (void)state;
  static const struct {
    enum payload_form form;
    const char *content_type, *payload, *expected; /* NULL: payload_not_json */
  } cases[] = {
      {PAYLOAD_JSON, "application/vnd.x+json", "[1.50]", "\"application/vnd.x+json\",\"data\":[1.50]"},
      {PAYLOAD_JSON, "text/plain", "\"t\"", "\"text/plain\",\"data\":\"t\""},
      {PAYLOAD_TEXT, NULL, " {} ", "\"application/json\",\"data\": {} "},
      {PAYLOAD_TEXT, NULL, "<a/>", NULL},
      {PAYLOAD_TEXT, "Application/JSON ; charset=utf-8", "<a/>", NULL},
      {PAYLOAD_TEXT, "application/xml", "<a b=\"c\"/>", "\"application/xml\",\"data\":\"<a b=\\\"c\\\"/>\""},
      {PAYLOAD_TEXT, "application/xml", "12", "\"application/xml\",\"data\":\"12\""},
      {PAYLOAD_TEXT, "text/plain", "\xff", "\"text/plain\",\"data_base64\":\"/w==\""},
      {PAYLOAD_BYTEA, NULL, "\\x7b7d", "\"application/json\",\"data\":{}"},
      {PAYLOAD_BYTEA, NULL, "\\x00ff", "\"application/octet-stream\",\"data_base64\":\"AP8=\""},
      {PAYLOAD_BYTEA, NULL, "\\x", "\"application/octet-stream\",\"data_base64\":\"\""},
      {PAYLOAD_BYTEA, "application/json", "\\x7b7d", "\"application/json\",\"data\":{}"},
      {PAYLOAD_BYTEA, "application/json", "\\x00", "\"application/json\",\"data_base64\":\"AA==\""},
      {PAYLOAD_BYTEA, "image/png", "\\x3132", "\"image/png\",\"data_base64\":\"MTI=\""},
      {PAYLOAD_BYTEA, "image/png", "\\173", NULL},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct event event = fixture_event();
    event.payload_form = cases[i].form;
    event.fields[FIELD_CONTENT_TYPE] = slice_of(cases[i].content_type);
    event.fields[FIELD_PAYLOAD] = slice_of(cases[i].payload);
    char expected[600];
    snprintf(expected, sizeof expected,
             "{\"specversion\":\"1.0\",\"id\":\"e-1\",\"source\":\"shop.public.outbox\",\"type\":\"RentalReserved\","
             "\"subject\":\"r-17\",\"time\":\"2026-11-21T08:01:58.123456Z\",\"partitionkey\":\"r-17\","
             "\"datacontenttype\":%s}",
             cases[i].expected);
    struct envelope *envelope = envelope_new(ENVELOPE_CLOUDEVENTS);
    if (cases[i].expected != NULL) {
      assert_text(write_event(envelope, &event), expected);
    } else {
      assert_false(slice_present(write_event(envelope, &event)));
      assert_string_equal(problem.code, "payload_not_json");
    }
    envelope_free(envelope);
  }
}

static void data_above_the_bound_is_too_large(void **state) {
  (void)state;
  struct event event = fixture_event();
  event.payload_form = PAYLOAD_BYTEA;
  event.fields[FIELD_PAYLOAD] = slice_of("\\x00000000000000000000000000000000");
  struct envelope *envelope = envelope_new(ENVELOPE_CLOUDEVENTS);
  envelope->scratch.encoded.max = 20;
  assert_false(slice_present(write_event(envelope, &event)));
  assert_string_equal(problem.code, "record_too_large");
  envelope_free(envelope);
}

static void without_an_envelope_the_payload_stands_as_it_is(void **state) {
  (void)state;
  static const struct {
    enum payload_form form;
    const char *text;
    struct slice value;
  } cases[] = {
      {PAYLOAD_JSON, "{\"a\" : 1.50}", LITERAL("{\"a\" : 1.50}")},
      {PAYLOAD_JSON, "null", LITERAL("null")},
      {PAYLOAD_TEXT, "no JSON \xff", LITERAL("no JSON \xff")},
      {PAYLOAD_TEXT, "", LITERAL("")},
      {PAYLOAD_BYTEA, "\\x00ff7b", LITERAL("\0\xff{")},
      {PAYLOAD_BYTEA, "\\x", LITERAL("")},
  };
  struct envelope *envelope = envelope_new(ENVELOPE_PAYLOAD);
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct event event = fixture_event();
    event.payload_form = cases[i].form;
    event.fields[FIELD_PAYLOAD] = slice_of(cases[i].text);
    struct envelope_text text;
    assert_true(envelope_write(envelope, &event, slice_of("s"), &text, &problem));
    assert_slice(text.payload, cases[i].value);
    assert_int_equal(text.head.len + text.tail.len, 0);
    assert_false(text.tombstone);
  }
  struct event event = fixture_event();
  struct envelope_text text;
  event.fields[FIELD_PAYLOAD] = SLICE_ABSENT;
  assert_true(envelope_write(envelope, &event, slice_of("s"), &text, &problem));
  assert_true(text.tombstone);
  event.payload_form = PAYLOAD_BYTEA;
  event.fields[FIELD_PAYLOAD] = slice_of("\\173");
  assert_false(envelope_write(envelope, &event, slice_of("s"), &text, &problem));
  envelope_free(envelope);
}

static void only_a_bare_payload_may_be_a_tombstone(void **state) {
  struct event event = fixture_event();
  event.fields[FIELD_PAYLOAD] = SLICE_ABSENT;
  struct envelope_text text;
  assert_true(envelope_write(*state, &event, slice_of("s"), &text, &problem));
  assert_false(text.tombstone);
}

static void a_media_type_says_whether_it_is_json(void **state) {
  (void)state;
  static const struct {
    const char *type;
    bool json;
  } cases[] = {{"application/json", true},
               {"text/JSON", true},
               {"application/vnd.a.b+json", true},
               {"application/json;v=1", true},
               {"application/json ; a=b", true},
               {"application/jsonp", false},
               {"application/xml", false},
               {"json", false},
               {"", false},
               {"text/plain; x=/json", false},
               {";", false}};
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    assert_int_equal(media_type_is_json(slice_of(cases[i].type)), cases[i].json);
  assert_false(media_type_is_json(SLICE_ABSENT));
}

static int setup(void **state) {
  *state = envelope_new(ENVELOPE_STANDARD);
  return 0;
}

static int teardown(void **state) {
  envelope_free(*state);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(absent_fields_are_left_out),
      cmocka_unit_test(every_field_has_its_place),
      cmocka_unit_test(an_object_with_one_member_has_no_stray_comma),
      cmocka_unit_test(texts_are_escaped_and_utf_8_passes),
      cmocka_unit_test(a_version_is_a_number_if_it_is_a_plain_integer),
      cmocka_unit_test(payloads_stand_verbatim),
      cmocka_unit_test(a_json_payload_is_not_copied),
      cmocka_unit_test(a_payload_that_is_not_json_is_a_problem),
      cmocka_unit_test(a_long_bytea_is_decoded_and_its_memory_given_back),
      cmocka_unit_test(an_envelope_above_the_bound_is_too_large),
      cmocka_unit_test(each_layout_has_its_members),
      cmocka_unit_test(an_empty_field_is_no_attribute_of_a_cloudevent),
      cmocka_unit_test(the_data_of_a_cloudevent_follows_its_content_type),
      cmocka_unit_test(data_above_the_bound_is_too_large),
      cmocka_unit_test(without_an_envelope_the_payload_stands_as_it_is),
      cmocka_unit_test(only_a_bare_payload_may_be_a_tombstone),
      cmocka_unit_test(a_media_type_says_whether_it_is_json),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
