/* See status.h. */
#include "bridge/ops/status.h"

#include <stdlib.h>
#include <string.h>

#include "bridge/kafka/admin.h"
#include "bridge/kafka/topic_tail.h"
#include "bridge/ops/instance.h"
#include "bridge/ops/status_print.h"

#define KAFKA_TIMEOUT_MS 5000
#define QUARANTINE_TIMEOUT_MS 20000
#define QUARANTINE_OFFSETS_MAX 10000 /* of each partition */

static bool read_postgres(struct status *status, const struct relay_settings *settings, struct error *err) {
  char *name = instance_command_name(settings, "status");
  char *instances = instance_application_name(settings);
  struct connection *conn = connection_open(settings->conninfo, name, err);
  bool ok = conn != NULL && catalog_server(conn, &status->server, err) && health_server(conn, &status->health, err) &&
            catalog_slot(conn, settings->slot, &status->slot, err) &&
            health_slot(conn, settings->slot, &status->slot_use, err) &&
            health_readers(conn, instances, &status->readers, &status->reader_count, err);
  connection_close(conn);
  free(instances);
  free(name);
  return ok;
}

static bool read_position(struct status *status, const struct relay_settings *settings, const struct stop *stop,
                          struct kafka_admin *admin, struct error *err) {
  struct publisher *publisher = publisher_new(&settings->publisher, stop);
  struct kafka_topic_facts facts;
  bool ok = kafka_admin_topic(admin, publisher_position_topic(publisher), KAFKA_TIMEOUT_MS, &facts, NULL, err) &&
            (!facts.exists || publisher_peek(publisher, &status->position, err));
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
    status->position_read = read_position(status, settings, stop, admin, err);
    struct error quarantine_error;
    status->quarantine_read = read_quarantine(status, settings, admin, &quarantine_error);
    if (status->position_read && !status->quarantine_read)
      *err = quarantine_error;
  }
  kafka_admin_free(admin);
}

bool status_run(const struct relay_settings *settings, const struct stop *stop, bool json, FILE *out,
                struct error *err) {
  struct status status = {.instance = settings->name,
                          .slot_name = settings->slot,
                          .quarantine_topic = settings->publisher.quarantine_topic};
  position_init(&status.position);
  read_kafka(&status, settings, stop); /* first: the position may only have moved on when Postgres is asked */
  status.postgres_read = read_postgres(&status, settings, &status.postgres_error);
  (json ? status_print_json : status_print_text)(&status, out);
  bool kafka_read = status.position_read && status.quarantine_read;
  const struct error *missing = !status.postgres_read ? &status.postgres_error : &status.kafka_error;
  if (!status.postgres_read || !kafka_read) {
    error_set(err, ERROR_RETRY, "%s: %s", status.postgres_read ? "Kafka" : "Postgres", missing->message);
    error_remedy(err, "%s", missing->remedy);
  }
  free(status.readers);
  position_clear(&status.position);
  return status.postgres_read && kafka_read;
}
