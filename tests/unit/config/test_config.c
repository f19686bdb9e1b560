/* What a config file means: the example, the defaults, and every value that is refused. */
#include "bridge/base/memory.h"
#include "tests/unit/config/config_fixture.h"

static void held_back_slot_has_its_defaults(void **state) {
  (void)state;
  static const struct {
    const char *section;
    const char *slot;
    int64_t keep_ms, keep_bytes;
  } cases[] = {
      {"replay: {}", "walferry_a_replay", 86400000, INT64_C(10) << 30},
      {"slot: s, replay: {keep: 90m}", "s_replay", 5400000, INT64_C(10) << 30},
      {"replay: {slot: r, keep: 60s, keep_bytes: 1024kB}", "r", 60000, 1 << 20},
      {"replay: {keep: 30d, keep_bytes: 1000TB}", "walferry_a_replay", INT64_C(2592000000), INT64_C(1000) << 40},
      {"replay: {keep: 2h, keep_bytes: 1073741824B}", "walferry_a_replay", 7200000, 1 << 30},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char *yaml = memory_format("name: a\npostgres: {conninfo: host=db, %s}\nkafka: {brokers: k}\n", cases[i].section);
    struct config *config = load(yaml);
    assert_true(config->postgres.has_replay);
    assert_string_equal(config->postgres.replay.slot, cases[i].slot);
    assert_int_equal(config->postgres.replay.keep_ms, cases[i].keep_ms);
    assert_int_equal(config->postgres.replay.keep_bytes, cases[i].keep_bytes);
    config_free(config);
    free(yaml);
  }
  struct config *config = load(BASE);
  assert_false(config->postgres.has_replay);
  config_free(config);
}

static void example_loads_as_documented(void **state) {
  (void)state;
  unsetenv("PGHOST");
  unsetenv("PGPORT");
  unsetenv("KAFKA_BROKERS");
  struct error err = {.kind = ERROR_NONE};
  struct config *config = config_load(TEST_SOURCE_DIR "/config/examples/shop.yaml", &err);
  assert_string_equal(err.message, "");
  assert_non_null(config);
  assert_string_equal(config->name, "shop");
  assert_string_equal(config->postgres.conninfo, "user='walferry' dbname='shop' host='127.0.0.1' port='5432'");
  assert_string_equal(config->postgres.slot, "walferry_shop");
  assert_string_equal(config->postgres.publication, "walferry_shop");
  assert_int_equal(config->postgres.decoder, CONFIG_DECODER_PGOUTPUT);
  assert_true(config->postgres.create);
  assert_string_equal(config->kafka.brokers, "127.0.0.1:9092");
  assert_int_equal(config->kafka.properties.count, 1);
  assert_string_equal(config->kafka.properties.items[0], "compression.codec=lz4");
  assert_true(config->kafka.topics.create);
  assert_int_equal(config->kafka.topics.shape.partitions, 3);
  assert_int_equal(config->kafka.topics.shape.replication, 1);
  assert_true(config->has_relay);
  assert_int_equal(config->relay.table_count, 1);
  assert_string_equal(config->relay.tables[0].schema, "public");
  assert_string_equal(config->relay.tables[0].table, "outbox");
  assert_string_equal(config->relay.tables[0].columns.key, "aggregateid");
  assert_string_equal(config->relay.tables[0].columns.aggregate, "aggregatetype");
  assert_null(config->relay.tables[0].columns.id);
  assert_int_equal(config->relay.messages.count, 1);
  assert_string_equal(config->relay.messages.items[0], "walferry");
  assert_int_equal(config->relay.route_count, 2);
  assert_string_equal(config->relay.routes[0].type, "Rental*");
  assert_string_equal(config->relay.routes[0].topic, "fleet.rentals");
  assert_string_equal(config->relay.routes[1].type, "*");
  assert_string_equal(config->relay.routes[1].topic, "${aggregate}.events.v1");
  assert_int_equal(config->relay.on_invalid, CONFIG_ON_INVALID_QUARANTINE);
  assert_string_equal(config->relay.quarantine_topic, "shop.quarantine");
  assert_true(config->has_inbox);
  assert_string_equal(config->inbox.group, "accounting");
  assert_string_equal(config->inbox.topics.items[0], "fleet.rentals");
  assert_int_equal(config->inbox.handler_count, 2);
  assert_string_equal(config->inbox.handlers[1].type, "Maintenance*");
  assert_string_equal(config->inbox.handlers[1].call, "fleet.on_maintenance");
  assert_int_equal(config->inbox.unmatched, CONFIG_UNMATCHED_DEAD_LETTER);
  assert_int_equal(config->inbox.retry.max_attempts, 5);
  assert_int_equal(config->inbox.retry.backoff_ms, 200);
  assert_int_equal(config->inbox.retry.backoff_max_ms, 30000);
  assert_int_equal(config->inbox.timeout_ms, 30000);
  assert_string_equal(config->inbox.dead_letter.suffix, ".dlq");
  assert_false(config->inbox.dead_letter.hold_key);
  assert_string_equal(config->http.listen, "127.0.0.1:9464");
  assert_string_equal(config->http.inbox_listen, "127.0.0.1:9464");
  assert_string_equal(config->log.level, "info");
  config_free(config);
}

