/* bridge/event/dead_letter.h: what goes in comes out of the record byte for byte, by what its header says of it. */
#include "tests/unit/event/event_fixture.h"

#include <stdlib.h>

#include "bridge/base/jsontext.h"
#include "bridge/base/memory.h"
#include "bridge/event/builder.h"
#include "bridge/event/dead_letter.h"

#define SUFFIX ".dlq"
#define HEADERS_MAX 16

struct fixture {
  struct router *router;
  struct record_rules rules;
  struct record_builder *builder;
  struct received_reader *reader;
  struct dead_letter_reader *copies;
};

static int setup(void **state) {
  static struct fixture f;
  static const struct route_spec routes[] = {{.type = "*", .topic = "everything"}};
  f.router = router_new(routes, 1, NULL);
  f.rules = (struct record_rules){
      .instance = "shop", .layout = ENVELOPE_PAYLOAD, .router = f.router, .quarantine_topic = "shop.quarantine"};
  f.builder = record_builder_new(&f.rules);
  f.reader = received_reader_new();
  f.copies = dead_letter_reader_new();
  *state = &f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  record_builder_free(f->builder);
  received_reader_free(f->reader);
  dead_letter_reader_free(f->copies);
  router_free(f->router);
  return 0;
}

static struct received_record original_of(struct slice key, struct slice value, const struct record_header *headers,
                                          int header_count) {
  return (struct received_record){.topic = "fleet.rentals",
                                  .partition = 3,
                                  .offset = INT64_C(9007199254740993), /* no double holds it */
                                  .timestamp_ms = 1795248118123,
                                  .key = key,
                                  .value = value,
                                  .headers = headers,
                                  .header_count = header_count};
}

static struct dead_letter letter_of(struct fixture *f, const struct received_record *original,
                                    struct received *received) {
  struct problem ignored;
  received_read(f->reader, original, received, &ignored);
  return (struct dead_letter){.record = original,
                              .received = received,
                              .code = "handler_failed",
                              .message = slice_of("no \"rental\""),
                              .details = slice_of("{\"sqlstate\":\"P0001\"}"),
                              .attempts = 5,
                              .first_failure = slice_of("2026-11-21T08:01:58.123456Z"),
                              .last_failure = slice_of("2026-11-21T08:02:58.123456Z"),
                              .topic_suffix = SUFFIX,
                              .consumer = "accounting"};
}

static struct event event_of(struct slice text) {
  struct event event = {.origin = "walferry.dead_letter",
                        .dead_letter = true,
                        .payload_form = PAYLOAD_TEXT,
                        .commit_lsn = FIXTURE_LSN,
                        .commit_time_us = FIXTURE_COMMIT_US,
                        .xid = 77,
                        .index = 7};
  event.fields[FIELD_PAYLOAD] = text;
  return event;
}

static struct record *build(struct fixture *f, struct slice text, struct problem *problem) {
  struct event event = event_of(text);
  *problem = (struct problem){.code = NULL};
  return dead_letter_record(f->builder, &event, NULL, problem);
}

/* Through the message. */
static struct record *carry(struct fixture *f, const struct dead_letter *letter) {
  struct buffer text;
  struct problem problem;
  buffer_init(&text, BUFFER_MAX_ROW);
  dead_letter_write(&text, letter);
  assert_false(text.overflow);
  for (size_t i = 0; i < text.len; i++)
    assert_in_range(text.data[i], ' ', '~');
  struct record *record = build(f, buffer_slice(&text), &problem);
  if (record == NULL)
    fail_msg("%s: %.*s", problem.message, SLICE_ARG(buffer_slice(&text)));
  buffer_free(&text);
  return record;
}

static struct record *carry_original(struct fixture *f, const struct received_record *original) {
  struct received received;
  struct dead_letter letter = letter_of(f, original, &received);
  return carry(f, &letter);
}

static struct slice member_of(const struct record *record, const char *name) {
  assert_true(jsontext_check(record->value, NULL));
  struct jsontext_members members = jsontext_members_of(record->value);
  struct jsontext_member member;
  while (jsontext_members_next(&members, &member))
    if (slice_is(member.name, name))
      return member.value;
  return SLICE_ABSENT;
}

