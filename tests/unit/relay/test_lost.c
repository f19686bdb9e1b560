/* bridge/relay/lost.h: which records count as this instance's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "bridge/base/clock.h"
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

static void take_none(void *ctx, const struct lost_event *event) {
  (void)ctx;
  (void)event;
}

static int64_t search_without_brokers_ms(int64_t timeout_ms, bool stopped) {
  struct kafka_settings nowhere = {.brokers = "127.0.0.1:1", .instance = "shop"};
  struct position_topic topics[] = {{.name = "a", .partitions = 3}, {.name = "b", .partitions = 3}};
  struct position position = {.topics = topics, .topic_count = 2};
  _Atomic(bool) stop = stopped;
  int64_t began_ms = clock_monotonic_ms();
  struct lost_limits limits = {.deadline_ms = began_ms + timeout_ms, .stop = &stop};
  struct lost_found found;
  lost_find(&nowhere, &position, 1, &limits, take_none, NULL, &found);
  assert_int_equal(found.topics_unread, 2);
  return clock_monotonic_ms() - began_ms;
}

static void a_search_ends_in_time_and_when_asked_to(void **state) {
  (void)state;
  assert_in_range(search_without_brokers_ms(300, false), 250, 3000);
  assert_in_range(search_without_brokers_ms(60000, true), 0, 3000);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(only_streamed_records_of_this_instance_count),
                                     cmocka_unit_test(a_search_ends_in_time_and_when_asked_to)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
