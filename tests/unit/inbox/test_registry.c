/* bridge/inbox/registry.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bridge/inbox/registry.h"

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

static const struct handler_spec specs[] = {{"*", "a.everything"},  {"Rental*", "a.rental"},  {"RentalReserved", "a.b"},
                                            {"Rental*d", "a.past"}, {"RentalTest*", NULL},    {"**", "a.never"},
                                            {"Order", NULL},        {"RentalR*", "a.longer"}, {"A*c", "a.first"},
                                            {"Ab*", "a.second"},    {"Rent", "a.rent"}};
#define UNMATCHED (-1)
#define IGNORED (-2)

struct look_up {
  const char *type; /* NULL: none */
  int expected;     /* index of the handler, or one of the above */
};

static void check(const struct registry *registry, const struct handler_spec *from, const struct look_up *look_up,
                  enum registry_action unmatched) {
  size_t handler = 999;
  const char *call = "untouched";
  enum registry_action action = registry_find(registry, slice_of(look_up->type), &handler, &call);
  if (look_up->expected < 0) {
    if (action != (look_up->expected == IGNORED ? REGISTRY_IGNORE : unmatched) || handler != 999)
      fail_msg("%s: action %d, handler %zu", look_up->type, (int)action, handler);
    assert_string_equal(call, "untouched");
    return;
  }
  if (action != REGISTRY_CALL || handler != (size_t)look_up->expected)
    fail_msg("%s: action %d, handler %zu, not %d", look_up->type, (int)action, handler, look_up->expected);
  assert_string_equal(call, from[handler].call);
}

static void the_most_exact_handler_is_found(void **state) {
  (void)state;
  static const struct look_up look_ups[] = {{"RentalReserved", 2},
                                            {"RentalReserve", 7},
                                            {"RentalCompleted", 3},
                                            {"RentalStarts", 1},
                                            {"Rental", 1},
                                            {"Rent", 10},
                                            {"Ren", 0},
                                            {"rental", 0},
                                            {"Order", IGNORED},
                                            {"Orders", 0},
                                            {"RentalTestMade", IGNORED},
                                            {"Abc", 8},
                                            {"Abx", 9},
                                            {"RentalTested", IGNORED},
                                            {"*", 0},
                                            {"", 0},
                                            {NULL, 0}};
  struct registry *registry = registry_new(specs, COUNT_OF(specs), REGISTRY_DEAD_LETTER);
  for (size_t i = 0; i < COUNT_OF(look_ups); i++)
    check(registry, specs, &look_ups[i], REGISTRY_DEAD_LETTER);
  registry_free(registry);
}

static void the_order_in_the_file_decides_between_equals_only(void **state) {
  (void)state;
  static const struct handler_spec reversed[] = {
      {"Ab*", "a.second"}, {"A*c", "a.first"}, {"Abc", "a.exact"}, {"Abcd*", "a.long"}};
  static const struct look_up look_ups[] = {{"Abxc", 0}, {"Axc", 1}, {"Abc", 2}, {"Abcdc", 3}};
  struct registry *registry = registry_new(reversed, COUNT_OF(reversed), REGISTRY_SKIP);
  for (size_t i = 0; i < COUNT_OF(look_ups); i++)
    check(registry, reversed, &look_ups[i], REGISTRY_SKIP);
  registry_free(registry);
}

static void what_no_handler_is_for_is_treated_as_configured(void **state) {
  (void)state;
  static const struct handler_spec few[] = {{"A", "a.f"}, {"B*", NULL}};
  static const struct look_up look_ups[] = {{"A", 0},          {"AA", UNMATCHED}, {"", UNMATCHED},
                                            {NULL, UNMATCHED}, {"C", UNMATCHED},  {"B", IGNORED}};
  static const enum registry_action actions[] = {REGISTRY_SKIP, REGISTRY_DEAD_LETTER};
  for (size_t a = 0; a < COUNT_OF(actions); a++) {
    struct registry *registry = registry_new(few, COUNT_OF(few), actions[a]);
    for (size_t i = 0; i < COUNT_OF(look_ups); i++)
      check(registry, few, &look_ups[i], actions[a]);
    registry_free(registry);
  }
  registry_free(NULL);
}

static void types_with_nul_bytes_are_compared_whole(void **state) {
  (void)state;
  static const struct handler_spec few[] = {{"A", "a.f"}, {"Ab", "a.g"}};
  struct registry *registry = registry_new(few, COUNT_OF(few), REGISTRY_SKIP);
  size_t handler = 999;
  const char *call = NULL;
  assert_int_equal(registry_find(registry, slice_from("A\0", 2), &handler, &call), REGISTRY_SKIP);
  assert_int_equal(registry_find(registry, slice_from("Abc", 2), &handler, &call), REGISTRY_CALL);
  assert_int_equal(handler, 1);
  registry_free(registry);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_most_exact_handler_is_found),
      cmocka_unit_test(the_order_in_the_file_decides_between_equals_only),
      cmocka_unit_test(what_no_handler_is_for_is_treated_as_configured),
      cmocka_unit_test(types_with_nul_bytes_are_compared_whole),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
