/* See topics.h. */
#include "bridge/ops/topics.h"

#include <string.h>

static int add(struct topic_use *topics, int count, const char *name, const char *quarantine) {
  for (int i = 0; i < count; i++)
    if (strcmp(topics[i].name, name) == 0)
      return count;
  if (count == TOPICS_MAX)
    return count;
  topics[count] = (struct topic_use){.name = name, .quarantine = strcmp(name, quarantine) == 0};
  return count + 1;
}

int topics_known(const struct relay_settings *settings, const struct position *position,
                 struct topic_use topics[TOPICS_MAX]) {
  const char *literal[TOPICS_MAX];
  const char *quarantine = settings->publisher.quarantine_topic;
  int literals = router_literal_topics(settings->intake.record.router, literal, TOPICS_MAX - 1);
  int count = 0;
  for (int i = 0; i < literals; i++)
    count = add(topics, count, literal[i], quarantine);
  count = add(topics, count, quarantine, quarantine);
  for (int i = 0; position != NULL && i < position->topic_count; i++)
    count = add(topics, count, position->topics[i].name, quarantine);
  return count;
}
