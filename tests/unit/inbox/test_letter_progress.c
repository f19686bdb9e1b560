/* bridge/inbox/letter_progress.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bridge/inbox/letter_progress.h"

static void assert_stored(const struct letter_progress *p, int64_t next, const char *text) {
  struct buffer written;
  buffer_init(&written, LETTER_PROGRESS_TEXT_MAX);
  letter_progress_write(p, &written);
  assert_true(p->next == next);
  if (!slice_is(buffer_slice(&written), text))
    fail_msg("\"%.*s\", not \"%s\"", SLICE_ARG(buffer_slice(&written)), text);
  assert_false(written.overflow);
  buffer_free(&written);
}

static struct letter_progress progress_of(int64_t next, const char *text) {
  struct letter_progress p = {.next = 0};
  assert_true(letter_progress_read(&p, next, slice_of(text)));
  return p;
}

static void without_a_gap_it_is_an_offset(void **state) {
  (void)state;
  struct letter_progress p = progress_of(5, "");
  assert_true(letter_progress_settled(&p, 4));
  assert_false(letter_progress_settled(&p, 5));
  static const int64_t offsets[] = {5, 7, 8, 30}; /* between them markers of transactions */
  for (int i = 0; i < 4; i++) {
    letter_progress_settle(&p, offsets[i]);
    assert_stored(&p, offsets[i] + 1, "");
  }
  letter_progress_free(&p);
}

static void what_is_left_stays_before_what_is_settled(void **state) {
  (void)state;
  struct letter_progress p = progress_of(0, "");
  letter_progress_settle(&p, 0);
  letter_progress_leave(&p, 2);
  letter_progress_settle(&p, 4);
  letter_progress_settle(&p, 6);
  letter_progress_leave(&p, 8);
  letter_progress_settle(&p, 10);
  assert_stored(&p, 1, "wf1 2,4,2,2");
  static const bool settled[] = {true, false, false, true, true, true, true, false, false, true, true, false};
  for (int64_t offset = 0; offset < 12; offset++)
    assert_int_equal(letter_progress_settled(&p, offset), settled[offset]);
  letter_progress_free(&p);
}

static void a_later_run_fills_the_gaps(void **state) {
  (void)state;
  struct letter_progress p = progress_of(1, "wf1 2,4,2,2");
  letter_progress_leave(&p, 2);
  for (int64_t offset = 4; offset <= 6; offset += 2)
    letter_progress_settle(&p, offset); /* seen again */
  assert_stored(&p, 1, "wf1 2,4,2,2");
  letter_progress_settle(&p, 8);
  assert_stored(&p, 1, "wf1 2,8");
  letter_progress_begin(&p, 1);
  letter_progress_settle(&p, 2);
  assert_stored(&p, 11, "");
  letter_progress_free(&p);
}

static void a_run_that_begins_behind_joins_nothing(void **state) {
  (void)state;
  struct letter_progress p = progress_of(1, "");
  letter_progress_begin(&p, 7); /* what is before was looked at, and left */
  letter_progress_settle(&p, 9);
  assert_stored(&p, 1, "wf1 6,3");
  letter_progress_free(&p);
}

/* Any order of runs and choices: what is stored and read again says of each record what was done. */
static void whatever_is_chosen_is_remembered(void **state) {
  (void)state;
  enum { RECORDS = 60, RUNS = 400 };
  uint32_t random = 42;
  struct letter_progress p = progress_of(0, "");
  bool done[RECORDS] = {false};
  for (int run = 0; run < RUNS; run++) {
    int64_t first = (p.next + 1) / 2 * 2;
    for (int64_t offset = first; offset < RECORDS; offset += 2) { /* the others are markers */
      random = random * 1664525 + 1013904223;
      if (letter_progress_settled(&p, offset)) {
        assert_true(done[offset]);
        letter_progress_settle(&p, offset);
      } else if (random >> 24 < 16) {
        assert_false(done[offset]);
        done[offset] = true;
        letter_progress_settle(&p, offset);
      } else {
        letter_progress_leave(&p, offset);
      }
      if (random >> 24 == 255)
        break; /* stopped */
    }
    struct buffer text;
    buffer_init(&text, LETTER_PROGRESS_TEXT_MAX);
    letter_progress_write(&p, &text);
    struct letter_progress again = {.next = 0};
    assert_true(letter_progress_read(&again, p.next, buffer_slice(&text)));
    for (int64_t offset = 0; offset < RECORDS; offset += 2)
      assert_int_equal(letter_progress_settled(&again, offset), done[offset]);
    letter_progress_free(&p);
    buffer_free(&text);
    p = again;
  }
  for (int64_t offset = 0; offset < RECORDS; offset += 2)
    assert_true(done[offset]);
  assert_stored(&p, RECORDS - 1, "");
  letter_progress_free(&p);
}

static void no_more_gaps_than_the_text_holds(void **state) {
  (void)state;
  struct letter_progress p = progress_of(0, "");
  int64_t offset = 0;
  for (;; offset += 2) {
    letter_progress_leave(&p, offset);
    if (!letter_progress_has_room(&p))
      break;
    letter_progress_settle(&p, offset + 1);
  }
  assert_in_range(p.count, 900, 1000);
  struct buffer text;
  buffer_init(&text, LETTER_PROGRESS_TEXT_MAX);
  letter_progress_write(&p, &text);
  assert_false(text.overflow);
  buffer_free(&text);
  /* What begins no run has room. */
  letter_progress_begin(&p, 0);
  assert_true(letter_progress_has_room(&p));
  letter_progress_begin(&p, offset);
  assert_true(letter_progress_has_room(&p));
  letter_progress_begin(&p, offset + 1);
  assert_false(letter_progress_has_room(&p));
  letter_progress_free(&p);
}

static void what_another_wrote_is_not_read(void **state) {
  (void)state;
  static const char *const texts[] = {"x",
                                      "wf1",
                                      "wf1 ",
                                      "wf2 1,1",
                                      "wf1 1",
                                      "wf1 1,",
                                      "wf1 0,1",
                                      "wf1 1,0",
                                      "wf1 1,-1",
                                      "wf1 1,1,",
                                      "wf1 1,1,2",
                                      "wf1 1,1 ",
                                      "wf1 1;1",
                                      "wf1 01,1",
                                      "wf1 9223372036854775807,1",
                                      "wf1 1,9223372036854775807"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    struct letter_progress p = {.next = 42};
    if (letter_progress_read(&p, 7, slice_of(texts[i])))
      fail_msg("\"%s\" was read", texts[i]);
    assert_true(p.next == 42 && p.count == 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(without_a_gap_it_is_an_offset),    cmocka_unit_test(what_is_left_stays_before_what_is_settled),
      cmocka_unit_test(a_later_run_fills_the_gaps),       cmocka_unit_test(a_run_that_begins_behind_joins_nothing),
      cmocka_unit_test(whatever_is_chosen_is_remembered), cmocka_unit_test(no_more_gaps_than_the_text_holds),
      cmocka_unit_test(what_another_wrote_is_not_read),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
