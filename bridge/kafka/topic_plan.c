/* See topic_plan.h. */
#include "bridge/kafka/topic_plan.h"

#include <inttypes.h>
#include <stdio.h>

#include "bridge/base/pattern.h"

struct topic_shape topic_plan_shape(const struct topic_plan *plan, const char *topic) {
  for (int i = 0; i < plan->override_count; i++)
    if (pattern_matches(plan->overrides[i].topic, slice_of(topic)))
      return plan->overrides[i].shape;
  return plan->common;
}

static const char *cleanup_name(enum topic_cleanup cleanup) {
  switch (cleanup) {
  case TOPIC_CLEANUP_DELETE:
    return "delete";
  case TOPIC_CLEANUP_COMPACT:
    return "compact";
  case TOPIC_CLEANUP_COMPACT_DELETE:
    return "compact,delete";
  }
  return NULL; /* 0: the broker's */
}

int topic_shape_configs(const struct topic_shape *shape, struct topic_config configs[TOPIC_CONFIGS_MAX]) {
  int count = 0;
  const char *cleanup = cleanup_name(shape->cleanup);
  if (cleanup != NULL) {
    configs[count].name = "cleanup.policy";
    snprintf(configs[count++].value, sizeof configs->value, "%s", cleanup);
  }
  if (shape->retention_ms != 0) {
    configs[count].name = "retention.ms";
    snprintf(configs[count++].value, sizeof configs->value, "%" PRId64, shape->retention_ms);
  }
  if (shape->min_insync_replicas != 0) {
    configs[count].name = "min.insync.replicas";
    snprintf(configs[count++].value, sizeof configs->value, "%" PRId32, shape->min_insync_replicas);
  }
  if (shape->clean_election) {
    configs[count].name = "unclean.leader.election.enable";
    snprintf(configs[count++].value, sizeof configs->value, "false");
  }
  if (shape->segment_bytes != 0) {
    configs[count].name = "segment.bytes";
    snprintf(configs[count++].value, sizeof configs->value, "%" PRId32, shape->segment_bytes);
  }
  return count;
}

void topic_shape_describe(const struct topic_shape *shape, struct buffer *text) {
  struct topic_config configs[TOPIC_CONFIGS_MAX];
  int count = topic_shape_configs(shape, configs);
  buffer_printf(text, "%" PRId32 ", %" PRId32, shape->partitions, shape->replication);
  for (int i = 0; i < count; i++)
    buffer_printf(text, ", %s=%s", configs[i].name, configs[i].value);
}
