/* The buffer: growth, its maximum, and the JSON and base64 forms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bridge/base/buffer.h"

#define BYTES(text) slice_from((text), sizeof(text) - 1)

static void an_empty_buffer_is_an_empty_present_slice(void **state) {
  (void)state;
  struct buffer buf;
  buffer_init(&buf, 10);
  assert_true(slice_present(buffer_slice(&buf)));
  assert_int_equal(buffer_slice(&buf).len, 0);
  buffer_free(&buf);
}

static void appends_come_one_after_the_other(void **state) {
  (void)state;
  struct buffer buf;
  buffer_init(&buf, 1000);
  buffer_append(&buf, "a\0b", 3);
  buffer_append(&buf, NULL, 0);
  buffer_append_slice(&buf, slice_of("cd"));
  buffer_append_slice(&buf, SLICE_ABSENT);
  buffer_append_text(&buf, "ef");
  buffer_append_char(&buf, 'g');
  buffer_printf(&buf, "%d-%s", 42, "h");
  assert_true(slice_equal(buffer_slice(&buf), BYTES("a\0bcdefg42-h")));
  assert_false(buf.overflow);
  buffer_free(&buf);
}

static void it_grows_and_keeps_what_it_holds(void **state) {
  (void)state;
  struct buffer buf;
  buffer_init(&buf, 1 << 20);
  for (int i = 0; i < 100000; i++)
    buffer_append_char(&buf, (char)('a' + i % 26));
  assert_int_equal(buf.len, 100000);
  for (int i = 0; i < 100000; i++)
    assert_int_equal(buf.data[i], 'a' + i % 26);
  buffer_free(&buf);
}

static void the_maximum_can_be_reached_and_not_passed(void **state) {
  (void)state;
  static const size_t limits[] = {0, 1, 255, 256, 257, 1000};
  for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
    struct buffer buf;
    buffer_init(&buf, limits[i]);
    for (size_t n = 0; n < limits[i]; n++)
      buffer_append_char(&buf, 'x');
    assert_false(buf.overflow);
    assert_int_equal(buf.len, limits[i]);
    buffer_append_char(&buf, 'x');
    assert_true(buf.overflow);
    assert_int_equal(buf.len, limits[i]);
    assert_true(buf.capacity <= limits[i]);
    buffer_free(&buf);
  }
}

static void an_overflow_latches_until_the_buffer_is_cleared(void **state) {
  (void)state;
  struct buffer buf;
  buffer_init(&buf, 4);
  buffer_append_text(&buf, "abcde");
  assert_true(buf.overflow);
  buffer_append_text(&buf, "f"); /* would fit, but the content has a hole */
  assert_int_equal(buf.len, 0);
  buffer_clear(&buf);
  assert_false(buf.overflow);
  buffer_append_text(&buf, "abcd");
  assert_true(slice_is(buffer_slice(&buf), "abcd"));
  assert_false(buf.overflow);
  assert_null(buffer_reserve(&buf, SIZE_MAX));
  assert_true(buf.overflow);
  buffer_free(&buf);
}

static void printf_that_does_not_fit_latches(void **state) {
  (void)state;
  struct buffer buf;
  buffer_init(&buf, 4);
  buffer_printf(&buf, "%s", "abcde");
  assert_true(buf.overflow);
  assert_int_equal(buf.len, 0);
  buffer_free(&buf);
}

static void printf_may_fill_the_buffer_to_its_maximum(void **state) {
  (void)state;
  struct buffer buf;
  buffer_init(&buf, 4);
  buffer_printf(&buf, "%s", "abcd");
  assert_false(buf.overflow);
  assert_true(slice_is(buffer_slice(&buf), "abcd"));
  buffer_printf(&buf, "%s", "");
  assert_false(buf.overflow);
  buffer_free(&buf);
}

static void clearing_keeps_the_memory_and_freeing_does_not(void **state) {
  (void)state;
  struct buffer buf;
  buffer_init(&buf, 1000);
  buffer_append_text(&buf, "abc");
  size_t capacity = buf.capacity;
  buffer_clear(&buf);
  assert_int_equal(buf.capacity, capacity);
  assert_int_equal(buf.len, 0);
  buffer_free(&buf);
  assert_null(buf.data);
  buffer_append_text(&buf, "again"); /* as after init */
  assert_true(slice_is(buffer_slice(&buf), "again"));
  buffer_free(&buf);
}

