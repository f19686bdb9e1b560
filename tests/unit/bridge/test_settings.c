/* bridge/settings.h: what of the config arrives in which part's settings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "bridge/settings.h"

#define BASE "name: shop\npostgres: {conninfo: host=db user=w}\nkafka: {brokers: \"k1:9092,k2:9092\"}\n"

static struct config *load(const char *text) {
  struct error err = {.kind = ERROR_NONE};
  struct config *config = config_parse("f.yaml", text, strlen(text), &err);
  if (config == NULL)
    fail_msg("%s", err.message);
  return config;
}

static struct event event_of(const char *type) {
  struct event event = {.origin = "public.outbox"};
  event.fields[FIELD_TYPE] = slice_of(type);
  event.fields[FIELD_AGGREGATE] = slice_of("Rental");
  return event;
}

static void expect_topic(const struct settings *settings, const char *type, const char *topic) {
  struct event event = event_of(type);
  struct buffer text;
  char why[200];
  bool round_robin;
  buffer_init(&text, 1024);
  assert_true(router_topic(settings->router, &event, slice_of("s"), &text, &round_robin, why, sizeof why));
  assert_true(slice_is(buffer_slice(&text), topic));
  buffer_free(&text);
}

static void defaults_arrive(void **state) {
  (void)state;
  struct config *config = load(BASE "relay: {tables: [{table: outbox}]}\n");
  struct settings settings;
  struct error err = {.kind = ERROR_NONE};
  assert_true(settings_init(&settings, config, &err));
  const struct relay_settings *r = &settings.relay;
  assert_string_equal(r->name, "shop");
  assert_string_equal(r->conninfo, "user='w' host='db'");
  assert_string_equal(r->slot, "walferry_shop");
  assert_string_equal(r->publication, "walferry_shop");
  assert_string_equal(r->plugin, "pgoutput");
  assert_false(r->create);
  assert_false(r->adopt_slot);
  assert_int_equal(r->until, RELAY_FOREVER);
  assert_int_equal(r->intake.table_count, 1);
  assert_string_equal(r->intake.tables[0].schema, "public");
  assert_string_equal(r->intake.tables[0].table, "outbox");
  for (int f = 0; f < FIELD_COUNT; f++)
    assert_null(r->intake.tables[0].columns[f]);
  assert_int_equal(r->intake.prefix_count, 0);
  assert_false(r->intake.stop_on_invalid);
  assert_true(r->intake.segment_bytes > 0);
  assert_string_equal(r->intake.record.instance, "shop");
  assert_int_equal(r->intake.record.layout, ENVELOPE_STANDARD);
  assert_ptr_equal(r->intake.record.router, settings.router);
  assert_string_equal(r->intake.record.quarantine_topic, "shop.quarantine");
  assert_string_equal(r->publisher.kafka.brokers, "k1:9092,k2:9092");
  assert_string_equal(r->publisher.kafka.instance, "shop");
  assert_int_equal(r->publisher.kafka.property_count, 0);
  assert_string_equal(r->publisher.quarantine_topic, "shop.quarantine");
  assert_true(r->publisher.create_topics);
  assert_int_equal(r->publisher.topics.common.partitions, 3);
  assert_int_equal(r->publisher.topics.common.replication, 1);
  expect_topic(&settings, "Reserved", "outbox.event.Rental");
  settings_free(&settings);
  config_free(config);
}

static void wal2json_reads_no_publication(void **state) {
  (void)state;
  struct config *config = load("name: shop\npostgres: {conninfo: host=db, publication: p1, decoder: wal2json}\n"
                               "kafka: {brokers: k}\nrelay: {tables: [{table: a.b}]}\n");
  struct settings settings;
  struct error err = {.kind = ERROR_NONE};
  assert_true(settings_init(&settings, config, &err));
  assert_string_equal(settings.relay.plugin, "wal2json");
  assert_null(settings.relay.publication);
  settings_free(&settings);
  config_free(config);
}

static void each_envelope_has_its_layout(void **state) {
  (void)state;
  static const struct {
    const char *name;
    enum envelope_layout layout;
  } cases[] = {{"standard", ENVELOPE_STANDARD},
               {"contract", ENVELOPE_CONTRACT},
               {"actor", ENVELOPE_ACTOR},
               {"cloudevents", ENVELOPE_CLOUDEVENTS},
               {"payload", ENVELOPE_PAYLOAD}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char text[300];
    snprintf(text, sizeof text, BASE "relay: {tables: [{table: outbox}], envelope: %s}\n", cases[i].name);
    struct config *config = load(text);
    struct settings settings;
    assert_true(settings_init(&settings, config, NULL));
    assert_int_equal(settings.relay.intake.record.layout, cases[i].layout);
    settings_free(&settings);
    config_free(config);
  }
}

static void everything_named_arrives(void **state) {
  (void)state;
  struct config *config =
      load("name: shop\n"
           "postgres: {conninfo: host=db, slot: s1, publication: p1, create: true}\n"
           "kafka:\n  brokers: k\n  properties: [linger.ms=5, client.rack=r1]\n"
           "  topics: {create: false, partitions: 7, replication: 2}\n"
           "relay:\n  tables:\n    - {table: a.b, columns: {key: k1}}\n    - table: c.d\n"
           "  messages: [m1, m2]\n  on_invalid: stop\n  quarantine_topic: q\n"
           "  routes: [{type: \"Rental*\", topic: fleet}, {type: \"*\", topic: \"${aggregate}.v1\"}]\n");
  struct settings settings;
  struct error err = {.kind = ERROR_NONE};
  assert_true(settings_init(&settings, config, &err));
  const struct relay_settings *r = &settings.relay;
  assert_string_equal(r->slot, "s1");
  assert_string_equal(r->publication, "p1");
  assert_true(r->create);
  assert_int_equal(r->intake.table_count, 2);
  assert_string_equal(r->intake.tables[0].columns[FIELD_KEY], "k1");
  assert_string_equal(r->intake.tables[1].schema, "c");
  assert_int_equal(r->intake.prefix_count, 2);
  assert_string_equal(r->intake.prefixes[1], "m2");
  assert_true(r->intake.stop_on_invalid);
  assert_string_equal(r->intake.record.quarantine_topic, "q");
  assert_string_equal(r->publisher.quarantine_topic, "q");
  assert_int_equal(r->publisher.kafka.property_count, 2);
  assert_string_equal(r->publisher.kafka.properties[0], "linger.ms=5");
  assert_false(r->publisher.create_topics);
  assert_int_equal(r->publisher.topics.common.partitions, 7);
  assert_int_equal(r->publisher.topics.common.replication, 2);
  expect_topic(&settings, "RentalReserved", "fleet");
  expect_topic(&settings, "Other", "Rental.v1");
  settings_free(&settings);
  config_free(config);
}

static void topics_are_made_as_the_config_says(void **state) {
  (void)state;
  struct config *config =
      load("name: shop\npostgres: {conninfo: host=db}\n"
           "kafka:\n  brokers: k\n  topics:\n    partitions: 6\n    replication: 3\n    min_insync_replicas: 2\n"
           "    overrides:\n      - {topic: \"fleet.*\", partitions: 12, retention_ms: -1, cleanup: compact}\n"
           "      - {topic: \"shop.*\", cleanup: \"compact,delete\", retention_ms: 60000}\n"
           "      - {topic: x, cleanup: delete}\n"
           "relay:\n  type_format: versioned\n  tables: [{table: a}]\n"
           "  routes: [{type: a, topic: t, partition: round_robin}, {type: \"*\", topic: t, partition: key}]\n");
  struct settings settings;
  assert_true(settings_init(&settings, config, NULL));
  const struct publisher_settings *p = &settings.relay.publisher;
  static const struct {
    const char *topic, *shape;
  } cases[] = {
      {"orders", "6, 3, min.insync.replicas=2"},
      {"fleet.rentals", "12, 3, cleanup.policy=compact, retention.ms=-1, min.insync.replicas=2"},
      {"shop.x", "6, 3, cleanup.policy=compact,delete, retention.ms=60000, min.insync.replicas=2"},
      {"shop.quarantine", "6, 3, cleanup.policy=delete, retention.ms=60000, min.insync.replicas=2"},
      {"x", "6, 3, cleanup.policy=delete, min.insync.replicas=2"},
      {NULL, "1, 3, cleanup.policy=compact, min.insync.replicas=2, unclean.leader.election.enable=false, "
             "segment.bytes=67108864"},
  };
  struct buffer text;
  buffer_init(&text, 200);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct topic_shape shape =
        cases[i].topic == NULL ? publisher_position_shape(p) : publisher_topic_shape(p, cases[i].topic);
    buffer_clear(&text);
    topic_shape_describe(&shape, &text);
    if (!slice_is(buffer_slice(&text), cases[i].shape))
      fail_msg("%s: %.*s", cases[i].shape, SLICE_ARG(buffer_slice(&text)));
  }
  buffer_free(&text);
  assert_true(settings.relay.intake.record.versioned_types);
  assert_true(config->relay.routes[0].round_robin);
  assert_false(config->relay.routes[1].round_robin);
  settings_free(&settings);
  config_free(config);
}

static void every_column_role_goes_to_its_field(void **state) {
  (void)state;
  struct config *config =
      load(BASE "relay:\n  tables:\n    - table: t\n      columns: {id: c_id, type: c_type, key: c_key,\n"
                "        aggregate: c_aggregate, payload: c_payload, occurred_at: c_occurred_at, version: c_version,\n"
                "        source: c_source, correlation_id: c_correlation_id, causation_id: c_causation_id,\n"
                "        trace_id: c_trace_id, traceparent: c_traceparent, tenant_id: c_tenant_id,\n"
                "        actor_id: c_actor_id, actor_type: c_actor_type, topic: c_topic, partition: c_partition,\n"
                "        headers: c_headers, content_type: c_content_type}\n");
  struct settings settings;
  struct error err = {.kind = ERROR_NONE};
  assert_true(settings_init(&settings, config, &err));
  for (enum event_field f = 0; f < FIELD_COUNT; f++) {
    const char *column = settings.tables[0].columns[f];
    if (column == NULL || strcmp(column + 2, event_field_name(f)) != 0)
      fail_msg("%s has the column %s", event_field_name(f), column == NULL ? "(none)" : column);
  }
  settings_free(&settings);
  config_free(config);
}

static void header_columns_go_to_their_table(void **state) {
  (void)state;
  struct config *config =
      load(BASE "relay:\n  tables:\n    - {table: a, headers: [{column: c1, name: n1}]}\n    - table: b\n"
                "    - {table: c, headers: [{column: c2, name: n2}, {column: c3, name: n3}]}\n");
  struct settings settings;
  struct error err = {.kind = ERROR_NONE};
  assert_true(settings_init(&settings, config, &err));
  assert_int_equal(settings.tables[0].header_count, 1);
  assert_string_equal(settings.tables[0].headers[0].column, "c1");
  assert_int_equal(settings.tables[1].header_count, 0);
  assert_int_equal(settings.tables[2].header_count, 2);
  assert_string_equal(settings.tables[2].headers[0].name, "n2");
  assert_string_equal(settings.tables[2].headers[1].column, "c3");
  settings_free(&settings);
  config_free(config);
}

static void messages_alone_are_enough(void **state) {
  (void)state;
  struct config *config = load(BASE "relay: {tables: [], messages: [m]}\n");
  struct settings settings;
  struct error err = {.kind = ERROR_NONE};
  assert_true(settings_init(&settings, config, &err));
  assert_int_equal(settings.relay.intake.table_count, 0);
  assert_string_equal(settings.relay.intake.prefixes[0], "m");
  settings_free(&settings);
  config_free(config);
}

static void what_does_not_fit_is_a_config_error(void **state) {
  (void)state;
  static const struct {
    const char *text, *said;
  } cases[] = {
      {"name: shop\npostgres: {conninfo: host=db}\nkafka: {brokers: k, properties: [no.such.property=1]}\n"
       "relay: {tables: [{table: t}]}\n",
       "no.such.property"},
      {"name: shop\npostgres: {conninfo: host=db}\nkafka: {brokers: k, properties: [linger.ms=often]}\n"
       "relay: {tables: [{table: t}]}\n",
       "linger.ms"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct config *config = load(cases[i].text);
    struct settings settings;
    struct error err = {.kind = ERROR_NONE};
    assert_false(settings_init(&settings, config, &err));
    assert_int_equal(err.kind, ERROR_CONFIG);
    if (strstr(err.message, cases[i].said) == NULL || strstr(err.message, "f.yaml") == NULL)
      fail_msg("%s", err.message);
    config_free(config);
  }
}

static void the_inbox_arrives(void **state) {
  (void)state;
  struct config *config = load(BASE "inbox:\n  group: g\n  topics: [t1, t2]\n  unmatched: skip\n  timeout_ms: 700\n"
                                    "  retention_days: 30\n"
                                    "  handlers: [{type: A, call: s.f}, {type: \"B*\", ignore: true}]\n"
                                    "  retry: {max_attempts: 3, backoff_ms: 10, backoff_max_ms: 20}\n"
                                    "  dead_letter: {suffix: .dead, hold_key: true}\n");
  struct settings settings;
  assert_true(settings_init(&settings, config, NULL));
  const struct inbox_settings *i = &settings.inbox;
  assert_string_equal(i->name, "shop");
  assert_string_equal(i->kafka.instance, "shop");
  assert_string_equal(i->group, "g");
  assert_int_equal(i->topic_count, 2);
  assert_string_equal(i->topics[1], "t2");
  assert_int_equal(i->handler_count, 2);
  assert_string_equal(i->handlers[0].call, "s.f");
  assert_string_equal(i->handlers[1].type, "B*");
  assert_null(i->handlers[1].call);
  assert_int_equal(i->unmatched, REGISTRY_SKIP);
  assert_int_equal(i->max_attempts, 3);
  assert_int_equal(i->backoff_ms, 10);
  assert_int_equal(i->backoff_max_ms, 20);
  assert_int_equal(i->timeout_ms, 700);
  assert_int_equal(i->retention_days, 30);
  assert_string_equal(i->dead_letter_suffix, ".dead");
  assert_true(i->hold_key);
  assert_false(i->dead_letter_records); /* there is no relay that would publish them */
  settings_free(&settings);
  config_free(config);
}

