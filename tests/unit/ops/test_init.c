/* bridge/ops/init.h: what `init --print` writes; nothing is asked of any server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bridge/ops/init.h"

static const char *const topics[] = {"fleet", "rentals"};
static const struct handler_spec handlers[] = {{.type = "A*", .call = "acc.onRental"}, {.type = "B"}};
static const struct inbox_settings reads = {.name = "shop",
                                            .kafka = {.brokers = "k:9092"},
                                            .group = "accounting",
                                            .topics = topics,
                                            .topic_count = 2,
                                            .handlers = handlers,
                                            .handler_count = 2};

/* tables: -1 is no relay at all. */
static char *print_with(int tables, const char *publication, const char *role, bool inbox) {
  static char names[][8] = {"public", "outbox", "second"};
  static struct table_spec specs[] = {{.schema = names[0], .table = names[1]}, {.schema = names[0], .table = names[2]}};
  static const char *const prefixes[] = {"m1", "m2"};
  static const char *const dead_letters[] = {"fleet.dlq", "orders.dlq"};
  const struct route_spec routes[] = {{.type = "Rental*", .topic = "fleet"}, {.type = "*", .topic = "${aggregate}.v1"}};
  struct router *router = router_new(routes, 2, NULL);
  struct relay_settings relay = {.name = "shop",
                                 .slot = "walferry_shop",
                                 .publication = publication,
                                 .intake = {.tables = specs,
                                            .table_count = tables,
                                            .prefixes = prefixes,
                                            .prefix_count = tables == 0 ? 2 : 0,
                                            .record = {.router = router}},
                                 .publisher = {.kafka = {.brokers = "k:9092"},
                                               .quarantine_topic = "shop.quarantine",
                                               .dead_letter_topics = dead_letters,
                                               .dead_letter_topic_count = inbox ? 2 : 0,
                                               .topics = {.common = {.partitions = 3, .replication = 2}}}};
  struct init_settings settings = {.relay = tables < 0 ? NULL : &relay, .role = role, .inbox = inbox ? &reads : NULL};
  char *text = NULL;
  size_t len = 0;
  FILE *out = open_memstream(&text, &len);
  init_print(&settings, out);
  fclose(out);
  router_free(router);
  return text;
}

static char *print(int tables, const char *publication, const char *role) {
  return print_with(tables, publication, role, false);
}

/* pieces in this order. */
static void expect_in_order(const char *text, const char *const *pieces) {
  const char *at = text;
  for (; *pieces != NULL; pieces++) {
    at = strstr(at, *pieces);
    if (at == NULL)
      fail_msg("\"%s\" is missing or out of order in\n%s", *pieces, text);
  }
}

static void everything_is_printed_in_an_order_that_works(void **state) {
  (void)state;
  static const char *const pieces[] = {"CREATE TABLE IF NOT EXISTS \"public\".\"outbox\"",
                                       "CREATE TABLE IF NOT EXISTS \"public\".\"second\"",
                                       "FUNCTION walferry.emit(",
                                       "INSERT INTO \"public\".\"outbox\" ",
                                       "FUNCTION walferry.emit_message(",
                                       "pg_logical_emit_message(true, 'walferry'",
                                       "CREATE ROLE \"relay\" LOGIN REPLICATION",
                                       "GRANT SELECT ON \"public\".\"second\" TO \"relay\"",
                                       "CREATE PUBLICATION \"pub\" FOR TABLE \"public\".\"outbox\", "
                                       "\"public\".\"second\" WITH (publish = 'insert', ",
                                       ");\n-- The slot walferry_shop is made by walferry itself",
                                       "-- walferry.position.shop, 1, 2, cleanup.policy=compact",
                                       "-- fleet, 3, 2\n",
                                       "-- shop.quarantine, 3, 2, cleanup.policy=delete\n",
                                       "-- kafka-acls.sh --bootstrap-server k:9092 ",
                                       NULL};
  char *text = print(2, "pub", "relay");
  expect_in_order(text, pieces);
  assert_null(strstr(text, "${aggregate}")); /* only topics that are known ahead of time */
  assert_null(strstr(text, "inbox"));
  free(text);
}

