/* bridge/event/record.h: quarantine records, byte for byte. */
#include "tests/unit/event/event_fixture.h"

#include <stdlib.h>

#include "bridge/base/jsontext.h"
#include "bridge/event/builder.h"

struct fixture {
  struct router *router;
  struct record_rules rules;
  struct record_builder *builder;
};

static int setup(void **state) {
  static struct fixture f;
  static const struct route_spec routes[] = {{.type = "Rental*", .topic = "fleet.rentals"}};
  f.router = router_new(routes, 1, NULL);
  f.rules = (struct record_rules){
      .instance = "shop", .layout = ENVELOPE_STANDARD, .router = f.router, .quarantine_topic = "shop.quarantine"};
  f.builder = record_builder_new(&f.rules);
  *state = &f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  record_builder_free(f->builder);
  router_free(f->router);
  return 0;
}

static const struct problem refusal = {.code = "payload_not_json", .message = "it is not \"JSON\""};

static struct record *quarantine(void **state, const struct event *event) {
  struct record *record = record_build_quarantine(((struct fixture *)*state)->builder, event, NULL, &refusal);
  assert_non_null(record);
  assert_true(jsontext_check(record->value, NULL));
  return record;
}

static struct record *publish(void **state, const struct event *event) {
  struct problem problem;
  struct record *record = record_build(((struct fixture *)*state)->builder, event, NULL, &problem);
  assert_non_null(record);
  return record;
}

#define ERROR_AND_TIMES(details, when)                                                                                 \
  "\"error\":{\"code\":\"payload_not_json\",\"message\":\"it is not \\\"JSON\\\"\",\"details\":{" details "}},"        \
  "\"attempts\":1,\"first_failure\":\"" when "\",\"last_failure\":\"" when "\"}"

static void assert_header(const struct record *record, int i, const char *name, const char *value) {
  assert_string_equal(record->headers[i].name, name);
  assert_text(record->headers[i].value, value);
}

static void header_columns_are_kept_by_their_headers_names(void **state) {
  struct event event = fixture_event();
  const struct record_header columns[] = {
      {"x-\"note\"", slice_of("a\nb")}, {"absent", SLICE_ABSENT}, {"id", slice_of("other")}};
  event.column_headers = columns;
  event.column_header_count = COUNT_OF(columns);
  struct record *record = quarantine(state, &event);
  assert_text(record->value,
              "{\"original_topic\":\"fleet.rentals\",\"origin\":\"public.outbox\",\"lsn\":\"16/B374D848\",\"index\":7,"
              "\"id\":\"e-1\",\"original_key\":\"r-17\",\"fields\":{\"type\":\"RentalReserved\","
              "\"aggregate\":\"Rental\"},\"column_headers\":{\"x-\\\"note\\\"\":\"a\\nb\",\"id\":\"other\"},"
              "\"payload_form\":\"json\",\"payload\":{\"a\": 1}," ERROR_AND_TIMES("", "2026-11-21T08:02:00Z"));
  record_free(record);
}

static void a_row_is_kept_with_its_reason(void **state) {
  struct event event = fixture_event();
  event.payload_form = PAYLOAD_TEXT;
  event.fields[FIELD_PAYLOAD] = slice_of("hello \"w\"");
  event.fields[FIELD_TENANT_ID] = slice_of("acme");
  struct record *record = quarantine(state, &event);
  assert_text(record->value,
              "{\"original_topic\":\"fleet.rentals\",\"origin\":\"public.outbox\",\"lsn\":\"16/B374D848\",\"index\":7,"
              "\"id\":\"e-1\",\"original_key\":\"r-17\",\"fields\":{\"type\":\"RentalReserved\","
              "\"aggregate\":\"Rental\",\"tenant_id\":\"acme\"},\"payload_form\":\"text\","
              "\"payload\":\"hello \\\"w\\\"\"," ERROR_AND_TIMES("", "2026-11-21T08:02:00Z"));
  assert_string_equal(record->topic, "shop.quarantine");
  assert_true(record->quarantined);
  assert_text(record->key, "r-17");
  assert_int_equal(record->partition, RECORD_PARTITION_BY_KEY);
  assert_int_equal(record->timestamp_ms, FIXTURE_COMMIT_US / 1000);
  assert_string_equal(record->origin, "public.outbox");
  assert_text(record->id, "e-1");
  assert_int_equal(record->commit_lsn, FIXTURE_LSN);
  assert_int_equal(record->index, 7);
  assert_int_equal(record->header_count, 7);
  assert_header(record, 0, "id", "e-1");
  assert_header(record, 1, "type", "RentalReserved");
  assert_header(record, 2, "wf_lsn", "16/B374D848");
  assert_header(record, 3, "wf_tx", "4294967295");
  assert_header(record, 4, "wf_error_code", "payload_not_json");
  assert_header(record, 5, "wf_error_message", "it is not \"JSON\"");
  assert_header(record, 6, "wf_origin", "public.outbox");
  record_free(record);
}