static void both_decoders_are_taken(void **state) {
  (void)state;
  static const struct {
    const char *name;
    enum config_decoder decoder;
  } cases[] = {{"pgoutput", CONFIG_DECODER_PGOUTPUT}, {"wal2json", CONFIG_DECODER_WAL2JSON}};
  for (size_t i = 0; i < 2; i++) {
    char text[128];
    snprintf(text, sizeof text, "name: a\npostgres: {conninfo: host=db, decoder: %s}\nkafka: {brokers: k}\n",
             cases[i].name);
    struct config *config = load(text);
    assert_int_equal(config->postgres.decoder, cases[i].decoder);
    config_free(config);
  }
}

static void smallest_file_gets_the_defaults(void **state) {
  (void)state;
  struct config *config = load("name: my-shop\npostgres: {conninfo: host=db}\nkafka: {brokers: k}\n");
  assert_string_equal(config->path, "f.yaml");
  assert_string_equal(config->postgres.slot, "walferry_my_shop");
  assert_string_equal(config->postgres.publication, "walferry_my_shop");
  assert_int_equal(config->postgres.decoder, CONFIG_DECODER_PGOUTPUT);
  assert_false(config->postgres.create);
  assert_int_equal(config->kafka.properties.count, 0);
  assert_true(config->kafka.topics.create);
  assert_int_equal(config->kafka.topics.shape.partitions, 3);
  assert_int_equal(config->kafka.topics.shape.replication, 1);
  assert_false(config->has_relay);
  assert_false(config->has_inbox);
  assert_null(config->http.listen);
  assert_null(config->http.inbox_listen);
  assert_string_equal(config->log.level, "info");
  config_free(config);
}

static void relay_and_inbox_get_their_defaults(void **state) {
  (void)state;
  struct config *config = load(RELAY "inbox:\n  group: g\n  topics: [t]\n  handlers: [{type: A, call: s.f}]\n"
                                     "  retry: {backoff_ms: 60000}\n");
  assert_string_equal(config->relay.tables[0].schema, "public");
  assert_int_equal(config->relay.messages.count, 0);
  assert_int_equal(config->relay.route_count, 1);
  assert_string_equal(config->relay.routes[0].type, "*");
  assert_string_equal(config->relay.routes[0].topic, "outbox.event.${aggregate}");
  assert_int_equal(config->relay.on_invalid, CONFIG_ON_INVALID_QUARANTINE);
  assert_string_equal(config->relay.quarantine_topic, "shop.quarantine");
  assert_int_equal(config->inbox.unmatched, CONFIG_UNMATCHED_DEAD_LETTER);
  assert_int_equal(config->inbox.retry.max_attempts, 5);
  assert_int_equal(config->inbox.retry.backoff_ms, 60000);
  assert_int_equal(config->inbox.retry.backoff_max_ms, 60000);
  assert_int_equal(config->inbox.timeout_ms, 30000);
  assert_int_equal(config->inbox.retention_days, 7);
  assert_string_equal(config->inbox.dead_letter.suffix, ".dlq");
  config_free(config);
}

static void types_can_be_ignored_and_the_unmatched_skipped(void **state) {
  (void)state;
  struct config *config = load(BASE "inbox:\n  group: g\n  topics: [t]\n  handlers:\n"
                                    "    - {type: A, call: s.f, ignore: false}\n    - {type: \"B*\", ignore: true}\n"
                                    "  unmatched: skip\n");
  assert_int_equal(config->inbox.handler_count, 2);
  assert_string_equal(config->inbox.handlers[0].call, "s.f");
  assert_string_equal(config->inbox.handlers[1].type, "B*");
  assert_null(config->inbox.handlers[1].call);
  assert_int_equal(config->inbox.unmatched, CONFIG_UNMATCHED_SKIP);
  config_free(config);
}

