/* What postgres.failover needs of the server, and what a failover would need besides. See check_parts.h. */
#include "bridge/ops/check_parts.h"

static const char name[] = "failover";

/* What is seen of a primary. */
static void check_primary(struct check *c, const struct health_failover *f) {
  if (f->awaited[0] == '\0')
    check_warn(&c->report, name,
               "ALTER SYSTEM SET synchronized_standby_slots = 'SLOT_OF_THE_STANDBY', then reload: what a standby lacks "
               "is then not published",
               "synchronized_standby_slots is not set: Kafka can be ahead of the standby that is promoted "
               "(timeline_diverged)");
  else if (f->absent[0] != '\0')
    check_warn(&c->report, name, "start that standby, or take its slot out of synchronized_standby_slots and reload",
               "synchronized_standby_slots names %s, which no standby reads: nothing is sent to the relay meanwhile",
               f->absent);
  else
    check_ok(&c->report, name, "nothing is published that %s lacks", f->awaited);
}

static void check_standby(struct check *c, const struct health_failover *f) {
  const char *missing = !f->synchronises   ? "sync_replication_slots = on"
                        : !f->feedback     ? "hot_standby_feedback = on"
                        : !f->primary_slot ? "primary_slot_name"
                        : f->without_db    ? "a dbname in primary_conninfo"
                                           : NULL;
  if (missing == NULL)
    check_ok(&c->report, name, "this standby synchronises slots");
  else
    check_warn(&c->report, name, "set it in the standby's postgresql.conf, and reload",
               "this standby synchronises no slots, which takes %s: after a promotion the slot is missing", missing);
}

void check_failover(struct check *c) {
  struct error err;
  struct health_failover found;
  if (!c->settings->failover)
    return;
  if (!facts_check_failover(&c->facts, c->settings, &err) || !health_failover(c->conn, &found, &err))
    check_fail(&c->report, name, &err);
  else if (c->facts.server.in_recovery)
    check_standby(c, &found);
  else
    check_primary(c, &found);
}