static void a_mark_stands_in_both_kinds_of_quarantine_records(void **state) {
  struct fixture *f = *state;
  f->rules.mark = (struct record_header){.name = HEADER_SNAPSHOT, .value = slice_of("true")};
  struct event event = fixture_event();
  struct record *record = quarantine(state, &event);
  assert_header(record, 4, "wf_snapshot", "true");
  record_free(record);
  record = publish(state, &event);
  struct problem problem = {.code = "record_refused"};
  struct record *refused = record_quarantine(record, "q", &problem);
  assert_text(record_header_value(refused, HEADER_SNAPSHOT), "true");
  assert_false(slice_present(record_header_value(refused, HEADER_REPLAY)));
  record_free(refused);
  f->rules.mark = (struct record_header){.name = NULL};
  record_free(record);
}

static void a_partition_that_the_row_names_is_kept(void **state) {
  static const struct {
    const char *partition, *member;
  } cases[] = {{"3", ",\"original_partition\":3,"}, {"one", NULL}, {"-1", NULL}, {NULL, NULL}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct event event = fixture_event();
    event.fields[FIELD_PARTITION] = slice_of(cases[i].partition);
    struct record *record = quarantine(state, &event);
    const char *wanted = cases[i].member == NULL ? "original_partition" : cases[i].member;
    bool found = memmem(record->value.data, record->value.len, wanted, strlen(wanted)) != NULL;
    assert_int_equal(found, cases[i].member != NULL);
    record_free(record);
  }
}

static void a_row_without_anything_is_kept_too(void **state) {
  struct event event = fixture_event();
  for (int f = 0; f < FIELD_COUNT; f++)
    event.fields[f] = SLICE_ABSENT;
  struct record *record = quarantine(state, &event);
  assert_text(record->value,
              "{\"origin\":\"public.outbox\",\"lsn\":\"16/B374D848\",\"index\":7,\"id\":null,\"original_key\":null,"
              "\"fields\":{},\"payload\":null," ERROR_AND_TIMES("", "2026-11-21T08:02:00Z"));
  assert_false(slice_present(record->key));
  assert_false(slice_present(record->id));
  assert_int_equal(record->header_count, 5);
  assert_header(record, 0, "wf_lsn", "16/B374D848");
  record_free(record);
}

static void payloads_travel_so_that_they_can_come_back(void **state) {
  static const struct {
    enum payload_form form;
    const char *text, *json;
  } cases[] = {
      {PAYLOAD_JSON, "{\"a\" : 1.50}", "\"payload_form\":\"json\",\"payload\":{\"a\" : 1.50}"},
      {PAYLOAD_JSON, "\"s\"", "\"payload_form\":\"json\",\"payload\":\"s\""},
      {PAYLOAD_TEXT, "{\"a\" : 1.50}", "\"payload_form\":\"text\",\"payload\":{\"a\" : 1.50}"},
      {PAYLOAD_TEXT, "\"s\"", "\"payload_form\":\"text\",\"payload\":\"\\\"s\\\"\""},
      {PAYLOAD_TEXT, "Gr\u00fc\u00dfe", "\"payload_form\":\"text\",\"payload\":\"Gr\u00fc\u00dfe\""},
      {PAYLOAD_TEXT, "", "\"payload_form\":\"text\",\"payload\":\"\""},
      {PAYLOAD_TEXT, "\xffhi", "\"payload_form\":\"text\",\"payload_base64\":\"/2hp\""},
      {PAYLOAD_BYTEA, "\\xff6869", "\"payload_form\":\"bytea\",\"payload_base64\":\"/2hp\""},
      {PAYLOAD_BYTEA, "\\x", "\"payload_form\":\"bytea\",\"payload_base64\":\"\""},
      {PAYLOAD_BYTEA, "a\\\\b", "\"payload_form\":\"text\",\"payload\":\"a\\\\\\\\b\""},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct event event = fixture_event();
    event.payload_form = cases[i].form;
    event.fields[FIELD_PAYLOAD] = slice_of(cases[i].text);
    struct record *record = quarantine(state, &event);
    char expected[1000];
    snprintf(expected, sizeof expected,
             "{\"original_topic\":\"fleet.rentals\",\"origin\":\"public.outbox\",\"lsn\":\"16/B374D848\",\"index\":7,"
             "\"id\":\"e-1\",\"original_key\":\"r-17\",\"fields\":{\"type\":\"RentalReserved\","
             "\"aggregate\":\"Rental\"},%s,%s",
             cases[i].json, ERROR_AND_TIMES("", "2026-11-21T08:02:00Z"));
    assert_text(record->value, expected);
    record_free(record);
  }
}

