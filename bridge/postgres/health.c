/* See health.h. */
#include "bridge/postgres/health.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bridge/base/memory.h"
#include "bridge/base/number.h"
#include "bridge/postgres/plugin.h"

#define TRY_PLUGIN_MS 2000

static void copy_cell(char *out, size_t size, const struct rows *rows, int row, int column) {
  const char *text = rows_text(rows, row, column);
  snprintf(out, size, "%s", text == NULL ? "" : text);
}

/* -1 for NULL. */
static int64_t cell_number(const struct rows *rows, int row, int column) {
  int64_t value = -1;
  number_parse(slice_of(rows_text(rows, row, column)), INT64_MIN, INT64_MAX, &value);
  return value;
}

#define SETTING(name) "(SELECT s.setting FROM pg_catalog.pg_settings s WHERE s.name = '" name "')"
#define RFC3339 "'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'"
/* The end of the WAL; pg_current_wal_flush_lsn is refused on a standby. */
#define SERVER_END                                                                                                     \
  "CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() "                                 \
  "ELSE pg_catalog.pg_current_wal_flush_lsn() END"

/* pg_stat_replication has a row for every walsender, to whomever it belongs. */
static const char server_sql[] =
    "SELECT current_user, r.rolsuper, r.rolsuper OR r.rolreplication, "
    "pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'), "
    "coalesce(pg_catalog.inet_server_addr() <<= '127.0.0.0/8' OR pg_catalog.inet_server_addr() = '::1', true), "
    "(SELECT t.version FROM pg_catalog.pg_stat_ssl t WHERE t.pid = pg_catalog.pg_backend_pid() AND t.ssl), "
    "pg_catalog.current_setting('fsync')::bool, pg_catalog.current_setting('full_page_writes')::bool, "
    "pg_catalog.current_setting('synchronous_commit') <> 'off', " SETTING("wal_sender_timeout") ", " //
    SETTING("max_slot_wal_keep_size") ", " SETTING(
        "max_replication_slots") ", "
                                 "(SELECT count(*) FROM pg_catalog.pg_replication_slots), " SETTING(
                                     "max_wal_senders") ", "
                                                        "(SELECT count(*) FROM pg_catalog.pg_stat_replication), "
                                                        "(extract(epoch FROM pg_catalog.clock_timestamp()) * "
                                                        "1000000)::bigint, " SERVER_END
                                                        ", (SELECT extract(epoch FROM (s.setting || s.unit)::interval)"
                                                        "::bigint FROM pg_catalog.pg_settings s WHERE s.name = "
                                                        "'idle_replication_slot_timeout')"
                                                        " FROM pg_catalog.pg_roles r WHERE r.rolname = current_user";

bool health_server(struct connection *conn, struct health_server *out, struct error *err) {
  struct rows *rows = connection_query(conn, server_sql, 0, NULL, err);
  if (rows == NULL)
    return error_wrap(err, "reading the server's settings");
  bool ok = rows_count(rows) == 1;
  if (ok) {
    struct health_server found = {.superuser = rows_bool(rows, 0, 1),
                                  .replication = rows_bool(rows, 0, 2),
                                  .may_create = rows_bool(rows, 0, 3),
                                  .local = rows_bool(rows, 0, 4),
                                  .fsync = rows_bool(rows, 0, 6),
                                  .full_page_writes = rows_bool(rows, 0, 7),
                                  .synchronous_commit = rows_bool(rows, 0, 8),
                                  .sender_timeout_ms = cell_number(rows, 0, 9),
                                  .slot_keep_mb = cell_number(rows, 0, 10),
                                  .slots_max = cell_number(rows, 0, 11),
                                  .slots_used = cell_number(rows, 0, 12),
                                  .senders_max = cell_number(rows, 0, 13),
                                  .senders_used = cell_number(rows, 0, 14),
                                  .clock_us = cell_number(rows, 0, 15),
                                  .slot_idle_s = cell_number(rows, 0, 17)};
    copy_cell(found.role, sizeof found.role, rows, 0, 0);
    copy_cell(found.tls, sizeof found.tls, rows, 0, 5);
    lsn_parse(slice_of(rows_text(rows, 0, 16)), &found.flush_lsn);
    *out = found;
  }
  rows_free(rows);
  return ok || error_set(err, ERROR_FATAL, "the server does not know the role that it let in");
}

static const char slot_sql[] =
    "SELECT a.application_name, pg_catalog.host(a.client_addr), "
    "(extract(epoch FROM r.flush_lag) * 1000000)::bigint "
    "FROM pg_catalog.pg_replication_slots s LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = s.active_pid "
    "LEFT JOIN pg_catalog.pg_stat_replication r ON r.pid = s.active_pid WHERE s.slot_name = $1";

bool health_slot(struct connection *conn, const char *slot, struct health_slot *out, struct error *err) {
  struct rows *rows = connection_query(conn, slot_sql, 1, &slot, err);
  if (rows == NULL)
    return error_wrap(err, "reading who uses slot %s", slot);
  struct health_slot found = {.lag_us = -1};
  if (rows_count(rows) == 1) {
    copy_cell(found.holder, sizeof found.holder, rows, 0, 0);
    copy_cell(found.holder_address, sizeof found.holder_address, rows, 0, 1);
    found.lag_us = cell_number(rows, 0, 2);
  }
  rows_free(rows);
  *out = found;
  return true;
}

