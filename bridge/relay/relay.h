/* The relay: outbox to Kafka. relay.c is the one file that knows the order of things: the start sequence, the stream
 * and the recovery, which is the same sequence again (docs/architecture.md). */
#ifndef WALFERRY_RELAY_RELAY_H
#define WALFERRY_RELAY_RELAY_H

#include "bridge/base/stop.h"
#include "bridge/postgres/replication.h"
#include "bridge/relay/intake.h"
#include "bridge/relay/partitions.h"
#include "bridge/relay/progress.h"
#include "bridge/relay/publisher.h"
#include "bridge/relay/retain.h"

struct relay_settings {
  const char *name;
  const char *conninfo;
  const char *slot;
  const char *publication; /* NULL with a plugin that reads none */
  const char *plugin;
  bool create;   /* slot and publication, when missing */
  bool failover; /* standbys that synchronise slots have the slot too; Postgres 17 */
  bool adopt_slot;
  bool snapshot; /* where the slot is made: publish the rows that stand in the tables before what it streams */
  struct intake_rules intake;
  struct publisher_settings publisher;
  struct retain_settings retain;

  enum { RELAY_FOREVER = 1, RELAY_UNTIL_NOW, RELAY_UNTIL_LSN } until;
  lsn_t until_lsn; /* with RELAY_UNTIL_LSN */
};

/* Runs until stopped (true), until the wanted LSN is acknowledged (true), or until what cannot be recovered from
 * (false). With an `until`, servers that stay away for 60 s are an error, and a slot held by another is ERROR_FENCED.
 * progress: where it reports how it is doing. */
bool relay_run(const struct relay_settings *settings, const struct stop *stop, struct progress *progress,
               struct error *err);

enum relay_established {
  RELAY_CREATED = 1,
  RELAY_WAS_THERE,
  RELAY_LEFT /* to the first start of the relay: a snapshot is wanted, which only that can take */
};
/* Makes publication, slot and first position where nothing is there yet, with a stored intent in between; does nothing
 * where all is there. Used by `init`. */
bool relay_establish(const struct relay_settings *settings, const struct stop *stop, enum relay_established *how,
                     struct error *err);

/* START_REPLICATION from a slot with what the decoder asks of the server; from and *busy as in replication_start. */
bool relay_start_streaming(const struct relay_settings *settings, struct replication *rep, const char *slot, lsn_t from,
                           bool *busy, struct error *err);

/* Has the intake find the configured tables of rows that come under a partition's name. tables: what conn said of them.
 * *partitions is the caller's, to be freed behind the intake; NULL with a plugin that tells of rows by the root. */
bool relay_resolve_partitions(const struct relay_settings *settings, const struct catalog_publication *tables,
                              struct connection *conn, int64_t sender_timeout_ms, struct intake *intake,
                              struct partitions **partitions, struct error *err);

#endif
