/* See refusal.h. */
#include "bridge/kafka/refusal.h"

#include <stdio.h>
#include <string.h>

static const char REMEDY_HOST[] = "name brokers in kafka.brokers, and in their advertised.listeners, as their "
                                  "certificates do, or give them certificates with these names";
static const char REMEDY_AUTHORITY[] = "give the authority that signed the brokers' certificates in kafka.properties: "
                                       "ssl.ca.location=/path/to/ca.pem";
static const char REMEDY_RENEW[] = "give the brokers certificates that are valid today, and check this machine's clock";
static const char REMEDY_REPLACE[] = "give the brokers certificates that are valid for servers";

/* Source: OpenSSL, x509_vfy.h (X509_V_ERR_...). */
static const struct {
  int code;
  const char *text;
  const char *remedy;
} verify_errors[] = {
    {2, "is signed by an authority that is not known", REMEDY_AUTHORITY},
    {9, "is not valid yet", REMEDY_RENEW},
    {10, "has expired", REMEDY_RENEW},
    {18, "is signed by itself", REMEDY_AUTHORITY},
    {19, "is signed by an authority that is not trusted", REMEDY_AUTHORITY},
    {20, "is signed by an authority that is not known", REMEDY_AUTHORITY},
    {21, "is signed by an authority that is not known", REMEDY_AUTHORITY},
    {23, "has been revoked", REMEDY_REPLACE},
    {26, "is not meant for servers", REMEDY_REPLACE},
    {62, "is for another host name", REMEDY_HOST},
    {64, "is for another address", REMEDY_HOST},
};
#define VERIFY_ERROR_COUNT (sizeof verify_errors / sizeof verify_errors[0])

static const char *verify_text(int code) {
  for (size_t i = 0; i < VERIFY_ERROR_COUNT; i++)
    if (verify_errors[i].code == code)
      return verify_errors[i].text;
  return "cannot be verified";
}

static const char *verify_remedy(int code) {
  for (size_t i = 0; i < VERIFY_ERROR_COUNT; i++)
    if (verify_errors[i].code == code)
      return verify_errors[i].remedy;
  return REMEDY_AUTHORITY;
}

bool kafka_refusals_verify(struct kafka_refusals *refusals, int verify_error, char *text, size_t text_size) {
  if (verify_error == 0)
    return true;
  atomic_store(&refusals->verify_error, verify_error);
  snprintf(text, text_size, "it %s", verify_text(verify_error));
  return false;
}

/* The server's alerts about a client's certificate. Source: RFC 8446, section 6 (116: certificate_required). */
static bool is_about_our_certificate(const char *reason) {
  static const char *const alerts[] = {"42", "43", "44", "45", "46", "48", "116"};
  static const char mark[] = "SSL alert number ";
  const char *at = strstr(reason, mark);
  if (at == NULL)
    return false;
  at += sizeof mark - 1;
  size_t len = strspn(at, "0123456789");
  for (size_t i = 0; i < sizeof alerts / sizeof alerts[0]; i++)
    if (strlen(alerts[i]) == len && memcmp(alerts[i], at, len) == 0)
      return true;
  return false;
}

static enum kafka_refusal classify(const struct kafka_refusals *refusals, rd_kafka_resp_err_t code,
                                   const char *reason) {
  if (code == RD_KAFKA_RESP_ERR__AUTHENTICATION || code == RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED)
    return KAFKA_REFUSAL_CREDENTIALS;
  if (is_about_our_certificate(reason))
    return KAFKA_REFUSAL_CLIENT_CERTIFICATE;
  if (code == RD_KAFKA_RESP_ERR__SSL)
    return atomic_load(&refusals->verify_error) != 0 ? KAFKA_REFUSAL_BROKER_CERTIFICATE : KAFKA_REFUSAL_PROTOCOL;
  /* librdkafka's guess at a connection that the broker closed before it had answered anything. */
  if (strstr(reason, "security.protocol") != NULL)
    return KAFKA_REFUSAL_PROTOCOL;
  return KAFKA_REFUSAL_NONE;
}

