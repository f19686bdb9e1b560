/* bridge/relay/tally.h */
#include "tests/unit/relay/relay_fixture.h"

#include "bridge/relay/tally.h"

static void note(struct tally *tally, const char *topic, const char *type) {
  struct record_header header = {.name = "type", .value = slice_of(type)};
  struct record record = {.topic = topic, .headers = &header, .header_count = type == NULL ? 0 : 1};
  tally_note(tally, &record);
}

static void records_are_counted_by_topic_and_type(void **state) {
  (void)state;
  struct tally *tally = tally_new();
  note(tally, "b", "X");
  note(tally, "a", "Y");
  note(tally, "a", "X");
  note(tally, "a", "X");
  note(tally, "a", NULL);
  note(tally, "aX", "");
  static const struct tally_entry wanted[] = {{.topic = "a", .type = "", .records = 1},
                                              {.topic = "a", .type = "X", .records = 2},
                                              {.topic = "a", .type = "Y", .records = 1},
                                              {.topic = "aX", .type = "", .records = 1},
                                              {.topic = "b", .type = "X", .records = 1}};
  int count;
  struct tally_entry *list = tally_list(tally, &count);
  assert_int_equal(count, COUNT_OF(wanted));
  for (int i = 0; i < count; i++) {
    assert_string_equal(list[i].topic, wanted[i].topic);
    assert_string_equal(list[i].type, wanted[i].type);
    assert_int_equal(list[i].records, wanted[i].records);
  }
  free(list);
  tally_free(tally);
}

static void too_many_are_counted_together(void **state) {
  (void)state;
  struct tally *tally = tally_new();
  for (int i = 0; i < TALLY_ENTRIES_MAX + 5; i++) {
    char type[16];
    snprintf(type, sizeof type, "T%d", i);
    note(tally, "t", type);
  }
  int count;
  struct tally_entry *list = tally_list(tally, &count);
  assert_int_equal(count, TALLY_ENTRIES_MAX + 1);
  assert_string_equal(list[0].topic, TALLY_OTHERS);
  assert_int_equal(list[0].records, 5);
  free(list);
  tally_free(tally);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(records_are_counted_by_topic_and_type),
      cmocka_unit_test(too_many_are_counted_together),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