static void unusual_but_good_values_load(void **state) {
  (void)state;
  struct config *config =
      load(PG "kafka:\n  brokers: \"SSL://a:1, [::1]:9092,b\"\n"
              "  properties: [transaction.timeout.ms=10000, \"sasl.password=a=b c\", client.id=]\n"
              "  topics: {create: \"false\", partitions: '12'}\n"
              "relay:\n  tables: []\n  messages: [a, b]\n  on_invalid: stop\n"
              "  routes: [{type: \"*\", topic: \"${tenant_id}-${version}_${source}.${key}${type}\"}]\n"
              "http: {listen: \"[::1]:0\", inbox_listen: \"localhost:9465\"}\nlog: {}\n");
  assert_string_equal(config->kafka.properties.items[1], "sasl.password=a=b c");
  assert_string_equal(config->kafka.properties.items[2], "client.id=");
  assert_false(config->kafka.topics.create);
  assert_int_equal(config->kafka.topics.shape.partitions, 12);
  assert_int_equal(config->relay.table_count, 0);
  assert_int_equal(config->relay.messages.count, 2);
  assert_int_equal(config->relay.on_invalid, CONFIG_ON_INVALID_STOP);
  assert_string_equal(config->http.listen, "[::1]:0");
  assert_string_equal(config->http.inbox_listen, "localhost:9465");
  config_free(config);
  config = load(BASE "relay:\n  tables:\n    - table: sales.out.box\n    - table: sales\n");
  assert_string_equal(config->relay.tables[0].schema, "sales");
  assert_string_equal(config->relay.tables[0].table, "out.box");
  assert_string_equal(config->relay.tables[1].schema, "public");
  config_free(config);
}

static void each_envelope_has_its_name(void **state) {
  (void)state;
  static const struct {
    const char *text;
    enum config_envelope envelope;
  } cases[] = {{RELAY, CONFIG_ENVELOPE_STANDARD},
               {RELAY "  envelope: standard\n", CONFIG_ENVELOPE_STANDARD},
               {RELAY "  envelope: contract\n", CONFIG_ENVELOPE_CONTRACT},
               {RELAY "  envelope: actor\n", CONFIG_ENVELOPE_ACTOR},
               {RELAY "  envelope: cloudevents\n", CONFIG_ENVELOPE_CLOUDEVENTS},
               {RELAY "  envelope: payload\n", CONFIG_ENVELOPE_PAYLOAD}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct config *config = load(cases[i].text);
    assert_int_equal(config->relay.envelope, cases[i].envelope);
    config_free(config);
  }
}

static void every_column_role_is_loaded(void **state) {
  (void)state;
  struct config *config =
      load(BASE "relay:\n  tables:\n    - table: t\n      columns: {id: a, type: b, key: c, aggregate: d, payload: e,\n"
                "        occurred_at: f, version: g, source: h, correlation_id: i, causation_id: j, trace_id: k,\n"
                "        traceparent: l, tenant_id: m, actor_id: n, actor_type: o, topic: p, partition: q,\n"
                "        headers: r, content_type: s}\n");
  const struct config_columns *columns = &config->relay.tables[0].columns;
  assert_string_equal(columns->id, "a");
  assert_string_equal(columns->payload, "e");
  assert_string_equal(columns->occurred_at, "f");
  assert_string_equal(columns->traceparent, "l");
  assert_string_equal(columns->content_type, "s");
  config_free(config);
}

static void header_columns_are_loaded(void **state) {
  (void)state;
  struct config *config = load(BASE "relay:\n  tables:\n    - table: t\n      headers: [{column: trace, name: "
                                    "traceparent}, {column: trace, name: x y}]\n");
  const struct config_table *table = &config->relay.tables[0];
  assert_int_equal(table->header_count, 2);
  assert_string_equal(table->headers[0].column, "trace");
  assert_string_equal(table->headers[0].name, "traceparent");
  assert_string_equal(table->headers[1].name, "x y");
  config_free(config);
}

