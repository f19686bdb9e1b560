/* bridge/base/blocks.h: what is taken stays apart and aligned, and memory beyond what is asked for is bounded. */
#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bridge/base/blocks.h"

static void what_is_taken_stays_apart_and_aligned(void **state) {
  (void)state;
  struct blocks blocks = {.last = NULL};
  enum { TAKEN = 1000 };
  unsigned char *taken[TAKEN];
  size_t sizes[TAKEN];
  for (size_t i = 0; i < TAKEN; i++) {
    sizes[i] = i * 37 % 1500;
    taken[i] = blocks_take(&blocks, sizes[i]);
    assert_int_equal((uintptr_t)taken[i] % alignof(max_align_t), 0);
    memset(taken[i], (int)(i % 251), sizes[i]);
  }
  for (size_t i = 0; i < TAKEN; i++)
    for (size_t at = 0; at < sizes[i]; at++)
      assert_int_equal(taken[i][at], (int)(i % 251));
  blocks_free(&blocks);
  assert_int_equal(blocks.bytes, 0);
  blocks_free(&blocks);
}

static void one_alone_takes_no_more_than_it_needs(void **state) {
  (void)state;
  struct blocks blocks = {.last = NULL};
  blocks_take(&blocks, 1000);
  assert_true(blocks.bytes >= 1000 && blocks.bytes < 1000 + 64);
  blocks_free(&blocks);
}

static void memory_beyond_what_is_taken_is_bounded(void **state) {
  (void)state;
  struct blocks blocks = {.last = NULL};
  size_t taken = 0;
  for (int i = 0; i < 2000; i++) {
    size_t size = i == 1000 ? (size_t)10 << 20 : 700; /* one large among many */
    blocks_take(&blocks, size);
    taken += size;
    assert_true(blocks.bytes >= taken);
    assert_true(blocks.bytes <= 2 * taken + 64 || blocks.bytes <= taken + taken / 16 + ((size_t)64 << 10));
  }
  blocks_free(&blocks);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_taken_stays_apart_and_aligned),
      cmocka_unit_test(one_alone_takes_no_more_than_it_needs),
      cmocka_unit_test(memory_beyond_what_is_taken_is_bounded),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
