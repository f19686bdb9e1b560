/* The settings, and how properties reach each kind of handle. */
#include <stdlib.h>
#include <string.h>

#include "bridge/base/log.h"
#include "bridge/kafka/conf.h"
#include "tests/unit/kafka/mock_cluster.h"

static bool check(const char *const *properties, int count, struct error *err) {
  struct kafka_settings settings = {
      .brokers = "127.0.0.1:1", .instance = "t", .properties = properties, .property_count = count};
  error_clear(err);
  return kafka_settings_check(&settings, err);
}

static void good_properties_pass(void **state) {
  (void)state;
  static const char *const properties[] = {"compression.codec=lz4", "linger.ms=5", "acks=all", "fetch.wait.max.ms=7"};
  struct error err;
  assert_true(check(properties, 4, &err));
  assert_true(check(NULL, 0, &err));
}

static void a_bad_property_is_named_and_its_value_is_not(void **state) {
  (void)state;
  static const struct {
    const char *property, *expected;
  } cases[] = {
      {"no.such.thing=s3cret", "no.such.thing"},
      {"linger.ms=soon", "linger.ms"},
      {"s3cret", "entry 1"},
      {"=s3cret", "entry 1"},
      {"transaction.timeout.ms=2000", "transaction.timeout.ms"}, /* below socket.timeout.ms */
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct error err;
    assert_false(check(&cases[i].property, 1, &err));
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_non_null(strstr(err.message, cases[i].expected));
    assert_null(strstr(err.message, "s3cret"));
  }
}

static void records_are_compressed_unless_told_otherwise(void **state) {
  (void)state;
  static const struct {
    const char *property, *codec;
  } cases[] = {{NULL, "lz4"}, {"compression.codec=none", "none"}, {"compression.type=zstd", "zstd"}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct kafka_settings settings = {
        .instance = "t", .properties = &cases[i].property, .property_count = cases[i].property != NULL};
    struct kafka_link link;
    struct error err;
    kafka_link_init(&link, KAFKA_ROLE_PRODUCER);
    rd_kafka_conf_t *conf = kafka_conf_new(&settings, &link, &err);
    assert_non_null(conf);
    char codec[16];
    size_t size = sizeof codec;
    assert_int_equal(rd_kafka_conf_get(conf, "compression.codec", codec, &size), RD_KAFKA_CONF_OK);
    assert_string_equal(codec, cases[i].codec);
    rd_kafka_conf_destroy(conf);
  }
}

static void properties_reach_the_handles_they_are_for(void **state) {
  (void)state;
  static const char *const properties[] = {"linger.ms=6", "fetch.wait.max.ms=7", "socket.timeout.ms=9000"};
  struct kafka_settings settings = {.instance = "t", .properties = properties, .property_count = 3};
  static const struct {
    enum kafka_role role;
    int64_t linger, fetch_wait;
  } cases[] = {
      {KAFKA_ROLE_PRODUCER, 6, 500}, {KAFKA_ROLE_READER, -1, 7}, {KAFKA_ROLE_MEMBER, -1, 7}, {KAFKA_ROLE_ADMIN, -1, 7}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct kafka_link link;
    struct error err;
    kafka_link_init(&link, cases[i].role);
    rd_kafka_conf_t *conf = kafka_conf_new(&settings, &link, &err);
    assert_non_null(conf);
    if (cases[i].linger >= 0)
      assert_int_equal(kafka_conf_get_int(conf, "linger.ms", -1), cases[i].linger);
    else
      assert_int_not_equal(kafka_conf_get_int(conf, "linger.ms", -1), 6);
    assert_int_equal(kafka_conf_get_int(conf, "fetch.wait.max.ms", -1), cases[i].fetch_wait);
    assert_int_equal(kafka_conf_get_int(conf, "socket.timeout.ms", -1), 9000);
    rd_kafka_conf_destroy(conf);
  }
}

static void what_correctness_hangs_on_cannot_be_overridden(void **state) {
  (void)state;
  static const char *const properties[] = {"enable.idempotence=false",
                                           "transactional.id=other",
                                           "socket.max.fails=0",
                                           "isolation.level=read_uncommitted",
                                           "allow.auto.create.topics=true",
                                           "auto.offset.reset=latest",
                                           "partition.assignment.strategy=range",
                                           "enable.auto.commit=true"};
  struct kafka_settings settings = {.instance = "t", .properties = properties, .property_count = 8};
  static const struct {
    enum kafka_role role;
    const char *name, *value;
  } cases[] = {{KAFKA_ROLE_PRODUCER, "enable.idempotence", "true"},
               {KAFKA_ROLE_PRODUCER, "transactional.id", "walferry.t"},
               {KAFKA_ROLE_PRODUCER, "socket.max.fails", "1"},
               {KAFKA_ROLE_PRODUCER, "allow.auto.create.topics", "false"},
               {KAFKA_ROLE_READER, "isolation.level", "read_committed"},
               {KAFKA_ROLE_READER, "auto.offset.reset", "smallest"},
               {KAFKA_ROLE_MEMBER, "isolation.level", "read_committed"},
               {KAFKA_ROLE_MEMBER, "auto.offset.reset", "error"},
               {KAFKA_ROLE_MEMBER, "partition.assignment.strategy", "cooperative-sticky"},
               {KAFKA_ROLE_MEMBER, "enable.auto.commit", "false"},
               {KAFKA_ROLE_ADMIN, "isolation.level", "read_uncommitted"},
               {KAFKA_ROLE_ADMIN, "allow.auto.create.topics", "false"}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct kafka_link link;
    struct error err;
    char value[64];
    size_t size = sizeof value;
    kafka_link_init(&link, cases[i].role);
    rd_kafka_conf_t *conf = kafka_conf_new(&settings, &link, &err);
    assert_int_equal(rd_kafka_conf_get(conf, cases[i].name, value, &size), RD_KAFKA_CONF_OK);
    assert_string_equal(value, cases[i].value);
    rd_kafka_conf_destroy(conf);
  }
}

static void the_position_topic_carries_the_instance(void **state) {
  (void)state;
  char *topic = kafka_position_topic("shop");
  assert_string_equal(topic, "walferry.position.shop");
  free(topic);
  assert_string_equal(kafka_library_version(), rd_kafka_version_str());
}

int main(void) {
  log_setup(LOG_ERROR, LOG_TEXT);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(good_properties_pass),
      cmocka_unit_test(a_bad_property_is_named_and_its_value_is_not),
      cmocka_unit_test(records_are_compressed_unless_told_otherwise),
      cmocka_unit_test(properties_reach_the_handles_they_are_for),
      cmocka_unit_test(what_correctness_hangs_on_cannot_be_overridden),
      cmocka_unit_test(the_position_topic_carries_the_instance),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