/* As the header of dead_letter.h says. Which member it was is said through *member. */
static struct slice recover_value(const struct record *record, struct buffer *decoded, const char **member) {
  static const char *const names[] = {"envelope", "payload", "payload_base64"};
  struct slice value = SLICE_ABSENT;
  *member = NULL;
  for (size_t i = 0; i < COUNT_OF(names); i++) {
    struct slice found = member_of(record, names[i]);
    if (!slice_present(found))
      continue;
    assert_null(*member); /* one of them only */
    *member = names[i];
    value = found;
  }
  assert_non_null(*member);
  if (strcmp(*member, "payload_base64") != 0)
    return jsontext_kind_of(value) == JSONTEXT_NULL ? SLICE_ABSENT : value;
  assert_true(buffer_append_base64_bytes(decoded, jsontext_string_body(value)));
  return slice_present(buffer_slice(decoded)) ? buffer_slice(decoded) : slice_of("");
}

static struct received_record as_received(const struct record *record) {
  return (struct received_record){.topic = record->topic,
                                  .offset = 8,
                                  .key = record->key,
                                  .value = record->value,
                                  .headers = record->headers,
                                  .header_count = record->header_count};
}

static void expect_read_back(struct fixture *f, const struct record *record, const struct received_record *original) {
  struct received_record received = as_received(record);
  struct dead_letter_copy copy;
  const char *why = NULL;
  if (!dead_letter_read(f->copies, &received, &copy, &why))
    fail_msg("%s: %.*s", why, SLICE_ARG(record->value));
  assert_null(why);
  assert_string_equal(copy.original.topic, original->topic);
  assert_int_equal(copy.original.partition, original->partition);
  assert_true(copy.original.offset == original->offset && copy.original.timestamp_ms == original->timestamp_ms);
  assert_slice(copy.original.key, original->key);
  assert_slice(copy.original.value, original->value);
  assert_int_equal(copy.original.header_count, original->header_count);
  for (int i = 0; i < original->header_count; i++) {
    assert_string_equal(copy.original.headers[i].name, original->headers[i].name);
    assert_slice(copy.original.headers[i].value, original->headers[i].value);
  }
  assert_text(copy.code, "handler_failed");
}

/* member: what holds the value; NULL: any. */
static void expect_unharmed(struct fixture *f, const struct received_record *original, const char *member) {
  struct record *record = carry_original(f, original);
  struct buffer decoded;
  const char *found;
  buffer_init(&decoded, BUFFER_MAX_ROW);
  assert_string_equal(record->topic, "fleet.rentals" SUFFIX);
  assert_slice(record->key, original->key);
  assert_slice(recover_value(record, &decoded, &found), original->value);
  if (member != NULL)
    assert_string_equal(found, member);
  assert_int_equal(record->header_count, original->header_count + 4);
  for (int i = 0; i < original->header_count; i++) {
    assert_string_equal(record->headers[i].name, original->headers[i].name);
    assert_slice(record->headers[i].value, original->headers[i].value);
  }
  char count[12];
  snprintf(count, sizeof count, "%d", original->header_count);
  assert_text(member_of(record, "original_header_count"), count);
  assert_text(member_of(record, "original_topic"), "\"fleet.rentals\"");
  assert_text(member_of(record, "original_partition"), "3");
  assert_text(member_of(record, "original_offset"), "9007199254740993");
  assert_text(member_of(record, "original_timestamp"), "1795248118123");
  expect_read_back(f, record, original);
  buffer_free(&decoded);
  record_free(record);
}

