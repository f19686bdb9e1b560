/* bridge/base/jsontext.h */
#include "tests/unit/event/event_fixture.h"

#include <stdlib.h>

#include <jansson.h>

#include "bridge/base/jsontext.h"

static const struct slice accepted[] = {
    LITERAL("null"),
    LITERAL(" true\n"),
    LITERAL("false"),
    LITERAL("0"),
    LITERAL("-0"),
    LITERAL("-0.5e+10"),
    LITERAL("1E-7"),
    LITERAL("\"\""),
    LITERAL("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\""),
    LITERAL("\"\\ud83d\\ude00\\uD83D\\uDE00\""),
    LITERAL("\"Gr\u00fc\u00dfe \u20ac \U0001F600\""),
    LITERAL("\"\\u0000\""),
    LITERAL("{}"),
    LITERAL("[ ]"),
    LITERAL("[1,[2,{\"a\":[]}],{\"b\":{}}]"),
    LITERAL("\t{ \"a\" : 1 , \"b\" : [ 1 , 2 ] }\r\n"),
    LITERAL("{\"a\":1,\"a\":2}"),
    LITERAL("[true,false,null]"),
};

static const struct slice rejected[] = {
    LITERAL(""),
    LITERAL("  "),
    LITERAL("hello"),
    LITERAL("nul"),
    LITERAL("True"),
    LITERAL("1 2"),
    LITERAL("01"),
    LITERAL("-"),
    LITERAL("+1"),
    LITERAL(".5"),
    LITERAL("1."),
    LITERAL("1e"),
    LITERAL("1e+"),
    LITERAL("0x10"),
    LITERAL("NaN"),
    LITERAL("\""),
    LITERAL("\"a"),
    LITERAL("\"\n\""),
    LITERAL("\"\\"),
    LITERAL("\"\\x\""),
    LITERAL("\"\\u12\""),
    LITERAL("\"\\u12G4\""),
    LITERAL("\"\\ud800\""),
    LITERAL("\"\\ude00\""),
    LITERAL("\"\\ud800\\u0041\""),
    LITERAL("\"\\ud800\\n00000\""),
    LITERAL("\"\xff\""),
    LITERAL("\"\xc0\xaf\""),
    LITERAL("\"\xe0\x80\x80\""),
    LITERAL("\"\xed\xa0\x80\""),
    LITERAL("\"\xf4\x90\x80\x80\""),
    LITERAL("\"\xe2\x82\""),
    LITERAL("\"\xe2\x82"),
    LITERAL("'a'"),
    LITERAL("{"),
    LITERAL("["),
    LITERAL("{]"),
    LITERAL("[}"),
    LITERAL("[1}"),
    LITERAL("{\"a\":1]"),
    LITERAL("{\"a\"}"),
    LITERAL("{\"a\" 1}"),
    LITERAL("{a:1}"),
    LITERAL("{1:1}"),
    LITERAL("{\"a\":}"),
    LITERAL("{\"a\":1,}"),
    LITERAL("[1,]"),
    LITERAL("[,1]"),
    LITERAL("[1 2]"),
    LITERAL("]"),
    LITERAL("1,"),
    LITERAL("{}{}"),
    LITERAL("// no\n1"),
};

static bool jansson_takes(struct slice text) {
  json_t *tree = json_loadb(text.data, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
  json_decref(tree);
  return tree != NULL;
}

static void json_is_accepted_as_jansson_does(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(accepted); i++)
    if (!jsontext_check(accepted[i], NULL) || !jansson_takes(accepted[i]))
      fail_msg("%.*s", SLICE_ARG(accepted[i]));
}

static void other_text_is_rejected_as_jansson_does(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(rejected); i++)
    if (jsontext_check(rejected[i], NULL) || jansson_takes(rejected[i]))
      fail_msg("%.*s", SLICE_ARG(rejected[i]));
  assert_false(jsontext_check(SLICE_ABSENT, NULL));
}

/* Each byte of each text is replaced by each of a few: whatever comes out, the two agree. */
static void mutations_are_judged_as_jansson_does(void **state) {
  (void)state;
  static const char others[] = "\"\\{}[],:0-.eu nt\x7f\xc3\xa9\xed";
  for (size_t i = 0; i < COUNT_OF(accepted); i++) {
    char *copy = malloc(accepted[i].len);
    for (size_t at = 0; at < accepted[i].len; at++)
      for (size_t o = 0; o + 1 < sizeof others; o++) {
        memcpy(copy, accepted[i].data, accepted[i].len);
        copy[at] = others[o];
        struct slice text = slice_from(copy, accepted[i].len);
        if (jsontext_check(text, NULL) != jansson_takes(text))
          fail_msg("%.*s", SLICE_ARG(text));
      }
    free(copy);
  }
}

