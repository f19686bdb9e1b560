/* Publication and tables. See check_parts.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/memory.h"
#include "bridge/ops/check_parts.h"
#include "bridge/ops/init_sql.h"
#include "bridge/relay/tidy_table.h"

static const struct health_column *find_column(const struct health_table *table, const char *name) {
  for (int i = 0; i < table->column_count; i++)
    if (strcmp(table->columns[i].name, name) == 0)
      return &table->columns[i];
  return NULL;
}

/* Columns that the config names are judged with the publication; these are the defaults that must be there too. */
static const struct health_column *require_column(const struct table_spec *spec, const struct health_table *table,
                                                  enum event_field field, struct error *err) {
  const char *name = init_column(spec, field);
  const struct health_column *column = find_column(table, name);
  if (column != NULL)
    return column;
  error_refuse(err, "column_missing", "table %s.%s has no column %s (%s)", spec->schema, spec->table, name,
               event_field_name(field));
  error_remedy(err, "add the column, or name another one in relay.tables[].columns");
  return NULL;
}

static bool payload_type_is_fit(const char *type) {
  static const char *const fit[] = {"json", "jsonb", "text", "bytea", "character varying"};
  for (size_t i = 0; i < sizeof fit / sizeof fit[0]; i++)
    if (strcmp(type, fit[i]) == 0)
      return true;
  return false;
}

/* Optional columns count wherever they are, also in a table that was made for something else. */
static char *optional_columns(const struct table_spec *spec, const struct health_table *table) {
  char *text = memory_format("%s", "");
  for (enum event_field field = FIELD_OCCURRED_AT; field < FIELD_COUNT; field++) {
    const char *name = init_column(spec, field);
    if (find_column(table, name) == NULL)
      continue;
    char *longer = memory_format("%s%s%s", text, text[0] == '\0' ? "; used as well: " : ", ", name);
    free(text);
    text = longer;
  }
  return text;
}

static void check_columns(struct check *c, const struct table_spec *spec, const struct health_table *table,
                          const char *name) {
  struct error err;
  const struct health_column *id = require_column(spec, table, FIELD_ID, &err);
  const struct health_column *payload = id == NULL ? NULL : require_column(spec, table, FIELD_PAYLOAD, &err);
  if (payload == NULL || require_column(spec, table, FIELD_TYPE, &err) == NULL ||
      require_column(spec, table, FIELD_KEY, &err) == NULL ||
      require_column(spec, table, FIELD_AGGREGATE, &err) == NULL)
    check_fail(&c->report, name, &err);
  else if (!payload_type_is_fit(payload->type))
    check_warn(&c->report, name, "use jsonb, json, text or bytea",
               "the payload %s is of type %s: what of it is no JSON goes to quarantine", payload->name, payload->type);
  else if (!id->not_null)
    check_warn(&c->report, name, "ALTER TABLE ... ALTER COLUMN ... SET NOT NULL",
               "the id %s may be NULL: such rows go to quarantine", id->name);
  else {
    char *optional = optional_columns(spec, table);
    check_ok(&c->report, name, "id: %s %s; payload: %s %s%s", id->name, id->type, payload->name, payload->type,
             optional);
    free(optional);
  }
}

static void check_size(struct check *c, const struct table_spec *spec, const struct health_table *table,
                       const char *name) {
  if (table->payload_max > 0) {
    check_ok(&c->report, name, "payloads of up to %" PRId64 " bytes", table->payload_max);
    return;
  }
  char *remedy = memory_format("ALTER TABLE %s.%s ADD CONSTRAINT payload_size CHECK (octet_length(%s::text) <= %d)",
                               spec->schema, spec->table, init_column(spec, FIELD_PAYLOAD), INIT_PAYLOAD_MAX_BYTES);
  check_warn(&c->report, name, remedy,
             "no CHECK bounds the payload: a row near 500 MB cannot be decoded and stops the relay (row_undecodable)");
  free(remedy);
}

static void check_shape(struct check *c, int i, bool *owned) {
  const struct table_spec *spec = &c->settings->intake.tables[i];
  char *columns = memory_format("columns of %s.%s", spec->schema, spec->table);
  char *size = memory_format("size check of %s.%s", spec->schema, spec->table);
  struct health_table table = {.columns = NULL};
  struct error err;
  if (!health_table(c->conn, spec->schema, spec->table, init_column(spec, FIELD_PAYLOAD), &table, &err)) {
    check_fail(&c->report, columns, &err);
  } else if (table.column_count > 0) { /* a missing table is told with the publication */
    check_columns(c, spec, &table, columns);
    check_size(c, spec, &table, size);
    *owned &= table.owned;
    if (i == 0 || table.payload_max == 0 || (c->payload_max != 0 && table.payload_max > c->payload_max))
      c->payload_max = table.payload_max;
  }
  health_table_free(&table);
  free(columns);
  free(size);
}

