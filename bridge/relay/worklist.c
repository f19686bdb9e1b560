/* See worklist.h. */
#include "bridge/relay/worklist.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/buffer.h"
#include "bridge/base/memory.h"
#include "bridge/base/number.h"
#include "bridge/postgres/quote.h"
#include "decoders/relation.h"

#define PAGE_ROWS 10000 /* a statement's snapshot holds back vacuum: none is kept for long */
#define SCHEMA "walferry"
#define TABLE_PREFIX "snapshot_"
#define LOCK_TIMEOUT "SET lock_timeout = '1s'" /* pg_dump holds its locks for hours */

struct part { /* an outbox table's share */
  char *table;
  struct relation *relation; /* the outbox table's name, the copy's columns; NULL until found */
  uint64_t first, count;
};

struct worklist {
  struct worklist_settings settings;
  struct rowstream *rs;
  struct part *parts;
  char *comment;
  struct value *values;
  int value_capacity;
  uint64_t next;     /* the ordinal that comes next, */
  uint64_t page_end; /* where the statement under way ends; at or below next: there is none */
};

bool worklist_holds(const struct relation *relation) {
  return strcmp(relation->schema, SCHEMA) == 0 && strncmp(relation->table, TABLE_PREFIX, strlen(TABLE_PREFIX)) == 0 &&
         relation->column_count > 0 && strcmp(relation->columns[0].name, WORKLIST_ORDINAL) == 0;
}

static char *comment_of(const char *owner) {
  return memory_format("work list of walferry, slot %s", owner);
}

struct worklist *worklist_open(const struct worklist_settings *settings, uint64_t id, struct error *err) {
  struct rowstream *rs = rowstream_open(settings->conninfo, settings->name, settings->wait, err);
  if (rs == NULL)
    return NULL;
  struct worklist *list = memory_alloc(sizeof *list);
  list->settings = *settings;
  list->rs = rs;
  list->comment = comment_of(settings->owner);
  list->parts = memory_alloc((size_t)settings->table_count * sizeof *list->parts);
  for (int i = 0; i < settings->table_count; i++)
    list->parts[i] = (struct part){.table = memory_format(TABLE_PREFIX "%" PRIx64 "_%d", id, i)};
  return list;
}

void worklist_close(struct worklist *list) {
  if (list == NULL)
    return;
  rowstream_close(list->rs);
  for (int i = 0; i < list->settings.table_count; i++) {
    free(list->parts[i].table);
    relation_free(list->parts[i].relation);
  }
  free(list->parts);
  free(list->values);
  free(list->comment);
  free(list);
}

/* Runs what is in sql, and clears it. */
static bool run(struct worklist *list, struct buffer *sql, int64_t *rows, struct error *err) {
  buffer_append_char(sql, '\0');
  bool ok = rowstream_run(list->rs, sql->data, rows, err);
  buffer_clear(sql);
  return ok;
}

static bool run_text(struct worklist *list, const char *sql, int64_t *rows, struct error *err) {
  return rowstream_run(list->rs, sql, rows, err);
}

/* Name, role, whether ours may drop it. */
static void append_owned(struct buffer *sql, const char *owner) {
  char *comment = comment_of(owner);
  buffer_append_text(sql,
                     "SELECT c.relname, pg_get_userbyid(c.relowner), pg_has_role(c.relowner, 'USAGE') OR "
                     "pg_has_role(n.nspowner, 'USAGE') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                     "WHERE n.nspname = '" SCHEMA "' AND c.relkind = 'r' AND "
                     "obj_description(c.oid, 'pg_class') = ");
  quote_literal(sql, comment);
  free(comment);
}

static void append_drop(struct buffer *sql, const char *table) {
  buffer_append_text(sql, sql->len == 0 ? "DROP TABLE IF EXISTS " : ", ");
  quote_table(sql, SCHEMA, table);
}

static bool fail_foreign(const struct slice *values, struct error *err) {
  error_set(err, ERROR_CONFIG, "the earlier work list " SCHEMA ".%.*s belongs to %.*s", SLICE_ARG(values[0]),
            SLICE_ARG(values[1]));
  return error_remedy(err, "as that role, or as a superuser: DROP TABLE " SCHEMA ".%.*s", SLICE_ARG(values[0]));
}

