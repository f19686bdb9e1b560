/* COPY frames of the replication stream: every kind, every truncation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bridge/postgres/frame.h"

static char data_frame[] = "w"
                           "\x00\x00\x00\x16\xB3\x74\xD8\x48"
                           "\x00\x00\x00\x16\xB3\x74\xD8\xFF"
                           "\x00\x02\x01\x00\x00\x00\x00\x00"
                           "B\x00payload";
static char keepalive_frame[] = "k"
                                "\xFF\xFF\xFF\xFF\x80\x00\x00\x01"
                                "\x00\x02\x01\x00\x00\x00\x00\x00"
                                "\x01";

/* Parses a copy of exactly these bytes, so that a sanitizer sees any read past the end. */
static bool parse(char *bytes, size_t len, struct frame *frame, struct error *err) {
  char *exact = malloc(len == 0 ? 1 : len);
  assert_non_null(exact);
  memcpy(exact, bytes, len);
  bool ok = frame_parse((struct span){.data = exact, .len = len}, frame, err);
  if (ok && frame->kind == FRAME_DATA)
    frame->bytes.data = bytes + (frame->bytes.data - exact);
  free(exact);
  return ok;
}

static void data_frame_has_its_positions_and_message(void **state) {
  (void)state;
  struct frame frame = {.kind = FRAME_NONE};
  assert_true(parse(data_frame, sizeof data_frame - 1, &frame, NULL));
  assert_int_equal(frame.kind, FRAME_DATA);
  assert_true(frame.wal_start == UINT64_C(0x16B374D848));
  assert_true(frame.wal_end == UINT64_C(0x16B374D8FF));
  assert_int_equal(frame.bytes.len, 9);
  assert_memory_equal(frame.bytes.data, "B\0payload", 9);
}

static void data_frame_may_carry_an_empty_message(void **state) {
  (void)state;
  struct frame frame = {.kind = FRAME_NONE};
  assert_true(parse(data_frame, 25, &frame, NULL));
  assert_true(slice_present(span_slice(frame.bytes)));
  assert_int_equal(frame.bytes.len, 0);
}

static void keepalive_has_its_position_and_wish(void **state) {
  (void)state;
  static const struct {
    char last;
    bool reply_now;
  } cases[] = {{0, false}, {1, true}, {(char)0xFF, true}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char bytes[sizeof keepalive_frame - 1];
    memcpy(bytes, keepalive_frame, sizeof bytes);
    bytes[sizeof bytes - 1] = cases[i].last;
    struct frame frame = {.kind = FRAME_NONE};
    assert_true(parse(bytes, sizeof bytes, &frame, NULL));
    assert_int_equal(frame.kind, FRAME_KEEPALIVE);
    assert_true(frame.wal_end == UINT64_C(0xFFFFFFFF80000001));
    assert_true(frame.reply_now == cases[i].reply_now);
    assert_false(slice_present(span_slice(frame.bytes)));
  }
}

static void expect_rejected(char *bytes, size_t len) {
  struct frame frame = {.kind = FRAME_NONE, .wal_end = 77};
  struct error err = {.kind = ERROR_NONE};
  assert_false(parse(bytes, len, &frame, &err));
  assert_int_equal(err.kind, ERROR_FATAL);
  assert_true(err.message[0] != '\0');
  assert_int_equal(frame.kind, FRAME_NONE);
  assert_true(frame.wal_end == 77);
}

static void truncated_data_frame_is_rejected(void **state) {
  (void)state;
  for (size_t len = 0; len < 25; len++)
    expect_rejected(data_frame, len);
}

static void short_keepalive_is_rejected(void **state) {
  (void)state;
  for (size_t len = 0; len < 18; len++)
    expect_rejected(keepalive_frame, len);
}

static void keepalive_with_bytes_left_over_is_rejected(void **state) {
  (void)state;
  expect_rejected(keepalive_frame, sizeof keepalive_frame); /* with the string's NUL */
}

static void unknown_kinds_are_rejected(void **state) {
  (void)state;
  for (int kind = 0; kind < 256; kind++) {
    if (kind == 'w' || kind == 'k')
      continue;
    char bytes[sizeof data_frame - 1];
    memcpy(bytes, data_frame, sizeof bytes);
    bytes[0] = (char)kind;
    expect_rejected(bytes, sizeof bytes);
  }
}

static void status_update_has_the_wire_layout(void **state) {
  (void)state;
  static const char expected[] = "r"
                                 "\x00\x00\x00\x16\xB3\x74\xD8\x48"
                                 "\x00\x00\x00\x16\xB3\x74\xD8\x40"
                                 "\x00\x00\x00\x16\xB3\x74\xD8\x40"
                                 "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFE"
                                 "\x01";
  char out[FRAME_STATUS_SIZE];
  assert_int_equal(sizeof expected - 1, sizeof out);
  frame_write_status(out, UINT64_C(0x16B374D848), UINT64_C(0x16B374D840), -2, true);
  assert_memory_equal(out, expected, sizeof out);
  frame_write_status(out, 1, 0, 0, false);
  assert_int_equal(out[FRAME_STATUS_SIZE - 1], 0);
  assert_int_equal(out[8], 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(data_frame_has_its_positions_and_message),
      cmocka_unit_test(data_frame_may_carry_an_empty_message),
      cmocka_unit_test(keepalive_has_its_position_and_wish),
      cmocka_unit_test(truncated_data_frame_is_rejected),
      cmocka_unit_test(short_keepalive_is_rejected),
      cmocka_unit_test(keepalive_with_bytes_left_over_is_rejected),
      cmocka_unit_test(unknown_kinds_are_rejected),
      cmocka_unit_test(status_update_has_the_wire_layout),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