static void values_come_back_byte_for_byte(void **state) {
  static const struct {
    struct slice value;
    const char *member;
  } cases[] = {
      {LITERAL("{\"id\":\"e-1\",\"type\":\"R\",\"occurred_at\":\"2026-11-21T08:01:58Z\" ,\n \"payload\":{\"a\" : "
               "1.50, \"a\":1e400}}"),
       "envelope"},
      {LITERAL("{\"id\":\"e-1\",\"type\":\"R\",\"version\":3,\"ts\":\"2026-11-21T08:01:58Z\",\"payload\":null}"),
       "envelope"},
      {LITERAL("{\"id\":\"e\",\"type\":\"R\",\"source\":\"s\",\"timestamp\":\"2026-11-21T08:01:58Z\",\"payload\":1}"),
       "envelope"},
      {LITERAL("{\"specversion\":\"1.0\",\"id\":\"e\",\"source\":\"s\",\"type\":\"R\",\"data\":\"\\ud83d\\ude00\"}"),
       "envelope"},
      {LITERAL("{\"a\":\"\\u0000\\/\xC3\xBC\xE2\x80\xA8\"}"), "payload"},
      {LITERAL("[]"), "payload"},
      {LITERAL("\"text\""), "payload"},
      {LITERAL("-0.0"), "payload"},
      {LITERAL("false"), "payload"},
      {{NULL, 0}, "payload"},
      {LITERAL("null"), "payload_base64"},
      {LITERAL(" {}"), "payload_base64"},
      {LITERAL("{}\n"), "payload_base64"},
      {LITERAL(""), "payload_base64"},
      {LITERAL("\0"), "payload_base64"},
      {LITERAL("{\"a\":\"\0\"}"), "payload_base64"},
      {LITERAL("{\"a\":\"\\ud83d\"}"), "payload_base64"},
      {LITERAL("{\"a\":\"\xC3\"}"), "payload_base64"},
      {LITERAL("\xEF\xBB\xBF{}"), "payload_base64"},
      {LITERAL("not JSON"), "payload_base64"},
      {LITERAL("\xff\xfe\x00\x01\x80"), "payload_base64"},
      {LITERAL("{} {}"), "payload_base64"},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct received_record original = original_of(slice_of("k"), cases[i].value, NULL, 0);
    expect_unharmed(*state, &original, cases[i].member);
  }
}

static void an_envelope_stays_one_whatever_is_wrong_with_it(void **state) {
  static const struct record_header headers[] = {{"type", LITERAL("R")}, {"id", LITERAL("e-1")}};
  struct received_record original = original_of(
      slice_of("k"), slice_of("{\"id\":\"e-1\",\"type\":\"R\",\"occurred_at\":\"soon\",\"payload\":{}}"), headers, 2);
  expect_unharmed(*state, &original, "envelope");
}

static void nesting_that_the_record_cannot_hold_travels_as_bytes(void **state) {
  static char text[2 * JSONTEXT_DEPTH_MAX];
  for (size_t depth = JSONTEXT_DEPTH_MAX - 1; depth <= JSONTEXT_DEPTH_MAX; depth++) {
    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    struct received_record original = original_of(slice_of("k"), slice_from(text, 2 * depth), NULL, 0);
    expect_unharmed(*state, &original, depth < JSONTEXT_DEPTH_MAX ? "payload" : "payload_base64");
  }
}

static void keys_come_back_byte_for_byte(void **state) {
  static const struct {
    struct slice key;
    const char *text;
  } cases[] = {{{NULL, 0}, "null"},
               {LITERAL(""), "\"\""},
               {LITERAL("r-17"), "\"r-17\""},
               {LITERAL("\"\\\n"), "\"\\\"\\\\\\n\""},
               {LITERAL("\0"), "\"\\u0000\""},
               {LITERAL("a\0b"), "\"a\\u0000b\""},
               {LITERAL("\xff\xC3\xBC"), "\"\xEF\xBF\xBD\xC3\xBC\""},
               {LITERAL("null"), "\"null\""}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct received_record original = original_of(cases[i].key, slice_of("{}"), NULL, 0);
    expect_unharmed(*state, &original, NULL);
    struct record *record = carry_original(*state, &original);
    assert_text(member_of(record, "original_key"), cases[i].text);
    record_free(record);
  }
}

