/* From the configuration to the parts' own settings: the one place that knows both. */
#ifndef WALFERRY_SETTINGS_H
#define WALFERRY_SETTINGS_H

#include "bridge/inbox/inbox.h"
#include "bridge/relay/relay.h"
#include "config/config.h"

/* Owns what relay and inbox point to besides the config, which must outlive it. Each of the two is filled where the
 * config has its section. */
struct settings {
  struct kafka_settings kafka;
  struct relay_settings relay;
  struct inbox_settings inbox;
  struct table_spec *tables;
  struct header_column *header_columns; /* of all tables */
  struct router *router;
  struct topic_override *overrides;
  struct handler_spec *handlers;
  char **dead_letter_topics; /* one for each of the inbox's, where there is a relay too */
  int dead_letter_topic_count;
};

/* ERROR_CONFIG where a route does not compile, or librdkafka knows no such property. */
bool settings_init(struct settings *settings, const struct config *config, struct error *err);
/* ERROR_CONFIG where the config lacks the section that a command is about. */
bool settings_need_relay(const struct config *config, struct error *err);
bool settings_need_inbox(const struct config *config, struct error *err);
bool settings_need_either(const struct config *config, struct error *err);
/* NULL where the config lacks the section. */
const struct relay_settings *settings_relay(const struct settings *settings, const struct config *config);
const struct inbox_settings *settings_inbox(const struct settings *settings, const struct config *config);
void settings_free(struct settings *settings);

#endif
