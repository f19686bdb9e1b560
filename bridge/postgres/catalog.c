/* See catalog.h. */
#include "bridge/postgres/catalog.h"

#include <stdio.h>
#include <stdlib.h>

#include "bridge/base/memory.h"
#include "bridge/base/number.h"

static void copy_text(char *out, size_t size, const char *text) {
  snprintf(out, size, "%s", text == NULL ? "" : text);
}

static bool cell_u32(const struct rows *rows, int column, uint32_t *value) {
  uint64_t number;
  const char *text = rows_text(rows, 0, column);
  *value = 0;
  if (text == NULL)
    return true;
  if (!number_parse_u64(slice_of(text), UINT32_MAX, &number))
    return false;
  *value = (uint32_t)number;
  return true;
}

static bool cell_lsn(const struct rows *rows, int column, lsn_t *value) {
  const char *text = rows_text(rows, 0, column);
  *value = 0;
  return text == NULL || lsn_parse(slice_of(text), value);
}

static bool cell_i64(const struct rows *rows, int column, int64_t *value) {
  const char *text = rows_text(rows, 0, column);
  *value = 0;
  return text == NULL || number_parse(slice_of(text), INT64_MIN, INT64_MAX, value);
}

static bool fail_answer(const char *what, struct error *err) {
  return error_set(err, ERROR_FATAL, "the server's answer about %s makes no sense", what);
}

/* output_plugin_libraries can be read by superusers and members of pg_read_all_settings only; asking without that right
 * is an error, even with missing_ok. */
static const char server_sql[] =
    "SELECT pg_catalog.current_setting('server_version_num'), pg_catalog.current_setting('wal_level'), "
    "d.datname, d.oid, pg_catalog.pg_is_in_recovery(), "
    "CASE WHEN pg_catalog.pg_has_role('pg_read_all_settings', 'USAGE') "
    "THEN pg_catalog.current_setting('output_plugin_libraries', true) END, "
    "pg_catalog.pg_encoding_to_char(d.encoding) "
    "FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()";

bool catalog_server(struct connection *conn, struct catalog_server *out, struct error *err) {
  struct rows *rows = connection_query(conn, server_sql, 0, NULL, err);
  if (rows == NULL)
    return error_wrap(err, "reading the server's settings");
  struct catalog_server facts = {.in_recovery = rows_count(rows) == 1 && rows_bool(rows, 0, 4)};
  uint32_t version = 0;
  bool ok = rows_count(rows) == 1 && cell_u32(rows, 0, &version) && version > 0 && version < 10000000 &&
            cell_u32(rows, 3, &facts.database_oid);
  if (ok) {
    facts.version = (int)version;
    copy_text(facts.wal_level, sizeof facts.wal_level, rows_text(rows, 0, 1));
    copy_text(facts.database, sizeof facts.database, rows_text(rows, 0, 2));
    copy_text(facts.encoding, sizeof facts.encoding, rows_text(rows, 0, 6));
    facts.plugin_list_known = rows_text(rows, 0, 5) != NULL;
    copy_text(facts.plugin_list, sizeof facts.plugin_list, rows_text(rows, 0, 5));
    *out = facts;
  }
  rows_free(rows);
  return ok || fail_answer("itself", err);
}

/* Through jsonb, a column that this version lacks is NULL instead of an error. */
static const char slot_sql[] =
    "SELECT s.slot_type = 'logical', s.plugin, s.database, s.active, s.active_pid, s.temporary, "
    "s.confirmed_flush_lsn, s.restart_lsn, s.wal_status, "
    "pg_catalog.to_jsonb(s) ->> 'two_phase', "
    "coalesce(pg_catalog.to_jsonb(s) ->> 'invalidation_reason', "
    "CASE WHEN pg_catalog.to_jsonb(s) ->> 'conflicting' = 'true' THEN 'conflicting' END), "
    "CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() "
    "ELSE pg_catalog.pg_current_wal_lsn() END, s.safe_wal_size, "
    "pg_catalog.pg_size_bytes(pg_catalog.current_setting('max_slot_wal_keep_size')), "
    "pg_catalog.to_jsonb(s) ->> 'failover', pg_catalog.to_jsonb(s) ->> 'synced', "
    "(extract(epoch FROM (pg_catalog.to_jsonb(s) ->> 'inactive_since')::timestamptz) * 1000000)::bigint "
    "FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = $1";