static void headers_come_back_byte_for_byte_and_in_their_order(void **state) {
  static const struct record_header headers[HEADERS_MAX] = {
      {"id", LITERAL("e-1")},
      {"null", {NULL, 0}},
      {"empty", LITERAL("")},
      {"twice", LITERAL("1")},
      {"twice", {NULL, 0}},
      {"twice", LITERAL("1")},
      {"binary", LITERAL("\0\xff\n\"\\")},
      {"", LITERAL("without a name")},
      {"na\xffme \xC3\xBC \"", LITERAL("v")},
      {"wf_lsn", LITERAL("0/1")},
      {RECORD_HEADER_ERROR_CODE, LITERAL("of an earlier letter")},
      {RECORD_HEADER_ORIGIN, LITERAL("elsewhere/0/1")},
      {DEAD_LETTER_HEADER_CONSUMER, {NULL, 0}},
      {"content-type", LITERAL("application/json")},
  };
  for (int count = 0; count <= 14; count++) {
    struct received_record original = original_of(slice_of("k"), slice_of("{}"), headers, count);
    expect_unharmed(*state, &original, NULL);
  }
}

static void what_is_huge_comes_back_too(void **state) {
  enum { VALUE = 5000000, KEY = 300000, HEADERS = 3000 };
  char *value = memory_alloc(VALUE), *key = memory_alloc(KEY);
  struct record_header *headers = memory_alloc(HEADERS * sizeof *headers);
  uint32_t random = 42;
  for (int i = 0; i < VALUE; i++)
    value[i] = (char)((random = random * 1664525 + 1013904223) >> 24);
  memcpy(key, value, KEY);
  for (int i = 0; i < HEADERS; i++)
    headers[i] = (struct record_header){.name = "h", .value = slice_from(value + i, (size_t)(i % 50))};
  struct received_record original = original_of(slice_from(key, KEY), slice_from(value, VALUE), headers, HEADERS);
  expect_unharmed(*state, &original, "payload_base64");
  memset(value, 'x', VALUE);
  memcpy(value, "{\"fill\":\"", 9);
  memcpy(value + VALUE - 2, "\"}", 2);
  expect_unharmed(*state, &original, "payload");
  free(headers);
  free(key);
  free(value);
}

static void the_record_says_all_that_is_known(void **state) {
  static const struct record_header headers[] = {{"id", LITERAL("e-1")}, {"x", {NULL, 0}}};
  struct received_record original = original_of(
      slice_of("r-17"),
      slice_of("{\"id\":\"e-1\",\"type\":\"R\",\"occurred_at\":\"2026-11-21T08:01:58Z\",\"payload\":{}}"), headers, 2);
  struct record *record = carry_original(*state, &original);
  assert_text(record->value,
              "{\"original_topic\":\"fleet.rentals\",\"original_partition\":3,\"original_offset\":9007199254740993,"
              "\"original_timestamp\":1795248118123,\"original_key\":\"r-17\",\"original_header_count\":2,"
              "\"consumer\":\"accounting\",\"id\":\"e-1\",\"type\":\"R\","
              "\"envelope\":{\"id\":\"e-1\",\"type\":\"R\",\"occurred_at\":\"2026-11-21T08:01:58Z\",\"payload\":{}},"
              "\"error\":{\"code\":\"handler_failed\",\"message\":\"no \\\"rental\\\"\","
              "\"details\":{\"sqlstate\":\"P0001\"}},\"attempts\":5,"
              "\"first_failure\":\"2026-11-21T08:01:58.123456Z\",\"last_failure\":\"2026-11-21T08:02:58.123456Z\"}");
  static const struct record_header own[] = {{"wf_error_code", LITERAL("handler_failed")},
                                             {"wf_error_message", LITERAL("no \"rental\"")},
                                             {"wf_origin", LITERAL("fleet.rentals/3/9007199254740993")},
                                             {"wf_consumer", LITERAL("accounting")}};
  for (int i = 0; i < 4; i++) {
    assert_string_equal(record->headers[2 + i].name, own[i].name);
    assert_slice(record->headers[2 + i].value, own[i].value);
  }
  assert_text(record->id, "e-1");
  assert_string_equal(record->origin, "walferry.dead_letter");
  assert_int_equal(record->timestamp_ms, FIXTURE_COMMIT_US / 1000);
  assert_int_equal(record->partition, RECORD_PARTITION_BY_KEY);
  assert_true(record->commit_lsn == FIXTURE_LSN && record->xid == 77 && record->index == 7);
  assert_false(record->quarantined || record->substitute || record->bare);
  record_free(record);
}

