/* bridge/event/event.h: the event of a logical message. */
#include "tests/unit/event/event_fixture.h"

#include <stdlib.h>

static const char *read_message(struct jsontext_scratch *scratch, struct slice content, struct event *event) {
  const char *problem = "untouched";
  memset(event, 0x5A, sizeof *event);
  event->commit_time_us = FIXTURE_COMMIT_US;
  event_from_message(scratch, "walferry", content, event, &problem);
  return problem;
}

static void a_whole_envelope_becomes_an_event(void **state) {
  struct event e;
  const char *content =
      "{\"id\":\"e-1\",\"type\":\"Reserved\",\"version\":3,\"occurred_at\":\"2026-11-21T08:01:58.123456Z\","
      "\"source\":\"shop\",\"correlation_id\":\"c\",\"causation_id\":\"d\",\"trace_id\":\"t\",\"traceparent\":\"00-1\","
      "\"actor\":{\"id\":12,\"type\":\"user\",\"name\":\"passed over\"},\"payload\": {\"b\" : [ 1.50, 2 ]} ,"
      "\"metadata\":{\"partition_key\":\"unused\",\"tenant_id\":\"unused\"},\"aggregate\":\"Rental\",\"key\":\"k\","
      "\"topic\":\"a.b\",\"partition\":2,\"headers\":{\"h\": 1},\"tenant_id\":\"acme\",\"content_type\":\"x/y\","
      "\"unknown\":[{}]}";
  assert_null(read_message(*state, slice_of(content), &e));
  assert_string_equal(e.origin, "walferry");
  assert_int_equal(e.payload_form, PAYLOAD_JSON);
  assert_int_equal(e.occurred_at_us, 1795248118123456);
  assert_false(e.occurred_at_invalid);
  static const char *const expected[FIELD_COUNT] = {
      [FIELD_ID] = "e-1",
      [FIELD_TYPE] = "Reserved",
      [FIELD_KEY] = "k",
      [FIELD_AGGREGATE] = "Rental",
      [FIELD_PAYLOAD] = "{\"b\" : [ 1.50, 2 ]}",
      [FIELD_OCCURRED_AT] = "2026-11-21T08:01:58.123456Z",
      [FIELD_VERSION] = "3",
      [FIELD_SOURCE] = "shop",
      [FIELD_CORRELATION_ID] = "c",
      [FIELD_CAUSATION_ID] = "d",
      [FIELD_TRACE_ID] = "t",
      [FIELD_TRACEPARENT] = "00-1",
      [FIELD_TENANT_ID] = "acme",
      [FIELD_ACTOR_ID] = "12",
      [FIELD_ACTOR_TYPE] = "user",
      [FIELD_TOPIC] = "a.b",
      [FIELD_PARTITION] = "2",
      [FIELD_HEADERS] = "{\"h\": 1}",
      [FIELD_CONTENT_TYPE] = "x/y",
  };
  for (int f = 0; f < FIELD_COUNT; f++)
    assert_text(e.fields[f], expected[f]);
}

static void metadata_serves_where_key_and_tenant_are_missing(void **state) {
  struct event e;
  assert_null(
      read_message(*state, slice_of("{\"key\":null,\"metadata\":{\"partition_key\":7,\"tenant_id\":\"a\"}}"), &e));
  assert_text(e.fields[FIELD_KEY], "7");
  assert_text(e.fields[FIELD_TENANT_ID], "a");
}

static void absent_and_null_members_are_absent(void **state) {
  struct event e;
  static const char *const cases[] = {
      "{}", "{\"id\":null,\"payload\":null,\"actor\":null,\"headers\":null,\"metadata\":null}"};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    assert_null(read_message(*state, slice_of(cases[i]), &e));
    for (int f = 0; f < FIELD_COUNT; f++)
      assert_false(slice_present(e.fields[f]));
    assert_int_equal(e.occurred_at_us, FIXTURE_COMMIT_US);
  }
}

static void texts_are_unescaped_and_numbers_keep_theirs(void **state) {
  struct event e;
  assert_null(read_message(*state,
                           slice_of("{\"\\u0069d\":\"a\\\"\\u00fc\\ud83d\\ude00\",\"type\":true,"
                                    "\"version\":-12345678901234567890.10e400,\"source\":\"Gr\u00fc\u00dfe\\n\","
                                    "\"payload\":\"\\u0041\"}"),
                           &e));
  assert_text(e.fields[FIELD_ID], "a\"\u00fc\U0001F600");
  assert_text(e.fields[FIELD_TYPE], "true");
  assert_text(e.fields[FIELD_VERSION], "-12345678901234567890.10e400");
  assert_text(e.fields[FIELD_SOURCE], "Gr\u00fc\u00dfe\n");
  assert_text(e.fields[FIELD_PAYLOAD], "\"\\u0041\"");
}

