/* Which librdkafka properties a config file may set. Pure: whether librdkafka knows a property is seen where it is set.
 */
#ifndef WALFERRY_CONFIG_KAFKA_PROPERTIES_H
#define WALFERRY_CONFIG_KAFKA_PROPERTIES_H

#include <stdbool.h>

#include "bridge/base/error.h"

/* false: the property, or this value of it, would break exactly-once or is walferry's own. ERROR_CONFIG with the reason
 * and a remedy, without a place. The value is only ever quoted where it cannot be a secret. */
bool kafka_property_check(const char *name, const char *value, struct error *err);

#endif
