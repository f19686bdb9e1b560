/* See facts.h. */
#include "bridge/relay/facts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/memory.h"
#include "bridge/postgres/plugin.h"
#include "bridge/postgres/quote.h"
#include "decoders/decoder.h"

#define OLDEST_SERVER 150000
#define STANDBYS_DECODE 160000
#define FAILOVER_SLOTS 170000

void facts_free(struct facts *f) {
  catalog_publication_free(&f->publication);
}

/* One member of a list as Postgres' SplitGUCList reads it: bare, or in double quotes. Returns what stands behind it. */
static const char *list_member(const char *list, char *member, size_t size) {
  list += strspn(list, " \t");
  bool quoted = *list == '"';
  list += quoted ? 1 : 0;
  size_t len = quoted ? strcspn(list, "\"") : strcspn(list, ", \t");
  snprintf(member, size, "%.*s", (int)len, list);
  list += len;
  return list + strcspn(list, ",");
}

enum plugin_listed facts_plugin_listed(const char *list, const char *plugin) {
  enum plugin_listed listed = PLUGIN_NOT_LISTED;
  while (*list != '\0') {
    char member[256];
    list = list_member(list, member, sizeof member);
    list += *list == ',' ? 1 : 0;
    if (strcmp(member, plugin) == 0)
      return PLUGIN_LISTED;
    if (strchr(member, ',') != NULL && facts_plugin_listed(member, plugin) == PLUGIN_LISTED)
      listed = PLUGIN_LIST_QUOTED;
  }
  return listed;
}

/* A plugin that does not convert must not meet texts that are no UTF-8. */
bool facts_check_encoding(const struct facts *f, struct error *err) {
  const struct decoder_class *class = decoder_class_find(f->admit.plugin);
  if (class == NULL || !class->sends_server_encoding || strcmp(f->server.encoding, "UTF8") == 0)
    return true;
  error_refuse(err, "server_encoding", "database %s has the encoding %s, and %s sends texts unconverted",
               f->server.database, f->server.encoding, f->admit.plugin);
  return error_remedy(err, "set postgres.decoder: pgoutput, or move to a database with the encoding UTF8");
}

bool facts_read_server(struct facts *f, struct connection *conn, const struct relay_settings *settings,
                       struct error *err) {
  if (!catalog_server(conn, &f->server, err))
    return false;
  f->admit.slot_name = settings->slot;
  f->admit.plugin = settings->plugin;
  f->admit.publication_name = settings->publication;
  f->admit.database = f->server.database;
  f->admit.database_oid = f->server.database_oid;
  f->admit.publication = &f->publication;
  f->admit.fingerprint = intake_fingerprint(&settings->intake, settings->plugin);
  return true;
}

bool facts_check_version(const struct facts *f, struct error *err) {
  if (f->server.version >= OLDEST_SERVER)
    return true;
  error_refuse(err, "server_too_old", "the server is Postgres %d", f->server.version / 10000);
  return error_remedy(err, "walferry needs Postgres 15 or newer: point postgres.conninfo at such a server, or upgrade "
                           "this one (docs/operations.md, \"Upgrading\")");
}

bool facts_check_wal_level(const struct facts *f, struct error *err) {
  if (strcmp(f->server.wal_level, "logical") == 0)
    return true;
  error_refuse(err, "wal_level", "the server's wal_level is %s", f->server.wal_level);
  return error_remedy(err, "ALTER SYSTEM SET wal_level = logical, then restart the server");
}

bool facts_check_plugin(const struct facts *f, struct error *err) {
  if (!f->server.plugin_list_known)
    return true;
  switch (facts_plugin_listed(f->server.plugin_list, f->admit.plugin)) {
  case PLUGIN_LISTED:
    return true;
  case PLUGIN_NOT_LISTED:
    error_refuse(err, "plugin_not_allowed", "the server's output_plugin_libraries (%s) does not list %s",
                 f->server.plugin_list, f->admit.plugin);
    break;
  case PLUGIN_LIST_QUOTED:
    error_refuse(err, "plugin_not_allowed",
                 "the server's output_plugin_libraries was set as one quoted string: %s is a single name with commas "
                 "in it, so no plugin is allowed, %s neither",
                 f->server.plugin_list, f->admit.plugin);
    break;
  }
  return plugin_remedy_list(err);
}

