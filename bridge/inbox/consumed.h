/* A message as the consumer gives it, for whoever reads the event in it. */
#ifndef WALFERRY_INBOX_CONSUMED_H
#define WALFERRY_INBOX_CONSUMED_H

#include "bridge/event/received.h"
#include "bridge/kafka/consumer.h"

/* Borrowed from the message. */
static inline struct received_record consumed_record(const struct consumer_message *m) {
  return (struct received_record){.topic = m->topic,
                                  .partition = m->partition,
                                  .offset = m->offset,
                                  .key = m->key,
                                  .value = m->value,
                                  .headers = m->headers,
                                  .header_count = m->header_count,
                                  .timestamp_ms = m->timestamp_ms};
}

#endif