void kafka_refusals_note(struct kafka_refusals *refusals, rd_kafka_resp_err_t code, const char *reason) {
  if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
    refusals->all_down = true;
    return;
  }
  refusals->last = classify(refusals, code, reason);
}

bool kafka_refusals_check(const struct kafka_refusals *refusals, const char *detail, struct error *err) {
  if (!refusals->all_down)
    return true;
  switch (refusals->last) {
  case KAFKA_REFUSAL_NONE:
  case KAFKA_REFUSAL_PROTOCOL:
    return true;
  case KAFKA_REFUSAL_CREDENTIALS:
    error_set(err, ERROR_CONFIG, "the brokers refuse the credentials: %s", detail);
    break;
  case KAFKA_REFUSAL_BROKER_CERTIFICATE:
    error_set(err, ERROR_CONFIG, "the brokers' certificate %s: %s", verify_text(atomic_load(&refusals->verify_error)),
              detail);
    break;
  case KAFKA_REFUSAL_CLIENT_CERTIFICATE:
    error_set(err, ERROR_CONFIG, "the brokers refuse walferry's certificate, or miss one: %s", detail);
    break;
  }
  return kafka_refusals_remedy(refusals, err);
}

bool kafka_refusals_known(const struct kafka_refusals *refusals) {
  return refusals->all_down && refusals->last != KAFKA_REFUSAL_NONE;
}

bool kafka_refusals_remedy(const struct kafka_refusals *refusals, struct error *err) {
  switch (refusals->last) {
  case KAFKA_REFUSAL_NONE:
    return false;
  case KAFKA_REFUSAL_CREDENTIALS:
    return error_remedy(err, "check sasl.mechanism, sasl.username and sasl.password (or kafka.password_file), and that "
                             "the brokers have this user, for this mechanism");
  case KAFKA_REFUSAL_BROKER_CERTIFICATE:
    return error_remedy(err, "%s", verify_remedy(atomic_load(&refusals->verify_error)));
  case KAFKA_REFUSAL_CLIENT_CERTIFICATE:
    return error_remedy(err, "give a certificate that the brokers trust in kafka.properties: ssl.certificate.location "
                             "and ssl.key.location");
  case KAFKA_REFUSAL_PROTOCOL:
    return error_remedy(err, "check that security.protocol (plaintext, ssl, sasl_plaintext or sasl_ssl) is that of the "
                             "listener which kafka.brokers names");
  }
  return false;
}

enum { TOPIC_NONE = 0, TOPIC_CLAIMED, TOPIC_NOTED };

void kafka_refusals_note_topic(struct kafka_refusals *refusals, struct slice topic) {
  int none = TOPIC_NONE;
  if (topic.len >= sizeof refusals->topic ||
      !atomic_compare_exchange_strong(&refusals->topic_state, &none, TOPIC_CLAIMED))
    return;
  memcpy(refusals->topic, topic.data, topic.len);
  refusals->topic[topic.len] = '\0';
  atomic_store(&refusals->topic_state, TOPIC_NOTED);
}

/* Failed to add partition "TOPIC" [0] to transaction: Broker: Topic authorization failed */
void kafka_refusals_note_log(struct kafka_refusals *refusals, const char *facility, const char *text) {
  static const char before[] = "Failed to add partition \"";
  const char *topic = strstr(text, before);
  if (strcmp(facility, "ADDPARTS") != 0 || topic == NULL || strstr(text, "authorization failed") == NULL)
    return;
  topic += sizeof before - 1;
  kafka_refusals_note_topic(refusals, slice_from(topic, strcspn(topic, "\"")));
}

const char *kafka_refusals_topic(const struct kafka_refusals *refusals) {
  return atomic_load(&refusals->topic_state) == TOPIC_NOTED ? refusals->topic : NULL;
}
