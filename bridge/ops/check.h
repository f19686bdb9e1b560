/* `walferry check`: every precondition of relay and inbox, asked of the real servers and told one by one. Changes
 * nothing, fences nobody, joins no group, and may run beside them. */
#ifndef WALFERRY_OPS_CHECK_H
#define WALFERRY_OPS_CHECK_H

#include <stdio.h>

#include "bridge/inbox/inbox.h"
#include "bridge/relay/relay.h"

/* relay, inbox: NULL where the config has none; one of them there is. Prints the report to out, as text or JSON. False
 * where something failed, with an error whose kind says what for. */
bool check_run(const char *config_path, const struct relay_settings *relay, const struct inbox_settings *inbox,
               const struct stop *stop, bool json, FILE *out, struct error *err);

#endif