/* What the owner's earlier attempts left. */
static bool drop_earlier(struct worklist *list, struct buffer *sql, struct error *err) {
  append_owned(sql, list->settings.owner);
  buffer_append_char(sql, '\0');
  bool ok = rowstream_query(list->rs, sql->data, err);
  buffer_clear(sql);
  const struct slice *values;
  for (int columns = 1; ok && columns > 0;) {
    ok = rowstream_next(list->rs, &values, &columns, err);
    if (!ok || columns == 0)
      continue;
    if (!slice_is(values[2], "t"))
      return fail_foreign(values, err);
    char *table = memory_copy(values[0].data, values[0].len);
    append_drop(sql, table);
    free(table);
  }
  return ok && (sql->len == 0 || run(list, sql, NULL, err));
}

static bool has_column(const struct catalog_publication_table *facts, const char *column) {
  for (int i = 0; i < facts->column_count; i++)
    if (strcmp(facts->columns[i], column) == 0)
      return true;
  return false;
}

bool worklist_suits(const struct catalog_publication *facts, struct error *err) {
  for (int i = 0; i < facts->table_count; i++) {
    const struct catalog_publication_table *t = &facts->tables[i];
    if (!has_column(t, WORKLIST_ORDINAL))
      continue;
    error_set(err, ERROR_CONFIG, "table %s.%s has a column " WORKLIST_ORDINAL ", as the work list of a snapshot has",
              t->schema, t->table);
    return error_remedy(err, "rename that column, or start without --snapshot");
  }
  return true;
}

/* The time first, where the table has it: rows of one key then most likely stand as they were committed. */
static void append_order(struct buffer *sql, const struct table_spec *spec,
                         const struct catalog_publication_table *facts) {
  const char *configured = spec->columns[FIELD_OCCURRED_AT];
  const char *occurred_at = configured != NULL ? configured : event_field_name(FIELD_OCCURRED_AT);
  if (has_column(facts, occurred_at)) {
    quote_identifier(sql, occurred_at);
    buffer_append_text(sql, ", ");
  }
  quote_identifier(sql, event_required_column(spec, FIELD_ID));
}

/* Rows of a table that others inherit from are published without theirs, those of a partitioned one with all. */
static void append_copy(struct buffer *sql, const struct part *part, const struct table_spec *spec,
                        const struct catalog_publication_table *facts, bool leave_marked) {
  buffer_append_text(sql, "CREATE TABLE ");
  quote_table(sql, SCHEMA, part->table);
  buffer_append_text(sql, " AS SELECT row_number() OVER (ORDER BY ");
  append_order(sql, spec, facts);
  buffer_printf(sql, ") + %" PRIu64 " - 1 AS " WORKLIST_ORDINAL, part->first);
  for (int i = 0; i < facts->column_count; i++) {
    buffer_append_text(sql, ", ");
    quote_identifier(sql, facts->columns[i]);
  }
  buffer_append_text(sql, facts->partitioned ? " FROM " : " FROM ONLY ");
  quote_table(sql, spec->schema, spec->table);
  if (!leave_marked || spec->after_publish != AFTER_PUBLISH_MARK)
    return;
  buffer_append_text(sql, " WHERE ");
  quote_identifier(sql, spec->published_at);
  buffer_append_text(sql, " IS NULL");
}

static bool copy_table(struct worklist *list, int i, const struct catalog_publication_table *facts, struct buffer *sql,
                       struct error *err) {
  struct part *part = &list->parts[i];
  const struct table_spec *spec = &list->settings.tables[i];
  int64_t rows = 0;
  append_copy(sql, part, spec, facts, list->settings.leave_marked);
  if (!run(list, sql, &rows, err))
    return error_wrap(err, "copying the rows of %s.%s", spec->schema, spec->table);
  part->count = (uint64_t)rows;
  buffer_append_text(sql, "ALTER TABLE ");
  quote_table(sql, SCHEMA, part->table);
  buffer_append_text(sql, " ADD PRIMARY KEY (" WORKLIST_ORDINAL ")");
  if (!run(list, sql, NULL, err))
    return false;
  buffer_append_text(sql, "COMMENT ON TABLE ");
  quote_table(sql, SCHEMA, part->table);
  buffer_append_text(sql, " IS ");
  quote_literal(sql, list->comment);
  return run(list, sql, NULL, err);
}

static bool begin(struct worklist *list, const char *snapshot, struct buffer *sql, struct error *err) {
  if (!run_text(list, "BEGIN ISOLATION LEVEL REPEATABLE READ", NULL, err))
    return false;
  if (snapshot != NULL) {
    buffer_append_text(sql, "SET TRANSACTION SNAPSHOT ");
    quote_literal(sql, snapshot);
    if (!run(list, sql, NULL, err)) {
      if (err->kind == ERROR_FATAL) /* whoever exported it is gone: 22023, 42704, 55000 */
        err->kind = ERROR_START_OVER;
      return false;
    }
  }
  int64_t there;
  return run_text(list, "SELECT FROM pg_namespace WHERE nspname = '" SCHEMA "'", &there, err) &&
         (there > 0 || run_text(list, "CREATE SCHEMA " SCHEMA, NULL, err));
}

