/* What it means that the server does not load an output plugin, whichever statement has found it out. */
#ifndef WALFERRY_POSTGRES_PLUGIN_H
#define WALFERRY_POSTGRES_PLUGIN_H

#include <stdbool.h>

#include "bridge/base/error.h"

/* err is what the server said (session_fail), sqlstate its code. Where that is about the plugin, err becomes
 * ERROR_REFUSED "plugin_not_allowed", or ERROR_CONFIG for one that is not installed, with the way out; else false, and
 * err stays as it is. */
bool plugin_is_refused(const char *sqlstate, struct error *err);

/* The way out where output_plugin_libraries leaves the plugin out. Returns false. */
bool plugin_remedy_list(struct error *err);

#endif