static void numbers_that_no_double_holds_are_accepted(void **state) {
  (void)state;
  assert_true(jsontext_check(slice_of("[1e400,-123456789012345678901234567890.12345678901234567890]"), NULL));
}

static void the_place_of_an_error_is_told(void **state) {
  (void)state;
  size_t at = 0;
  assert_false(jsontext_check(slice_of("{\"a\": tru}"), &at));
  assert_int_equal(at, 6);
  assert_false(jsontext_check(slice_of("[1] x"), &at));
  assert_int_equal(at, 4);
}

static void nesting_is_taken_up_to_the_limit(void **state) {
  (void)state;
  char deep[2 * (JSONTEXT_DEPTH_MAX + 1)];
  for (int depth = JSONTEXT_DEPTH_MAX; depth <= JSONTEXT_DEPTH_MAX + 1; depth++) {
    memset(deep, '[', (size_t)depth);
    memset(deep + depth, ']', (size_t)depth);
    assert_int_equal(jsontext_check(slice_from(deep, (size_t)depth * 2), NULL), depth == JSONTEXT_DEPTH_MAX);
  }
}

static void kinds_are_told_by_the_first_character(void **state) {
  (void)state;
  assert_int_equal(jsontext_kind_of(slice_of(" {}")), JSONTEXT_OBJECT);
  assert_int_equal(jsontext_kind_of(slice_of("[]")), JSONTEXT_ARRAY);
  assert_int_equal(jsontext_kind_of(slice_of("\"a\"")), JSONTEXT_STRING);
  assert_int_equal(jsontext_kind_of(slice_of("-1")), JSONTEXT_NUMBER);
  assert_int_equal(jsontext_kind_of(slice_of("true")), JSONTEXT_BOOL);
  assert_int_equal(jsontext_kind_of(slice_of("false")), JSONTEXT_BOOL);
  assert_int_equal(jsontext_kind_of(slice_of("null")), JSONTEXT_NULL);
}

static void members_are_found_with_their_exact_extents(void **state) {
  (void)state;
  struct slice object =
      slice_of(" { \"a\" : 1.50 , \"b\\\"}\":\"x\\\"},{\\\\\" ,\"c\":{\"d\":[\"]}\",{}]},\"e\":[ ] ,\"f\":null}\n");
  assert_true(jsontext_check(object, NULL));
  static const char *const expected[][2] = {
      {"a", "1.50"}, {"b\\\"}", "\"x\\\"},{\\\\\""}, {"c", "{\"d\":[\"]}\",{}]}"}, {"e", "[ ]"}, {"f", "null"}};
  struct jsontext_members walk = jsontext_members_of(object);
  struct jsontext_member member;
  for (size_t i = 0; i < COUNT_OF(expected); i++) {
    assert_true(jsontext_members_next(&walk, &member));
    assert_text(member.name, expected[i][0]);
    assert_text(member.value, expected[i][1]);
  }
  assert_false(jsontext_members_next(&walk, &member));
  walk = jsontext_members_of(slice_of("{}"));
  assert_false(jsontext_members_next(&walk, &member));
}

static void a_reader_steps_through_members_and_elements(void **state) {
  (void)state;
  struct slice text =
      slice_of(" { \"a\" : [ 1.50,\"a]\\\",\" , {\"b\":[1]},[ ],null ] , \"b\\n\":{},\"c\":[],\"d\":\"\xff\"} ");
  static const char *const expected[] = {"1.50", "\"a]\\\",\"", "{\"b\":[1]}", "[ ]", "null"};
  struct jsontext_reader r = jsontext_reader_over(text);
  struct slice name, value;
  assert_false(jsontext_read_open(&r, JSONTEXT_ARRAY));
  assert_true(jsontext_read_open(&r, JSONTEXT_OBJECT));
  assert_true(jsontext_read_member(&r, &name));
  assert_text(name, "a");
  assert_true(jsontext_read_open(&r, JSONTEXT_ARRAY));
  for (size_t i = 0; i < COUNT_OF(expected); i++) {
    assert_true(jsontext_read_element(&r));
    assert_true(jsontext_read_value(&r, &value));
    assert_text(value, expected[i]);
  }
  assert_false(jsontext_read_element(&r));
  assert_true(jsontext_read_member(&r, &name));
  assert_text(name, "b\\n");
  assert_true(jsontext_read_open(&r, JSONTEXT_OBJECT));
  assert_false(jsontext_read_member(&r, &name));
  assert_true(jsontext_read_member(&r, &name));
  assert_true(jsontext_read_open(&r, JSONTEXT_ARRAY));
  assert_false(jsontext_read_element(&r));
  assert_false(jsontext_read_text(&r, slice_of(",\"d\" :")));
  assert_true(jsontext_read_text(&r, slice_of(",\"d\":")));
  assert_true(jsontext_read_value(&r, &value));
  assert_text(value, "\"\xff\"");
  assert_false(jsontext_read_member(&r, &name));
  assert_true(jsontext_read_end(&r));
}

