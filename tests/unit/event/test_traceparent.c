/* bridge/event/traceparent.h */
#include "tests/unit/event/event_fixture.h"

#include "bridge/event/traceparent.h"

#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"

static void only_the_published_form_is_taken(void **state) {
  (void)state;
  static const struct {
    const char *text;
    bool valid;
  } cases[] = {
      {"00-" TRACE "-" PARENT "-01", true},
      {"00-" TRACE "-" PARENT "-ff", true},
      {"cc-" TRACE "-" PARENT "-01", true},
      {"cc-" TRACE "-" PARENT "-01-more", true},
      {"cc-" TRACE "-" PARENT "-01.more", false},
      {"00-" TRACE "-" PARENT "-01-more", false},
      {"00-" TRACE "-" PARENT "-0", false},
      {"00-" TRACE "-" PARENT, false},
      {"", false},
      {"ff-" TRACE "-" PARENT "-01", false},
      {"0g-" TRACE "-" PARENT "-01", false},
      {"00-" TRACE "-" PARENT "-0G", false},
      {"00-4BF92f3577b34da6a3ce929d0e0e4736-" PARENT "-01", false},
      {"00-" TRACE "-00f067aa0ba902bX-01", false},
      {"00-00000000000000000000000000000000-" PARENT "-01", false},
      {"00-" TRACE "-0000000000000000-01", false},
      {"00_" TRACE "-" PARENT "-01", false},
      {"00-" TRACE "_" PARENT "-01", false},
      {"00-" TRACE "-" PARENT "_01", false},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct slice trace_id = SLICE_ABSENT;
    if (traceparent_parse(slice_of(cases[i].text), &trace_id) != cases[i].valid)
      fail_msg("%s", cases[i].text);
    assert_text(trace_id, cases[i].valid ? TRACE : NULL);
  }
  struct slice trace_id;
  assert_false(traceparent_parse(SLICE_ABSENT, &trace_id));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(only_the_published_form_is_taken),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