static void names_are_checked(void **state) {
  (void)state;
#define REST "\npostgres: {conninfo: host=db}\nkafka: {brokers: k}\n"
#define LONG_60 "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff"
  static const struct refusal cases[] = {
      {"upper case", "name: Shop" REST, "1:7", "`name`: \"Shop\" does not start with a letter", "a-z"},
      {"digit", "name: 1shop" REST, "1:7", "does not start", "a-z"},
      {"blank", "name: my shop" REST, "1:7", "characters other than", "a-z"},
      {"too long", "name: " LONG_60 "abcd" REST, "1:7", "longer than 63", "63"},
      {"too long for the slot", "name: " LONG_60 "\npostgres: {conninfo: host=db}\nkafka: {brokers: k}\n", "2:11",
       "`postgres.slot` defaults to \"walferry_aaa", "set `postgres.slot`"},
      {"slot", "name: a\npostgres: {conninfo: host=db, slot: My-Slot}\nkafka: {brokers: k}\n", "2:37",
       "\"My-Slot\" has characters other than", "a-z, 0-9 and _"},
      {"publication", "name: a\npostgres: {conninfo: host=db, publication: 'a\"b'}\nkafka: {brokers: k}\n", "2:44",
       "has a quote", "without quotes"},
      {"replay is the slot",
       "name: a\npostgres: {conninfo: host=db, slot: s, replay: {slot: s}}\nkafka: {brokers: k}\n", "2:55",
       "`postgres.replay.slot` is the relay's own slot", "the default is s_replay"},
      {"replay slot", "name: a\npostgres: {conninfo: host=db, replay: {slot: A}}\nkafka: {brokers: k}\n", "2:46",
       "`postgres.replay.slot`: \"A\"", "1 to 63"},
      {"no unit", "name: a\npostgres: {conninfo: host=db, replay: {keep: 24}}\nkafka: {brokers: k}\n", "2:46",
       "\"24\" is not a number with its unit", "a whole number with its unit (s, m, h, d), from 1m to 30d"},
      {"no number", "name: a\npostgres: {conninfo: host=db, replay: {keep: h}}\nkafka: {brokers: k}\n", "2:46",
       "\"h\" is not", "write"},
      {"blank", "name: a\npostgres: {conninfo: host=db, replay: {keep: 24 h}}\nkafka: {brokers: k}\n", "2:46",
       "\"24 h\" is not", "write"},
      {"leading zero", "name: a\npostgres: {conninfo: host=db, replay: {keep: 024h}}\nkafka: {brokers: k}\n", "2:46",
       "\"024h\" is not", "write"},
      {"too short", "name: a\npostgres: {conninfo: host=db, replay: {keep: 59s}}\nkafka: {brokers: k}\n", "2:46",
       "`postgres.replay.keep`: 59s is out of range", "from 1m to 30d"},
      {"too long", "name: a\npostgres: {conninfo: host=db, replay: {keep: 31d}}\nkafka: {brokers: k}\n", "2:46",
       "31d is out of range", "to 30d"},
      {"size in Gb", "name: a\npostgres: {conninfo: host=db, replay: {keep_bytes: 10Gb}}\nkafka: {brokers: k}\n",
       "2:52", "\"10Gb\" is not", "(B, kB, MB, GB, TB), from 1MB to 1000TB"},
      {"size overflows",
       "name: a\npostgres: {conninfo: host=db, replay: {keep_bytes: 9000000000TB}}\nkafka: {brokers: k}\n", "2:52",
       "is not a number", "to 1000TB"},
      {"size too small", "name: a\npostgres: {conninfo: host=db, replay: {keep_bytes: 1023kB}}\nkafka: {brokers: k}\n",
       "2:52", "1023kB is out of range", "from 1MB"},
      {"unknown key", "name: a\npostgres: {conninfo: host=db, replay: {keeps: 1h}}\nkafka: {brokers: k}\n", "2:40",
       "unknown key \"keeps\"", "did you mean \"keep\"?"},
      {"decoder", "name: a\npostgres: {conninfo: host=db, decoder: pgouput}\nkafka: {brokers: k}\n", "2:40",
       "\"pgouput\" is not pgoutput or wal2json", "did you mean \"pgoutput\"?"},
  };
  ASSERT_REFUSED(cases);
}

static void booleans_and_numbers_are_strict(void **state) {
  (void)state;
#define CREATE(text) "name: a\npostgres:\n  conninfo: host=db\n  create: " text "\nkafka: {brokers: k}\n"
#define TOPICS(text) PG "kafka:\n  brokers: k\n  topics:\n    " text "\n"
#define PARTITIONS(text) PG "kafka:\n  brokers: k\n  topics:\n    partitions: " text "\n"
  static const struct refusal cases[] = {
      {"fasle", CREATE("fasle"), "4:11", "\"fasle\" is not false or true", "did you mean \"false\"?"},
      {"yes", CREATE("yes"), "4:11", "\"yes\" is not", "write false or true"},
      {"True", CREATE("True"), "4:11", "\"True\" is not", "did you mean \"true\"?"},
      {"1", CREATE("1"), "4:11", "\"1\" is not", "write false or true"},
      {"30s", PARTITIONS("30s"), "6:17", "\"30s\" is not a whole number", "from 1 to 100000"},
      {"010", PARTITIONS("010"), "6:17", "\"010\" is not a whole number", "no leading zero"},
      {"hex", PARTITIONS("0x10"), "6:17", "not a whole number", "plain digits"},
      {"float", PARTITIONS("3.0"), "6:17", "not a whole number", ""},
      {"underscore", PARTITIONS("1_000"), "6:17", "not a whole number", ""},
      {"plus", PARTITIONS("+3"), "6:17", "not a whole number", ""},
      {"zero", PARTITIONS("0"), "6:17", "0 is out of range", "from 1 to 100000"},
      {"negative", PARTITIONS("-1"), "6:17", "-1 is out of range", ""},
      {"huge", PARTITIONS("99999999999999999999"), "6:17", "not a whole number", ""},
      {"retention", TOPICS("retention_ms: 7d"), "6:19", "\"7d\" is not a whole number", "no unit"},
      {"retention range", TOPICS("retention_ms: -2"), "6:19", "-2 is out of range", "from -1"},
      {"no retention", TOPICS("retention_ms: 0"), "6:19", "0 would keep nothing", "-1 for ever"},
      {"in sync", TOPICS("min_insync_replicas: 2"), "6:26", "2 replicas are to be in sync, but a topic has only 1",
       "3"},
      {"in sync of an override",
       TOPICS("replication: 3\n    min_insync_replicas: 2\n    overrides:\n      - {topic: a, replication: 1}"), "9:33",
       "2 replicas are to be in sync", "3"},
      {"override without a topic", TOPICS("overrides: [{partitions: 1}]"), "6:17", "\"topic\"", ""},
      {"override of no topic", TOPICS("overrides: [{topic: \"a b*\"}]"), "6:25", "does not take", "* for any run"},
      {"override of a position topic", TOPICS("overrides: [{topic: walferry.position.a}]"), "6:25", "position topic",
       ""},
      {"override twice", TOPICS("overrides: [{topic: a}, {topic: a}]"), "6:37", "\"a\" is there twice", "first match"},
      {"cleanup", TOPICS("overrides: [{topic: a, cleanup: compacted}]"), "6:37", "\"compacted\" is not", "\"compact\""},
      {"override's partitions", TOPICS("overrides: [{topic: a, partitions: 0}]"), "6:40", "0 is out of range", ""},
      {"replication", PG "kafka: {brokers: k, topics: {replication: 101}}\n", "3:43", "101 is out of range", "to 100"},
  };
  ASSERT_REFUSED(cases);
}

