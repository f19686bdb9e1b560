/* `walferry status`: slot, position, lag, instances and quarantine, as far as the servers can be reached. Changes
 * nothing and fences nobody. */
#ifndef WALFERRY_OPS_STATUS_H
#define WALFERRY_OPS_STATUS_H

#include <stdio.h>

#include "bridge/relay/relay.h"

/* Prints to out, as text or JSON. False (ERROR_RETRY) where not everything could be read; the rest is printed. */
bool status_run(const struct relay_settings *settings, const struct stop *stop, bool json, FILE *out,
                struct error *err);

#endif
