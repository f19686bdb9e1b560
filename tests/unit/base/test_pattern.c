/* bridge/base/pattern.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "bridge/base/pattern.h"

static void patterns_match_exactly_or_with_stars(void **state) {
  (void)state;
  static const struct {
    const char *pattern, *type;
    bool matches;
  } cases[] = {
      {"Rental", "Rental", true},
      {"Rental", "Rentals", false},
      {"Rental", "Renta", false},
      {"Rental", "rental", false},
      {"*", "Rental", true},
      {"Rental*", "Rental", true},
      {"Rental*", "RentalX", true},
      {"Rental*", "XRental", false},
      {"*Reserved", "RentalReserved", true},
      {"*Reserved", "Res", false},
      {"R*d", "Reserved", true},
      {"R*d", "Rd", true},
      {"R*d", "Reservedx", false},
      {"a*b*c", "aXbYbZc", true},
      {"a*b*c", "aXcYb", false},
      {"**", "x", true},
      {"a**", "a", true},
      {"*ab", "aaab", true},
      {"*a*", "bbb", false},
      {"a.b", "axb", false},
      {"*", "\u00fc", true},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    if (pattern_matches(cases[i].pattern, slice_of(cases[i].type)) != cases[i].matches)
      fail_msg("%s on %s", cases[i].pattern, cases[i].type);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(patterns_match_exactly_or_with_stars),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
