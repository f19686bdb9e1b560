/* See tidy_table.h. */
#include "bridge/relay/tidy_table.h"

#include <stdio.h>
#include <string.h>

#include "bridge/postgres/quote.h"

static const char CODE_DENIED[] = "after_publish_denied";

/* has_column_privilege knows no columns that are not there: it is asked by number. */
static const char facts_sql[] =
    "SELECT pg_catalog.format_type(i.atttypid, -1), "
    "EXISTS (SELECT FROM pg_catalog.pg_index x WHERE x.indrelid = c.oid AND x.indkey[0] = i.attnum AND x.indisvalid "
    "AND "
    "x.indpred IS NULL), "
    "pg_catalog.format_type(m.atttypid, -1), "
    "pg_catalog.has_column_privilege(c.oid, i.attnum, 'SELECT') AND "
    "coalesce(m.attnum IS NULL OR pg_catalog.has_column_privilege(c.oid, m.attnum, 'SELECT'), true), "
    "CASE WHEN $4 = 'delete' THEN pg_catalog.has_table_privilege(c.oid, 'DELETE') "
    "ELSE coalesce(pg_catalog.has_column_privilege(c.oid, m.attnum, 'UPDATE'), false) END, "
    "pg_catalog.row_security_active(c.oid), c.relkind = 'p', "
    "(SELECT pg_catalog.format('OPERATOR(%I.=)', s.nspname) FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace "
    "s ON s.oid = o.oprnamespace WHERE o.oprname = '=' AND o.oprleft = i.atttypid AND o.oprright = i.atttypid LIMIT 1) "
    "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "JOIN pg_catalog.pg_attribute i ON i.attrelid = c.oid AND i.attname = $3 AND NOT i.attisdropped "
    "LEFT JOIN pg_catalog.pg_attribute m ON m.attrelid = c.oid AND m.attname = $5 AND NOT m.attisdropped AND m.attnum "
    "> 0 AND "
    "m.attgenerated = '' AND $4 = 'mark' "
    "WHERE n.nspname = $1 AND c.relname = $2";

static bool marks(const struct table_spec *spec) {
  return spec->after_publish == AFTER_PUBLISH_MARK;
}

static const char *id_column(const struct table_spec *spec) {
  return event_required_column(spec, FIELD_ID);
}

bool tidy_table_look(struct connection *conn, const struct table_spec *spec, struct tidy_table *out,
                     struct error *err) {
  const char *params[] = {spec->schema, spec->table, id_column(spec), marks(spec) ? "mark" : "delete",
                          spec->published_at};
  struct rows *rows = connection_query(conn, facts_sql, 5, params, err);
  if (rows == NULL)
    return error_wrap(err, "looking at %s.%s", spec->schema, spec->table);
  *out = (struct tidy_table){.spec = spec, .exists = rows_count(rows) > 0};
  if (out->exists) {
    const char *mark_type = rows_text(rows, 0, 2), *equals = rows_text(rows, 0, 7);
    snprintf(out->id_type, sizeof out->id_type, "%s", rows_text(rows, 0, 0));
    snprintf(out->mark_type, sizeof out->mark_type, "%s", mark_type == NULL ? "" : mark_type);
    out->indexed = rows_bool(rows, 0, 1);
    out->may_read = rows_bool(rows, 0, 3);
    out->may_change = rows_bool(rows, 0, 4);
    out->rows_hidden = rows_bool(rows, 0, 5);
    out->partitioned = rows_bool(rows, 0, 6);
    snprintf(out->equals, sizeof out->equals, "%s", equals == NULL ? "=" : equals);
  }
  rows_free(rows);
  return true;
}

/* A remedy that is SQL; the buffer is spent. */
static bool remedy_sql(struct buffer *sql, struct error *err) {
  error_remedy(err, "%.*s", SLICE_ARG(buffer_slice(sql)));
  buffer_free(sql);
  return false;
}

void tidy_table_column_sql(const struct table_spec *spec, struct buffer *sql) {
  buffer_append_text(sql, "ALTER TABLE ");
  quote_table(sql, spec->schema, spec->table);
  buffer_append_text(sql, " ADD COLUMN ");
  quote_identifier(sql, spec->published_at);
  buffer_append_text(sql, " timestamptz");
}

static bool judge_column(const struct tidy_table *table, struct buffer *sql, struct error *err) {
  const struct table_spec *spec = table->spec;
  if (table->mark_type[0] == '\0') {
    error_refuse(err, CODE_DENIED, "after_publish: mark, but table %s.%s has no column \"%s\" that can be set",
                 spec->schema, spec->table, spec->published_at);
    tidy_table_column_sql(spec, sql);
    return false;
  }
  if (strncmp(table->mark_type, "timestamp", strlen("timestamp")) == 0)
    return true;
  error_refuse(err, CODE_DENIED, "after_publish: mark, but column \"%s\" of table %s.%s is of type %s",
               spec->published_at, spec->schema, spec->table, table->mark_type);
  buffer_append_text(sql, "name a column of type timestamptz in relay.tables[].columns.published_at");
  return false;
}