static void json_escapes_each_byte_wherever_it_stands(void **state) {
  (void)state;
  for (int byte = 0; byte < 256; byte++)
    for (size_t at = 0; at < 20; at++) {
      char in[20];
      memset(in, 'a', sizeof in);
      in[at] = (char)byte;
      struct buffer buf;
      buffer_init(&buf, 1000);
      buffer_append_json(&buf, slice_from(in, sizeof in));
      bool escaped = byte < 0x20 || byte == '"' || byte == '\\';
      assert_int_equal(buf.len > sizeof in + 2, escaped);
      assert_int_equal(buf.data[1 + at], escaped ? '\\' : (char)byte);
      buffer_free(&buf);
    }
}

static void json_strings_are_escaped(void **state) {
  (void)state;
  const struct {
    struct slice in;
    const char *out;
  } cases[] = {
      {SLICE_ABSENT, "\"\""},
      {BYTES(""), "\"\""},
      {BYTES("plain /"), "\"plain /\""},
      {BYTES("a\"b\\c"), "\"a\\\"b\\\\c\""},
      {BYTES("\n\r\t"), "\"\\n\\r\\t\""},
      {BYTES("\0x\x01\x1f\b\f"), "\"\\u0000x\\u0001\\u001f\\u0008\\u000c\""},
      {BYTES("\x7f \xc3\xa4 \xf0\x9f\x98\x80"), "\"\x7f \xc3\xa4 \xf0\x9f\x98\x80\""},
      {BYTES("\"\""), "\"\\\"\\\"\""},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct buffer buf;
    buffer_init(&buf, 1000);
    buffer_append_json(&buf, cases[i].in);
    assert_false(buf.overflow);
    assert_true(slice_is(buffer_slice(&buf), cases[i].out));
    buffer_free(&buf);
  }
}

static void base64_is_that_of_rfc_4648(void **state) {
  (void)state;
  const struct {
    struct slice in;
    const char *out;
  } cases[] = {
      {SLICE_ABSENT, ""},
      {BYTES(""), ""},
      {BYTES("f"), "Zg=="},
      {BYTES("fo"), "Zm8="},
      {BYTES("foo"), "Zm9v"},
      {BYTES("foob"), "Zm9vYg=="},
      {BYTES("fooba"), "Zm9vYmE="},
      {BYTES("foobar"), "Zm9vYmFy"},
      {BYTES("\0\0"), "AAA="},
      {BYTES("\xff\xff\xff"), "////"},
      {BYTES("\xfb\xef\xbe"), "++++"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct buffer buf;
    buffer_init(&buf, 1000);
    buffer_append_base64(&buf, cases[i].in);
    assert_true(slice_is(buffer_slice(&buf), cases[i].out));
    buffer_clear(&buf);
    assert_true(buffer_append_base64_bytes(&buf, slice_of(cases[i].out)));
    assert_true(slice_equal(buffer_slice(&buf), slice_present(cases[i].in) ? cases[i].in : slice_of("")));
    buffer_free(&buf);
  }
}

static void what_is_no_base64_is_told(void **state) {
  (void)state;
  static const char *const cases[] = {
      "Z", "Zg", "Zg=", "Zg==Zg==", "Z===", "====", "Zm9*", "Zh==", "Zm9=", "=m9v", "Zg=v"};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct buffer buf;
    buffer_init(&buf, 100);
    if (buffer_append_base64_bytes(&buf, slice_of(cases[i])))
      fail_msg("%s was taken", cases[i]);
    buffer_free(&buf);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_empty_buffer_is_an_empty_present_slice),
      cmocka_unit_test(appends_come_one_after_the_other),
      cmocka_unit_test(it_grows_and_keeps_what_it_holds),
      cmocka_unit_test(the_maximum_can_be_reached_and_not_passed),
      cmocka_unit_test(an_overflow_latches_until_the_buffer_is_cleared),
      cmocka_unit_test(printf_that_does_not_fit_latches),
      cmocka_unit_test(printf_may_fill_the_buffer_to_its_maximum),
      cmocka_unit_test(clearing_keeps_the_memory_and_freeing_does_not),
      cmocka_unit_test(json_strings_are_escaped),
      cmocka_unit_test(json_escapes_each_byte_wherever_it_stands),
      cmocka_unit_test(base64_is_that_of_rfc_4648),
      cmocka_unit_test(what_is_no_base64_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
