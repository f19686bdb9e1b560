/* What `check` and `status` ask the server, beyond what a start needs to know (catalog.h): facts, no judgement. */
#ifndef WALFERRY_POSTGRES_HEALTH_H
#define WALFERRY_POSTGRES_HEALTH_H

#include <stdint.h>

#include "bridge/base/lsn.h"
#include "bridge/postgres/connection.h"

/* What else of server, session and role a relay's life depends on. Numbers that the server does not tell are -1. */
struct health_server {
  char role[64]; /* who we are */
  bool superuser;
  bool replication; /* the role's attribute, or superuser */
  bool may_create;  /* CREATE on the database, which making a publication takes */
  bool local;       /* by socket file or loopback */
  char tls[16];     /* "TLSv1.3"; "" is not encrypted */
  bool fsync;
  bool full_page_writes;
  bool synchronous_commit; /* of our sessions; off loses commits in a crash, after they were acknowledged */
  int64_t sender_timeout_ms;
  int64_t slot_keep_mb; /* max_slot_wal_keep_size; -1 is without limit */
  int64_t slot_idle_s;  /* idle_replication_slot_timeout; 0 is off, -1 a server before Postgres 18 */
  int64_t slots_max, slots_used;
  int64_t senders_max, senders_used;
  int64_t clock_us; /* the server's clock, Unix microseconds */
  lsn_t flush_lsn;  /* the end of its WAL; on a standby of what is replayed */
};
bool health_server(struct connection *conn, struct health_server *out, struct error *err);

/* Who uses a slot, beyond what catalog_slot tells; all at zero, or -1 for numbers, where there is no such slot. */
struct health_slot {
  char holder[80];         /* application_name of the reader; "" if none, or not ours to see */
  char holder_address[64]; /* "" for a socket file */
  int64_t lag_us; /* between a flush of the server and its acknowledgement; -1 unknown: idle, or nobody reads */
};
bool health_slot(struct connection *conn, const char *slot, struct health_slot *out, struct error *err);

/* What a failover with synchronised slots depends on; Postgres 17 and newer. */
struct health_failover {
  char awaited[256]; /* synchronized_standby_slots of a primary: what it sends to a failover slot these have, too */
  char absent[64];   /* the first of them that no standby reads: nothing is sent until one does */
  bool synchronises; /* of a standby: sync_replication_slots */
  bool feedback;     /* hot_standby_feedback */
  bool primary_slot; /* primary_slot_name is set */
  bool without_db;   /* primary_conninfo is known, and lacks the dbname that synchronising takes */
};
bool health_failover(struct connection *conn, struct health_failover *out, struct error *err);

/* Replication connections under an application_name, the oldest first, without readers of temporary slots (a relay that
 * only prints); connections of other roles are not seen. */
struct health_reader {
  int pid;
  char address[64]; /* "" for a socket file */
  char since[40];   /* RFC 3339 */
};
bool health_readers(struct connection *conn, const char *application_name, struct health_reader **readers, int *count,
                    struct error *err);

struct health_column {
  char name[64];
  char type[64]; /* as format_type says: "jsonb", "character varying" */
  bool not_null;
};
struct health_table {
  bool owned; /* our role has the owner's rights */
  struct health_column *columns;
  int column_count;
  int64_t payload_max; /* bytes that CHECK constraints let into the payload column; 0: none bounds it */
};
/* No columns where there is no such table. */
bool health_table(struct connection *conn, const char *schema, const char *table, const char *payload_column,
                  struct health_table *out, struct error *err);
void health_table_free(struct health_table *shape);

/* Has the server load an output plugin, by way of a temporary slot that is gone when this returns. A server that takes
 * longer than 2 s over it waits for open transactions, which is after loading: success. A plugin that is not there or
 * not allowed is ERROR_REFUSED "plugin_not_allowed", other failures as of connection_query. */
bool health_try_plugin(struct connection *conn, const char *plugin, struct error *err);

#endif