static void texts_that_are_no_utf_8_are_repaired_but_in_the_key(void **state) {
  struct event event = fixture_event();
  event.fields[FIELD_KEY] = slice_of("k\xff");
  event.fields[FIELD_TOPIC] = slice_of("a\xff");
  struct record *record = quarantine(state, &event);
  assert_text(record->key, "k\xff");
  assert_non_null(memmem(record->value.data, record->value.len, "\"original_key\":\"k\uFFFD\"", 21));
  assert_non_null(memmem(record->value.data, record->value.len, "{\"original_topic\":\"a\uFFFD\"", 24));
  record_free(record);
}

/* Base64 is a third longer than the bytes, an escape six times as long as its character. */
static void a_payload_too_large_to_be_written_gives_way_to_its_hash(void **state) {
  struct buffer *scratch = &((struct fixture *)*state)->builder->text;
  char text[300];
  memset(text, 1, sizeof text);
  struct event event = fixture_event();
  event.payload_form = PAYLOAD_TEXT;
  event.fields[FIELD_PAYLOAD] = slice_from(text, sizeof text);
  scratch->max = 1000;
  struct record *record = quarantine(state, &event);
  scratch->max = BUFFER_MAX_ROW;
  static const char details[] = "\"details\":{\"size\":300,\"hash\":\"";
  assert_non_null(memmem(record->value.data, record->value.len, details, sizeof details - 1));
  assert_null(memmem(record->value.data, record->value.len, "payload_form", 12));
  record_free(record);
}

static void a_refused_record_is_kept_with_its_envelope(void **state) {
  struct event event = fixture_event();
  event.fields[FIELD_HEADERS] = slice_of("{\"h\":1}");
  event.fields[FIELD_PARTITION] = slice_of("2");
  struct record *refused = publish(state, &event);
  struct record *record = record_quarantine(refused, "q", &refusal);
  assert_true(record->quarantined && record->substitute && !refused->substitute);
  record_free(refused);
  assert_text(
      record->value,
      "{\"original_topic\":\"fleet.rentals\",\"original_partition\":2,\"origin\":\"public.outbox\","
      "\"lsn\":\"16/B374D848\",\"index\":7,\"id\":\"e-1\",\"original_key\":\"r-17\","
      "\"envelope\":{\"id\":\"e-1\",\"type\":\"RentalReserved\",\"occurred_at\":\"2026-11-21T08:01:58.123456Z\","
      "\"source\":\"shop.public.outbox\",\"payload\":{\"a\": 1},\"metadata\":{\"partition_key\":\"r-17\"}},"
      "\"original_headers\":{\"id\":\"e-1\",\"type\":\"RentalReserved\",\"source\":\"shop.public.outbox\","
      "\"content-type\":\"application/json\",\"wf_lsn\":\"16/"
      "B374D848\",\"wf_tx\":\"4294967295\",\"h\":\"1\"}," ERROR_AND_TIMES("", "2026-11-21T08:01:58.123000Z"));
  assert_string_equal(record->topic, "q");
  assert_true(record->quarantined);
  assert_text(record->key, "r-17");
  assert_text(record->id, "e-1");
  assert_int_equal(record->timestamp_ms, 0);
  assert_int_equal(record->partition, RECORD_PARTITION_BY_KEY);
  assert_int_equal(record->xid, 4294967295);
  assert_int_equal(record->header_count, 7);
  assert_header(record, 0, "id", "e-1");
  assert_header(record, 1, "type", "RentalReserved");
  assert_header(record, 2, "wf_lsn", "16/B374D848");
  assert_header(record, 3, "wf_tx", "4294967295");
  assert_header(record, 4, "wf_error_code", "payload_not_json");
  assert_header(record, 6, "wf_origin", "public.outbox");
  record_free(record);
}