static void a_bad_occurred_at_is_kept_for_the_record_to_report(void **state) {
  struct event e;
  assert_null(read_message(*state, slice_of("{\"occurred_at\":1795248118}"), &e));
  assert_text(e.fields[FIELD_OCCURRED_AT], "1795248118");
  assert_true(e.occurred_at_invalid);
  assert_int_equal(e.occurred_at_us, FIXTURE_COMMIT_US);
}

static void what_is_no_such_object_is_a_problem_and_stays_whole(void **state) {
  struct event e;
  static const char *const cases[] = {
      "",
      "hello",
      "[]",
      "\"{}\"",
      "17",
      "{\"id\":1",
      "{\"id\":1} x",
      "{\"a\":\"\xff\"}",
      "{\"id\":1,\"id\":2}",
      "{\"id\":1,\"i\\u0064\":1}",
      "{\"id\":{}}",
      "{\"type\":[1]}",
      "{\"actor\":\"me\"}",
      "{\"actor\":{\"id\":{}}}",
      "{\"actor\":{\"id\":1,\"id\":1}}",
      "{\"actor\":{\"type\":[]}}",
      "{\"metadata\":[]}",
      "{\"metadata\":{\"partition_key\":{}}}",
      "{\"metadata\":{\"tenant_id\":{}}}",
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    const char *problem = read_message(*state, slice_of(cases[i]), &e);
    if (problem == NULL)
      fail_msg("taken: %s", cases[i]);
    assert_string_equal(problem, "message_not_json");
    assert_text(e.fields[FIELD_PAYLOAD], cases[i]);
    assert_int_equal(e.payload_form, PAYLOAD_TEXT);
  }
}

static void a_name_given_twice_inside_the_payload_is_not_our_business(void **state) {
  struct event e;
  assert_null(read_message(*state, slice_of("{\"payload\":{\"a\":1,\"a\":2},\"other\":1,\"other\":2}"), &e));
  assert_text(e.fields[FIELD_PAYLOAD], "{\"a\":1,\"a\":2}");
}

static void the_fields_beside_a_problem_are_told(void **state) {
  struct event e;
  static const char *const cases[] = {"{\"id\":\"e-1\",\"type\":{}}", "{\"type\":{},\"id\":\"e-1\"}",
                                      "{\"type\":\"a\",\"type\":\"b\",\"id\":\"e-1\"}"};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    assert_non_null(read_message(*state, slice_of(cases[i]), &e));
    assert_text(e.fields[FIELD_ID], "e-1");
  }
  assert_non_null(
      read_message(*state, slice_of("{\"id\":\"e-1\",\"type\":"), &e)); /* no JSON: nothing is known of it */
  assert_false(slice_present(e.fields[FIELD_ID]));
}

static void a_message_is_as_deep_as_any_json_may_be(void **state) {
  struct event e;
  char content[16 + 2 * JSONTEXT_DEPTH_MAX];
  for (int depth = JSONTEXT_DEPTH_MAX; depth <= JSONTEXT_DEPTH_MAX + 1; depth++) {
    size_t arrays = (size_t)depth - 1, len = (size_t)sprintf(content, "{\"payload\":");
    memset(content + len, '[', arrays);
    memset(content + len + arrays, ']', arrays);
    content[len + 2 * arrays] = '}';
    const char *problem = read_message(*state, slice_from(content, len + 2 * arrays + 1), &e);
    assert_true((problem == NULL) == (depth == JSONTEXT_DEPTH_MAX));
  }
}

static void a_large_message_leaves_no_memory_behind(void **state) {
  struct event e;
  size_t size = (size_t)3 << 20;
  char *content = malloc(size);
  memset(content, 'x', size);
  memcpy(content, "{\"id\":\"\\n", 9);
  memcpy(content + size - 2, "\"}", 2);
  assert_null(read_message(*state, slice_from(content, size), &e));
  assert_int_equal(e.fields[FIELD_ID].len, size - 10);
  assert_null(read_message(*state, slice_of("{\"id\":\"\\n\"}"), &e));
  assert_text(e.fields[FIELD_ID], "\n");
  free(content);
}

static int setup(void **state) {
  static struct jsontext_scratch scratch;
  *state = &scratch;
  return 0;
}

static int teardown(void **state) {
  jsontext_scratch_free(*state);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_whole_envelope_becomes_an_event),
      cmocka_unit_test(metadata_serves_where_key_and_tenant_are_missing),
      cmocka_unit_test(absent_and_null_members_are_absent),
      cmocka_unit_test(texts_are_unescaped_and_numbers_keep_theirs),
      cmocka_unit_test(a_bad_occurred_at_is_kept_for_the_record_to_report),
      cmocka_unit_test(what_is_no_such_object_is_a_problem_and_stays_whole),
      cmocka_unit_test(a_name_given_twice_inside_the_payload_is_not_our_business),
      cmocka_unit_test(the_fields_beside_a_problem_are_told),
      cmocka_unit_test(a_message_is_as_deep_as_any_json_may_be),
      cmocka_unit_test(a_large_message_leaves_no_memory_behind),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
