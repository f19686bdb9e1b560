/* See slot_risk.h. */
#include "bridge/relay/slot_risk.h"

#include <string.h>

#include "bridge/base/log.h"

#define SAY_INTERVAL_MS 60000

static bool is_lost(const struct catalog_slot *slot) {
  return strcmp(slot->wal_status, "lost") == 0 || slot->invalidation_reason[0] != '\0';
}

bool slot_risk_seen(const struct catalog_slot *slot) {
  if (!slot->exists || is_lost(slot))
    return false;
  return strcmp(slot->wal_status, "unreserved") == 0 ||
         (slot->safe_wal_known && slot->safe_wal_bytes < slot->wal_keep_bytes_max / 4);
}

void slot_risk_note(struct slot_risk *risk, const char *name, const struct catalog_slot *slot, int64_t now_ms) {
  bool before = risk->at_risk;
  risk->at_risk = slot_risk_seen(slot);
  if (before && !risk->at_risk && slot->exists && !is_lost(slot))
    log_info("relay.slot_safe", log_string("slot", name), log_string("wal_status", slot->wal_status));
  if (!risk->at_risk || (before && now_ms - risk->said_ms < SAY_INTERVAL_MS))
    return;
  risk->said_ms = now_ms;
  log_warn("relay.slot_at_risk", log_string("slot", name), log_string("wal_status", slot->wal_status),
           log_int("retained_bytes", catalog_wal_retained(slot)), log_int("safe_wal_bytes", slot->safe_wal_bytes),
           log_int("limit_bytes", slot->wal_keep_bytes_max),
           log_string("remedy",
                      "beyond max_slot_wal_keep_size the server drops the slot, and events are lost: raise it "
                      "now (a reload suffices), then find out what holds the relay up: Kafka, or a "
                      "transaction that has been open for long"));
}
