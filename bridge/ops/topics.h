/* The topics that an instance writes to, as far as they are known without an event. */
#ifndef WALFERRY_OPS_TOPICS_H
#define WALFERRY_OPS_TOPICS_H

#include "bridge/relay/position.h"
#include "bridge/relay/relay.h"

#define TOPICS_MAX 256

enum topic_role { TOPIC_OF_EVENTS = 1, TOPIC_OF_QUARANTINE, TOPIC_OF_DEAD_LETTERS };

struct topic_use {
  const char *name; /* of the settings or the position */
  enum topic_role role;
};

/* Those of routes without fields, those of the inbox's dead letters, those that the position has pinned (NULL: none),
 * and the quarantine topic, each once. Returns how many of at most TOPICS_MAX. */
int topics_known(const struct relay_settings *settings, const struct position *position,
                 struct topic_use topics[TOPICS_MAX]);

#endif
