/* The parts of `check`, in the order in which they run; each leaves what it learnt for the next. Internal to check. */
#ifndef WALFERRY_OPS_CHECK_PARTS_H
#define WALFERRY_OPS_CHECK_PARTS_H

#include "bridge/inbox/inbox.h"
#include "bridge/ops/check_report.h"
#include "bridge/postgres/health.h"
#include "bridge/relay/facts.h"

#define CHECK_KAFKA_TIMEOUT_MS 5000

struct check {
  const struct relay_settings *settings; /* NULL: the config has no relay */
  const struct inbox_settings *inbox;    /* NULL: it has no inbox */
  const char *name, *conninfo;
  const struct kafka_settings *brokers;
  const struct stop *stop;
  struct check_report report;

  struct connection *conn; /* NULL: not reachable */
  struct facts facts;
  bool server_known;      /* facts.server, health */
  bool publication_known; /* facts.publication */
  bool slot_known;        /* facts.admit.slot, slot_use */
  struct health_server health;
  struct health_slot slot_use;
  struct replication *rep; /* NULL: no replication connection; else facts.admit.identity is known */
  int64_t payload_max;     /* the largest that any table's CHECK lets in; 0: some table has none */

  struct kafka_admin *kafka; /* NULL: not reachable */
  bool position_known;
  struct position position;
};

void check_postgres(struct check *check);   /* server, role, connections; for an inbox alone what it needs of them */
void check_kafka(struct check *check);      /* brokers, and for a relay position topic and position */
void check_tables(struct check *check);     /* publication and tables */
void check_topics(struct check *check);     /* targets and quarantine */
void check_start_from(struct check *check); /* slot and position, as a start would judge them */
void check_inbox(struct check *check);      /* tables, handlers, group, source topics, offsets */

/* Of check_postgres: settings that postgres.failover needs. */
void check_failover(struct check *check);

/* Is the slot read by an instance of ours? */
bool check_held_by_us(const struct check *check);

#endif