static const struct problem too_large = {.code = "record_too_large", .message = "too large"};

static void an_oversized_record_leaves_size_and_hash(void **state) {
  struct event event = fixture_event();
  struct record *refused = publish(state, &event);
  refused->value = slice_of("foobar"); /* whose FNV-1a is in the draft's test vectors */
  struct record *record = record_quarantine(refused, "q", &too_large);
  assert_text(record->value,
              "{\"original_topic\":\"fleet.rentals\",\"origin\":\"public.outbox\",\"lsn\":\"16/B374D848\",\"index\":7,"
              "\"id\":\"e-1\",\"original_key\":\"r-17\",\"error\":{\"code\":\"record_too_large\",\"message\":"
              "\"too large\",\"details\":{\"size\":6,\"hash\":\"85944171f73967e8\",\"hash_algorithm\":\"fnv1a64\"}},"
              "\"attempts\":1,\"first_failure\":\"2026-11-21T08:01:58.123000Z\","
              "\"last_failure\":\"2026-11-21T08:01:58.123000Z\"}");
  record_free(record);
  record_free(refused);
}

static void an_oversized_key_id_or_type_does_not_make_it_oversized_again(void **state) {
  size_t size = 100000;
  char *text = malloc(size);
  memset(text, 'R', size);
  memcpy(text, "Rental", 6);
  struct event event = fixture_event();
  event.fields[FIELD_ID] = event.fields[FIELD_TYPE] = event.fields[FIELD_KEY] = slice_from(text, size);
  struct record *refused = publish(state, &event);
  struct record *record = record_quarantine(refused, "q", &too_large);
  assert_false(slice_present(record->key));
  assert_int_equal(record->headers[0].value.len, 1024);
  assert_int_equal(record->headers[1].value.len, 1024);
  assert_true(record->value.len < 4000);
  assert_int_equal(record->id.len, size);
  record_free(record);
  record_free(refused);
  free(text);
}

/* Twice: the quarantine record itself was too large for the quarantine topic. */
static void a_refused_quarantine_record_does_not_name_its_topic_as_the_original(void **state) {
  struct event event = fixture_event();
  struct record *first = quarantine(state, &event);
  struct record *second = record_quarantine(first, "q", &too_large);
  assert_true(jsontext_check(second->value, NULL));
  assert_memory_equal(second->value.data, "{\"origin\":", 10);
  assert_int_equal(second->header_count, 7);
  assert_header(second, 4, "wf_error_code", "record_too_large");
  record_free(first);
  record_free(second);
}

static void values_that_are_no_json_or_absent_are_kept(void **state) {
  struct event event = fixture_event();
  struct record *refused = publish(state, &event);
  static const struct {
    bool bare;
    const char *value, *json;
  } cases[] = {{false, "\xffhi", ",\"payload_base64\":\"/2hp\","},
               {false, NULL, ",\"envelope\":null,"},
               {true, "[1]", ",\"payload\":[1],"},
               {true, NULL, ",\"payload\":null,"},
               {true, "hi", ",\"payload_base64\":\"aGk=\","}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    refused->bare = cases[i].bare;
    refused->value = slice_of(cases[i].value);
    struct record *record = record_quarantine(refused, "q", &refusal);
    assert_non_null(memmem(record->value.data, record->value.len, cases[i].json, strlen(cases[i].json)));
    assert_true(jsontext_check(record->value, NULL));
    record_free(record);
  }
  record_free(refused);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_row_is_kept_with_its_reason),
      cmocka_unit_test(a_mark_stands_in_both_kinds_of_quarantine_records),
      cmocka_unit_test(a_partition_that_the_row_names_is_kept),
      cmocka_unit_test(header_columns_are_kept_by_their_headers_names),
      cmocka_unit_test(a_row_without_anything_is_kept_too),
      cmocka_unit_test(payloads_travel_so_that_they_can_come_back),
      cmocka_unit_test(texts_that_are_no_utf_8_are_repaired_but_in_the_key),
      cmocka_unit_test(a_payload_too_large_to_be_written_gives_way_to_its_hash),
      cmocka_unit_test(a_refused_record_is_kept_with_its_envelope),
      cmocka_unit_test(an_oversized_record_leaves_size_and_hash),
      cmocka_unit_test(an_oversized_key_id_or_type_does_not_make_it_oversized_again),
      cmocka_unit_test(a_refused_quarantine_record_does_not_name_its_topic_as_the_original),
      cmocka_unit_test(values_that_are_no_json_or_absent_are_kept),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
