/* Settings of every Kafka handle of an instance. bridge/kafka is the only home of rdkafka.h. */
#ifndef WALFERRY_KAFKA_CLIENT_H
#define WALFERRY_KAFKA_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "bridge/base/error.h"

struct kafka_settings {
  const char *brokers;
  const char *instance;          /* client.id "walferry/<instance>"; transactional.id "walferry.<instance>" */
  const char *const *properties; /* "name=value"; property_count of them; already screened by the config */
  int property_count;
};

/* Checks that librdkafka takes every property; ERROR_CONFIG names the one it does not. Refuses the run-time library
 * versions 2.5.0 and 2.10.0, warns on 2.2.0 to 2.4.x (log event "kafka.library"). */
bool kafka_settings_check(const struct kafka_settings *settings, struct error *err);

/* "position topic of shop": walferry.position.<instance>, malloc'ed. */
char *kafka_position_topic(const char *instance);
/* walferry.<instance>, malloc'ed. */
char *kafka_transactional_id(const char *instance);
const char *kafka_library_version(void);
const char *kafka_library_warning(void); /* why another version would be better; NULL: all is well */

/* transaction.timeout.ms as the producer will have it; ERROR_CONFIG for a bad property. */
bool kafka_transaction_timeout(const struct kafka_settings *settings, int64_t *timeout_ms, struct error *err);

#endif
