/* See admit_topic.h. */
#include "bridge/relay/admit_topic.h"

#include <inttypes.h>
#include <stddef.h>

bool admit_position_topic(const char *topic, const struct kafka_topic_facts *facts, bool configs_known,
                          struct error *err) {
  const char *wrong = facts->partitions != 1                     ? "it must have exactly one partition"
                      : configs_known && !facts->compacted_only  ? "its cleanup.policy must be exactly compact"
                      : configs_known && facts->unclean_election ? "it allows unclean leader election"
                                                                 : NULL;
  if (wrong == NULL)
    return true;
  error_refuse(err, "position_topic_invalid", "position topic %s (%" PRId32 " partitions): %s", topic,
               facts->partitions, wrong);
  return error_remedy(
      err,
      "correct its settings: kafka-configs.sh --bootstrap-server $KAFKA_BROKERS --alter --entity-type "
      "topics --entity-name %s --add-config cleanup.policy=compact,unclean.leader.election.enable=false; "
      "with more than one partition it cannot be the position topic of this instance: give the instance "
      "another name, or delete the topic if it holds nothing",
      topic);
}

bool admit_target_topic(const char *topic, const struct kafka_topic_facts *facts, bool create, int32_t pinned,
                        struct error *err) {
  if (!facts->exists && !create) {
    error_refuse(err, "topic_missing", "topic %s does not exist, and kafka.topics.create is false", topic);
    return error_remedy(
        err,
        "create the topic (kafka-topics.sh --bootstrap-server $KAFKA_BROKERS --create --topic %s), or set "
        "kafka.topics.create: true",
        topic);
  }
  if (facts->exists && pinned > facts->partitions) {
    error_refuse(err, "partitions_shrunk", "topic %s has %" PRId32 " partitions, but had %" PRId32, topic,
                 facts->partitions, pinned);
    return error_remedy(err,
                        "it was deleted and created again: give it as many partitions again: kafka-topics.sh "
                        "--bootstrap-server $KAFKA_BROKERS --alter --topic %s --partitions %" PRId32,
                        topic, pinned);
  }
  return true;
}