bool catalog_slot(struct connection *conn, const char *slot, struct catalog_slot *out, struct error *err) {
  struct rows *rows = connection_query(conn, slot_sql, 1, &slot, err);
  if (rows == NULL)
    return error_wrap(err, "reading slot %s", slot);
  if (rows_count(rows) == 0) {
    *out = (struct catalog_slot){.exists = false};
    rows_free(rows);
    return true;
  }
  struct catalog_slot facts = {.exists = true,
                               .logical = rows_bool(rows, 0, 0),
                               .active = rows_bool(rows, 0, 3),
                               .temporary = rows_bool(rows, 0, 5),
                               .two_phase = slice_is(slice_of(rows_text(rows, 0, 9)), "true"),
                               .failover = slice_is(slice_of(rows_text(rows, 0, 14)), "true"),
                               .synced = slice_is(slice_of(rows_text(rows, 0, 15)), "true")};
  uint32_t pid = 0;
  bool ok = cell_u32(rows, 4, &pid) && pid <= INT32_MAX && cell_lsn(rows, 6, &facts.confirmed_flush_lsn) &&
            cell_lsn(rows, 7, &facts.restart_lsn) && cell_lsn(rows, 11, &facts.wal_lsn) &&
            cell_i64(rows, 12, &facts.safe_wal_bytes) && cell_i64(rows, 13, &facts.wal_keep_bytes_max) &&
            cell_i64(rows, 16, &facts.inactive_since_us);
  if (ok) {
    facts.active_pid = (int)pid;
    facts.safe_wal_known = rows_text(rows, 0, 12) != NULL;
    copy_text(facts.plugin, sizeof facts.plugin, rows_text(rows, 0, 1));
    copy_text(facts.database, sizeof facts.database, rows_text(rows, 0, 2));
    copy_text(facts.wal_status, sizeof facts.wal_status, rows_text(rows, 0, 8));
    copy_text(facts.invalidation_reason, sizeof facts.invalidation_reason, rows_text(rows, 0, 10));
    *out = facts;
  }
  rows_free(rows);
  return ok || fail_answer("the slot", err);
}

/* What pgoutput decides for each relation (pgoutput.c: get_rel_sync_entry, pgoutput_row_filter_init,
 * pgoutput_column_list_init), asked of the catalogs:
 *   line     the table and its partition ancestors, nearest first
 *   entry    how each of them is in the publication: by name, by schema, or with all tables
 *   top      the topmost one that is; the table is covered if there is one
 *   target   what its changes are published as: top with publish_via_partition_root, else the table itself
 * A schema or all-tables entry switches a row filter off. Column lists and filters count where the target has them.
 * One row for each column sent, or one without a column; none if there is no such table. $1 publication oid, which may
 * be 0, $2 schema, $3 table. */
