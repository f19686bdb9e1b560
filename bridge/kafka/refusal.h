/* Why brokers do not let us in, or why we do not trust them: credentials, certificates, another protocol. librdkafka
 * tries again for ever and tells of it in callbacks alone; here it becomes a cause and a remedy. Internal to
 * bridge/kafka. */
#ifndef WALFERRY_KAFKA_REFUSAL_H
#define WALFERRY_KAFKA_REFUSAL_H

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>

#include "bridge/base/error.h"
#include "bridge/base/slice.h"

enum kafka_refusal {
  KAFKA_REFUSAL_NONE = 0,
  KAFKA_REFUSAL_CREDENTIALS,        /* SASL: user, password or mechanism */
  KAFKA_REFUSAL_BROKER_CERTIFICATE, /* we do not trust theirs */
  KAFKA_REFUSAL_CLIENT_CERTIFICATE, /* they do not trust ours */
  KAFKA_REFUSAL_PROTOCOL            /* another security.protocol, most likely; a broker that dies looks the same */
};

/* What is known of the refusals at one handle. */
struct kafka_refusals {
  _Atomic(int) verify_error; /* OpenSSL's code of the last broker certificate that was not accepted; broker threads */
  enum kafka_refusal last;   /* this and the next: the thread that polls the handle */
  bool all_down;             /* no broker is left that might let us in */
  /* The first topic that may not be written to: claimed by a broker thread, read once it is complete. */
  _Atomic(int) topic_state;
  char topic[256];
};

/* For rd_kafka_conf_set_ssl_cert_verify_cb: keeps OpenSSL's verdict, which librdkafka's own words do not give (expired,
 * wrong host name and unknown authority all read the same), and upholds it. */
bool kafka_refusals_verify(struct kafka_refusals *refusals, int verify_error, char *text, size_t text_size);

/* From the handle's error callback. */
void kafka_refusals_note(struct kafka_refusals *refusals, rd_kafka_resp_err_t code, const char *reason);

/* No broker of the handle lets us in, and no time will change that: false, with ERROR_CONFIG, the cause, librdkafka's
 * words (detail) and a remedy. */
bool kafka_refusals_check(const struct kafka_refusals *refusals, const char *detail, struct error *err);

/* Whether waiting for an answer is in vain for now, for a reason that kafka_refusals_remedy knows. */
bool kafka_refusals_known(const struct kafka_refusals *refusals);
/* Adds the remedy for the last refusal, if there was one, to an error that is there already. Returns false. */
bool kafka_refusals_remedy(const struct kafka_refusals *refusals, struct error *err);

/* Which topic a transaction was refused for (TOPIC_AUTHORIZATION_FAILED), librdkafka says in a log line alone: facility
 * and text of any line. Called by its threads. */
void kafka_refusals_note_log(struct kafka_refusals *refusals, const char *facility, const char *text);
void kafka_refusals_note_topic(struct kafka_refusals *refusals, struct slice topic);
/* NULL where none was noted. */
const char *kafka_refusals_topic(const struct kafka_refusals *refusals);

#endif