/* Until the end of the transaction no table, or partition of one, is rewritten, emptied, attached or detached. */
static bool lock_tables(struct worklist *list, const struct catalog_publication *facts, struct buffer *sql,
                        struct error *err) {
  for (int i = 0; i < list->settings.table_count; i++) {
    buffer_append_text(sql, i == 0 ? "LOCK TABLE " : ", ");
    buffer_append_text(sql, facts->tables[i].partitioned ? "" : "ONLY ");
    quote_table(sql, list->settings.tables[i].schema, list->settings.tables[i].table);
  }
  buffer_append_text(sql, " IN ACCESS SHARE MODE");
  return list->settings.table_count == 0 || run(list, sql, NULL, err);
}

/* Is the table still made of the files that the snapshot knows? Those of a later TRUNCATE, a rewriting ALTER TABLE or
 * an attached partition hold no row that it shows. Queries see pg_class and pg_inherits as of the snapshot, functions
 * as they are now. */
static bool check_files(struct worklist *list, const struct table_spec *spec, struct buffer *sql, struct error *err) {
  struct buffer name;
  buffer_init(&name, BUFFER_MAX_ROW);
  quote_table(&name, spec->schema, spec->table);
  buffer_append_char(&name, '\0');
  buffer_append_text(sql, "WITH RECURSIVE root AS (SELECT to_regclass(");
  quote_literal(sql, name.data);
  buffer_append_text(sql,
                     ") AS oid), before AS (SELECT c.oid, c.relkind, c.relfilenode FROM pg_class c JOIN root USING "
                     "(oid) UNION ALL SELECT c.oid, c.relkind, c.relfilenode FROM before JOIN pg_inherits i ON "
                     "i.inhparent = before.oid AND before.relkind = 'p' AND NOT i.inhdetachpending "
                     "JOIN pg_class c ON c.oid = i.inhrelid), "
                     "now AS (SELECT oid FROM root UNION SELECT relid FROM root, pg_partition_tree(root.oid)) "
                     "SELECT FROM before FULL JOIN now USING (oid) "
                     "WHERE relfilenode IS DISTINCT FROM coalesce(pg_relation_filenode(now.oid), 0)");
  buffer_free(&name);
  int64_t differing;
  if (!run(list, sql, &differing, err))
    return false;
  return differing == 0 || error_set(err, ERROR_START_OVER, "table %s.%s was rewritten after the slot was made",
                                     spec->schema, spec->table);
}

static bool fail_fill(const struct worklist *list, struct error *err) {
  const char *state = rowstream_sqlstate(list->rs);
  /* the table, the schema, or the row of such a name, is there, though not in the snapshot */
  if (strcmp(state, "42P07") == 0 || strcmp(state, "42P06") == 0 || strcmp(state, "23505") == 0)
    err->kind = ERROR_START_OVER;
  if (err->kind == ERROR_CONFIG && err->remedy[0] == '\0')
    error_remedy(err, "`walferry init CONFIG --snapshot` with --admin grants what is missing: CREATE on the schema "
                      "walferry, and SELECT on the outbox tables; where those have row level security the role needs "
                      "BYPASSRLS");
  return error_wrap(err, "making the work list");
}

bool worklist_fill(struct worklist *list, const struct catalog_publication *facts, const char *snapshot, uint64_t *rows,
                   struct error *err) {
  struct buffer sql;
  buffer_init(&sql, BUFFER_MAX_ROW);
  uint64_t count = 0;
  bool ok = begin(list, snapshot, &sql, err) && lock_tables(list, facts, &sql, err) && drop_earlier(list, &sql, err);
  for (int i = 0; ok && i < list->settings.table_count; i++)
    ok = check_files(list, &list->settings.tables[i], &sql, err);
  for (int i = 0; ok && i < list->settings.table_count; i++) {
    list->parts[i].first = count;
    ok = copy_table(list, i, &facts->tables[i], &sql, err);
    count += list->parts[i].count;
  }
  ok = ok && run_text(list, "COMMIT", NULL, err);
  buffer_free(&sql);
  if (!ok)
    return fail_fill(list, err);
  *rows = count;
  return true;
}

