/* The Kafka ACLs that relay and inbox need, as command lines of Kafka's kafka-acls.sh. Pure: texts from settings. */
#ifndef WALFERRY_OPS_INIT_ACL_H
#define WALFERRY_OPS_INIT_ACL_H

#include "bridge/base/buffer.h"
#include "bridge/inbox/inbox.h"
#include "bridge/relay/relay.h"

/* Every line is a comment to SQL ("-- "); those with a command start "-- kafka-acls.sh ". No more is granted than what
 * the settings need. The principal is that of sasl.username; without one, a placeholder with a remark.
 * relay, inbox: NULL where the config has none; one of them there is.
 * What the brokers ask for, by request: https://kafka.apache.org/documentation/#operations_in_kafka */
void init_acls(struct buffer *out, const struct relay_settings *relay, const struct inbox_settings *inbox);

#endif
