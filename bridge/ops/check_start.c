/* Slot and position: what a start would say to them. See check_parts.h. */
#include <stdlib.h>
#include <string.h>

#include "bridge/base/clock.h"
#include "bridge/kafka/client.h"
#include "bridge/ops/check_parts.h"
#include "bridge/postgres/replication.h"

/* The ancestors of the server's timeline, where the position is on another. */
static bool read_history(struct check *c, struct error *err) {
  struct admit_facts *f = &c->facts.admit;
  if (c->position.state != POSITION_SET || c->position.timeline == f->identity.timeline)
    return true;
  return replication_timeline_end(c->rep, f->identity.timeline, c->position.timeline, &f->ancestor_found,
                                  &f->ancestor_end, err);
}

static void check_missing_slot(struct check *c) {
  const struct relay_settings *s = c->settings;
  struct error err;
  if (!c->position_known)
    check_skip(&c->report, "slot", "%s does not exist; whether it may be made is not known without the stored position",
               s->slot);
  else if (c->position.state != POSITION_NONE && c->rep == NULL)
    check_skip(&c->report, "slot", "%s does not exist; not judged: no replication connection", s->slot);
  else if (!read_history(c, &err) || !admit_creation(&c->facts.admit, &c->position, &err) ||
           !admit_may_create(s->slot, s->create, &err))
    check_fail(&c->report, "slot", &err);
  else
    check_ok(&c->report, "slot", "%s does not exist yet; the relay makes it", s->slot);
}

static void check_holder(struct check *c) {
  const struct catalog_slot *slot = &c->facts.admit.slot;
  const struct health_slot *use = &c->slot_use;
  const char *address = use->holder_address[0] != '\0' ? use->holder_address : "this machine";
  if (check_held_by_us(c))
    check_ok(&c->report, "slot", "%s is read by %s at %s (backend %d)", c->settings->slot, use->holder, address,
             slot->active_pid);
  else
    check_warn(&c->report, "slot", "end that connection: until then a relay waits as a standby",
               "%s is read by somebody else: %s at %s (backend %d)", c->settings->slot,
               use->holder[0] != '\0' ? use->holder : "a session without a name", address, slot->active_pid);
}

static void check_slot(struct check *c) {
  const struct catalog_slot *slot = &c->facts.admit.slot;
  struct error err;
  if (!admit_slot(&c->facts.admit, &err))
    check_fail(&c->report, "slot", &err);
  else if (slot->active)
    check_holder(c);
  else if (slot->inactive_since_us != 0)
    check_ok(&c->report, "slot", "%s, read by nobody since %s", c->settings->slot,
             clock_rfc3339(slot->inactive_since_us).text);
  else
    check_ok(&c->report, "slot", "%s, read by nobody", c->settings->slot);
}

static void check_retained(struct check *c) {
  const struct catalog_slot *slot = &c->facts.admit.slot;
  long long mb = (long long)(catalog_wal_retained(slot) / 1024 / 1024);
  if (strcmp(slot->wal_status, "unreserved") == 0)
    check_warn(&c->report, "retained WAL", "start the relay at once, or raise max_slot_wal_keep_size",
               "%lld MB, and the server is about to remove what the slot needs", mb);
  else
    check_ok(&c->report, "retained WAL", "%lld MB (wal_status %s)", mb, slot->wal_status);
}

/* Slots are synchronised to standbys from Postgres 17 on, if they are made so. */
static void check_failover_slot(struct check *c) {
  static const char name[] = "failover slot";
  struct error err;
  if (c->facts.server.version < 170000)
    return;
  if (!facts_check_failover_slot(&c->facts, c->settings, &err))
    check_fail(&c->report, name, &err);
  else if (c->facts.admit.slot.failover)
    check_ok(&c->report, name, "standbys that synchronise slots have it too");
  else if (c->settings->failover)
    check_warn(&c->report, name, "restart the relay: a slot that nobody reads is changed when it starts",
               "the slot is none yet: after a failover it is gone (slot_missing)");
  else
    check_ok(&c->report, name, "it is none: after a failover it is gone (slot_missing); see postgres.failover");
}