static const char table_sql[] =
    "WITH pub AS (SELECT p.oid, p.puballtables, p.pubviaroot, "
    "  coalesce(pg_catalog.to_jsonb(p) ->> 'pubgencols', '') = 's' AS generated "
    "  FROM (SELECT) one LEFT JOIN pg_catalog.pg_publication p ON p.oid = $1::pg_catalog.oid), "
    "tab AS (SELECT c.oid, c.relpersistence <> 'p' AS unlogged, c.relkind = 'p' AS partitioned "
    "  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "  WHERE n.nspname = $2 AND c.relname = $3 AND c.relkind IN ('r', 'p')), "
    "line AS (SELECT tab.oid AS relid, 0::bigint AS level FROM tab UNION ALL "
    "  SELECT a.relid, a.level FROM tab, "
    "  pg_catalog.pg_partition_ancestors(tab.oid) WITH ORDINALITY AS a (relid, level) WHERE a.relid <> tab.oid), "
    "entry AS (SELECT line.relid, line.level, r.oid AS rel_oid, s.oid AS schema_oid, r.prqual IS NOT NULL AS filter, "
    "  r.prattrs, n.nspname || '.' || c.relname AS name "
    "  FROM line JOIN pg_catalog.pg_class c ON c.oid = line.relid "
    "  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace CROSS JOIN pub "
    "  LEFT JOIN pg_catalog.pg_publication_rel r ON r.prrelid = line.relid AND r.prpubid = pub.oid "
    "  LEFT JOIN pg_catalog.pg_publication_namespace s ON s.pnnspid = c.relnamespace AND s.pnpubid = pub.oid), "
    "top AS (SELECT entry.* FROM entry CROSS JOIN pub "
    "  WHERE pub.puballtables OR entry.rel_oid IS NOT NULL OR entry.schema_oid IS NOT NULL "
    "  ORDER BY entry.level DESC LIMIT 1), "
    "target AS (SELECT entry.* FROM entry CROSS JOIN pub CROSS JOIN top "
    "  WHERE entry.relid = CASE WHEN pub.pubviaroot THEN top.relid ELSE (SELECT tab.oid FROM tab) END) "
    "SELECT tab.unlogged OR EXISTS (SELECT FROM pg_catalog.pg_partition_tree(tab.oid) t "
    "    JOIN pg_catalog.pg_class c ON c.oid = t.relid WHERE c.relkind = 'r' AND c.relpersistence <> 'p'), "
    "  CASE WHEN target.relid IS NULL THEN 0 WHEN pub.puballtables THEN pub.oid "
    "    ELSE coalesce(target.rel_oid, target.schema_oid, top.rel_oid, top.schema_oid) END, "
    "  target.filter AND target.schema_oid IS NULL AND NOT pub.puballtables, "
    "  target.prattrs IS NOT NULL, "
    "  CASE WHEN target.relid <> tab.oid THEN target.name END, "
    "  a.attname, tab.partitioned "
    "FROM tab CROSS JOIN pub LEFT JOIN top ON true LEFT JOIN target ON true "
    "LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = target.relid AND a.attnum > 0 AND NOT a.attisdropped "
    "  AND CASE WHEN target.prattrs IS NOT NULL THEN a.attnum = ANY (target.prattrs) "
    "    ELSE a.attgenerated = '' OR (pub.generated AND a.attgenerated = 's') END "
    "ORDER BY a.attnum";

static bool read_table(struct connection *conn, uint32_t publication_oid, struct catalog_publication_table *table,
                       struct error *err) {
  char oid[16];
  snprintf(oid, sizeof oid, "%u", (unsigned)publication_oid);
  struct rows *rows = connection_query(conn, table_sql, 3, (const char *[]){oid, table->schema, table->table}, err);
  if (rows == NULL)
    return error_wrap(err, "reading how table %s.%s is published", table->schema, table->table);
  bool ok = true;
  table->exists = rows_count(rows) > 0;
  if (table->exists) {
    ok = cell_u32(rows, 1, &table->entry_oid);
    table->unlogged = rows_bool(rows, 0, 0);
    table->partitioned = rows_bool(rows, 0, 6);
    table->row_filter = rows_bool(rows, 0, 2);
    table->column_list = rows_bool(rows, 0, 3);
    copy_text(table->replica_root, sizeof table->replica_root, rows_text(rows, 0, 4));
    table->columns = memory_alloc((size_t)rows_count(rows) * sizeof *table->columns);
    for (int row = 0; row < rows_count(rows); row++)
      if (rows_text(rows, row, 5) != NULL)
        table->columns[table->column_count++] = memory_string(rows_text(rows, row, 5));
  }
  rows_free(rows);
  return ok || fail_answer("the publication's tables", err);
}

static bool read_publication(struct connection *conn, const char *publication, struct catalog_publication *pub,
                             struct error *err) {
  struct rows *rows = connection_query(
      conn, "SELECT p.oid, p.pubinsert, p.pubviaroot FROM pg_catalog.pg_publication p WHERE p.pubname = $1", 1,
      &publication, err);
  if (rows == NULL)
    return error_wrap(err, "reading publication %s", publication);
  bool ok = true;
  pub->exists = rows_count(rows) == 1;
  if (pub->exists) {
    ok = cell_u32(rows, 0, &pub->oid);
    pub->inserts = rows_bool(rows, 0, 1);
    pub->via_root = rows_bool(rows, 0, 2);
  }
  rows_free(rows);
  return ok || fail_answer("the publication", err);
}

static struct catalog_publication named_tables(int table_count, const char *const (*tables)[2]) {
  struct catalog_publication pub = {.table_count = table_count};
  pub.tables = memory_alloc((size_t)table_count * sizeof *pub.tables);
  for (int i = 0; i < table_count; i++) {
    copy_text(pub.tables[i].schema, sizeof pub.tables[i].schema, tables[i][0]);
    copy_text(pub.tables[i].table, sizeof pub.tables[i].table, tables[i][1]);
  }
  return pub;
}