static void what_is_not_known_is_said_to_be_so(void **state) {
  struct received_record original = original_of(SLICE_ABSENT, slice_of("\xff"), NULL, 0);
  original.timestamp_ms = -1;
  struct received received;
  struct dead_letter letter = letter_of(*state, &original, &received);
  letter.message = slice_of("caf\xE9");
  letter.details = letter.first_failure = letter.last_failure = SLICE_ABSENT;
  letter.attempts = 0;
  struct record *record = carry(*state, &letter);
  assert_text(record->value,
              "{\"original_topic\":\"fleet.rentals\",\"original_partition\":3,\"original_offset\":9007199254740993,"
              "\"original_key\":null,\"original_header_count\":0,\"consumer\":\"accounting\","
              "\"id\":\"fleet.rentals/3/9007199254740993\",\"type\":null,\"payload_base64\":\"/w==\","
              "\"error\":{\"code\":\"handler_failed\",\"message\":\"caf\xEF\xBF\xBD\",\"details\":{}},\"attempts\":0,"
              "\"first_failure\":null,\"last_failure\":null}");
  assert_text(record->headers[1].value, "caf\xE9");
  expect_read_back(*state, record, &original);
  record_free(record);
}

static void a_reader_is_told_what_filters_ask_for(void **state) {
  struct fixture *f = *state;
  static const struct record_header headers[] = {{"id", LITERAL("e-1")}, {"type", LITERAL("R\"\n\xC3\xBC")}};
  struct received_record original = original_of(slice_of("k"), slice_of("[]"), headers, 2);
  struct received received;
  struct dead_letter letter = letter_of(f, &original, &received);
  for (int known = 0; known <= 1; known++) {
    if (known == 0)
      letter.first_failure = SLICE_ABSENT;
    else
      letter.first_failure = slice_of("2026-11-21T08:01:58.123456Z");
    struct record *record = carry(f, &letter);
    struct received_record dead = as_received(record);
    struct dead_letter_copy copy;
    const char *why;
    assert_true(dead_letter_read(f->copies, &dead, &copy, &why));
    assert_text(copy.type, "R\"\n\xC3\xBC");
    assert_int_equal(copy.has_first_failure, known);
    if (known == 1)
      assert_true(copy.first_failure_us == INT64_C(1795248118123456));
    record_free(record);
  }
}

#define LETTER_HEAD                                                                                                    \
  "\"original_topic\":\"t\",\"original_partition\":0,\"original_offset\":7,\"original_header_count\":1,"
#define LETTER_TAIL ",\"error\":{\"code\":\"c\"},\"first_failure\":null"

static bool read_letter_value(struct fixture *f, const char *value, const struct record_header *headers, int count,
                              const char **why) {
  struct received_record record = {.value = slice_of(value), .headers = headers, .header_count = count};
  struct dead_letter_copy copy;
  return dead_letter_read(f->copies, &record, &copy, why);
}

