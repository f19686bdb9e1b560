/* See check.h. */
#include "bridge/ops/check.h"

#include <stdlib.h>
#include <string.h>

#include "bridge/kafka/admin.h"
#include "bridge/ops/check_parts.h"
#include "bridge/ops/instance.h"
#include "bridge/postgres/replication.h"

bool check_held_by_us(const struct check *c) {
  if (!c->slot_known || !c->facts.admit.slot.active)
    return false;
  char *name = instance_application_name(c->conninfo, c->name);
  bool ours = strcmp(c->slot_use.holder, name) == 0;
  free(name);
  return ours;
}

static void check_relay(struct check *c) {
  check_tables(c);
  check_topics(c);
  check_start_from(c);
}

bool check_run(const char *config_path, const struct relay_settings *relay, const struct inbox_settings *inbox,
               const struct stop *stop, bool json, FILE *out, struct error *err) {
  struct check c = {.settings = relay,
                    .inbox = inbox,
                    .name = relay != NULL ? relay->name : inbox->name,
                    .conninfo = relay != NULL ? relay->conninfo : inbox->conninfo,
                    .brokers = relay != NULL ? &relay->publisher.kafka : &inbox->kafka,
                    .stop = stop};
  c.report = (struct check_report){.config_path = config_path, .instance = c.name};
  position_init(&c.position);
  check_postgres(&c);
  check_kafka(&c);
  if (relay != NULL)
    check_relay(&c);
  if (inbox != NULL)
    check_inbox(&c);
  (json ? check_print_json : check_print_text)(&c.report, c.name, out);
  bool ok = check_outcome(&c.report, err);
  kafka_admin_free(c.kafka);
  replication_close(c.rep);
  connection_close(c.conn);
  facts_free(&c.facts);
  position_clear(&c.position);
  check_report_free(&c.report);
  return ok;
}
