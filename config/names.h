/* Which names instances, Postgres and Kafka take. Pure. Each function returns NULL for a good name, else what is wrong
 * with it, as the end of a sentence that starts with the name (static). */
#ifndef WALFERRY_CONFIG_NAMES_H
#define WALFERRY_CONFIG_NAMES_H

#include <stddef.h>

#define NAMES_IDENTIFIER_MAX 63 /* bytes, NAMEDATALEN - 1 */
#define NAMES_HEADER_MAX 249

/* [a-z][a-z0-9_-]{0,62} */
const char *names_check_instance(const char *name);
/* [a-z0-9_]{1,63}. Source: ReplicationSlotValidateName. */
const char *names_check_slot(const char *name);
/* A Postgres identifier as it stands in the catalog: 1 to 63 bytes, no control characters, no quotes. */
const char *names_check_identifier(const char *name);
/* The name of a record header: 1 to 249 bytes without control characters, none of walferry's own wf_. */
const char *names_check_header(const char *name);
/* A prefix of logical messages that carry events: any but the one of the inbox's dead letters. */
const char *names_check_message_prefix(const char *prefix);
/* schema.function, each an identifier without need of quotes. */
const char *names_check_function(const char *name);
/* A topic to write to: [a-zA-Z0-9._-]{1,249}, not "." or "..", none of walferry's position topics.
 * Source: org.apache.kafka.common.internals.Topic. */
const char *names_check_topic(const char *name);
/* A topic with ${aggregate} ${type} ${key} ${tenant_id} ${version} ${source} in it. */
const char *names_check_topic_template(const char *text);
/* A topic's name with * for any run of characters. */
const char *names_check_topic_pattern(const char *text);
/* host:port with a port of 0 to 65535; an IPv6 host stands in brackets. */
const char *names_check_listen(const char *text);

#endif
