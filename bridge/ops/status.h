/* `walferry status`: slot, position, lag, instances and quarantine of a relay, offsets, lag and dead letters of an
 * inbox, as far as the servers can be reached. Changes nothing, fences nobody, and joins no group. */
#ifndef WALFERRY_OPS_STATUS_H
#define WALFERRY_OPS_STATUS_H

#include <stdio.h>

#include "bridge/inbox/inbox.h"
#include "bridge/relay/relay.h"

/* relay, inbox: NULL where the config has none; one of them there is. name, conninfo: of the config, and its path.
 * Prints to out, as text or JSON. False (ERROR_RETRY) where not everything could be read; the rest is printed. */
bool status_run(const char *config_path, const char *name, const char *conninfo, const struct relay_settings *relay,
                const struct inbox_settings *inbox, const struct stop *stop, bool json, FILE *out, struct error *err);

#endif
