/* bridge/relay/admit_topic.h */
#include "tests/unit/relay/relay_fixture.h"

#include "bridge/relay/admit_topic.h"

static const struct kafka_topic_facts good = {
    .exists = true, .partitions = 1, .compacted_only = true, .compacted = true};

static void the_position_topic_has_one_compacted_partition_without_unclean_election(void **state) {
  (void)state;
  struct error err;
  assert_true(admit_position_topic("p", &good, true, &err));
  struct kafka_topic_facts bad[3] = {good, good, good};
  bad[0].partitions = 2;
  bad[1].compacted_only = false;
  bad[2].unclean_election = true;
  for (size_t i = 0; i < COUNT_OF(bad); i++) {
    assert_false(admit_position_topic("p", &bad[i], true, &err));
    expect_refusal("position topic", &err, "position_topic_invalid");
  }
  assert_false(admit_position_topic("p", &bad[0], false, &err));
  assert_true(admit_position_topic("p", &bad[1], false, &err)); /* what may not be read is not held against it */
}

static void a_target_is_there_or_may_be_made_with_no_fewer_partitions(void **state) {
  (void)state;
  struct error err;
  struct kafka_topic_facts none = {.exists = false};
  assert_true(admit_target_topic("t", &none, true, 3, &err));
  assert_false(admit_target_topic("t", &none, false, 0, &err));
  expect_refusal("missing", &err, "topic_missing");
  assert_true(admit_target_topic("t", &good, false, 0, &err));
  assert_true(admit_target_topic("t", &good, false, 1, &err));
  assert_false(admit_target_topic("t", &good, true, 2, &err));
  expect_refusal("shrunk", &err, "partitions_shrunk");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_position_topic_has_one_compacted_partition_without_unclean_election),
      cmocka_unit_test(a_target_is_there_or_may_be_made_with_no_fewer_partitions),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