/* What is wrong with it hinders replays, not the relay. */
static void check_held_back(struct check *c) {
  static const char name[] = "held-back slot";
  const struct retain_settings *retain = &c->settings->retain;
  struct catalog_slot held;
  struct error err;
  if (retain->slot == NULL)
    return;
  bool read = catalog_slot(c->conn, retain->slot, &held, &err);
  if (read && !held.exists && c->settings->create)
    check_ok(&c->report, name, "%s does not exist yet; the relay makes it", retain->slot);
  else if (!read || !retain_usable(retain->slot, &held, c->settings->plugin, c->facts.admit.database, &err))
    check_warn(&c->report, name, err.remedy, "%s", err.message);
  else if (held.wal_keep_bytes_max >= 0 && held.wal_keep_bytes_max < retain->keep_bytes)
    check_warn(&c->report, name, "lower postgres.replay.keep_bytes, or raise max_slot_wal_keep_size above it",
               "%s may keep more WAL than the server lets a slot keep: it would be lost", retain->slot);
  else
    check_ok(&c->report, name, "%s at %s, %lld MB of WAL", retain->slot, lsn_format(held.confirmed_flush_lsn).text,
             (long long)(catalog_wal_retained(&held) / 1024 / 1024));
}

/* Has a relay taken the slot, or moved on, since we looked? Then nothing is known about what we compared. */
static bool has_moved(struct check *c) {
  struct catalog_slot now;
  struct error ignored;
  return !catalog_slot(c->conn, c->settings->slot, &now, &ignored) || now.active ||
         now.confirmed_flush_lsn != c->facts.admit.slot.confirmed_flush_lsn;
}

static void judge_position(struct check *c) {
  struct position copy;
  position_init(&copy);
  position_copy(&copy, &c->position);
  bool changed, expect_last;
  struct error err;
  if (!read_history(c, &err)) {
    check_fail(&c->report, "position", &err);
  } else if (admit_position(&c->facts.admit, &copy, &changed, &expect_last, &err)) {
    check_ok(&c->report, "position", "%s, and the slot at %s: fit", lsn_format(position_ack_lsn(&copy)).text,
             lsn_format(c->facts.admit.slot.confirmed_flush_lsn).text);
  } else if (has_moved(c)) {
    check_skip(&c->report, "position", "not compared: the slot moved meanwhile");
  } else {
    check_fail(&c->report, "position", &err);
  }
  position_clear(&copy);
}

static void check_position(struct check *c) {
  struct error err;
  if (!c->position_known)
    check_skip(&c->report, "position", "skipped: the stored position could not be read");
  else if (!c->facts.admit.slot.exists && c->position.state == POSITION_NONE)
    check_ok(&c->report, "position", "none yet, as there is no slot");
  else if (!c->facts.admit.slot.exists)
    check_skip(&c->report, "position", "%s; there is no slot to compare it with",
               lsn_format(position_ack_lsn(&c->position)).text);
  else if (c->facts.admit.slot.active)
    check_ok(&c->report, "position", "%s; not compared, since the slot is in use",
             lsn_format(position_ack_lsn(&c->position)).text);
  else if (c->rep == NULL || !c->publication_known)
    check_skip(&c->report, "position", "skipped: needs %s",
               c->rep == NULL ? "a replication connection" : "the publication");
  else if (!admit_slot(&c->facts.admit, &err))
    check_skip(&c->report, "position", "skipped: the slot does not fit");
  else
    judge_position(c);
}

void check_start_from(struct check *c) {
  c->report.group = "start";
  if (!c->server_known || !c->slot_known) {
    check_skip(&c->report, "slot", "skipped: the server could not be asked");
    check_skip(&c->report, "position", "skipped: the server could not be asked");
    return;
  }
  char *topic = kafka_position_topic(c->settings->name);
  c->facts.admit.position_topic = topic;
  if (c->facts.admit.slot.exists) {
    check_slot(c);
    check_retained(c);
    check_failover_slot(c);
  } else {
    check_missing_slot(c);
  }
  check_held_back(c);
  check_position(c);
  c->facts.admit.position_topic = NULL;
  free(topic);
}