/* The rows of a question about the catalogs, handed to take. */
static bool ask(struct worklist *list, struct buffer *sql, void (*take)(struct part *part, const struct slice *values),
                struct part *part, int *rows, struct error *err) {
  buffer_append_char(sql, '\0');
  bool ok = rowstream_query(list->rs, sql->data, err);
  buffer_clear(sql);
  const struct slice *values;
  *rows = 0;
  for (int columns = 1; ok && columns > 0;) {
    ok = rowstream_next(list->rs, &values, &columns, err);
    if (!ok || columns == 0)
      continue;
    take(part, values);
    ++*rows;
  }
  return ok;
}

static uint64_t number(struct slice text) {
  uint64_t value = 0;
  number_parse_u64(text, UINT64_MAX, &value);
  return value;
}

/* position, attname, atttypid */
static void take_column(struct part *part, const struct slice *values) {
  relation_set_column(part->relation, (int)number(values[0]) - 1, values[1], (uint32_t)number(values[2]));
}

/* the smallest, NULL of an empty table; how many: with one missing, they are not those that were told to be there */
static void take_range(struct part *part, const struct slice *values) {
  if (!slice_present(values[0]))
    return;
  part->first = number(values[0]);
  part->count = number(values[1]);
}

static void take_count(struct part *part, const struct slice *values) {
  part->count = number(values[0]);
}

static void append_columns(struct buffer *sql, const char *select, const struct part *part) {
  buffer_printf(sql, "SELECT %s FROM pg_attribute WHERE attnum > 1 AND attrelid = to_regclass(", select);
  struct buffer name;
  buffer_init(&name, BUFFER_MAX_ROW);
  quote_table(&name, SCHEMA, part->table);
  buffer_append_char(&name, '\0');
  quote_literal(sql, name.data);
  buffer_append_char(sql, ')');
  buffer_free(&name);
}

static bool find_part(struct worklist *list, int i, struct buffer *sql, bool *found, struct error *err) {
  struct part *part = &list->parts[i];
  const struct table_spec *spec = &list->settings.tables[i];
  int ignored, columns;
  append_columns(sql, "count(*)", part);
  if (!ask(list, sql, take_count, part, &ignored, err))
    return false;
  columns = (int)part->count;
  part->count = 0;
  *found = columns > 0;
  if (!*found)
    return true;
  part->relation = relation_new(0, slice_of(spec->schema), slice_of(spec->table), columns);
  part->relation->serial = (uint64_t)i + 1;
  append_columns(sql, "row_number() OVER (ORDER BY attnum), attname, atttypid", part);
  if (!ask(list, sql, take_column, part, &ignored, err))
    return false;
  buffer_append_text(sql, "SELECT min(" WORKLIST_ORDINAL "), count(*) FROM ");
  quote_table(sql, SCHEMA, part->table);
  return ask(list, sql, take_range, part, &ignored, err);
}

bool worklist_find(struct worklist *list, uint64_t *rows, struct error *err) {
  struct buffer sql;
  buffer_init(&sql, BUFFER_MAX_ROW);
  bool ok = true, found = true;
  uint64_t count = 0;
  for (int i = 0; ok && found && i < list->settings.table_count; i++) {
    ok = find_part(list, i, &sql, &found, err);
    count += list->parts[i].count;
  }
  buffer_free(&sql);
  if (!ok)
    return error_wrap(err, "reading the work list");
  *rows = found ? count : 0;
  return true;
}

static struct part *part_of(struct worklist *list, uint64_t ordinal) {
  for (int i = 0; i < list->settings.table_count; i++)
    if (ordinal - list->parts[i].first < list->parts[i].count)
      return &list->parts[i];
  return NULL;
}

static bool turn_page(struct worklist *list, const struct part *part, uint64_t ordinal, struct error *err) {
  uint64_t end = part->first + part->count;
  list->page_end = end - ordinal > PAGE_ROWS ? ordinal + PAGE_ROWS : end;
  list->next = ordinal;
  struct buffer sql;
  buffer_init(&sql, BUFFER_MAX_ROW);
  buffer_append_text(&sql, "SELECT * FROM ");
  quote_table(&sql, SCHEMA, part->table);
  buffer_printf(&sql,
                " WHERE " WORKLIST_ORDINAL " >= %" PRIu64 " AND " WORKLIST_ORDINAL " < %" PRIu64
                " ORDER BY " WORKLIST_ORDINAL,
                ordinal, list->page_end);
  buffer_append_char(&sql, '\0');
  bool ok = rowstream_query(list->rs, sql.data, err);
  buffer_free(&sql);
  return ok;
}

