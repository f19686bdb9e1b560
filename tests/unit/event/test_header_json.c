/* bridge/event/header_json.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bridge/event/header_json.h"

#define BYTES(text) slice_from((text), sizeof(text) - 1)

static void headers_come_back_byte_for_byte(void **state) {
  (void)state;
  const struct record_header headers[] = {{"id", BYTES("1")},
                                          {"id", BYTES("2")},
                                          {"", BYTES("")},
                                          {"none", SLICE_ABSENT},
                                          {"nul", BYTES("a\0b")},
                                          {"bin", BYTES("\xff\xfe\x01")},
                                          {"quote\"", BYTES("\"\\\n")},
                                          {"\xc3\xa4", BYTES("\xe2\x82\xac")}};
  int count = (int)(sizeof headers / sizeof headers[0]);
  struct buffer json;
  buffer_init(&json, 10000);
  header_json_write(&json, headers, count);
  struct header_json back;
  assert_true(header_json_read(buffer_slice(&json), &back));
  assert_int_equal(back.count, count);
  for (int i = 0; i < count; i++) {
    assert_string_equal(back.items[i].name, headers[i].name);
    if (!slice_equal(back.items[i].value, headers[i].value))
      fail_msg("header %d came back with another value", i);
  }
  header_json_free(&back);
  buffer_free(&json);
}

static void it_is_written_as_documented(void **state) {
  (void)state;
  const struct record_header headers[] = {
      {"a", BYTES("x")}, {"b", BYTES("\0")}, {"c", SLICE_ABSENT}, {"\xff", BYTES("")}};
  struct buffer json;
  buffer_init(&json, 1000);
  header_json_write(&json, headers, 4);
  buffer_append_char(&json, '\0');
  assert_string_equal(json.data, "[{\"name\":\"a\",\"value\":\"x\"},{\"name\":\"b\",\"base64\":\"AA==\"},"
                                 "{\"name\":\"c\"},{\"name\":\"\xef\xbf\xbd\",\"value\":\"\"}]");
  buffer_clear(&json);
  header_json_write(&json, NULL, 0);
  assert_true(slice_is(buffer_slice(&json), "[]"));
  buffer_free(&json);
}

static void other_json_is_refused(void **state) {
  (void)state;
  static const char *const cases[] = {"",
                                      "{}",
                                      "[1]",
                                      "[{}]",
                                      "[{\"value\":\"x\"}]",
                                      "[{\"name\":1}]",
                                      "[{\"name\":\"a\\u0000b\"}]",
                                      "[{\"name\":\"a\",\"value\":null}]",
                                      "[{\"name\":\"a\",\"base64\":\"A\"}]",
                                      "[{\"name\":\"a\",\"value\":\"x\",\"base64\":\"AA==\"}]",
                                      "[{\"name\":\"a\",\"name\":\"b\"}]",
                                      "[{\"name\":\"a\",\"more\":\"x\"}]",
                                      "[{\"name\":\"a\"}] x"};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct header_json headers;
    if (header_json_read(slice_of(cases[i]), &headers))
      fail_msg("%s was taken", cases[i]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(headers_come_back_byte_for_byte),
      cmocka_unit_test(it_is_written_as_documented),
      cmocka_unit_test(other_json_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
