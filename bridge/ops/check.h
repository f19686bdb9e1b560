/* `walferry check`: every precondition of a relay, asked of the real servers and told one by one. Changes nothing,
 * fences nobody, and may run beside a relay. */
#ifndef WALFERRY_OPS_CHECK_H
#define WALFERRY_OPS_CHECK_H

#include <stdio.h>

#include "bridge/relay/relay.h"

/* Prints the report to out, as text or JSON. False where something failed, with an error whose kind says what for. */
bool check_run(const struct relay_settings *settings, const struct stop *stop, bool json, FILE *out, struct error *err);

#endif
