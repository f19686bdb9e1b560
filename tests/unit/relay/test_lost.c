/* bridge/relay/lost.h: which records count as this instance's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "bridge/relay/lost.h"

static enum lost_whose whose(const char *const (*headers)[2], lsn_t *lsn) {
  struct record_header items[4];
  int count = 0;
  for (; headers[count][0] != NULL; count++)
    items[count] = (struct record_header){.name = headers[count][0], .value = slice_of(headers[count][1])};
  struct consumer_message m = {.topic = "t", .headers = items, .header_count = count};
  return lost_whose(&m, "shop", lsn);
}

static void only_streamed_records_of_this_instance_count(void **state) {
  (void)state;
  static const struct {
    const char *headers[4][2];
    enum lost_whose whose;
  } cases[] = {
      {{{"wf_lsn", "0/16B3748"}, {"source", "shop.public.outbox"}}, LOST_OURS},
      {{{"wf_lsn", "0/16B3748"}}, LOST_OURS},
      {{{"wf_lsn", "0/16B3748"}, {"source", "billing"}}, LOST_OURS},          /* the row's own */
      {{{"wf_lsn", "0/16B3748"}, {"source", "bill.ing.eu.west"}}, LOST_OURS}, /* also with dots */
      {{{"wf_lsn", "0/16B3748"}, {"source", "other.public.outbox"}}, LOST_DOUBTFUL},
      {{{"wf_lsn", "0/16B3748"}, {"source", "shop2.public.outbox"}}, LOST_DOUBTFUL},
      {{{"wf_lsn", "0/16B3748"}, {"wf_replay", "r1"}}, LOST_OTHERS},
      {{{"wf_lsn", "0/16B3748"}, {"wf_snapshot", "true"}}, LOST_OTHERS},
      {{{"wf_lsn", "yesterday"}}, LOST_OTHERS},
      {{{"id", "1"}}, LOST_OTHERS},
      {{{NULL, NULL}}, LOST_OTHERS},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    lsn_t lsn = 0;
    assert_int_equal(whose(cases[i].headers, &lsn), cases[i].whose);
    if (cases[i].whose != LOST_OTHERS)
      assert_true(lsn == 0x16B3748);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(only_streamed_records_of_this_instance_count)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
