/* bridge/event/members.h */
#include "tests/unit/event/event_fixture.h"

#include "bridge/event/members.h"

enum { A, B, C };
static const struct member_role roles[] = {{"a", A}, {"b", B}, {"other a", A}, {"c", C}, {NULL, 0}};

static bool collect(struct jsontext_scratch *scratch, const char *object, struct members *found) {
  memset(found, 0x5A, sizeof *found);
  jsontext_scratch_reset(scratch, strlen(object));
  return members_collect(scratch, slice_of(object), roles, found);
}

static void members_are_found_by_role(void **state) {
  struct members found;
  assert_true(collect(*state, " {\"x\": [1], \"\\u0062\" : {\"a\": 1} , \"other a\":1.50,\"c\":null} ", &found));
  assert_text(found.values[A], "1.50");
  assert_text(found.values[B], "{\"a\": 1}");
  assert_false(slice_present(found.values[C]));
  assert_true(members_seen(&found, A) && members_seen(&found, B) && members_seen(&found, C));
  assert_int_equal(found.count, 4);
  assert_false(found.twice);
}

static void of_two_the_first_is_kept_and_told(void **state) {
  static const char *const cases[] = {"{\"a\":1,\"a\":2}", "{\"a\":1,\"\\u0061\":2}", "{\"a\":1,\"other a\":2}"};
  struct members found;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    assert_true(collect(*state, cases[i], &found));
    assert_true(found.twice);
    assert_text(found.values[A], "1");
  }
  assert_true(collect(*state, "{\"x\":1,\"x\":2}", &found));
  assert_false(found.twice);
}

static void what_is_no_object_has_no_members(void **state) {
  static const char *const cases[] = {"", "[]", "1", "{\"a\":1", "{\"a\":1}x", "{\"a\":1,\"b\":\"\xff\"}"};
  struct members found;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    assert_false(collect(*state, cases[i], &found));
    assert_int_equal(found.count + found.seen, 0);
    assert_false(slice_present(found.values[A]));
  }
}

static void nested_objects_may_be_missing(void **state) {
  static const struct {
    const char *value; /* NULL: none */
    bool fine;
  } cases[] = {{NULL, true}, {"{}", true}, {"{\"a\":1}", true}, {"{\"a\":1,\"a\":1}", false}, {"[]", false}};
  struct members found;
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    assert_int_equal(members_nested(*state, slice_of(cases[i].value), roles, &found), cases[i].fine);
}

static void scalars_have_a_text(void **state) {
  static const struct {
    const char *value, *text; /* NULL: none */
    bool fine;
  } cases[] = {{"\"a\\n\"", "a\n", true}, {"-1.50e400", "-1.50e400", true}, {"true", "true", true},
               {NULL, "before", true},    {"{}", "before", false},          {"[]", "before", false}};
  jsontext_scratch_reset(*state, 16);
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct slice text = slice_of("before");
    assert_int_equal(members_text(*state, slice_of(cases[i].value), &text), cases[i].fine);
    assert_text(text, cases[i].text);
  }
}

static int setup(void **state) {
  static struct jsontext_scratch scratch;
  *state = &scratch;
  return 0;
}

static int teardown(void **state) {
  jsontext_scratch_free(*state);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(members_are_found_by_role),
      cmocka_unit_test(of_two_the_first_is_kept_and_told),
      cmocka_unit_test(what_is_no_object_has_no_members),
      cmocka_unit_test(nested_objects_may_be_missing),
      cmocka_unit_test(scalars_have_a_text),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
