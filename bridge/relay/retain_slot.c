/* Making the held-back slot, and the relay's own of it. See retain.h. */
#include <stdlib.h>
#include <string.h>

#include "bridge/base/log.h"
#include "bridge/postgres/slot.h"
#include "bridge/relay/facts.h"
#include "bridge/relay/retain.h"

#define KAFKA_TIMEOUT_MS 10000

bool retain_establish(const struct relay_settings *s, struct connection *conn, const char *database, bool *made,
                      struct error *err) {
  const char *name = s->retain.slot;
  struct catalog_slot slot;
  *made = false;
  if (!catalog_slot(conn, name, &slot, err))
    return false;
  if (retain_usable(name, &slot, s->plugin, database, err))
    return true;
  bool lost = slot.exists && strcmp(err->code, "slot_invalidated") == 0;
  if (slot.exists && !lost)
    return false;
  if (lost) {
    log_error_event(LOG_WARN, "retain.slot_lost", err);
    if (!slot_drop(conn, name, err))
      return false;
  }
  error_clear(err);
  *made = slot_copy(conn, s->slot, name, err);
  return *made;
}

static bool read_position(const struct relay_settings *s, const struct stop *stop, struct position *position,
                          struct error *err) {
  struct publisher *publisher = publisher_new(&s->publisher, stop);
  bool ok = publisher_reachable(publisher, KAFKA_TIMEOUT_MS, err) && publisher_peek(publisher, position, err);
  publisher_free(publisher);
  return ok;
}

/* Whose position it is, and that the slot sends all that lies behind it. */
static bool covers(const struct relay_settings *s, const struct position *position, const struct catalog_slot *held,
                   struct facts *facts, struct error *err) {
  if (position->state != POSITION_SET || held->confirmed_flush_lsn > position_ack_lsn(position))
    return false;
  struct replication *rep = replication_open(s->conninfo, s->name, err);
  bool ok = rep != NULL && replication_identify(rep, &facts->admit.identity, err) &&
            admit_owner(&facts->admit, position, err) && position->timeline == facts->admit.identity.timeline;
  replication_close(rep);
  return ok;
}

bool retain_restore(const struct relay_settings *s, const struct stop *stop, bool *restored, struct error *err) {
  *restored = false;
  if (s->retain.slot == NULL)
    return true;
  struct connection *conn = connection_open(s->conninfo, s->name, err);
  struct facts facts = {.server = {.version = 0}};
  struct catalog_slot held;
  struct position position;
  position_init(&position);
  bool ok = conn != NULL && facts_read_server(&facts, conn, s, err) &&
            catalog_slot(conn, s->slot, &facts.admit.slot, err) && catalog_slot(conn, s->retain.slot, &held, err);
  struct error ignored;
  if (ok && !facts.admit.slot.exists &&
      retain_usable(s->retain.slot, &held, s->plugin, facts.admit.database, &ignored)) {
    char *topic = kafka_position_topic(s->publisher.kafka.instance);
    facts.admit.position_topic = topic;
    ok = read_position(s, stop, &position, err);
    if (ok && covers(s, &position, &held, &facts, &ignored))
      ok = *restored = slot_copy(conn, s->retain.slot, s->slot, err);
    free(topic);
  }
  connection_close(conn);
  facts_free(&facts);
  position_clear(&position);
  return ok;
}
