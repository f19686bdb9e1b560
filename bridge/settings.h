/* From the configuration to the parts' own settings: the one place that knows both. */
#ifndef WALFERRY_SETTINGS_H
#define WALFERRY_SETTINGS_H

#include "bridge/relay/relay.h"
#include "config/config.h"

/* Owns what relay points to besides the config, which must outlive it. */
struct settings {
  struct relay_settings relay;
  struct table_spec *tables;
  struct header_column *header_columns; /* of all tables */
  struct router *router;
  struct topic_override *overrides;
};

/* ERROR_CONFIG where the config has no relay section, a route does not compile, or librdkafka knows no such property.
 */
bool settings_init(struct settings *settings, const struct config *config, struct error *err);
void settings_free(struct settings *settings);

#endif
