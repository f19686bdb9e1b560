/* bridge/kafka/refusal.h: from what librdkafka's callbacks say to a cause and a remedy. */
#include <string.h>

#include "bridge/kafka/refusal.h"
#include "tests/unit/kafka/mock_cluster.h"

static void refusals_that_time_does_not_mend_are_config_errors(void **state) {
  (void)state;
  static const struct {
    rd_kafka_resp_err_t code;
    const char *reason;
    int verify_error;
    const char *cause, *remedy;
  } cases[] = {
      {RD_KAFKA_RESP_ERR__AUTHENTICATION, "SASL authentication error: no", 0, "refuse the credentials",
       "sasl.password"},
      {RD_KAFKA_RESP_ERR__SSL, "certificate verify failed", 10, "has expired", "clock"},
      {RD_KAFKA_RESP_ERR__SSL, "certificate verify failed", 62, "another host name", "advertised.listeners"},
      {RD_KAFKA_RESP_ERR__SSL, "certificate verify failed", 20, "not known", "ssl.ca.location"},
      {RD_KAFKA_RESP_ERR__SSL, "certificate verify failed", 999, "cannot be verified", "ssl.ca.location"},
      {RD_KAFKA_RESP_ERR__TRANSPORT, "Receive failed: SSL alert number 42", 0, "refuse walferry's certificate",
       "ssl.key.location"},
      {RD_KAFKA_RESP_ERR__SSL, "SSL handshake failed: SSL alert number 116: x", 0, "refuse walferry's certificate",
       "ssl.certificate.location"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct kafka_refusals refusals = {.last = KAFKA_REFUSAL_NONE};
    char text[64] = "";
    assert_int_equal(kafka_refusals_verify(&refusals, cases[i].verify_error, text, sizeof text),
                     cases[i].verify_error == 0);
    kafka_refusals_note(&refusals, cases[i].code, cases[i].reason);
    struct error err = {.kind = ERROR_NONE};
    assert_true(kafka_refusals_check(&refusals, "words", &err)); /* another broker may still let us in */
    kafka_refusals_note(&refusals, RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, "1/1 brokers are down");
    assert_false(kafka_refusals_check(&refusals, "words", &err));
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_non_null(strstr(err.message, cases[i].cause));
    assert_non_null(strstr(err.message, "words"));
    assert_non_null(strstr(err.remedy, cases[i].remedy));
  }
}

static void what_may_be_a_broker_that_dies_is_no_config_error(void **state) {
  (void)state;
  static const struct {
    rd_kafka_resp_err_t code;
    const char *reason;
    const char *remedy;
  } cases[] = {
      {RD_KAFKA_RESP_ERR__TRANSPORT, "Connect to ipv4#127.0.0.1:1 failed: Connection refused", ""},
      {RD_KAFKA_RESP_ERR__TRANSPORT, "Receive failed: SSL alert number 80", ""}, /* internal_error */
      {RD_KAFKA_RESP_ERR__SSL, "SSL handshake failed: unexpected eof while reading", "security.protocol"},
      {RD_KAFKA_RESP_ERR__TRANSPORT, "Disconnected: might be incorrect security.protocol", "security.protocol"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct kafka_refusals refusals = {.last = KAFKA_REFUSAL_NONE};
    kafka_refusals_note(&refusals, cases[i].code, cases[i].reason);
    kafka_refusals_note(&refusals, RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, "1/1 brokers are down");
    struct error err = {.kind = ERROR_RETRY};
    assert_true(kafka_refusals_check(&refusals, "words", &err));
    assert_false(kafka_refusals_remedy(&refusals, &err));
    assert_int_equal(err.kind, ERROR_RETRY);
    assert_non_null(strstr(err.remedy, cases[i].remedy));
    assert_int_equal(err.remedy[0] == '\0', cases[i].remedy[0] == '\0');
  }
}

/* The callback overrides OpenSSL's verdict, so it must uphold it. */
static void a_certificate_passes_only_where_openssl_passes_it(void **state) {
  (void)state;
  struct kafka_refusals refusals = {.last = KAFKA_REFUSAL_NONE};
  char text[64] = "";
  assert_true(kafka_refusals_verify(&refusals, 0, text, sizeof text));
  assert_string_equal(text, "");
  for (int code = 1; code < 100; code++) {
    assert_false(kafka_refusals_verify(&refusals, code, text, sizeof text));
    assert_int_equal(refusals.verify_error, code);
    assert_true(text[0] != '\0');
  }
}

static void the_topic_that_may_not_be_written_to_is_found_in_the_log(void **state) {
  (void)state;
  struct kafka_refusals refusals = {.last = KAFKA_REFUSAL_NONE};
  kafka_refusals_note_log(&refusals, "FAIL", "Failed to add partition \"no\" [0]: Topic authorization failed");
  kafka_refusals_note_log(&refusals, "ADDPARTS", "Failed to add partition \"no\" [0]: Operation not attempted");
  kafka_refusals_note_log(&refusals, "ADDPARTS", "something else: Topic authorization failed");
  assert_null(kafka_refusals_topic(&refusals));
  kafka_refusals_note_log(&refusals, "ADDPARTS",
                          "[thrd:main]: TxnCoordinator/1: Failed to add partition \"a.b-c\" [12] to transaction: "
                          "Broker: Topic authorization failed");
  assert_string_equal(kafka_refusals_topic(&refusals), "a.b-c");
  kafka_refusals_note_topic(&refusals, slice_of("second")); /* the first stays */
  assert_string_equal(kafka_refusals_topic(&refusals), "a.b-c");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(refusals_that_time_does_not_mend_are_config_errors),
      cmocka_unit_test(what_may_be_a_broker_that_dies_is_no_config_error),
      cmocka_unit_test(a_certificate_passes_only_where_openssl_passes_it),
      cmocka_unit_test(the_topic_that_may_not_be_written_to_is_found_in_the_log),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