static void messages_alone_need_no_table_and_no_emit(void **state) {
  (void)state;
  static const char *const pieces[] = {"FUNCTION walferry.emit_message(", "pg_logical_emit_message(true, 'm1'",
                                       "CREATE PUBLICATION \"pub\" WITH (", NULL};
  char *text = print(0, "pub", NULL);
  expect_in_order(text, pieces);
  assert_null(strstr(text, "CREATE TABLE"));
  assert_null(strstr(text, "walferry.emit("));
  assert_null(strstr(text, "ROLE"));
  free(text);
}

static void no_publication_is_printed_where_none_is_read(void **state) {
  (void)state;
  char *text = print(1, NULL, NULL);
  assert_non_null(strstr(text, "CREATE TABLE"));
  assert_null(strstr(text, "PUBLICATION"));
  assert_non_null(strstr(text, "-- The slot walferry_shop is made by"));
  free(text);
}

static void the_inbox_is_granted_to_the_role_that_it_runs_as(void **state) {
  (void)state;
  static const char *const pieces[] = {"CREATE TABLE IF NOT EXISTS walferry.inbox_offsets",
                                       "FUNCTION walferry.idempotency_put(",
                                       "PERFORM walferry.inbox_maintain(",
                                       "CREATE ROLE \"relay\" LOGIN REPLICATION",
                                       "GRANT SELECT, INSERT ON walferry.inbox_processed_messages TO \"relay\"",
                                       "\n-- GRANT USAGE ON SCHEMA \"acc\" TO \"relay\"; GRANT EXECUTE ON FUNCTION "
                                       "\"acc\".\"onRental\"(jsonb) TO \"relay\";\n",
                                       "CREATE PUBLICATION \"pub\"",
                                       "-- shop.quarantine, 3, 2, cleanup.policy=delete\n",
                                       "-- fleet.dlq, 3, 2, cleanup.policy=delete\n",
                                       "-- orders.dlq, 3, 2, cleanup.policy=delete\n",
                                       "\n-- rentals is read by the inbox",
                                       "--transactional-id walferry.shop\n",
                                       "--topic fleet.dlq\n",
                                       "--topic orders.dlq\n",
                                       "--operation Read --operation Describe --group accounting\n",
                                       "--operation DescribeConfigs --topic rentals\n",
                                       NULL};
  char *text = print_with(1, "pub", "relay", true);
  expect_in_order(text, pieces);
  assert_null(strstr(text, "-- fleet is read")); /* this relay writes to it, and makes it */
  free(text);
  text = print_with(1, "pub", NULL, true);
  assert_null(strstr(text, "GRANT"));
  free(text);
}

static void an_inbox_alone_needs_nothing_of_a_relay(void **state) {
  (void)state;
  static const char *const pieces[] = {"CREATE SCHEMA IF NOT EXISTS walferry",
                                       "CREATE TABLE IF NOT EXISTS walferry.inbox_offsets",
                                       "CREATE ROLE \"reader\" LOGIN;",
                                       "GRANT USAGE ON SCHEMA walferry TO \"reader\"",
                                       "GRANT SELECT, INSERT, UPDATE ON walferry.inbox_offsets TO \"reader\"",
                                       "\n-- fleet is read by the inbox",
                                       "--group accounting\n",
                                       NULL};
  static const char *const absent[] = {"emit",      "outbox", "PUBLICATION", "REPLICATION", "slot",
                                       "position.", "Write",  "Create",      "quarantine",  "transactional-id"};
  char *text = print_with(-1, NULL, "reader", true);
  expect_in_order(text, pieces);
  for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++)
    if (strstr(text, absent[i]) != NULL)
      fail_msg("\"%s\" is in\n%s", absent[i], text);
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(everything_is_printed_in_an_order_that_works),
      cmocka_unit_test(messages_alone_need_no_table_and_no_emit),
      cmocka_unit_test(no_publication_is_printed_where_none_is_read),
      cmocka_unit_test(the_inbox_is_granted_to_the_role_that_it_runs_as),
      cmocka_unit_test(an_inbox_alone_needs_nothing_of_a_relay),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
