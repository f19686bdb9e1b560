/* See status.h. */
#include "bridge/ops/status.h"

#include <stdlib.h>
#include <string.h>

#include "bridge/inbox/layout.h"
#include "bridge/kafka/admin.h"
#include "bridge/kafka/record_probe.h"
#include "bridge/kafka/topic_tail.h"
#include "bridge/ops/instance.h"
#include "bridge/ops/remedy.h"
#include "bridge/ops/status_print.h"

#define KAFKA_TIMEOUT_MS 5000
#define QUARANTINE_TIMEOUT_MS 20000
#define QUARANTINE_OFFSETS_MAX 10000 /* of each partition */

static bool read_slot(struct status *status, const struct relay_settings *settings, struct connection *conn,
                      struct error *err) {
  char *instances = instance_application_name(settings->conninfo, settings->name);
  bool ok = catalog_slot(conn, settings->slot, &status->slot, err) &&
            (status->held_name == NULL || catalog_slot(conn, status->held_name, &status->held, err)) &&
            health_slot(conn, settings->slot, &status->slot_use, err) &&
            health_readers(conn, instances, &status->readers, &status->reader_count, err);
  free(instances);
  if (ok && status->held_name != NULL)
    retain_usable(status->held_name, &status->held, settings->plugin, status->server.database, &status->held_trouble);
  return ok;
}

/* Tables that are not there are a finding, as a slot that is not there is. */
static bool read_tables(struct status_inbox *inbox, struct connection *conn, struct error *err) {
  inbox->set_up = layout_check(conn, err);
  if (!inbox->set_up && err->kind == ERROR_REFUSED) {
    inbox->not_set_up = *err;
    inbox->tables_read = true;
    return true;
  }
  inbox->tables_read = inbox->set_up && inbox_view_read(&inbox->view, conn, inbox->consumer, err);
  return inbox->tables_read;
}

static bool read_postgres(struct status *status, const struct relay_settings *relay, struct status_inbox *inbox,
                          const char *conninfo, struct error *err) {
  char *name = instance_command_name(status->instance, "status");
  struct connection *conn = connection_open(conninfo, name, err);
  bool ok = conn != NULL && catalog_server(conn, &status->server, err) && health_server(conn, &status->health, err) &&
            (relay == NULL || read_slot(status, relay, conn, err)) && (inbox == NULL || read_tables(inbox, conn, err));
  connection_close(conn);
  free(name);
  return ok;
}

static bool read_position(struct status *status, const struct relay_settings *settings, const struct stop *stop,
                          struct error *err) {
  struct publisher *publisher = publisher_new(&settings->publisher, stop);
  bool ok = publisher_peek(publisher, &status->position, err);
  publisher_free(publisher);
  return ok;
}

static void take_quarantined(void *to, const struct topic_tail_record *record) {
  status_count_code(to, record->header, record->timestamp_ms);
}

static bool read_quarantine(struct status *status, const struct relay_settings *settings, struct kafka_admin *admin,
                            struct error *err) {
  struct kafka_topic_facts facts;
  if (!kafka_admin_topic(admin, status->quarantine_topic, KAFKA_TIMEOUT_MS, &facts, NULL, err))
    return false;
  status->quarantine_exists = facts.exists;
  status->quarantine_whole = true;
  return !facts.exists || topic_tail_read(&settings->publisher.kafka, status->quarantine_topic, facts.partitions,
                                          QUARANTINE_OFFSETS_MAX, RECORD_HEADER_ERROR_CODE, QUARANTINE_TIMEOUT_MS,
                                          take_quarantined, status, &status->quarantine_whole, err);
}

static void read_kafka(struct status *status, const struct relay_settings *settings, const struct stop *stop) {
  struct error *err = &status->kafka_error;
  struct kafka_admin *admin = kafka_admin_new(&settings->publisher.kafka, err);
  if (admin != NULL && kafka_admin_reachable(admin, KAFKA_TIMEOUT_MS, err)) {
    status->position_read = read_position(status, settings, stop, err);
    struct error quarantine_error;
    status->quarantine_read = read_quarantine(status, settings, admin, &quarantine_error);
    if (status->position_read && !status->quarantine_read)
      *err = quarantine_error;
  }
  kafka_admin_free(admin);
}

