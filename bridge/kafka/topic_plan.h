/* How topics are made that do not exist yet. Pure. */
#ifndef WALFERRY_KAFKA_TOPIC_PLAN_H
#define WALFERRY_KAFKA_TOPIC_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "bridge/base/buffer.h"

enum topic_cleanup { TOPIC_CLEANUP_DELETE = 1, TOPIC_CLEANUP_COMPACT, TOPIC_CLEANUP_COMPACT_DELETE };

struct topic_shape {
  int32_t partitions;
  int32_t replication;
  /* 0 leaves each of these to the broker. */
  int64_t retention_ms; /* -1: for ever */
  int32_t min_insync_replicas;
  enum topic_cleanup cleanup;
  bool clean_election; /* unclean.leader.election.enable=false */
  int32_t segment_bytes;
};

struct topic_override {
  const char *topic; /* exact or with * */
  struct topic_shape shape;
};

/* All is borrowed. */
struct topic_plan {
  struct topic_shape common;
  const struct topic_override *overrides; /* first match wins, and serves whole */
  int override_count;
};

struct topic_shape topic_plan_shape(const struct topic_plan *plan, const char *topic);

/* The topic's settings by Kafka's names. */
#define TOPIC_CONFIGS_MAX 5
struct topic_config {
  const char *name;
  char value[24];
};
int topic_shape_configs(const struct topic_shape *shape, struct topic_config configs[TOPIC_CONFIGS_MAX]);

/* "3, 1, retention.ms=60000": partitions, replication, settings; for people. */
void topic_shape_describe(const struct topic_shape *shape, struct buffer *text);

#endif
