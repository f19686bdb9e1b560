/* Messages as their readers own them. Internal to bridge/kafka. */
#ifndef WALFERRY_KAFKA_MESSAGE_COPY_H
#define WALFERRY_KAFKA_MESSAGE_COPY_H

#include <librdkafka/rdkafka.h>

#include "bridge/kafka/consumer.h"

/* One block of memory; topic is borrowed. */
struct consumer_message *consumer_message_copy(const rd_kafka_message_t *m, const char *topic);

#endif
