/* Which names Kafka takes for topics, and which of them are not for events. Pure text.
 * Source: org.apache.kafka.common.internals.Topic. */
#ifndef WALFERRY_BASE_TOPIC_NAME_H
#define WALFERRY_BASE_TOPIC_NAME_H

#include "bridge/base/slice.h"

#define TOPIC_NAME_MAX 249                        /* characters, which are bytes */
#define TOPIC_NAME_POSITIONS "walferry.position." /* begins the position topics, one for each instance */

/* [a-zA-Z0-9._-] */
bool topic_name_char_legal(char c);
/* Whether a name is one that Kafka takes: 1 to 249 of these, not "." or "..". */
bool topic_name_legal(struct slice name);

/* Whether it is where positions are kept, of whatever instance, or one of Kafka's own topics. */
bool topic_name_reserved(struct slice name);

#endif
