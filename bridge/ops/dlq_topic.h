/* `walferry dlq replay --from-topic`: what an operator sees of it. */
#ifndef WALFERRY_OPS_DLQ_TOPIC_H
#define WALFERRY_OPS_DLQ_TOPIC_H

#include "bridge/inbox/letter_topic.h"
#include "bridge/ops/dlq.h"

/* Prints to out. Errors as letter_topic_run. */
bool dlq_topic_run(const struct dlq_settings *settings, const struct kafka_settings *kafka, const struct stop *stop,
                   FILE *out, struct error *err);

#endif