static void what_is_no_letter_is_not_read_as_one(void **state) {
  static const struct record_header headers[] = {{"x", LITERAL("1")},
                                                 {RECORD_HEADER_ERROR_CODE, LITERAL("c")},
                                                 {RECORD_HEADER_ERROR_MESSAGE, LITERAL("m")},
                                                 {RECORD_HEADER_ORIGIN, LITERAL("t/0/7")},
                                                 {DEAD_LETTER_HEADER_CONSUMER, LITERAL("a")},
                                                 {"more", LITERAL("1")}};
  static const struct {
    const char *value, *why;
  } cases[] = {
      {NULL, "no JSON object"},
      {"", "no JSON object"},
      {"[]", "no JSON object"},
      {"{", "no JSON object"},
      {"{}", "type, error or first_failure"},
      {"{" LETTER_HEAD "\"type\":null,\"payload\":1,\"error\":[],\"first_failure\":null}", "type, error"},
      {"{" LETTER_HEAD "\"type\":null,\"payload\":1,\"error\":{\"code\":1},\"first_failure\":null}", "type, error"},
      {"{" LETTER_HEAD "\"type\":null,\"payload\":1,\"error\":{\"code\":\"c\"},\"first_failure\":\"soon\"}",
       "type, error"},
      {"{" LETTER_HEAD "\"type\":1,\"payload\":1" LETTER_TAIL "}", "type, error"},
      {"{" LETTER_HEAD "\"payload\":1" LETTER_TAIL "}", "type, error"},
      {"{" LETTER_HEAD "\"type\":null,\"type\":null,\"payload\":1" LETTER_TAIL "}", "type, error"},
      {"{\"original_topic\":\"__consumer_offsets\",\"original_partition\":0,\"original_offset\":7,"
       "\"original_header_count\":1,\"type\":null,\"payload\":1" LETTER_TAIL "}",
       "comes from"},
      {"{\"original_topic\":\"t\",\"original_partition\":-1,\"original_offset\":7,\"original_header_count\":1,"
       "\"type\":null,\"payload\":1" LETTER_TAIL "}",
       "comes from"},
      {"{\"original_topic\":\"t\",\"original_partition\":0,\"original_header_count\":1,"
       "\"type\":null,\"payload\":1" LETTER_TAIL "}",
       "comes from"},
      {"{" LETTER_HEAD "\"type\":null" LETTER_TAIL "}", "original's value"},
      {"{" LETTER_HEAD "\"type\":null,\"payload\":1,\"envelope\":1" LETTER_TAIL "}", "original's value"},
      {"{" LETTER_HEAD "\"type\":null,\"payload_base64\":1" LETTER_TAIL "}", "original's value"},
      {"{" LETTER_HEAD "\"type\":null,\"payload_base64\":\"a\"" LETTER_TAIL "}", "original's value"},
  };
  struct fixture *f = *state;
  const char *why;
  static const char good[] = "{" LETTER_HEAD "\"type\":null,\"payload\":1" LETTER_TAIL "}";
  assert_true(read_letter_value(f, good, headers, 5, &why));
  for (int count = 0; count <= 6; count++)
    assert_int_equal(read_letter_value(f, good, headers, count, &why), count == 5);
  assert_non_null(strstr(why, "headers"));
  assert_false(read_letter_value(f, good, headers + 1, 5, &why));
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    why = NULL;
    if (read_letter_value(f, cases[i].value, headers, 5, &why) || strstr(why, cases[i].why) == NULL)
      fail_msg("%s: %s", cases[i].value == NULL ? "no value" : cases[i].value, why == NULL ? "taken" : why);
  }
}

static void what_the_relay_quarantined_is_no_letter(void **state) {
  struct received_record original = original_of(slice_of("k"), slice_of("{}"), NULL, 0);
  struct record *record = carry_original(*state, &original);
  struct problem problem = {.code = "record_refused", .message = "no"};
  struct record *refused = record_quarantine(record, "shop.quarantine", &problem);
  struct received_record received = as_received(refused);
  struct dead_letter_copy copy;
  const char *why;
  assert_false(dead_letter_read(((struct fixture *)*state)->copies, &received, &copy, &why));
  record_free(refused);
  record_free(record);
}

static void a_letter_that_does_not_fit_is_not_written(void **state) {
  struct received_record original = original_of(slice_of("k"), slice_of("{}"), NULL, 0);
  struct received received;
  struct dead_letter letter = letter_of(*state, &original, &received);
  struct buffer text;
  buffer_init(&text, BUFFER_MAX_ROW);
  dead_letter_write(&text, &letter);
  size_t needed = text.len;
  buffer_free(&text);
  for (size_t max = 0; max <= needed; max++) {
    buffer_init(&text, max);
    dead_letter_write(&text, &letter);
    assert_int_equal(text.overflow, max < needed);
    buffer_free(&text);
  }
}