/* All of text by the reader's steps alone, as far as it goes. */
static void read_all(struct jsontext_reader *r, int depth) {
  struct slice ignored;
  if (depth < 5 && jsontext_read_open(r, JSONTEXT_OBJECT)) {
    while (jsontext_read_member(r, &ignored))
      read_all(r, depth + 1);
  } else if (depth < 5 && jsontext_read_open(r, JSONTEXT_ARRAY)) {
    while (jsontext_read_element(r))
      read_all(r, depth + 1);
  } else {
    jsontext_read_value(r, &ignored);
  }
}

static bool reader_takes(struct slice text) {
  struct jsontext_reader r = jsontext_reader_over(text);
  read_all(&r, 0);
  return jsontext_read_end(&r);
}

static void a_reader_judges_as_the_check_does(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(accepted); i++)
    if (!reader_takes(accepted[i]))
      fail_msg("%.*s", SLICE_ARG(accepted[i]));
  for (size_t i = 0; i < COUNT_OF(rejected); i++)
    if (reader_takes(rejected[i]) && utf8_valid(rejected[i]))
      fail_msg("%.*s", SLICE_ARG(rejected[i]));
}

static void a_reader_takes_strings_of_any_bytes(void **state) {
  (void)state;
  static const struct slice foreign = LITERAL("{\"a\":\"\xff\xc0\xaf\x80\"}");
  assert_false(jsontext_check(foreign, NULL));
  assert_true(reader_takes(foreign));
  static const struct slice broken[] = {LITERAL("{\"a\":\"\n\"}"), LITERAL("{\"a\":\"\xff}"), LITERAL("\xff"),
                                        LITERAL("\"\\ud800\"")};
  for (size_t i = 0; i < COUNT_OF(broken); i++)
    assert_false(reader_takes(broken[i]));
}

/* Whatever byte stands at whatever place of an eight-byte word, or behind the last. */
static void each_byte_is_judged_alike_wherever_it_stands(void **state) {
  (void)state;
  for (int byte = 0; byte < 256; byte++) {
    for (size_t at = 1; at < 22; at++) {
      char text[24];
      memset(text, 'x', sizeof text);
      text[0] = text[sizeof text - 1] = '"';
      text[at] = (char)byte;
      bool plain = byte >= 0x20 && byte != '"' && byte != '\\';
      struct slice string = slice_from(text, sizeof text);
      assert_int_equal(jsontext_check(string, NULL), plain && byte < 0x80);
      assert_int_equal(reader_takes(string), plain);
    }
  }
}

static void escapes_are_resolved(void **state) {
  (void)state;
  char out[64];
  struct slice body =
      jsontext_string_body(slice_of("\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20AC\\ud83d\\ude00z\""));
  size_t len = jsontext_unescape(body, out);
  assert_text(slice_from(out, len), "a\"\\/\b\f\n\r\tA\u00e9\u20ac\U0001F600z");
  assert_int_equal(jsontext_unescape(slice_of(""), out), 0);
}

static void bytes_that_are_no_utf_8_are_repaired(void **state) {
  (void)state;
  struct buffer buf;
  buffer_init(&buf, 1000);
  jsontext_append_lossy(&buf, slice_of("\u00fc\"\xff\xe2\x82z"));
  assert_text(buffer_slice(&buf), "\"\u00fc\\\"\uFFFD\uFFFD\uFFFDz\"");
  buffer_clear(&buf);
  jsontext_append_lossy(&buf, SLICE_ABSENT);
  assert_text(buffer_slice(&buf), "\"\"");
  buffer_free(&buf);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(json_is_accepted_as_jansson_does),
      cmocka_unit_test(other_text_is_rejected_as_jansson_does),
      cmocka_unit_test(mutations_are_judged_as_jansson_does),
      cmocka_unit_test(numbers_that_no_double_holds_are_accepted),
      cmocka_unit_test(the_place_of_an_error_is_told),
      cmocka_unit_test(nesting_is_taken_up_to_the_limit),
      cmocka_unit_test(kinds_are_told_by_the_first_character),
      cmocka_unit_test(members_are_found_with_their_exact_extents),
      cmocka_unit_test(a_reader_steps_through_members_and_elements),
      cmocka_unit_test(a_reader_judges_as_the_check_does),
      cmocka_unit_test(a_reader_takes_strings_of_any_bytes),
      cmocka_unit_test(each_byte_is_judged_alike_wherever_it_stands),
      cmocka_unit_test(escapes_are_resolved),
      cmocka_unit_test(bytes_that_are_no_utf_8_are_repaired),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