bool catalog_publication(struct connection *conn, const char *publication, int table_count,
                         const char *const (*tables)[2], struct catalog_publication *out, struct error *err) {
  struct catalog_publication pub = named_tables(table_count, tables);
  bool ok = read_publication(conn, publication, &pub, err);
  for (int i = 0; ok && i < table_count; i++)
    ok = read_table(conn, pub.oid, &pub.tables[i], err);
  if (ok)
    *out = pub;
  else
    catalog_publication_free(&pub);
  return ok;
}

void catalog_publication_free(struct catalog_publication *pub) {
  for (int i = 0; i < pub->table_count; i++) {
    for (int column = 0; column < pub->tables[i].column_count; column++)
      free(pub->tables[i].columns[column]);
    free(pub->tables[i].columns);
  }
  free(pub->tables);
  *pub = (struct catalog_publication){.exists = false};
}

/* One row for each column, or one without a column; none if there is no such table. */
static const char plain_table_sql[] =
    "SELECT c.oid, c.relkind = 'p', "
    "  c.relpersistence <> 'p' OR EXISTS (SELECT FROM pg_catalog.pg_partition_tree(c.oid) t "
    "    JOIN pg_catalog.pg_class p ON p.oid = t.relid WHERE p.relkind = 'r' AND p.relpersistence <> 'p'), "
    "  a.attname "
    "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
    "  AND a.attgenerated IN ('', 's') "
    "WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p') ORDER BY a.attnum";

static bool read_plain_table(struct connection *conn, struct catalog_publication_table *table, struct error *err) {
  struct rows *rows = connection_query(conn, plain_table_sql, 2, (const char *[]){table->schema, table->table}, err);
  if (rows == NULL)
    return error_wrap(err, "reading table %s.%s", table->schema, table->table);
  bool ok = true;
  table->exists = rows_count(rows) > 0;
  if (table->exists) {
    ok = cell_u32(rows, 0, &table->entry_oid);
    table->partitioned = rows_bool(rows, 0, 1);
    table->unlogged = rows_bool(rows, 0, 2);
    table->columns = memory_alloc((size_t)rows_count(rows) * sizeof *table->columns);
    for (int row = 0; row < rows_count(rows); row++)
      if (rows_text(rows, row, 3) != NULL)
        table->columns[table->column_count++] = memory_string(rows_text(rows, row, 3));
  }
  rows_free(rows);
  return ok || fail_answer("the tables", err);
}

bool catalog_tables(struct connection *conn, int table_count, const char *const (*tables)[2],
                    struct catalog_publication *out, struct error *err) {
  struct catalog_publication pub = named_tables(table_count, tables);
  bool ok = true;
  for (int i = 0; ok && i < table_count; i++)
    ok = read_plain_table(conn, &pub.tables[i], err);
  if (ok)
    *out = pub;
  else
    catalog_publication_free(&pub);
  return ok;
}

/* The first two columns of each row; a row of NULLs is no name. */
static void take_names(const struct rows *rows, struct catalog_names *out) {
  out->names = memory_alloc((size_t)rows_count(rows) * sizeof *out->names);
  out->count = 0;
  for (int row = 0; row < rows_count(rows); row++) {
    if (rows_text(rows, row, 0) == NULL)
      continue;
    copy_text(out->names[out->count][0], sizeof out->names[0][0], rows_text(rows, row, 0));
    copy_text(out->names[out->count][1], sizeof out->names[0][1], rows_text(rows, row, 1));
    out->count++;
  }
}

void catalog_names_free(struct catalog_names *names) {
  free(names->names);
  *names = (struct catalog_names){.count = 0};
}

static const char partitions_sql[] =
    "SELECT ln.nspname, l.relname "
    "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "CROSS JOIN LATERAL pg_catalog.pg_partition_tree(c.oid) t JOIN pg_catalog.pg_class l ON l.oid = t.relid "
    "JOIN pg_catalog.pg_namespace ln ON ln.oid = l.relnamespace "
    "WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind = 'p' AND t.isleaf AND l.oid <> c.oid";

bool catalog_partitions(struct connection *conn, const char *schema, const char *table, struct catalog_names *out,
                        struct error *err) {
  struct rows *rows = connection_query(conn, partitions_sql, 2, (const char *[]){schema, table}, err);
  if (rows == NULL)
    return error_wrap(err, "reading the partitions of %s.%s", schema, table);
  take_names(rows, out);
  rows_free(rows);
  return true;
}

