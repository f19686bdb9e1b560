/* Topic names: legal, reserved. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bridge/base/topic_name.h"

static void topic_names_are_judged_as_kafka_does(void **state) {
  (void)state;
  char name[251];
  memset(name, 'a', sizeof name);
  assert_true(topic_name_legal(slice_from(name, 249)));
  assert_false(topic_name_legal(slice_from(name, 250)));
  static const char *const legal[] = {"a", "A.b_c-9", "...", "-"};
  static const char *const illegal[] = {"", ".", "..", "a b", "a/b", "\u00fc", "a$", "a\n"};
  for (size_t i = 0; i < sizeof legal / sizeof *legal; i++)
    assert_true(topic_name_legal(slice_of(legal[i])));
  for (size_t i = 0; i < sizeof illegal / sizeof *illegal; i++)
    assert_false(topic_name_legal(slice_of(illegal[i])));
  assert_false(topic_name_legal(SLICE_ABSENT));
  assert_false(topic_name_legal(slice_from("a\0b", 3)));
}

static void positions_and_kafkas_own_topics_are_reserved(void **state) {
  (void)state;
  static const char *const reserved[] = {"walferry.position.shop", "walferry.position.", "__consumer_offsets", "__"};
  static const char *const free_names[] = {"walferry.position", "my.walferry.position.shop", "_", "a__", ""};
  for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
    assert_true(topic_name_reserved(slice_of(reserved[i])));
  for (size_t i = 0; i < sizeof free_names / sizeof *free_names; i++)
    assert_false(topic_name_reserved(slice_of(free_names[i])));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(topic_names_are_judged_as_kafka_does),
      cmocka_unit_test(positions_and_kafkas_own_topics_are_reserved),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
