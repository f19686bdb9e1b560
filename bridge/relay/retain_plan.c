/* Judging the held-back slot, and where it has to stand: what retain.c does is decided here. Pure. See retain.h. */
#include <string.h>

#include "bridge/relay/retain.h"

bool retain_usable(const char *name, const struct catalog_slot *slot, const char *plugin, const char *database,
                   struct error *err) {
  if (!slot->exists) {
    error_refuse(err, "slot_missing", "the held-back slot %s does not exist", name);
    return error_remedy(err, "run `walferry init CONFIG`: from then on a window is kept again. Or, to replay the rows "
                             "that are still in the outbox: `walferry replay CONFIG --source table`");
  }
  if (!slot->logical || slot->temporary || strcmp(slot->plugin, plugin) != 0 || strcmp(slot->database, database) != 0) {
    error_refuse(err, "slot_mismatch",
                 "the held-back slot %s does not fit: it is %s, plugin %s, database %s; wanted is a permanent logical "
                 "one with plugin %s in database %s",
                 name, slot->logical ? "logical" : "physical", slot->logical ? slot->plugin : "none",
                 slot->logical ? slot->database : "none", plugin, database);
    return error_remedy(err,
                        "choose another postgres.replay.slot, or drop this one if nobody needs it: SELECT "
                        "pg_drop_replication_slot('%s')",
                        name);
  }
  if (strcmp(slot->wal_status, "lost") == 0 || slot->invalidation_reason[0] != '\0') {
    error_refuse(err, "slot_invalidated",
                 "the held-back slot %s was invalidated by the server (wal_status %s, reason %s): what it held back is "
                 "gone",
                 name, slot->wal_status,
                 slot->invalidation_reason[0] != '\0' ? slot->invalidation_reason : "not given");
    return error_remedy(err,
                        "run `walferry init CONFIG`, which makes it anew. To keep it: %s. To replay the rows that are "
                        "still in the outbox: `walferry replay CONFIG --source table`",
                        strcmp(slot->invalidation_reason, "idle_timeout") == 0
                            ? "ALTER SYSTEM SET idle_replication_slot_timeout = 0, then reload"
                            : "max_slot_wal_keep_size above postgres.replay.keep_bytes");
  }
  return true;
}

void retain_clip(struct retain_sample *samples, int count, lsn_t lsn) {
  for (int i = count; i > 0 && samples[i - 1].lsn > lsn; i--)
    samples[i - 1].lsn = lsn;
}

int64_t retain_since(const struct retain_sample *samples, int count, lsn_t lsn) {
  int64_t us = 0;
  for (int i = 0; i < count && samples[i].lsn <= lsn; i++)
    if (samples[i].lsn < lsn || i == 0 || samples[i - 1].lsn < lsn)
      us = samples[i].at_us;
  return us;
}

/* Where the relay stood at time_us or before; 0: not known. */
static lsn_t stood_at(const struct retain_view *v, int64_t time_us) {
  for (int i = v->sample_count; i > 0; i--)
    if (v->samples[i - 1].at_us <= time_us)
      return v->samples[i - 1].lsn;
  return 0;
}

lsn_t retain_target(const struct retain_view *v) {
  lsn_t target = stood_at(v, v->now_us - v->keep_us);
  if (v->pinned != 0 && target > v->pinned)
    target = v->pinned;
  bool too_much =
      v->restart_lsn != 0 && v->needed_lsn > v->restart_lsn && v->needed_lsn - v->restart_lsn > (lsn_t)v->keep_bytes;
  if (too_much && target < v->needed_lsn - (lsn_t)v->keep_bytes)
    target = v->needed_lsn - (lsn_t)v->keep_bytes;
  return target < v->committed ? target : v->committed;
}