static void properties_that_break_exactly_once_are_refused(void **state) {
  (void)state;
  static const struct {
    const char *property, *what, *remedy;
  } cases[] = {
      {"transactional.id=x", "derives it from `name`", "set `name`"},
      {"enable.idempotence=true", "idempotent", "remove"},
      {"acks=1", "acks=all", "remove"},
      {"request.required.acks=1", "acks=all", "remove"},
      {"max.in.flight.requests.per.connection=6", "at most 5", "from 1 to 5"},
      {"max.in.flight=6", "at most 5", "from 1 to 5"},
      {"max.in.flight=many", "at most 5", "from 1 to 5"},
      {"isolation.level=read_uncommitted", "reads committed", "remove"},
      {"message.timeout.ms=1", "times out", "transaction.timeout.ms"},
      {"delivery.timeout.ms=1", "times out", "transaction.timeout.ms"},
      {"bootstrap.servers=k", "key of their own", "kafka.brokers"},
      {"metadata.broker.list=k", "key of their own", "kafka.brokers"},
      {"partitioner=random", "murmur2_random", "remove"},
      {"group.id=g", "walferry's", "inbox.group"},
      {"enable.auto.commit=true", "offsets itself", "remove"},
      {"enable.auto.offset.store=true", "offsets itself", "remove"},
      {"auto.offset.reset=latest", "offsets itself", "remove"},
      {"enable.partition.eof=false", "position topic", "remove"},
      {"test.mock.num.brokers=3", "mock brokers", "remove"},
      {"transaction.timeout.ms=999", "allow this much", "from 1000 to 900000"},
      {"transaction.timeout.ms=900001", "allow this much", "from 1000 to 900000"},
      {"transaction.timeout.ms=10s", "allow this much", "whole number"},
      {"retries=0", "without retries", "whole number"},
      {"enable.gapless.guarantee=1", "quarantined", "write false"},
      {"queuing.strategy=lifo", "order", "write fifo"},
      {"delivery.report.only.error=true", "every delivery", "write false"},
      {"compression.codec", "not of the form name=value", "compression.codec=lz4"},
      {"compression.codec = lz4", "not of the form name=value", "without blanks"},
      {"=lz4", "not of the form name=value", ""},
      {"linger.ms=1\", \"linger.ms=2", "linger.ms is there twice", "keep one"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char *yaml = memory_format(PG "kafka:\n  brokers: k\n  properties: [\"%s\"]\n", cases[i].property);
    bool twice = strstr(cases[i].property, ", ") != NULL;
    struct refusal refusal = {cases[i].property, yaml, twice ? "5:31" : "5:16", cases[i].what, cases[i].remedy};
    assert_refused(&refusal, 1);
    free(yaml);
  }
}

static void harmless_properties_load(void **state) {
  (void)state;
  struct config *config = load(
      PG "kafka:\n  brokers: k\n  properties:\n    - max.in.flight=5\n    - retries=3\n    - queuing.strategy=fifo\n"
         "    - socket.timeout.ms=5000\n    - compression.codec=zstd\n    - linger.ms=0.5\n    - batch.size=10000\n"
         "    - security.protocol=SASL_SSL\n    - sasl.mechanism=PLAIN\n    - ssl.ca.location=/etc/ca.pem\n"
         "    - queue.buffering.max.kbytes=8192\n    - transaction.timeout.ms=900000\n");
  assert_int_equal(config->kafka.properties.count, 12);
  config_free(config);
}

static void brokers_are_checked(void **state) {
  (void)state;
  static const char *const bad[] = {",", "a,,b", "a:0", "a:99999", "a:x", ":9092", "a b", "http://", "a:1/x", "a,"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    char *yaml = memory_format(PG "kafka:\n  brokers: \"%s\"\n", bad[i]);
    struct refusal refusal = {bad[i], yaml, "4:12", "is not a list of brokers", "host:port"};
    assert_refused(&refusal, 1);
    free(yaml);
  }
}

static void relay_values_are_checked(void **state) {
  (void)state;
#define TABLES(text) BASE "relay:\n  tables:\n    - table: " text "\n"
#define HEADERS(text) TABLES("a") "      columns: {id: i}\n      headers: [" text "]\n"
#define TOPIC(text) RELAY "  routes:\n    - type: A\n      topic: " text "\n"
  static const struct refusal cases[] = {
      {"nothing to carry", BASE "relay: {}\n", "4:8", "no table and no message prefix", "tables:"},
      {"empty lists", BASE "relay:\n  tables: []\n  messages: []\n", "5:3", "no table and no message prefix", ""},
      {"no routes", RELAY "  routes: []\n", "6:11", "`relay.routes` is an empty list", "outbox.event.${aggregate}"},
      {"no schema", TABLES(".t"), "6:14", "the schema in \".t\" is empty", "schema.table"},
      {"no table", TABLES("s."), "6:14", "the table in \"s.\" is empty", "schema.table"},
      {"quoted", TABLES("'\"s\".t'"), "6:14", "has a quote", "as it stands in the catalog"},
      {"long", TABLES(LONG_60 "abcd"), "6:14", "longer than 63 bytes", ""},
      {"control character", TABLES("\"a\\tb\""), "6:14", "control character", ""},
      {"twice", TABLES("public.a") "    - table: a\n", "7:14", "public.a is there twice", "keep one"},
      {"column", TABLES("a") "      columns:\n        key: 'a\"b'\n", "8:14",
       "`relay.tables[0].columns.key`: \"a\"b\" has a quote", "without quotes"},
      {"header column", HEADERS("{column: 'a\"b', name: n}"), "8:26",
       "`relay.tables[0].headers[0].column`: \"a\"b\" has a quote", "without quotes"},
      {"header name", HEADERS("{column: a, name: wf_n}"), "8:35", "begins with wf_", "1 to 249"},
      {"header name too long", HEADERS("{column: a, name: " LONG_60 LONG_60 LONG_60 LONG_60 "1234567890}"), "8:35",
       "longer than 249", "1 to 249"},
      {"header name with a tab", HEADERS("{column: a, name: \"a\\tb\"}"), "8:35", "control character", ""},
      {"header twice", HEADERS("{column: a, name: n}, {column: b, name: n}"), "8:57", "\"n\" is there twice",
       "keep one"},
      {"header without a name", HEADERS("{column: a}"), "8:17", "name", ""},
      {"prefix twice", BASE "relay:\n  messages: [a, b, a]\n", "5:20", "\"a\" is there twice", "keep one"},
      {"prefix of dead letters", BASE "relay:\n  messages: [a, walferry.dead_letter]\n", "5:17",
       "`relay.messages[1]`: \"walferry.dead_letter\" is kept for the dead letters of the inbox", "take it out"},
      {"envelope", RELAY "  envelope: standrad\n", "6:13", "\"standrad\" is not", "did you mean \"standard\"?"},
      {"type format", RELAY "  type_format: version\n", "6:16", "\"version\" is not", "versioned"},
      {"spread", RELAY "  routes: [{type: a, topic: t, partition: 3}]\n", "6:43", "\"3\" is not key or round_robin",
       "round_robin"},
      {"after_publish", RELAY "  after_publish: drop\n", "6:18", "\"drop\" is not keep, mark or delete", "keep"},
      {"a table's after_publish", BASE "relay: {tables: [{table: t, after_publish: yes}]}\n", "4:44",
       "\"yes\" is not keep, mark or delete", "keep"},
      {"partition_by", BASE "relay: {tables: [{table: t, partition_by: hour}]}\n", "4:43",
       "\"hour\" is not none or day", "day"},
      {"on_invalid", RELAY "  on_invalid: ignore\n", "6:15", "\"ignore\" is not quarantine or stop",
       "write quarantine"},
      {"quarantine topic", RELAY "  quarantine_topic: a/b\n", "6:21", "characters that Kafka does not take",
       "1 to 249"},
      {"position topic", RELAY "  quarantine_topic: walferry.position.a\n", "6:21", "position topic", ""},
      {"topic characters", TOPIC("a b"), "8:14", "characters that Kafka does not take", "1 to 249"},
      {"topic dot", TOPIC("."), "8:14", "not a legal topic name", ""},
      {"topic template characters", TOPIC("a/${key}"), "8:14", "characters that Kafka does not take", ""},
      {"topic position", TOPIC("walferry.position.${key}"), "8:14", "position topics", ""},
      {"topic field", TOPIC("${agregate}"), "8:14", "no field of an event", "${aggregate}"},
      {"topic environment", TOPIC("${HOME}"), "8:14", "no field of an event", "environment"},
      {"topic not closed", TOPIC("a${key"), "8:14", "no field of an event", ""},
      {"topic dollar", TOPIC("a$$b"), "8:14", "has a dollar", ""},
      {"topic dollar at the end", TOPIC("a$"), "8:14", "no field of an event", ""},
      {"long topic", TOPIC(LONG_60 LONG_60 LONG_60 LONG_60 LONG_60), "8:14", "longer than 249", ""},
      {"long template", TOPIC("${key}" LONG_60 LONG_60 LONG_60 LONG_60 LONG_60), "8:14", "even without its fields", ""},
  };
  ASSERT_REFUSED(cases);
}

static void inbox_values_are_checked(void **state) {
  (void)state;
#define HANDLER(call) BASE "inbox:\n  group: g\n  topics: [t]\n  handlers:\n    - {type: A, call: " call "}\n"
  static const struct refusal cases[] = {
      {"no topics", BASE "inbox:\n  group: g\n  topics: []\n  handlers: [{type: A, call: s.f}]\n", "6:11",
       "`inbox.topics` is an empty list", "at least one"},
      {"no handlers", BASE "inbox:\n  group: g\n  topics: [t]\n  handlers: []\n", "7:13",
       "`inbox.handlers` is an empty list", "at least one"},
      {"topic", BASE "inbox:\n  group: g\n  topics: [a, 'b c']\n  handlers: [{type: A, call: s.f}]\n", "6:15",
       "`inbox.topics[1]`", "1 to 249"},
      {"topic twice", BASE "inbox:\n  group: g\n  topics: [a, a]\n  handlers: [{type: A, call: s.f}]\n", "6:15",
       "twice", ""},
      {"no schema", HANDLER("f"), "8:23", "\"f\" names no schema", "schema.function"},
      {"parentheses", HANDLER("s.f()"), "8:23", "not of the form schema.function", "without parentheses"},
      {"three parts", HANDLER("a.b.c"), "8:23", "not of the form schema.function", ""},
      {"digit", HANDLER("s.1f"), "8:23", "not of the form schema.function", ""},
      {"no call", BASE "inbox:\n  group: g\n  topics: [t]\n  handlers:\n    - {type: A}\n", "8:7",
       "the handler of \"A\" has no `call`", "ignore: true"},
      {"not ignored", BASE "inbox:\n  group: g\n  topics: [t]\n  handlers:\n    - {type: A, ignore: false}\n", "8:7",
       "the handler of \"A\" has no `call`", "call: schema.function"},
      {"call and ignore", HANDLER("s.f, ignore: true"), "8:36", "\"A\" is to be ignored and has a `call`", "keep one"},
      {"ignore", HANDLER("s.f, ignore: yes"), "8:36", "\"yes\" is not false or true", ""},
      {"unmatched", INBOX "  unmatched: ignore\n", "8:14", "\"ignore\" is not dead_letter or skip",
       "write dead_letter"},
      {"type twice", HANDLER("s.f") "    - {type: A, call: s.g}\n", "9:14", "\"A\" has two handlers", "keep one"},
      {"attempts", INBOX "  retry: {max_attempts: 0}\n", "8:25", "0 is out of range", "from 1 to 1000"},
      {"backoff", INBOX "  retry: {backoff_ms: 200ms}\n", "8:23", "\"200ms\"", "no unit"},
      {"backoff order", INBOX "  retry: {backoff_ms: 500, backoff_max_ms: 100}\n", "8:44",
       "100 is less than backoff_ms, 500", "at least 500"},
      {"timeout", INBOX "  timeout_ms: 30s\n", "8:15", "\"30s\" is not a whole number", ""},
      {"retention", INBOX "  retention_days: 0\n", "8:19", "0 is out of range", "from 1 to 3650"},
      {"long retention", INBOX "  retention_days: 3651\n", "8:19", "3651 is out of range", "from 1 to 3650"},
      {"retention with a unit", INBOX "  retention_days: 7d\n", "8:19", "\"7d\"", "no unit"},
      {"suffix", INBOX "  dead_letter: {suffix: '/x'}\n", "8:25", "characters that Kafka does not take", ""},
      {"hold_key", INBOX "  dead_letter: {hold_key: maybe}\n", "8:27", "\"maybe\" is not false or true", ""},
      {"long suffix", INBOX "  dead_letter: {suffix: " LONG_60 LONG_60 LONG_60 LONG_60 "123456789}\n", "8:25",
       "the dead-letter topic of \"t\" is longer", "shorten"},
  };
  ASSERT_REFUSED(cases);
}

static void http_and_log_are_checked(void **state) {
  (void)state;
  static const struct refusal cases[] = {
      {"no port", BASE "http: {listen: localhost}\n", "4:16", "has no port", "127.0.0.1:9464"},
      {"empty port", BASE "http: {listen: \"localhost:\"}\n", "4:16", "no port from 0 to 65535", ""},
      {"large port", BASE "http: {listen: \"localhost:65536\"}\n", "4:16", "no port from 0 to 65535", ""},
      {"no host", BASE "http: {listen: \":9464\"}\n", "4:16", "no host", ""},
      {"bare IPv6", BASE "http: {listen: \"::1:9464\"}\n", "4:16", "no host name or address", ""},
      {"odd host", BASE "http: {listen: \"a b:1\"}\n", "4:16", "no host name or address", ""},
      {"the inbox's", BASE "http: {listen: \"a:1\", inbox_listen: b}\n", "4:37", "has no port", "127.0.0.1:9464"},
      {"the inbox's alone", BASE "http: {inbox_listen: \"a:1\"}\n", "4:7", "lacks the required key", ""},
      {"level", BASE "log: {level: inof}\n", "4:14", "\"inof\" is not debug, info, warn or error",
       "did you mean \"info\"?"},
  };
  ASSERT_REFUSED(cases);
}

static void unreadable_files_are_refused_by_name(void **state) {
  (void)state;
  static const char *const paths[] = {"/nowhere/walferry.yaml", "/tmp"};
  for (size_t i = 0; i < 2; i++) {
    struct error err = {.kind = ERROR_NONE};
    assert_null(config_load(paths[i], &err));
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_int_equal(strncmp(err.message, paths[i], strlen(paths[i])), 0);
    assert_part("place", err.message, ":1:1: ");
    assert_part("remedy", err.remedy, "shop.yaml");
  }
  assert_null(config_load(paths[0], NULL));
  char *large = memory_alloc(((size_t)1 << 20) + 1);
  struct refusal too_large = {"large", large, "1:1", "larger than", "shorten"};
  assert_refused_len(&too_large, ((size_t)1 << 20) + 1);
  free(large);
  assert_null(config_parse("f", "name: A\n", 8, NULL));
}

static void a_table_keeps_marks_or_deletes_as_the_relay_or_itself_says(void **state) {
  (void)state;
  struct config *config = load(BASE "relay:\n  after_publish: mark\n  tables:\n    - table: a\n"
                                    "    - {table: b, after_publish: delete, partition_by: day}\n"
                                    "    - {table: c, after_publish: keep, columns: {published_at: done}}\n");
  assert_int_equal(config->relay.tables[0].after_publish, CONFIG_AFTER_PUBLISH_MARK);
  assert_int_equal(config->relay.tables[1].after_publish, CONFIG_AFTER_PUBLISH_DELETE);
  assert_int_equal(config->relay.tables[2].after_publish, CONFIG_AFTER_PUBLISH_KEEP);
  assert_false(config->relay.tables[0].by_day);
  assert_true(config->relay.tables[1].by_day);
  assert_null(config->relay.tables[0].columns.published_at);
  assert_string_equal(config->relay.tables[2].columns.published_at, "done");
  config_free(config);
  config = load(BASE "relay: {tables: [{table: t}]}\n");
  assert_int_equal(config->relay.tables[0].after_publish, CONFIG_AFTER_PUBLISH_KEEP);
  config_free(config);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_table_keeps_marks_or_deletes_as_the_relay_or_itself_says),
      cmocka_unit_test(example_loads_as_documented),
      cmocka_unit_test(held_back_slot_has_its_defaults),
      cmocka_unit_test(both_decoders_are_taken),
      cmocka_unit_test(smallest_file_gets_the_defaults),
      cmocka_unit_test(relay_and_inbox_get_their_defaults),
      cmocka_unit_test(types_can_be_ignored_and_the_unmatched_skipped),
      cmocka_unit_test(unusual_but_good_values_load),
      cmocka_unit_test(each_envelope_has_its_name),
      cmocka_unit_test(every_column_role_is_loaded),
      cmocka_unit_test(header_columns_are_loaded),
      cmocka_unit_test(names_are_checked),
      cmocka_unit_test(booleans_and_numbers_are_strict),
      cmocka_unit_test(properties_that_break_exactly_once_are_refused),
      cmocka_unit_test(harmless_properties_load),
      cmocka_unit_test(brokers_are_checked),
      cmocka_unit_test(relay_values_are_checked),
      cmocka_unit_test(inbox_values_are_checked),
      cmocka_unit_test(http_and_log_are_checked),
      cmocka_unit_test(unreadable_files_are_refused_by_name),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
