/* May this topic be used? The refusals that concern topics; pure: no I/O. */
#ifndef WALFERRY_RELAY_ADMIT_TOPIC_H
#define WALFERRY_RELAY_ADMIT_TOPIC_H

#include "bridge/base/error.h"
#include "bridge/kafka/admin.h"

/* One partition, compacted only, no unclean leader election: else ERROR_REFUSED "position_topic_invalid". Without
 * configs_known only the partitions are judged. */
bool admit_position_topic(const char *topic, const struct kafka_topic_facts *facts, bool configs_known,
                          struct error *err);

/* A topic for records: ERROR_REFUSED "topic_missing" where it is not there and may not be made, "partitions_shrunk"
 * where it has fewer than the position has pinned (0: none). */
bool admit_target_topic(const char *topic, const struct kafka_topic_facts *facts, bool create, int32_t pinned,
                        struct error *err);

#endif
