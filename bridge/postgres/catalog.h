/* What the server's catalogs say about a slot, a publication, its tables and settings: facts, no judgement. */
#ifndef WALFERRY_POSTGRES_CATALOG_H
#define WALFERRY_POSTGRES_CATALOG_H

#include <stdint.h>

#include "bridge/base/lsn.h"
#include "bridge/postgres/connection.h"

struct catalog_server {
  int version; /* server_version_num */
  char wal_level[16];
  char encoding[32]; /* of the database: "UTF8" */
  char database[64];
  uint32_t database_oid;
  bool in_recovery;
  bool plugin_list_known; /* output_plugin_libraries exists here and our role may read it (pg_read_all_settings) */
  char plugin_list[256];  /* its value */
};
bool catalog_server(struct connection *conn, struct catalog_server *out, struct error *err);

struct catalog_slot {
  bool exists;
  bool logical;
  char plugin[64];
  char database[64];
  bool active;
  int active_pid; /* 0 if none */
  bool temporary;
  bool two_phase;
  lsn_t confirmed_flush_lsn;
  lsn_t restart_lsn;
  lsn_t wal_lsn;                /* how far the server has written WAL (a standby: replayed) */
  char wal_status[16];          /* reserved | extended | unreserved | lost; "" where unknown */
  bool safe_wal_known;          /* there is a limit to what the slot keeps: */
  int64_t safe_wal_bytes;       /* that can be written before the slot may be lost */
  int64_t wal_keep_bytes_max;   /* max_slot_wal_keep_size; -1: no limit */
  char invalidation_reason[40]; /* "" where none or unknown (before 17: "conflicting" is named so) */
  bool failover;                /* standbys that synchronise slots have it too */
  bool synced;                  /* made by such a synchronisation; on a standby nobody may read from it */
  int64_t inactive_since_us;    /* Unix microseconds; 0: in use, or unknown (before 17) */
};
/* Bytes of WAL that the server has written behind `from`. */
static inline int64_t catalog_wal_since(const struct catalog_slot *slot, lsn_t from) {
  return slot->wal_lsn > from ? (int64_t)(slot->wal_lsn - from) : 0;
}
/* Bytes of WAL that the server keeps for it. */
static inline int64_t catalog_wal_retained(const struct catalog_slot *slot) {
  return slot->restart_lsn == 0 ? 0 : catalog_wal_since(slot, slot->restart_lsn);
}
/* Reads the row by name; exists false when there is none. Columns that an older server lacks stay at their zero. */
bool catalog_slot(struct connection *conn, const char *slot, struct catalog_slot *out, struct error *err);

struct catalog_publication_table {
  char schema[64];
  char table[64];
  bool exists;
  bool partitioned;
  bool unlogged;      /* itself, or one of its partitions */
  uint32_t entry_oid; /* the table's identity: pg_publication_rel, or pg_publication_namespace, or the publication's own
                         for ALL TABLES; 0: not covered */
  bool row_filter;    /* the entry has a WHERE */
  bool column_list;   /* the entry lists columns */
  char **columns;     /* the table's live columns that the publication sends; column_count of them; owned */
  int column_count;
  char replica_root[130]; /* "" or the partition root that changes of this table are published as */
};
struct catalog_publication {
  bool exists;
  uint32_t oid;
  bool inserts;                             /* publishes inserts */
  bool via_root;                            /* publish_via_partition_root */
  struct catalog_publication_table *tables; /* as asked, in the same order */
  int table_count;
};
/* tables: table_count pairs schema, table. Without the publication the tables' exists and unlogged are still told.
 * row_filter is told only where it has an effect. Server 15 and newer. */
bool catalog_publication(struct connection *conn, const char *publication, int table_count,
                         const char *const (*tables)[2], struct catalog_publication *out, struct error *err);
/* The same tables by themselves, for a plugin that reads no publication: entry_oid is the table's own OID (0: there is
 * no such table), columns are all that have a stored value. */
bool catalog_tables(struct connection *conn, int table_count, const char *const (*tables)[2],
                    struct catalog_publication *out, struct error *err);
void catalog_publication_free(struct catalog_publication *pub);

struct catalog_names {  /* of tables */
  char (*names)[2][64]; /* schema, table */
  int count;
};
/* The leaf partitions of a table at present. */
bool catalog_partitions(struct connection *conn, const char *schema, const char *table, struct catalog_names *out,
                        struct error *err);
/* The partitioned tables above a table, topmost first. *exists tells whether there is anything of that name at all. */
bool catalog_ancestors(struct connection *conn, const char *schema, const char *table, bool *exists,
                       struct catalog_names *out, struct error *err);
void catalog_names_free(struct catalog_names *names);

/* Behind all that is committed now. flushed: what the server has flushed at least, which is what it streams; a commit
 * may be seen before (synchronous_commit = off). The server is made to flush, soon, up to there. On a standby: flushed.
 */
bool catalog_now(struct connection *conn, lsn_t flushed, lsn_t *now, struct error *err);

/* Which transactions a statement sees that begins afterwards: those that committed before wal_end and were not under
 * way. A commit is in the WAL, and streamed from there, before the transaction stops to be under way; while it waits
 * for a synchronous standby, long before. */
struct catalog_horizon {
  lsn_t wal_end;     /* written by the server, or replayed */
  uint32_t xid_max;  /* not completed, like all from it on */
  uint32_t *running; /* those not completed of lower ones */
  int running_count;
};
bool catalog_horizon(struct connection *conn, struct catalog_horizon *out, struct error *err);
bool catalog_horizon_covers(const struct catalog_horizon *horizon, lsn_t commit_lsn, uint32_t xid);
void catalog_horizon_free(struct catalog_horizon *horizon);

#endif