#define TEXT(topic, id, key, headers, value)                                                                           \
  "{\"topic\":" topic ",\"id\":" id ",\"key\":" key ",\"headers\":" headers ",\"value\":" value "}"
#define TOPIC "\"t.dlq\""
#define ID "\"aQ==\""
#define VALUE "\"e30=\""

static void the_smallest_text_is_a_record(void **state) {
  struct problem problem;
  struct record *record = build(*state, slice_of(TEXT(TOPIC, ID, "null", "[]", VALUE)), &problem);
  assert_non_null(record);
  assert_string_equal(record->topic, "t.dlq");
  assert_text(record->value, "{}");
  assert_false(slice_present(record->key));
  assert_int_equal(record->header_count, 0);
  record_free(record);
}

static void what_the_inbox_did_not_write_is_no_record(void **state) {
  static const char *const texts[] = {
      "",
      " ",
      "null",
      "[]",
      "{}",
      "hello",
      "{\"id\":\"e-1\",\"type\":\"R\",\"aggregate\":\"a\",\"key\":\"k\",\"payload\":{}}",
      TEXT("null", ID, "null", "[]", VALUE),
      TEXT("1", ID, "null", "[]", VALUE),
      TEXT("\"\"", ID, "null", "[]", VALUE),
      TEXT("\"a b\"", ID, "null", "[]", VALUE),
      TEXT("\"a\\u002eb\"", ID, "null", "[]", VALUE),
      TEXT("\"walferry.position.shop\"", ID, "null", "[]", VALUE),
      TEXT("\"__consumer_offsets\"", ID, "null", "[]", VALUE),
      TEXT(TOPIC, "null", "null", "[]", VALUE),
      TEXT(TOPIC, "\"a\"", "null", "[]", VALUE),
      TEXT(TOPIC, "\"/w==\"", "null", "[]", VALUE), /* no UTF-8 */
      TEXT(TOPIC, ID, "1", "[]", VALUE),
      TEXT(TOPIC, ID, "\"aR==\"", "[]", VALUE), /* bits that no byte holds */
      TEXT(TOPIC, ID, "\"a\\u0051==\"", "[]", VALUE),
      TEXT(TOPIC, ID, "null", "null", VALUE),
      TEXT(TOPIC, ID, "null", "{}", VALUE),
      TEXT(TOPIC, ID, "null", "[\"aQ==\"]", VALUE),
      TEXT(TOPIC, ID, "null", "[null,null]", VALUE),
      TEXT(TOPIC, ID, "null", "[\"AA==\",null]", VALUE), /* a NUL in a name */
      TEXT(TOPIC, ID, "null", "[\"aQ==\",1]", VALUE),
      TEXT(TOPIC, ID, "null", "[[\"aQ==\",null]]", VALUE),
      TEXT(TOPIC, ID, "null", "[\"aQ==\",null,\"aQ==\"]", VALUE),
      TEXT(TOPIC, ID, "null", "[]", "null"),
      TEXT(TOPIC, ID, "null", "[]", "{}"),
      TEXT(TOPIC, ID, "null", "[]", "\"W10=\""), /* an array */
      TEXT(TOPIC, ID, "null", "[]", "\"ew==\""), /* { */
      TEXT(TOPIC, ID, "null", "[]", "\"\""),
      TEXT(TOPIC, ID, "null", "[]", VALUE) "x",
      "{\"topic\":" TOPIC ",\"key\":null,\"id\":" ID ",\"headers\":[],\"value\":" VALUE "}",
      "{\"topic\":" TOPIC ",\"id\":" ID ",\"key\":null,\"headers\":[],\"value\":" VALUE ",\"more\":1}",
      "{\"topic\":" TOPIC ",\"id\":" ID ",\"key\":null,\"headers\":[],\"value\":" VALUE,
  };
  for (size_t i = 0; i < COUNT_OF(texts); i++) {
    struct problem problem;
    struct record *record = build(*state, slice_of(texts[i]), &problem);
    if (record != NULL)
      fail_msg("%s", texts[i]);
    assert_string_equal(problem.code, "message_not_json");
    assert_string_equal(problem.message, "the message's content is not a dead letter of the inbox");
  }
}

