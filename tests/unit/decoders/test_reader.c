/* The byte reader: what it reads, and that a failed read latches and never moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bridge/base/memory.h"
#include "decoders/reader.h"

#define BYTES(text) slice_from((text), sizeof(text) - 1)

static void integers_are_big_endian(void **state) {
  (void)state;
  struct reader r = reader_over(BYTES("\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"));
  assert_int_equal(reader_u8(&r), 0x01);
  assert_int_equal(reader_u16(&r), 0x0203);
  assert_int_equal(reader_u32(&r), 0x04050607);
  assert_int_equal(reader_u64(&r), 0x08090a0b0c0d0e0f);
  assert_false(reader_failed(&r));
  assert_int_equal(reader_left(&r), 0);
}

static void high_bytes_are_not_sign_extended(void **state) {
  (void)state;
  struct reader r = reader_over(BYTES("\xff\xff\xfe\xff\xff\xff\xfd\x80\x00\x00\x00\x00\x00\x00\x01"));
  assert_int_equal(reader_u8(&r), 0xff);
  assert_int_equal(reader_u16(&r), 0xfffe);
  assert_int_equal(reader_u32(&r), 0xfffffffd);
  assert_true(reader_i64(&r) == INT64_MIN + 1);
}

static void a_string_ends_at_its_nul(void **state) {
  (void)state;
  struct reader r = reader_over(BYTES("ab\0\0c"));
  assert_true(slice_is(reader_string(&r), "ab"));
  struct slice empty = reader_string(&r);
  assert_true(slice_present(empty));
  assert_int_equal(empty.len, 0);
  assert_int_equal(r.at, 4);
  assert_false(reader_failed(&r));
}

static void a_string_without_its_nul_fails(void **state) {
  (void)state;
  struct reader r = reader_over(BYTES("x\0abc"));
  assert_true(slice_is(reader_string(&r), "x"));
  struct slice s = reader_string(&r);
  assert_true(slice_present(s));
  assert_int_equal(s.len, 0);
  assert_true(reader_failed(&r));
  assert_int_equal(r.at, 2);
}

static void a_string_at_the_end_fails(void **state) {
  (void)state;
  struct reader r = reader_over(BYTES(""));
  assert_true(slice_present(reader_string(&r)));
  assert_true(reader_failed(&r));
}

static void no_bytes_can_be_read_at_the_end(void **state) {
  (void)state;
  struct reader r = reader_over(BYTES("ab"));
  assert_true(slice_is(reader_bytes(&r, 2), "ab"));
  struct slice none = reader_bytes(&r, 0);
  assert_true(slice_present(none));
  assert_int_equal(none.len, 0);
  assert_false(reader_failed(&r));
}

static void a_failed_read_latches_and_does_not_move(void **state) {
  (void)state;
  struct reader r = reader_over(BYTES("\x01\x02\x03"));
  assert_int_equal(reader_u16(&r), 0x0102);
  assert_int_equal(reader_u32(&r), 0);
  assert_true(reader_failed(&r));
  assert_int_equal(r.at, 2);
  assert_int_equal(reader_u8(&r), 0); /* it would fit */
  assert_int_equal(reader_string(&r).len, 0);
  assert_int_equal(reader_bytes(&r, 0).len, 0);
  assert_int_equal(reader_left(&r), 1);
}

static void a_length_near_the_top_of_its_type_fails(void **state) {
  (void)state;
  const size_t lengths[] = {4, UINT32_MAX, SIZE_MAX - 1, SIZE_MAX};
  for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
    struct reader r = reader_over(BYTES("abc"));
    assert_int_equal(reader_bytes(&r, lengths[i]).len, 0);
    assert_true(reader_failed(&r));
  }
}

static void an_absent_slice_reads_as_empty(void **state) {
  (void)state;
  struct reader r = reader_over(SLICE_ABSENT);
  assert_true(slice_present(reader_bytes(&r, 0)));
  assert_false(reader_failed(&r));
  assert_int_equal(reader_u8(&r), 0);
  assert_true(reader_failed(&r));
}

static void every_width_fails_one_byte_short(void **state) {
  (void)state;
  for (size_t width = 1; width <= 8; width *= 2) {
    char *block = memory_resize(NULL, width - 1); /* the sanitizer guards its end */
    memset(block, 1, width - 1);
    struct reader r = reader_over(slice_from(block, width - 1));
    uint64_t value = width == 1   ? reader_u8(&r)
                     : width == 2 ? reader_u16(&r)
                     : width == 4 ? reader_u32(&r)
                                  : reader_u64(&r);
    assert_true(value == 0);
    assert_true(reader_failed(&r));
    free(block);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(integers_are_big_endian),
      cmocka_unit_test(high_bytes_are_not_sign_extended),
      cmocka_unit_test(a_string_ends_at_its_nul),
      cmocka_unit_test(a_string_without_its_nul_fails),
      cmocka_unit_test(a_string_at_the_end_fails),
      cmocka_unit_test(no_bytes_can_be_read_at_the_end),
      cmocka_unit_test(a_failed_read_latches_and_does_not_move),
      cmocka_unit_test(a_length_near_the_top_of_its_type_fails),
      cmocka_unit_test(an_absent_slice_reads_as_empty),
      cmocka_unit_test(every_width_fails_one_byte_short),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
