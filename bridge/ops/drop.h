/* `walferry drop`: removes what keeps an instance's place, when the instance is gone for good: slot, publication,
 * position topic. What holds events stays. */
#ifndef WALFERRY_OPS_DROP_H
#define WALFERRY_OPS_DROP_H

#include <stdio.h>

#include "bridge/relay/relay.h"

/* ERROR_CONFIG unless confirmed is the instance's name. */
bool drop_confirm(const char *name, const char *confirmed, struct error *err);

/* false, ERROR_CONFIG: what a config without a relay is told. An inbox keeps no WAL; its tables belong to the database,
 * and may be those of others. */
bool drop_nothing(struct error *err);

/* One line per object on out. Looks first, and removes nothing when it refuses: "slot_active" (somebody holds the
 * slot), "instance_active" (a session of the instance is connected, so a standby would make all of it again),
 * "slot_mismatch", and "cluster_changed" or "instance_conflict" (the position belongs to another database). Then the
 * slot goes first, for it keeps WAL; what cannot be removed now stays, is named, and is left to the next run. What is
 * not there is passed over. */
bool drop_run(const struct relay_settings *relay, const struct stop *stop, FILE *out, struct error *err);

#endif