static void check_after_publish(struct check *c, int i) {
  const struct table_spec *spec = &c->settings->intake.tables[i];
  if (!table_is_tidied(spec))
    return;
  char *name = memory_format("after_publish of %s.%s", spec->schema, spec->table);
  struct tidy_table table;
  struct error err;
  if (!tidy_table_look(c->conn, spec, &table, &err) || !tidy_table_judge(&table, c->health.role, &err))
    check_fail(&c->report, name, &err);
  else if (table.exists && !table.indexed)
    check_warn(&c->report, name, "CREATE INDEX on the id, or make it the primary key",
               "no index begins with the id: each batch of rows is looked for in the whole table");
  else if (table.exists)
    check_ok(&c->report, name, "%s", spec->after_publish == AFTER_PUBLISH_MARK ? "mark" : "delete");
  free(name);
}

/* Is there a partition for tomorrow? Rows of a day that has none go to the default partition, and stay there. */
static bool look_ahead(struct check *c, const struct table_spec *spec, bool *ready, struct error *err) {
  struct rows *rows = connection_query(
      c->conn,
      "SELECT pg_catalog.to_regclass(pg_catalog.format('%I.%I', $1::text, pg_catalog.left($2::text, 54) || "
      "pg_catalog.to_char(pg_catalog.timezone('UTC', pg_catalog.now()) + interval '1 day', '_YYYYMMDD'))) IS NOT NULL",
      2, (const char *[]){spec->schema, spec->table}, err);
  *ready = rows != NULL && rows_bool(rows, 0, 0);
  rows_free(rows);
  return rows != NULL;
}

static void check_days(struct check *c, int i) {
  const struct table_spec *spec = &c->settings->intake.tables[i];
  const struct catalog_publication_table *table = &c->facts.publication.tables[i];
  if (!spec->by_day || !table->exists)
    return;
  char *name = memory_format("partitions of %s.%s", spec->schema, spec->table);
  bool ahead;
  struct error err;
  if (!table->partitioned)
    check_warn(&c->report, name, "docs/operations.md, \"Partitions by day\", says how to go over",
               "partition_by: day, but the table is not partitioned");
  else if (!look_ahead(c, spec, &ahead, &err))
    check_fail(&c->report, name, &err);
  else if (!ahead)
    check_warn(&c->report, name, "have walferry.outbox_partitions called once a day",
               "none is there for tomorrow: its rows would go to the default partition, and stay there");
  else
    check_ok(&c->report, name, "made ahead");
  free(name);
}

/* With a plugin that reads no publication, the tables are judged by themselves. */
static bool reads_publication(const struct check *c) {
  return c->settings->publication != NULL;
}

/* A start makes the publication only together with the slot. */
static bool may_be_made(const struct check *c) {
  return c->settings->create && c->slot_known && !c->facts.admit.slot.exists;
}

static void check_missing_publication(struct check *c, bool owned) {
  struct error err;
  if (!may_be_made(c)) {
    facts_check_publication(&c->facts, c->settings, &err);
    check_fail(&c->report, "publication", &err);
  } else if (!owned || !c->health.may_create) {
    error_set(&err, ERROR_CONFIG, "publication %s does not exist, and %s may not make it: that takes %s",
              c->settings->publication, c->health.role,
              owned ? "CREATE on the database" : "the rights of the tables' owner");
    error_remedy(&err, "run `walferry init CONFIG --admin CONNINFO`");
    check_fail(&c->report, "publication", &err);
  } else {
    check_ok(&c->report, "publication", "%s does not exist yet; the relay makes it", c->settings->publication);
  }
}

static void check_table(struct check *c, int i) {
  const struct catalog_publication_table *table = &c->facts.publication.tables[i];
  char *name = memory_format("table %s.%s", table->schema, table->table);
  struct catalog_publication alone = {.tables = &c->facts.publication.tables[i], .table_count = 1};
  bool published = !reads_publication(c) || (c->facts.publication.exists && c->facts.publication.inserts);
  struct error err;
  if (!(published ? facts_check_table(&c->facts, c->settings, i, &err) : admit_tables(&alone, &err)))
    check_fail(&c->report, name, &err);
  else
    check_ok(&c->report, name, "%s", reads_publication(c) && published ? "published" : "there, and in the WAL");
  free(name);
}

void check_tables(struct check *c) {
  c->report.group = "tables";
  struct error err;
  if (!c->server_known || !facts_check_version(&c->facts, &err)) {
    check_skip(&c->report, "publication", "skipped: %s",
               c->server_known ? "the server is too old" : "the server could not be asked");
    return;
  }
  c->publication_known = facts_publication(&c->facts, c->conn, c->settings, &err);
  if (!c->publication_known) {
    check_fail(&c->report, "publication", &err);
    return;
  }
  bool owned = true;
  const struct catalog_publication *publication = &c->facts.publication;
  for (int i = 0; i < publication->table_count; i++) {
    check_table(c, i);
    check_shape(c, i, &owned);
    check_after_publish(c, i);
    check_days(c, i);
  }
  if (!reads_publication(c)) {
    check_ok(&c->report, "publication", "%s needs none", c->settings->plugin);
    return;
  }
  if (!publication->exists) {
    check_missing_publication(c, owned);
    return;
  }
  struct catalog_publication alone = *publication;
  alone.table_count = 0;
  if (admit_publication(c->settings->publication, &alone, NULL, &err))
    check_ok(&c->report, "publication", "%s publishes inserts", c->settings->publication);
  else
    check_fail(&c->report, "publication", &err);
}