#define RELAY "relay: {tables: [{table: outbox}], messages: [m]}\n"
#define INBOX "inbox: {group: g, topics: [fleet.rentals, orders], handlers: [{type: A, call: s.f}]%s}\n"

static void dead_letters_travel_where_there_are_relay_and_inbox(void **state) {
  (void)state;
  static const struct {
    const char *more, *topics[2];
  } cases[] = {{"", {"fleet.rentals.dlq", "orders.dlq"}},
               {", dead_letter: {suffix: -dead}", {"fleet.rentals-dead", "orders-dead"}}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[1000];
    snprintf(text, sizeof text,
             "name: shop\npostgres: {conninfo: host=db}\n"
             "kafka:\n  brokers: k\n  topics:\n    overrides:\n"
             "      - {topic: \"fleet.*\", partitions: 7, cleanup: compact}\n" RELAY INBOX,
             cases[i].more);
    struct config *config = load(text);
    struct settings settings;
    assert_true(settings_init(&settings, config, NULL));
    const struct publisher_settings *p = &settings.relay.publisher;
    assert_true(settings.inbox.dead_letter_records);
    assert_true(settings.relay.intake.dead_letters);
    assert_int_equal(settings.relay.intake.prefix_count, 1); /* walferry.emit_message writes with the first */
    assert_int_equal(p->dead_letter_topic_count, 2);
    for (int t = 0; t < 2; t++)
      assert_string_equal(p->dead_letter_topics[t], cases[i].topics[t]);
    struct topic_shape shape = publisher_topic_shape(p, cases[i].topics[0]);
    assert_int_equal(shape.partitions, 7);
    assert_int_equal(shape.cleanup, TOPIC_CLEANUP_DELETE);
    shape = publisher_topic_shape(p, "fleet.rentals");
    assert_int_equal(shape.cleanup, TOPIC_CLEANUP_COMPACT);
    settings_free(&settings);
    config_free(config);
  }
}