static void fill_change(struct worklist *list, const struct part *part, const struct slice *values,
                        struct change *change) {
  int count = part->relation->column_count;
  if (count > list->value_capacity) {
    list->values = memory_resize(list->values, (size_t)count * sizeof *list->values);
    list->value_capacity = count;
  }
  for (int i = 0; i < count; i++)
    list->values[i] =
        (struct value){.kind = slice_present(values[i + 1]) ? VALUE_TEXT : VALUE_NULL, .text = values[i + 1]};
  *change = (struct change){.kind = CHANGE_INSERT, .insert = {.relation = part->relation, .values = list->values}};
}

/* It would be so at each attempt: an internal error, a program limit. */
static bool fail_row(const struct worklist *list, const struct part *part, uint64_t ordinal, struct error *err) {
  const char *state = rowstream_sqlstate(list->rs);
  if (strcmp(state, "XX000") != 0 && strcmp(state, "54000") != 0)
    return false;
  char cause[sizeof err->message];
  snprintf(cause, sizeof cause, "%s", err->message);
  error_refuse(err, "row_undecodable", "the server cannot print row %" PRIu64 " of the snapshot: %s", ordinal, cause);
  return error_remedy(err,
                      "most likely it is above 500 MB. It is that of SELECT FROM " SCHEMA ".%s WHERE " WORKLIST_ORDINAL
                      " = %" PRIu64 ": make it smaller there with an UPDATE, then start again; or take it out of the "
                      "outbox, then `walferry drop`, and start over with --snapshot",
                      part->table, ordinal);
}

bool worklist_read(struct worklist *list, uint64_t ordinal, struct change *change, struct error *err) {
  struct part *part = part_of(list, ordinal);
  if (part == NULL)
    return error_refuse(err, "snapshot_lost", "the work list has no row %" PRIu64, ordinal);
  if ((ordinal != list->next || list->next >= list->page_end) && !turn_page(list, part, ordinal, err))
    return false;
  const struct slice *values;
  int columns;
  if (!rowstream_next(list->rs, &values, &columns, err))
    return fail_row(list, part, ordinal, err);
  if (columns != part->relation->column_count + 1 || number(values[0]) != ordinal)
    return error_refuse(err, "snapshot_lost", "row %" PRIu64 " of the work list is not there: walferry.%s was changed",
                        ordinal, part->table);
  list->next = ordinal + 1;
  fill_change(list, part, values, change);
  return true;
}

void worklist_forget(struct worklist *list) {
  rowstream_forget(list->rs);
}

bool worklist_drop(struct worklist *list, struct error *err) {
  struct buffer sql;
  buffer_init(&sql, BUFFER_MAX_ROW);
  if (!run_text(list, LOCK_TIMEOUT, NULL, err))
    return error_wrap(err, "dropping the work list");
  for (int i = 0; i < list->settings.table_count; i++)
    append_drop(&sql, list->parts[i].table);
  bool ok = run(list, &sql, NULL, err);
  buffer_free(&sql);
  return ok || error_wrap(err, "dropping the work list");
}

bool worklist_locked(const struct worklist *list) {
  return strcmp(rowstream_sqlstate(list->rs), "55P03") == 0;
}

bool worklist_drop_all(struct connection *conn, const char *owner, uint64_t id_max, int *dropped, struct error *err) {
  struct buffer sql;
  buffer_init(&sql, BUFFER_MAX_ROW);
  append_owned(&sql, owner);
  char *last = memory_format("%016" PRIx64, id_max);
  buffer_append_text(&sql, " AND lpad(split_part(c.relname, '_', 2), 16, '0') COLLATE \"C\" <= ");
  quote_literal(&sql, last);
  free(last);
  buffer_append_char(&sql, '\0');
  struct rows *rows = connection_query(conn, sql.data, 0, NULL, err);
  buffer_clear(&sql);
  *dropped = 0;
  for (int i = 0; rows != NULL && i < rows_count(rows); i++, ++*dropped)
    append_drop(&sql, rows_text(rows, i, 0));
  bool ok = rows != NULL;
  if (*dropped > 0) {
    buffer_append_char(&sql, '\0');
    char *limited = memory_format(LOCK_TIMEOUT "; %s; RESET lock_timeout", sql.data);
    ok = connection_run(conn, limited, err);
    free(limited);
  }
  rows_free(rows);
  buffer_free(&sql);
  return ok || error_wrap(err, "dropping the work list");
}