static bool read_log(struct status_inbox *inbox, struct record_probe *probe, const char *topic, int32_t partition,
                     struct error *err) {
  struct inbox_view_partition *p = inbox_view_partition(&inbox->view, topic, partition);
  p->log_known = record_probe_range(probe, topic, partition, KAFKA_TIMEOUT_MS, &p->low, &p->end, err);
  return p->log_known;
}

static bool read_logs(struct status_inbox *inbox, const struct inbox_settings *settings, struct kafka_admin *admin,
                      struct error *err) {
  struct record_probe *probe = record_probe_new(&settings->kafka, err);
  bool ok = probe != NULL;
  for (int i = 0; ok && i < settings->topic_count; i++) {
    struct kafka_topic_facts facts = {.exists = false};
    ok = kafka_admin_topic(admin, settings->topics[i], KAFKA_TIMEOUT_MS, &facts, NULL, err);
    for (int32_t p = 0; ok && facts.exists && p < facts.partitions; p++)
      ok = read_log(inbox, probe, settings->topics[i], p, err);
  }
  record_probe_free(probe);
  return ok;
}

/* Behind the tables: the logs may only have moved on. */
static void read_group(struct status_inbox *inbox, const struct inbox_settings *settings, char **cluster_id) {
  struct error *err = &inbox->logs_error;
  struct kafka_admin *admin = kafka_admin_new(&settings->kafka, err);
  if (admin != NULL && kafka_admin_reachable(admin, KAFKA_TIMEOUT_MS, err)) {
    struct error group_error;
    inbox->group_read = kafka_admin_group(admin, settings->group, KAFKA_TIMEOUT_MS, &inbox->group, &group_error);
    inbox->logs_read =
        kafka_admin_cluster_id(admin, KAFKA_TIMEOUT_MS, cluster_id, err) && read_logs(inbox, settings, admin, err);
    if (inbox->logs_read && !inbox->group_read)
      *err = group_error;
    inbox->cluster_id = *cluster_id;
  }
  inbox_view_sort(&inbox->view);
  kafka_admin_free(admin);
}

/* The first of what could not be read. */
static bool fail_missing(const struct status *status, struct error *err) {
  bool relay_missing = status->slot_name != NULL && !(status->position_read && status->quarantine_read);
  const struct error *missing = !status->postgres_read ? &status->postgres_error
                                : relay_missing        ? &status->kafka_error
                                                       : &status->inbox->logs_error;
  error_set(err, ERROR_RETRY, "%s: %s", status->postgres_read ? "Kafka" : "Postgres", missing->message);
  return error_remedy(err, "%s", missing->remedy);
}

static void complete_remedies(struct status *status, struct status_inbox *inbox, const char *config_path) {
  struct error *errors[] = {&status->postgres_error, &status->kafka_error, &status->held_trouble, &inbox->not_set_up,
                            &inbox->logs_error};
  for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
    remedy_complete(errors[i], config_path, status->instance);
}

bool status_run(const char *config_path, const char *name, const char *conninfo, const struct relay_settings *relay,
                const struct inbox_settings *inbox, const struct stop *stop, bool json, FILE *out, struct error *err) {
  struct status_inbox view = {.consumer = inbox == NULL ? NULL : inbox->group};
  struct status status = {.instance = name,
                          .slot_name = relay == NULL ? NULL : relay->slot,
                          .held_name = relay == NULL ? NULL : relay->retain.slot,
                          .quarantine_topic = relay == NULL ? NULL : relay->publisher.quarantine_topic,
                          .inbox = inbox == NULL ? NULL : &view};
  char *cluster_id = NULL;
  position_init(&status.position);
  if (relay != NULL)
    read_kafka(&status, relay, stop); /* first: the position may only have moved on when Postgres is asked */
  status.postgres_read = read_postgres(&status, relay, inbox == NULL ? NULL : &view, conninfo, &status.postgres_error);
  if (inbox != NULL)
    read_group(&view, inbox, &cluster_id);
  complete_remedies(&status, &view, config_path);
  (json ? status_print_json : status_print_text)(&status, out);
  bool whole = status_whole(&status);
  if (!whole)
    fail_missing(&status, err);
  free(cluster_id);
  inbox_view_free(&view.view);
  free(status.readers);
  position_clear(&status.position);
  return whole;
}
