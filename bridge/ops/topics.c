/* See topics.h. */
#include "bridge/ops/topics.h"

#include <string.h>

static enum topic_role role_of(const struct publisher_settings *settings, const char *name) {
  if (strcmp(name, settings->quarantine_topic) == 0)
    return TOPIC_OF_QUARANTINE;
  for (int i = 0; i < settings->dead_letter_topic_count; i++)
    if (strcmp(name, settings->dead_letter_topics[i]) == 0)
      return TOPIC_OF_DEAD_LETTERS;
  return TOPIC_OF_EVENTS;
}

static int add(struct topic_use *topics, int count, const char *name, const struct publisher_settings *settings) {
  for (int i = 0; i < count; i++)
    if (strcmp(topics[i].name, name) == 0)
      return count;
  if (count == TOPICS_MAX)
    return count;
  topics[count] = (struct topic_use){.name = name, .role = role_of(settings, name)};
  return count + 1;
}

int topics_known(const struct relay_settings *settings, const struct position *position,
                 struct topic_use topics[TOPICS_MAX]) {
  const char *literal[TOPICS_MAX];
  const struct publisher_settings *publisher = &settings->publisher;
  int literals = router_literal_topics(settings->intake.record.router, literal, TOPICS_MAX - 1);
  int count = 0;
  for (int i = 0; i < literals; i++)
    count = add(topics, count, literal[i], publisher);
  count = add(topics, count, publisher->quarantine_topic, publisher);
  for (int i = 0; i < publisher->dead_letter_topic_count; i++)
    count = add(topics, count, publisher->dead_letter_topics[i], publisher);
  for (int i = 0; position != NULL && i < position->topic_count; i++)
    count = add(topics, count, position->topics[i].name, publisher);
  return count;
}