static void no_route_is_for_what_is_no_record(void **state) {
  struct fixture *f = *state;
  struct problem problem;
  struct event event = event_of(slice_of("hello"));
  assert_null(build(f, slice_of("hello"), &problem));
  struct record *record = record_build_quarantine(f->builder, &event, NULL, &problem);
  assert_string_equal(record->topic, "shop.quarantine");
  assert_false(slice_present(member_of(record, "original_topic")));
  assert_text(member_of(record, "origin"), "\"walferry.dead_letter\"");
  assert_text(member_of(record, "payload"), "\"hello\"");
  record_free(record);
}

static void a_record_that_is_refused_goes_to_quarantine_as_it_is(void **state) {
  static const struct record_header headers[] = {
      {"wf_lsn", LITERAL("0/1")}, {"wf_tx", LITERAL("1")}, {"\xff", {NULL, 0}}, {"type", LITERAL("R")}};
  struct received_record original = original_of(slice_of("\xff"), slice_of("{}"), headers, 4);
  struct record *record = carry_original(*state, &original);
  struct problem problem = {.code = "record_refused", .message = "no"};
  struct record *refused = record_quarantine(record, "shop.quarantine", &problem);
  assert_slice(refused->key, original.key);
  assert_slice(member_of(refused, "envelope"), record->value);
  assert_text(member_of(refused, "original_topic"), "\"fleet.rentals" SUFFIX "\"");
  assert_text(member_of(refused, "original_headers"),
              "{\"wf_lsn\":\"0/1\",\"wf_tx\":\"1\",\"\xEF\xBF\xBD\":null,\"type\":\"R\","
              "\"wf_error_code\":\"handler_failed\",\"wf_error_message\":\"no \\\"rental\\\"\","
              "\"wf_origin\":\"fleet.rentals/3/9007199254740993\",\"wf_consumer\":\"accounting\"}");
  assert_text(record_header_value(refused, "type"), "R");
  assert_text(record_header_value(refused, "wf_lsn"), "16/B374D848"); /* of the letter, not of the original */
  assert_text(record_header_value(refused, "wf_tx"), "77");
  assert_text(record_header_value(refused, "wf_error_code"), "record_refused");
  record_free(refused);
  record_free(record);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(values_come_back_byte_for_byte, setup, teardown),
      cmocka_unit_test_setup_teardown(an_envelope_stays_one_whatever_is_wrong_with_it, setup, teardown),
      cmocka_unit_test_setup_teardown(nesting_that_the_record_cannot_hold_travels_as_bytes, setup, teardown),
      cmocka_unit_test_setup_teardown(keys_come_back_byte_for_byte, setup, teardown),
      cmocka_unit_test_setup_teardown(headers_come_back_byte_for_byte_and_in_their_order, setup, teardown),
      cmocka_unit_test_setup_teardown(what_is_huge_comes_back_too, setup, teardown),
      cmocka_unit_test_setup_teardown(the_record_says_all_that_is_known, setup, teardown),
      cmocka_unit_test_setup_teardown(what_is_not_known_is_said_to_be_so, setup, teardown),
      cmocka_unit_test_setup_teardown(a_reader_is_told_what_filters_ask_for, setup, teardown),
      cmocka_unit_test_setup_teardown(what_is_no_letter_is_not_read_as_one, setup, teardown),
      cmocka_unit_test_setup_teardown(what_the_relay_quarantined_is_no_letter, setup, teardown),
      cmocka_unit_test_setup_teardown(a_letter_that_does_not_fit_is_not_written, setup, teardown),
      cmocka_unit_test_setup_teardown(the_smallest_text_is_a_record, setup, teardown),
      cmocka_unit_test_setup_teardown(what_the_inbox_did_not_write_is_no_record, setup, teardown),
      cmocka_unit_test_setup_teardown(no_route_is_for_what_is_no_record, setup, teardown),
      cmocka_unit_test_setup_teardown(a_record_that_is_refused_goes_to_quarantine_as_it_is, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
