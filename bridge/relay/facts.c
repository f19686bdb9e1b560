/* See facts.h. */
#include "bridge/relay/facts.h"

#include <stdlib.h>
#include <string.h>

#include "bridge/base/buffer.h"
#include "bridge/base/memory.h"
#include "decoders/decoder.h"

#define OLDEST_SERVER 150000

void facts_free(struct facts *f) {
  catalog_publication_free(&f->publication);
}

/* Behind the name that starts at `at`, a comma or the end; quotes hold commas together. */
static const char *name_end(const char *at) {
  for (bool quoted = false; *at != '\0' && (quoted || *at != ','); at++)
    quoted = quoted != (*at == '"');
  return at;
}

static bool is_margin(char c) {
  return c == ' ' || c == '"';
}

bool facts_plugin_listed(const char *list, const char *plugin) {
  for (const char *at = list; *at != '\0';) {
    const char *end = name_end(at);
    const char *from = at, *to = end;
    while (from < to && is_margin(*from))
      from++;
    while (from < to && is_margin(to[-1]))
      to--;
    if (slice_is(slice_from(from, (size_t)(to - from)), plugin))
      return true;
    at = *end == ',' ? end + 1 : end;
  }
  return false;
}

/* A plugin that does not convert must not meet texts that are no UTF-8. */
static bool check_encoding(const struct facts *f, const struct relay_settings *settings, struct error *err) {
  const struct decoder_class *class = decoder_class_find(settings->plugin);
  if (class == NULL || !class->sends_server_encoding || strcmp(f->server.encoding, "UTF8") == 0)
    return true;
  error_refuse(err, "server_encoding", "database %s has the encoding %s, and %s sends texts unconverted",
               f->server.database, f->server.encoding, settings->plugin);
  return error_remedy(err, "set postgres.decoder: pgoutput, or move to a database with the encoding UTF8");
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
  if (f->server.plugin_list_known && !facts_plugin_listed(f->server.plugin_list, settings->plugin)) {
    error_refuse(err, "plugin_not_allowed", "the server's output_plugin_libraries (%s) does not list %s",
                 f->server.plugin_list, settings->plugin);
    return error_remedy(err, "ALTER SYSTEM SET output_plugin_libraries = pgoutput, test_decoding, wal2json (the list "
                             "unquoted), then SELECT pg_reload_conf()");
  }
  return check_encoding(f, settings, err);
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

bool facts_check_publication(const struct facts *f, const struct relay_settings *settings, struct error *err) {
  int count = settings->intake.table_count;
  const char *(*names)[FIELD_COUNT + 1] = memory_alloc((size_t)count * sizeof *names);
  const char *const **required = memory_alloc((size_t)(count + 1) * sizeof *required);
  for (int i = 0; i < count; i++) {
    int used = 0;
    for (enum event_field field = 0; field < FIELD_COUNT; field++)
      if (settings->intake.tables[i].columns[field] != NULL)
        names[i][used++] = settings->intake.tables[i].columns[field];
    required[i] = names[i];
  }
  bool ok = admit_publication(settings->publication, &f->publication, required, err);
  free(required);
  free(names);
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
