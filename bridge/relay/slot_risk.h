/* Is the slot about to be lost? Says so in the log before it is: what an operator can do is cheap until then. */
#ifndef WALFERRY_RELAY_SLOT_RISK_H
#define WALFERRY_RELAY_SLOT_RISK_H

#include "bridge/postgres/catalog.h"

/* The server is about to remove WAL that the slot needs, or less than a quarter of max_slot_wal_keep_size is left. What
 * is lost already is no risk any more. */
bool slot_risk_seen(const struct catalog_slot *slot);

struct slot_risk { /* starts as zero; one thread's */
  bool at_risk;
  int64_t said_ms;
};
/* Logs "relay.slot_at_risk" at once and then every minute as long as it lasts, and "relay.slot_safe" when it is over.
 * now_ms: monotonic. */
void slot_risk_note(struct slot_risk *risk, const char *name, const struct catalog_slot *slot, int64_t now_ms);

#endif
