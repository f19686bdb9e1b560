/* See facts.h. */
#include "bridge/relay/facts.h"

#include <stdlib.h>
#include <string.h>

#include "bridge/base/buffer.h"
#include "bridge/base/memory.h"

#define OLDEST_SERVER 150000

void facts_free(struct facts *f) {
  catalog_publication_free(&f->publication);
}

/* Whether a comma-separated list of library names holds one. */
static bool list_has(const char *list, const char *name) {
  size_t len = strlen(name);
  for (const char *at = list; (at = strstr(at, name)) != NULL; at += len) {
    bool starts = at == list || at[-1] == ',' || at[-1] == ' ' || at[-1] == '"';
    bool ends = at[len] == '\0' || at[len] == ',' || at[len] == ' ' || at[len] == '"';
    if (starts && ends)
      return true;
  }
  return false;
}

bool facts_server(struct facts *f, struct connection *conn, const struct relay_settings *settings, struct error *err) {
  if (!catalog_server(conn, &f->server, err))
    return false;
  f->admit.slot_name = settings->slot;
  f->admit.plugin = settings->plugin;
  f->admit.publication_name = settings->publication;
  f->admit.database = f->server.database;
  f->admit.database_oid = f->server.database_oid;
  f->admit.publication = &f->publication;
  f->admit.fingerprint = intake_fingerprint(&settings->intake, settings->plugin);
  if (f->server.version < OLDEST_SERVER) {
    error_refuse(err, "server_too_old", "the server is Postgres %d", f->server.version / 10000);
    return error_remedy(err, "walferry needs Postgres 15 or newer");
  }
  if (strcmp(f->server.wal_level, "logical") != 0) {
    error_refuse(err, "wal_level", "the server's wal_level is %s", f->server.wal_level);
    return error_remedy(err, "ALTER SYSTEM SET wal_level = logical, then restart the server");
  }
  if (f->server.plugin_list_known && !list_has(f->server.plugin_list, settings->plugin)) {
    error_refuse(err, "plugin_not_allowed", "the server's output_plugin_libraries (%s) does not list %s",
                 f->server.plugin_list, settings->plugin);
    return error_remedy(err, "ALTER SYSTEM SET output_plugin_libraries = pgoutput, test_decoding, wal2json (the list "
                             "unquoted), then SELECT pg_reload_conf()");
  }
  return true;
}

bool facts_publication(struct facts *f, struct connection *conn, const struct relay_settings *settings,
                       struct error *err) {
  int count = settings->intake.table_count;
  const char *(*tables)[2] = memory_alloc((size_t)count * sizeof *tables);
  for (int i = 0; i < count; i++) {
    tables[i][0] = settings->intake.tables[i].schema;
    tables[i][1] = settings->intake.tables[i].table;
  }
  catalog_publication_free(&f->publication);
  f->publication = (struct catalog_publication){.exists = false};
  bool ok =
      catalog_publication(conn, settings->publication, count, (const char *const(*)[2])tables, &f->publication, err);
  free(tables);
  return ok;
}

/* The columns that the config names for a table, for whatever; names has room for all, and a NULL behind them. */
static void name_columns(const struct table_spec *table, const char **names) {
  int used = 0;
  for (enum event_field field = 0; field < FIELD_COUNT; field++)
    if (table->columns[field] != NULL)
      names[used++] = table->columns[field];
  for (int i = 0; i < table->header_count; i++)
    names[used++] = table->headers[i].column;
}

bool facts_check_publication(const struct facts *f, const struct relay_settings *settings, struct error *err) {
  int count = settings->intake.table_count;
  const char ***required = memory_alloc((size_t)(count + 1) * sizeof *required);
  for (int i = 0; i < count; i++) {
    const struct table_spec *table = &settings->intake.tables[i];
    required[i] = memory_alloc((size_t)(FIELD_COUNT + table->header_count + 1) * sizeof **required);
    name_columns(table, required[i]);
  }
  bool ok = admit_publication(settings->publication, &f->publication, (const char *const *const *)required, err);
  for (int i = 0; i < count; i++)
    free(required[i]);
  free(required);
  return ok;
}

static void append_identifier(struct buffer *sql, const char *name) {
  buffer_append_char(sql, '"');
  for (const char *c = name; *c != '\0'; c++) {
    if (*c == '"')
      buffer_append_char(sql, '"');
    buffer_append_char(sql, *c);
  }
  buffer_append_char(sql, '"');
}

char *facts_publication_sql(const struct relay_settings *settings) {
  struct buffer sql;
  buffer_init(&sql, BUFFER_MAX_ROW);
  buffer_append_text(&sql, "CREATE PUBLICATION ");
  append_identifier(&sql, settings->publication);
  for (int i = 0; i < settings->intake.table_count; i++) {
    buffer_append_text(&sql, i == 0 ? " FOR TABLE " : ", ");
    append_identifier(&sql, settings->intake.tables[i].schema);
    buffer_append_char(&sql, '.');
    append_identifier(&sql, settings->intake.tables[i].table);
  }
  buffer_append_text(&sql, " WITH (publish = 'insert', publish_via_partition_root = true)");
  buffer_append_char(&sql, '\0');
  return sql.data;
}

bool facts_create_publication(struct connection *conn, const struct relay_settings *settings, struct error *err) {
  char *sql = facts_publication_sql(settings);
  bool ok = connection_run(conn, sql, err);
  free(sql);
  if (!ok && strcmp(connection_sqlstate(conn), "42710") == 0) /* another instance was faster */
    return true;
  if (!ok && err->kind == ERROR_CONFIG)
    error_remedy(err, "run `walferry init` with --admin and the connection string of a role that owns the tables");
  return ok || error_wrap(err, "creating publication %s", settings->publication);
}
