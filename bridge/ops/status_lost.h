/* `walferry status --lost`: the events that Kafka has and the database no longer has, as a refused start names them.
 * Changes nothing and fences nobody. */
#ifndef WALFERRY_OPS_STATUS_LOST_H
#define WALFERRY_OPS_STATUS_LOST_H

#include <stdio.h>

#include "bridge/relay/relay.h"

/* Prints a line for each, as text or as a JSON object; with none, as text, why there is none. False (ERROR_RETRY) where
 * a server or a topic could not be read. */
bool status_lost_run(const struct relay_settings *relay, const struct stop *stop, bool json, FILE *out,
                     struct error *err);

#endif