static void a_relay_without_an_inbox_takes_no_dead_letters(void **state) {
  (void)state;
  struct config *config = load(BASE RELAY);
  struct settings settings;
  assert_true(settings_init(&settings, config, NULL));
  assert_false(settings.relay.intake.dead_letters);
  assert_int_equal(settings.relay.publisher.dead_letter_topic_count, 0);
  settings_free(&settings);
  config_free(config);
}

static void a_command_says_which_section_it_lacks(void **state) {
  (void)state;
  struct config *config = load(BASE);
  struct error err = {.kind = ERROR_NONE};
  assert_false(settings_need_relay(config, &err));
  assert_int_equal(err.kind, ERROR_CONFIG);
  assert_string_equal(err.message, "f.yaml: there is no relay section");
  assert_false(settings_need_inbox(config, &err));
  assert_string_equal(err.message, "f.yaml: there is no inbox section");
  assert_false(settings_need_either(config, &err));
  assert_string_equal(err.message, "f.yaml: there is neither a relay nor an inbox section");
  config_free(config);
  config = load(BASE "inbox: {group: g, topics: [t], handlers: [{type: A, call: s.f}]}\n");
  assert_true(settings_need_either(config, &err));
  assert_false(settings_need_relay(config, &err));
  config_free(config);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(defaults_arrive),
      cmocka_unit_test(wal2json_reads_no_publication),
      cmocka_unit_test(each_envelope_has_its_layout),
      cmocka_unit_test(everything_named_arrives),
      cmocka_unit_test(topics_are_made_as_the_config_says),
      cmocka_unit_test(every_column_role_goes_to_its_field),
      cmocka_unit_test(header_columns_go_to_their_table),
      cmocka_unit_test(messages_alone_are_enough),
      cmocka_unit_test(what_does_not_fit_is_a_config_error),
      cmocka_unit_test(the_inbox_arrives),
      cmocka_unit_test(dead_letters_travel_where_there_are_relay_and_inbox),
      cmocka_unit_test(a_relay_without_an_inbox_takes_no_dead_letters),
      cmocka_unit_test(a_command_says_which_section_it_lacks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
