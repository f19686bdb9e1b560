/* A record as a line of JSON. */
#include "bridge/event/print.h"
#include "tests/unit/event/event_fixture.h"

static struct record fixture_record(void) {
  return (struct record){.topic = "orders.events.v1",
                         .key = slice_of("k1"),
                         .value = slice_of("{\"id\":\"e-1\"}"),
                         .timestamp_ms = 1795248118123,
                         .partition = RECORD_PARTITION_BY_KEY,
                         .origin = "public.outbox",
                         .commit_lsn = FIXTURE_LSN,
                         .xid = 4294967295,
                         .index = 7};
}

static void assert_line(const struct record *record, const char *expected) {
  struct buffer line;
  buffer_init(&line, PRINT_LINE_MAX);
  record_print(record, &line);
  assert_false(line.overflow);
  assert_text(buffer_slice(&line), expected);
  buffer_free(&line);
}

#define HEAD "{\"topic\":\"orders.events.v1\",\"partition\":null,"
#define TAIL ",\"lsn\":\"16/B374D848\",\"xid\":4294967295,\"index\":7}\n"
#define BEFORE_VALUE HEAD "\"key\":\"k1\",\"headers\":{},\"timestamp\":1795248118123,"

static void a_record_is_one_object_on_one_line(void **state) {
  (void)state;
  struct record record = fixture_record();
  struct record_header headers[] = {{.name = "id", .value = slice_of("e-1")},
                                    {.name = "a\"b", .value = slice_of("line\nbreak")},
                                    {.name = "none", .value = SLICE_ABSENT},
                                    {.name = "bytes", .value = LITERAL("\xff")}};
  record.headers = headers;
  record.header_count = COUNT_OF(headers);
  record.partition = 2;
  assert_line(&record, "{\"topic\":\"orders.events.v1\",\"partition\":2,\"key\":\"k1\",\"headers\":{\"id\":\"e-1\","
                       "\"a\\\"b\":\"line\\nbreak\",\"none\":null,\"bytes\":\"\xef\xbf\xbd\"},"
                       "\"timestamp\":1795248118123,\"value\":{\"id\":\"e-1\"}" TAIL);
}

static void a_value_is_shown_as_what_it_is(void **state) {
  (void)state;
  static const struct {
    struct slice value;
    const char *shown;
  } cases[] = {
      {LITERAL("{\"n\":0.10, \"big\":1e400}"), "\"value\":{\"n\":0.10, \"big\":1e400}"},
      {LITERAL("{\n  \"a\": 1,\r\n  \"b\": \"x\\ny\"\n}"), "\"value\":{   \"a\": 1,    \"b\": \"x\\ny\" }"},
      {LITERAL("\"text\""), "\"value\":\"text\""},
      {LITERAL("null"), "\"value\":null"},
      {{.data = NULL, .len = 0}, "\"value\":null,\"tombstone\":true"},
      {LITERAL("plain \"text\"\n"), "\"value_text\":\"plain \\\"text\\\"\\n\""},
      {LITERAL(""), "\"value_text\":\"\""},
      {LITERAL("\x00\xff"), "\"value_base64\":\"AP8=\""},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct record record = fixture_record();
    record.value = cases[i].value;
    char expected[512];
    snprintf(expected, sizeof expected, "%s%s%s", BEFORE_VALUE, cases[i].shown, TAIL);
    assert_line(&record, expected);
  }
}

static void a_key_is_text_or_base64_or_null(void **state) {
  (void)state;
  struct record record = fixture_record();
  record.key = SLICE_ABSENT;
  assert_line(&record, HEAD "\"key\":null,\"headers\":{},\"timestamp\":1795248118123,\"value\":{\"id\":\"e-1\"}" TAIL);
  record.key = (struct slice)LITERAL("\xff\xfe");
  assert_line(&record, HEAD "\"key_base64\":\"//4=\",\"headers\":{},\"timestamp\":1795248118123,"
                            "\"value\":{\"id\":\"e-1\"}" TAIL);
}

static void a_quarantine_record_says_that_it_is_one(void **state) {
  (void)state;
  struct record record = fixture_record();
  record.quarantined = true;
  assert_line(&record, BEFORE_VALUE "\"value\":{\"id\":\"e-1\"},\"lsn\":\"16/B374D848\",\"xid\":4294967295,\"index\":7,"
                                    "\"quarantined\":true}\n");
}

static void a_record_that_is_to_take_its_turn_has_no_partition_yet(void **state) {
  (void)state;
  struct record record = fixture_record();
  record.partition = RECORD_PARTITION_ROUND_ROBIN;
  assert_line(&record, BEFORE_VALUE "\"value\":{\"id\":\"e-1\"}" TAIL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_record_is_one_object_on_one_line),
      cmocka_unit_test(a_record_that_is_to_take_its_turn_has_no_partition_yet),
      cmocka_unit_test(a_value_is_shown_as_what_it_is),
      cmocka_unit_test(a_key_is_text_or_base64_or_null),
      cmocka_unit_test(a_quarantine_record_says_that_it_is_one),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