bool facts_check_failover(const struct facts *f, const struct relay_settings *settings, struct error *err) {
  if (!settings->failover || f->server.version >= FAILOVER_SLOTS)
    return true;
  error_refuse(err, "failover_unsupported", "postgres.failover is set, but the server is Postgres %d",
               f->server.version / 10000);
  return error_remedy(err, "slots are synchronised to standbys from Postgres 17 on; remove postgres.failover");
}

bool facts_check_primary(const struct facts *f, struct error *err) {
  const struct catalog_slot *slot = &f->admit.slot;
  bool own_slot = slot->exists && !slot->synced;
  if (!f->server.in_recovery || (own_slot && f->server.version >= STANDBYS_DECODE))
    return true;
  error_set(err, ERROR_RETRY, "the server is a standby, and slot %s %s", f->admit.slot_name,
            !slot->exists  ? "does not exist on it"
            : slot->synced ? "is synchronised from its primary"
                           : "cannot be read before it is promoted");
  err->code = "server_is_standby";
  return error_remedy(err,
                      "waits until it is promoted. If the primary is another server, point postgres.conninfo at it: "
                      "several hosts, and target_session_attrs=read-write");
}

bool facts_check_failover_slot(const struct facts *f, const struct relay_settings *settings, struct error *err) {
  const struct catalog_slot *slot = &f->admit.slot;
  if (!settings->failover || !f->server.in_recovery || !slot->exists || slot->synced || slot->failover)
    return true;
  error_refuse(err, "failover_unsupported",
               "postgres.failover is set, but slot %s is a standby's own, which cannot be a failover slot",
               f->admit.slot_name);
  return error_remedy(err, "remove postgres.failover as long as the relay reads from a standby, or point "
                           "postgres.conninfo at the primary");
}

bool facts_server(struct facts *f, struct connection *conn, const struct relay_settings *settings, struct error *err) {
  return facts_read_server(f, conn, settings, err) && facts_check_version(f, err) && facts_check_wal_level(f, err) &&
         facts_check_plugin(f, err) && facts_check_encoding(f, err) && facts_check_failover(f, settings, err);
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
  const char *const(*named)[2] = (const char *const(*)[2])tables;
  bool ok = settings->publication == NULL
                ? catalog_tables(conn, count, named, &f->publication, err)
                : catalog_publication(conn, settings->publication, count, named, &f->publication, err);
  free(tables);
  return ok;
}

bool facts_check_table(const struct facts *f, const struct relay_settings *settings, int table, struct error *err) {
  const struct table_spec *spec = &settings->intake.tables[table];
  const char **names = memory_alloc((size_t)(FIELD_COUNT + spec->header_count + 1) * sizeof *names);
  int used = 0;
  for (enum event_field field = 0; field < FIELD_COUNT; field++)
    if (spec->columns[field] != NULL)
      names[used++] = spec->columns[field];
  for (int i = 0; i < spec->header_count; i++)
    names[used++] = spec->headers[i].column;
  struct catalog_publication one = f->publication; /* borrows the table */
  one.tables = &f->publication.tables[table];
  one.table_count = 1;
  const char *const *required[] = {names};
  bool ok = admit_publication(settings->publication, &one, required, err);
  free(names);
  return ok;
}

bool facts_check_publication(const struct facts *f, const struct relay_settings *settings, struct error *err) {
  struct catalog_publication without_tables = {
      .exists = f->publication.exists, .oid = f->publication.oid, .inserts = f->publication.inserts};
  bool ok = admit_publication(settings->publication, &without_tables, NULL, err);
  for (int i = 0; ok && i < f->publication.table_count; i++)
    ok = facts_check_table(f, settings, i, err);
  return ok;
}

char *facts_publication_sql(const struct relay_settings *settings) {
  struct buffer sql;
  buffer_init(&sql, BUFFER_MAX_ROW);
  buffer_append_text(&sql, "CREATE PUBLICATION ");
  quote_identifier(&sql, settings->publication);
  for (int i = 0; i < settings->intake.table_count; i++) {
    buffer_append_text(&sql, i == 0 ? " FOR TABLE " : ", ");
    quote_table(&sql, settings->intake.tables[i].schema, settings->intake.tables[i].table);
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
    error_remedy(err,
                 "run `walferry init CONFIG` with --admin and the connection string of a role that owns the tables");
  return ok || error_wrap(err, "creating publication %s", settings->publication);
}
