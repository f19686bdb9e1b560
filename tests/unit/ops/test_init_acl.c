/* bridge/ops/init_acl.h: which ACLs are printed for which settings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bridge/ops/init_acl.h"

#define HEAD "-- kafka-acls.sh --bootstrap-server k1:9092,k2:9092 --add --allow-principal "
#define TARGET " --operation Write --operation Describe --operation DescribeConfigs"

struct setup {
  const char *property; /* NULL: none */
  const char *topics[3];
  const char *dead_letters; /* NULL: no inbox */
  bool create;
};

static char *print(const struct setup *setup) {
  struct route_spec routes[3];
  int count = 0;
  for (; count < 3 && setup->topics[count] != NULL; count++)
    routes[count] = (struct route_spec){.type = "*", .topic = setup->topics[count]};
  struct router *router = router_new(routes, count, NULL);
  assert_non_null(router);
  struct relay_settings relay = {.name = "shop",
                                 .intake = {.record = {.router = router}},
                                 .publisher = {.kafka = {.brokers = "k1:9092,k2:9092",
                                                         .properties = &setup->property,
                                                         .property_count = setup->property != NULL},
                                               .quarantine_topic = "shop.quarantine",
                                               .dead_letter_topics = &setup->dead_letters,
                                               .dead_letter_topic_count = setup->dead_letters != NULL,
                                               .create_topics = setup->create}};
  struct buffer out;
  buffer_init(&out, 1 << 16);
  init_acls(&out, &relay, NULL);
  buffer_append_char(&out, '\0');
  router_free(router);
  return out.data;
}

static void assert_has(const char *text, const char *part) {
  if (strstr(text, part) == NULL)
    fail_msg("\"%s\" is missing in\n%s", part, text);
}

static int count_of(const char *text, const char *part) {
  int count = 0;
  for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part))
    count++;
  return count;
}

static void each_resource_gets_what_the_relay_does_with_it(void **state) {
  (void)state;
  char *text = print(&(struct setup){
      .property = "sasl.username=ferry", .topics = {"fleet", "shop.${aggregate}.v1", "shop.${type}"}, .create = true});
  assert_has(text, HEAD "User:ferry --operation Write --operation Describe --transactional-id walferry.shop\n");
  assert_has(text, HEAD "User:ferry --operation Read --operation Write --operation Describe --operation "
                        "DescribeConfigs --operation Create --topic walferry.position.shop\n");
  assert_has(text, HEAD "User:ferry" TARGET " --operation Create --topic fleet\n");
  assert_has(text, HEAD "User:ferry" TARGET " --operation Create --topic shop. --resource-pattern-type prefixed\n");
  assert_has(text, HEAD "User:ferry" TARGET " --operation Create --topic shop.quarantine\n");
  assert_has(text, HEAD "User:ferry --operation Read --topic shop.quarantine\n");
  assert_int_equal(count_of(text, "kafka-acls.sh"), 6);
  free(text);
}

static void topics_that_others_make_need_no_create(void **state) {
  (void)state;
  char *text = print(&(struct setup){.property = "sasl.username=ferry", .topics = {"fleet"}});
  assert_has(text, HEAD "User:ferry" TARGET " --topic fleet\n");
  assert_has(text, "Create --topic walferry.position.shop\n"); /* which is always made */
  assert_int_equal(count_of(text, "Create"), 1);
  free(text);
}

static void dead_letters_are_written_like_events(void **state) {
  (void)state;
  struct setup setup = {.property = "sasl.username=ferry", .topics = {"fleet"}, .dead_letters = "fleet.dlq"};
  char *text = print(&setup);
  assert_has(text, HEAD "User:ferry" TARGET " --topic fleet.dlq\n");
  assert_int_equal(count_of(text, "kafka-acls.sh"), 6);
  free(text);
  setup.create = true;
  text = print(&setup);
  assert_has(text, HEAD "User:ferry" TARGET " --operation Create --topic fleet.dlq\n");
  free(text);
}

static void a_topic_without_a_fixed_beginning_is_any_topic_and_said_to_be(void **state) {
  (void)state;
  char *text = print(&(struct setup){.topics = {"${aggregate}.events.v1"}, .create = true});
  assert_has(text, TARGET " --operation Create --topic '*'\n");
  assert_has(text, "-- A route's topic begins with a field");
  assert_has(text, "no sasl.username");
  assert_int_equal(count_of(text, "--allow-principal User:walferry "), 5);
  free(text);
}

static void every_line_is_a_comment_and_a_name_cannot_leave_its_quotes(void **state) {
  (void)state;
  char *text = print(&(struct setup){.property = "sasl.username=o'x; rm\n$(y)", .topics = {"fleet"}});
  assert_has(text, "--allow-principal 'User:o'\\''x; rm$(y)' ");
  assert_int_equal(strncmp(text, "-- ", 3), 0);
  assert_int_equal(count_of(text, "\n-- ") + 1, count_of(text, "\n"));
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_resource_gets_what_the_relay_does_with_it),
      cmocka_unit_test(topics_that_others_make_need_no_create),
      cmocka_unit_test(dead_letters_are_written_like_events),
      cmocka_unit_test(a_topic_without_a_fixed_beginning_is_any_topic_and_said_to_be),
      cmocka_unit_test(every_line_is_a_comment_and_a_name_cannot_leave_its_quotes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