static const char ancestors_sql[] =
    "SELECT rn.nspname, r.relname "
    "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "LEFT JOIN LATERAL pg_catalog.pg_partition_ancestors(c.oid) WITH ORDINALITY AS a (relid, level) "
    "  ON a.relid <> c.oid "
    "LEFT JOIN pg_catalog.pg_class r ON r.oid = a.relid "
    "LEFT JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace "
    "WHERE n.nspname = $1 AND c.relname = $2 ORDER BY a.level DESC";

bool catalog_ancestors(struct connection *conn, const char *schema, const char *table, bool *exists,
                       struct catalog_names *out, struct error *err) {
  struct rows *rows = connection_query(conn, ancestors_sql, 2, (const char *[]){schema, table}, err);
  if (rows == NULL)
    return error_wrap(err, "looking up table %s.%s", schema, table);
  *exists = rows_count(rows) > 0;
  take_names(rows, out);
  rows_free(rows);
  return true;
}

bool catalog_now(struct connection *conn, lsn_t flushed, lsn_t *now, struct error *err) {
  static const char sql[] = "SELECT CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN "
                            "pg_catalog.pg_current_wal_insert_lsn() END";
  struct rows *rows = connection_query(conn, sql, 0, NULL, err);
  if (rows == NULL)
    return error_wrap(err, "reading the server's WAL position");
  lsn_t end = 0;
  bool ok = cell_lsn(rows, 0, &end);
  rows_free(rows);
  if (!ok)
    return fail_answer("its WAL", err);
  /* The WAL writer is woken by a commit; that of a transaction that has done nothing but to get an id is one, too. */
  if (end > flushed && !connection_run(conn, "SELECT pg_catalog.pg_current_xact_id()", err))
    return error_wrap(err, "having the server flush its WAL");
  *now = end > flushed ? end : flushed;
  return true;
}

/* Without its epoch: what the stream tells of has none either. */
static bool row_xid(const struct rows *rows, int row, int column, uint32_t *xid) {
  uint64_t full;
  const char *text = rows_text(rows, row, column);
  if (text == NULL || !number_parse_u64(slice_of(text), UINT64_MAX, &full))
    return false;
  *xid = (uint32_t)full;
  return true;
}

/* The snapshot is older than the WAL position. On a standby it names no running transactions, and need not: what is
 * replayed is visible. */
bool catalog_horizon(struct connection *conn, struct catalog_horizon *out, struct error *err) {
  static const char sql[] =
      "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() "
      "  ELSE pg_catalog.pg_current_wal_insert_lsn() END, pg_catalog.pg_snapshot_xmax(s.seen), r.xid "
      "FROM (SELECT pg_catalog.pg_current_snapshot() AS seen) s "
      "LEFT JOIN LATERAL pg_catalog.pg_snapshot_xip(s.seen) AS r (xid) ON true";
  struct rows *rows = connection_query(conn, sql, 0, NULL, err);
  if (rows == NULL)
    return error_wrap(err, "reading the server's WAL position");
  int count = rows_count(rows);
  struct catalog_horizon found = {.running = memory_alloc((size_t)(count > 0 ? count : 1) * sizeof *found.running)};
  bool ok = count > 0 && cell_lsn(rows, 0, &found.wal_end) && row_xid(rows, 0, 1, &found.xid_max);
  for (int row = 0; ok && row < count; row++)
    if (rows_text(rows, row, 2) != NULL)
      ok = row_xid(rows, row, 2, &found.running[found.running_count++]);
  rows_free(rows);
  if (ok)
    *out = found;
  else
    catalog_horizon_free(&found);
  return ok || fail_answer("its WAL", err);
}

bool catalog_horizon_covers(const struct catalog_horizon *horizon, lsn_t commit_lsn, uint32_t xid) {
  if (commit_lsn >= horizon->wal_end || (int32_t)(xid - horizon->xid_max) >= 0)
    return false;
  for (int i = 0; i < horizon->running_count; i++)
    if (horizon->running[i] == xid)
      return false;
  return true;
}

void catalog_horizon_free(struct catalog_horizon *horizon) {
  free(horizon->running);
  *horizon = (struct catalog_horizon){.running = NULL};
}