#define AWAITED "pg_catalog.current_setting('synchronized_standby_slots', true)"
/* primary_conninfo can be read by superusers and members of pg_read_all_settings only. */
static const char failover_sql[] =
    "SELECT " AWAITED ", "
    "(SELECT n FROM pg_catalog.unnest(pg_catalog.string_to_array(pg_catalog.replace(" AWAITED ", ' ', ''), ',')) n "
    "WHERE n <> '' AND NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots s "
    "WHERE s.slot_name = n AND s.slot_type = 'physical' AND s.active) LIMIT 1), "
    "coalesce(pg_catalog.current_setting('sync_replication_slots', true), 'off')::bool, "
    "pg_catalog.current_setting('hot_standby_feedback')::bool, "
    "pg_catalog.current_setting('primary_slot_name') <> '', "
    "CASE WHEN pg_catalog.pg_has_role('pg_read_all_settings', 'USAGE') "
    "THEN pg_catalog.current_setting('primary_conninfo') !~ '(dbname\\s*=|://[^/]*/.)' ELSE false END";

bool health_failover(struct connection *conn, struct health_failover *out, struct error *err) {
  struct rows *rows = connection_query(conn, failover_sql, 0, NULL, err);
  if (rows == NULL)
    return error_wrap(err, "reading the settings of a failover");
  struct health_failover found = {.synchronises = rows_bool(rows, 0, 2),
                                  .feedback = rows_bool(rows, 0, 3),
                                  .primary_slot = rows_bool(rows, 0, 4),
                                  .without_db = rows_bool(rows, 0, 5)};
  copy_cell(found.awaited, sizeof found.awaited, rows, 0, 0);
  copy_cell(found.absent, sizeof found.absent, rows, 0, 1);
  rows_free(rows);
  *out = found;
  return true;
}

bool health_readers(struct connection *conn, const char *application_name, struct health_reader **readers, int *count,
                    struct error *err) {
  struct rows *rows = connection_query(
      conn,
      "SELECT a.pid, pg_catalog.host(a.client_addr), pg_catalog.to_char(a.backend_start AT TIME ZONE 'UTC', " RFC3339
      ") FROM pg_catalog.pg_stat_activity a WHERE a.application_name = $1 AND a.backend_type = 'walsender' "
      "AND NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots s WHERE s.active_pid = a.pid AND s.temporary) "
      "ORDER BY a.backend_start, a.pid",
      1, &application_name, err);
  if (rows == NULL)
    return error_wrap(err, "looking for instances");
  struct health_reader *found = memory_alloc((size_t)rows_count(rows) * sizeof *found);
  for (int i = 0; i < rows_count(rows); i++) {
    found[i].pid = (int)cell_number(rows, i, 0);
    copy_cell(found[i].address, sizeof found[i].address, rows, i, 1);
    copy_cell(found[i].since, sizeof found[i].since, rows, i, 2);
  }
  *readers = found;
  *count = rows_count(rows);
  rows_free(rows);
  return true;
}

/* A CHECK bounds the payload where it is about its column alone and compares a length of it with a number. */
static const char table_sql[] =
    "SELECT pg_catalog.pg_has_role(c.relowner, 'USAGE'), a.attname, "
    "pg_catalog.format_type(a.atttypid, NULL), a.attnotnull, "
    "(SELECT min((pg_catalog.regexp_match(pg_catalog.pg_get_constraintdef(k.oid), "
    "    '(?:length|pg_column_size)\\(.*\\)\\s*<=?\\s*\\(?(\\d{1,18})'))[1]::bigint) "
    "  FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_attribute p ON p.attrelid = c.oid AND p.attname = $3 "
    "  WHERE k.conrelid = c.oid AND k.contype = 'c' AND k.conkey = ARRAY[p.attnum]) "
    "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
    "WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p') ORDER BY a.attnum";

bool health_table(struct connection *conn, const char *schema, const char *table, const char *payload_column,
                  struct health_table *out, struct error *err) {
  struct rows *rows = connection_query(conn, table_sql, 3, (const char *[]){schema, table, payload_column}, err);
  if (rows == NULL)
    return error_wrap(err, "reading the columns of %s.%s", schema, table);
  struct health_table found = {.column_count = rows_count(rows)};
  found.columns = memory_alloc((size_t)found.column_count * sizeof *found.columns);
  for (int i = 0; i < found.column_count; i++) {
    struct health_column *column = &found.columns[i];
    copy_cell(column->name, sizeof column->name, rows, i, 1);
    copy_cell(column->type, sizeof column->type, rows, i, 2);
    column->not_null = rows_bool(rows, i, 3);
  }
  if (found.column_count > 0) {
    found.owned = rows_bool(rows, 0, 0);
    int64_t limit = cell_number(rows, 0, 4);
    found.payload_max = limit > 0 ? limit : 0;
  }
  rows_free(rows);
  *out = found;
  return true;
}

void health_table_free(struct health_table *table) {
  free(table->columns);
  *table = (struct health_table){.columns = NULL};
}

bool health_try_plugin(struct connection *conn, const char *plugin, struct error *err) {
  if (!connection_set_timeout(conn, TRY_PLUGIN_MS, err))
    return false;
  char *slot = memory_format("walferry_check_%d", (int)getpid());
  struct rows *rows =
      connection_query(conn, "SELECT slot_name FROM pg_catalog.pg_create_logical_replication_slot($1, $2, true)", 2,
                       (const char *[]){slot, plugin}, err);
  /* 57014: it was waiting for open transactions; the error has dropped the slot. */
  bool ok = rows != NULL || strcmp(connection_sqlstate(conn), "57014") == 0;
  if (!ok) {
    plugin_is_refused(connection_sqlstate(conn), err);
    error_wrap(err, "loading %s", plugin);
  }
  if (rows != NULL) {
    rows_free(rows);
    rows = connection_query(conn, "SELECT pg_catalog.pg_drop_replication_slot($1)", 1, (const char *[]){slot}, err);
    ok = rows != NULL;
  }
  rows_free(rows);
  free(slot);
  return ok;
}