static bool judge_rights(const struct tidy_table *table, const char *role, struct buffer *sql, struct error *err) {
  const struct table_spec *spec = table->spec;
  const char *word = marks(spec) ? "mark" : "delete";
  if (table->may_read && table->may_change && !table->rows_hidden)
    return true;
  if (table->may_read && table->may_change) {
    error_refuse(err, CODE_DENIED, "after_publish: %s, but row security of table %s.%s hides rows from %s", word,
                 spec->schema, spec->table, role);
    buffer_append_text(sql, "as a superuser: ALTER ROLE ");
    quote_identifier(sql, role);
    buffer_append_text(sql, " BYPASSRLS");
    return false;
  }
  error_refuse(err, CODE_DENIED, "after_publish: %s, but %s lacks %s on table %s.%s", word, role,
               !table->may_read ? "SELECT"
               : marks(spec)    ? "UPDATE of the column for the mark"
                                : "DELETE",
               spec->schema, spec->table);
  buffer_append_text(sql, "as its owner: GRANT SELECT, ");
  if (marks(spec)) {
    buffer_append_text(sql, "UPDATE (");
    quote_identifier(sql, spec->published_at);
    buffer_append_char(sql, ')');
  } else {
    buffer_append_text(sql, "DELETE");
  }
  buffer_append_text(sql, " ON ");
  quote_table(sql, spec->schema, spec->table);
  buffer_append_text(sql, " TO ");
  quote_identifier(sql, role);
  return false;
}

bool tidy_table_judge(const struct tidy_table *table, const char *role, struct error *err) {
  if (!table->exists)
    return true;
  struct buffer remedy;
  buffer_init(&remedy, BUFFER_MAX_ROW);
  if ((marks(table->spec) && !judge_column(table, &remedy, err)) || !judge_rights(table, role, &remedy, err))
    return remedy_sql(&remedy, err);
  buffer_free(&remedy);
  return true;
}

static bool refuse_standby(const struct table_spec *spec, struct error *err) {
  error_refuse(err, CODE_DENIED,
               "after_publish: %s, but the server is a standby: rows of %s.%s cannot be changed there",
               marks(spec) ? "mark" : "delete", spec->schema, spec->table);
  return error_remedy(err, "set relay.after_publish: keep as long as the relay reads from a standby, or point "
                           "postgres.conninfo at the primary");
}

static bool check_table(struct connection *conn, const struct table_spec *spec, struct error *err) {
  struct tidy_table table;
  if (!tidy_table_look(conn, spec, &table, err))
    return false;
  struct rows *rows = connection_query(conn, "SELECT current_user, pg_catalog.pg_is_in_recovery()", 0, NULL, err);
  bool ok = rows != NULL &&
            (rows_bool(rows, 0, 1) ? refuse_standby(spec, err) : tidy_table_judge(&table, rows_text(rows, 0, 0), err));
  rows_free(rows);
  return ok;
}

bool tidy_tables_check(struct connection *conn, const struct table_spec *tables, int count, struct error *err) {
  for (int i = 0; i < count; i++)
    if (table_is_tidied(&tables[i]) && !check_table(conn, &tables[i], err))
      return false;
  return true;
}

void tidy_table_sql(const struct tidy_table *table, struct buffer *sql) {
  const struct table_spec *spec = table->spec;
  buffer_append_text(sql, marks(spec) ? "UPDATE " : "DELETE FROM ");
  if (!table->partitioned) /* rows of tables that inherit from it are not published */
    buffer_append_text(sql, "ONLY ");
  quote_table(sql, spec->schema, spec->table);
  if (marks(spec)) {
    buffer_append_text(sql, " SET ");
    quote_identifier(sql, spec->published_at);
    buffer_append_text(sql, " = now()");
  }
  buffer_append_text(sql, " WHERE ");
  quote_identifier(sql, id_column(spec));
  buffer_printf(sql, " %s ANY ($1::%s[])", table->equals, table->id_type);
  if (marks(spec)) {
    buffer_append_text(sql, " AND ");
    quote_identifier(sql, spec->published_at);
    buffer_append_text(sql, " IS NULL");
  }
  buffer_append_char(sql, '\0');
}

void tidy_table_append_id(struct buffer *array, struct slice id) {
  buffer_append_text(array, array->len == 0 ? "{\"" : ",\"");
  size_t from = 0;
  for (size_t i = 0; i < id.len; i++)
    if (id.data[i] == '"' || id.data[i] == '\\') {
      buffer_append(array, id.data + from, i - from);
      buffer_append_char(array, '\\');
      from = i;
    }
  buffer_append(array, id.data + from, id.len - from);
  buffer_append_char(array, '"');
}
