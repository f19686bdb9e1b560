/* See worklist_state.h: what makes a work list. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/buffer.h"
#include "bridge/base/clock.h"
#include "bridge/base/memory.h"
#include "bridge/postgres/quote.h"
#include "bridge/relay/worklist_state.h"
#include "decoders/relation.h"

static bool fail_foreign(const struct slice *values, struct error *err) {
  error_set(err, ERROR_CONFIG, "the earlier work list " WORKLIST_SCHEMA ".%.*s belongs to %.*s", SLICE_ARG(values[0]),
            SLICE_ARG(values[1]));
  return error_remedy(err, "as that role, or as a superuser: DROP TABLE " WORKLIST_SCHEMA ".%.*s",
                      SLICE_ARG(values[0]));
}

/* What the owner's earlier attempts left. */
static bool drop_earlier(struct worklist *list, struct buffer *sql, struct error *err) {
  worklist_append_owned(sql, list->settings.kind, list->settings.owner);
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
    worklist_append_drop(sql, table);
    free(table);
    list->dropped++;
  }
  return ok && (sql->len == 0 || worklist_run(list, sql, NULL, err));
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
    error_set(err, ERROR_CONFIG, "table %s.%s has a column " WORKLIST_ORDINAL ", as work lists have", t->schema,
              t->table);
    return error_remedy(err, "rename that column, or do without --snapshot and --source table");
  }
  return true;
}

static const char *occurred_at(const struct table_spec *spec) {
  const char *configured = spec->columns[FIELD_OCCURRED_AT];
  return configured != NULL ? configured : event_field_name(FIELD_OCCURRED_AT);
}

/* The time first, where the table has it: rows of one key then most likely stand as they were committed. */
static void append_order(struct buffer *sql, const struct table_spec *spec,
                         const struct catalog_publication_table *facts) {
  buffer_append_text(sql, " ORDER BY ");
  if (has_column(facts, occurred_at(spec))) {
    quote_identifier(sql, occurred_at(spec));
    buffer_append_text(sql, ", ");
  }
  quote_identifier(sql, event_required_column(spec, FIELD_ID));
}

/* A time without a zone is one of UTC, the session's. */
static void append_bound(struct buffer *sql, const char *column, const char *comparison, int64_t us) {
  if (us == 0)
    return;
  buffer_append_text(sql, " AND ");
  quote_identifier(sql, column);
  buffer_printf(sql, "::timestamptz %s '%s'", comparison, clock_rfc3339(us).text);
}

/* Rows of a table that others inherit from are published without theirs, those of a partitioned one with all. */
static void append_from(struct buffer *sql, const struct worklist *list, int i,
                        const struct catalog_publication_table *facts) {
  const struct table_spec *spec = &list->settings.tables[i];
  buffer_append_text(sql, facts->partitioned ? " FROM " : " FROM ONLY ");
  quote_table(sql, spec->schema, spec->table);
  buffer_append_text(sql, " WHERE true");
  append_bound(sql, occurred_at(spec), ">=", list->settings.from_us);
  append_bound(sql, occurred_at(spec), "<=", list->settings.to_us);
  if (!list->settings.leave_marked || spec->after_publish != AFTER_PUBLISH_MARK)
    return;
  buffer_append_text(sql, " AND ");
  quote_identifier(sql, spec->published_at);
  buffer_append_text(sql, " IS NULL");
}

/* Numbered, with the columns of facts. */
static void append_rows(struct buffer *sql, const struct worklist *list, int i,
                        const struct catalog_publication_table *facts) {
  buffer_append_text(sql, "SELECT row_number() OVER (");
  append_order(sql, &list->settings.tables[i], facts);
  buffer_printf(sql, ") + %" PRIu64 " - 1 AS " WORKLIST_ORDINAL, list->parts[i].first);
  for (int column = 0; column < facts->column_count; column++) {
    buffer_append_text(sql, ", ");
    quote_identifier(sql, facts->columns[column]);
  }
  append_from(sql, list, i, facts);
}

static bool check_times(const struct worklist *list, const struct catalog_publication *facts, struct error *err) {
  const struct worklist_settings *s = &list->settings;
  for (int i = 0; i < s->table_count && (s->from_us != 0 || s->to_us != 0); i++) {
    const char *column = occurred_at(&s->tables[i]);
    if (has_column(&facts->tables[i], column))
      continue;
    error_set(err, ERROR_CONFIG, "table %s.%s has no column %s to compare a time with", s->tables[i].schema,
              s->tables[i].table, column);
    return error_remedy(err, "take its rows without --from and --to, or name the column that has the time: columns: "
                             "{occurred_at: …}");
  }
  return true;
}

static bool copy_table(struct worklist *list, int i, const struct catalog_publication_table *facts, struct buffer *sql,
                       struct error *err) {
  struct worklist_part *part = &list->parts[i];
  const struct table_spec *spec = &list->settings.tables[i];
  int64_t rows = 0;
  buffer_append_text(sql, "CREATE TABLE ");
  quote_table(sql, WORKLIST_SCHEMA, part->table);
  buffer_append_text(sql, " AS ");
  append_rows(sql, list, i, facts);
  if (!worklist_run(list, sql, &rows, err))
    return error_wrap(err, "copying the rows of %s.%s", spec->schema, spec->table);
  part->count = (uint64_t)rows;
  buffer_append_text(sql, "ALTER TABLE ");
  quote_table(sql, WORKLIST_SCHEMA, part->table);
  buffer_append_text(sql, " ADD PRIMARY KEY (" WORKLIST_ORDINAL ")");
  if (!worklist_run(list, sql, NULL, err))
    return false;
  buffer_append_text(sql, "COMMENT ON TABLE ");
  quote_table(sql, WORKLIST_SCHEMA, part->table);
  buffer_append_text(sql, " IS ");
  quote_literal(sql, list->comment);
  return worklist_run(list, sql, NULL, err);
}

static bool begin(struct worklist *list, const char *snapshot, struct buffer *sql, struct error *err) {
  if (!rowstream_run(list->rs, "BEGIN ISOLATION LEVEL REPEATABLE READ", NULL, err))
    return false;
  if (snapshot != NULL) {
    buffer_append_text(sql, "SET TRANSACTION SNAPSHOT ");
    quote_literal(sql, snapshot);
    if (!worklist_run(list, sql, NULL, err)) {
      if (err->kind == ERROR_FATAL) /* whoever exported it is gone: 22023, 42704, 55000 */
        err->kind = ERROR_START_OVER;
      return false;
    }
  }
  return true;
}

static bool have_schema(struct worklist *list, struct error *err) {
  int64_t there;
  return rowstream_run(list->rs, "SELECT FROM pg_namespace WHERE nspname = '" WORKLIST_SCHEMA "'", &there, err) &&
         (there > 0 || rowstream_run(list->rs, "CREATE SCHEMA " WORKLIST_SCHEMA, NULL, err));
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
  return list->settings.table_count == 0 || worklist_run(list, sql, NULL, err);
}

static void append_regclass(struct buffer *sql, const struct table_spec *spec) {
  struct buffer name;
  buffer_init(&name, BUFFER_MAX_ROW);
  quote_table(&name, spec->schema, spec->table);
  buffer_append_char(&name, '\0');
  buffer_append_text(sql, "to_regclass(");
  quote_literal(sql, name.data);
  buffer_append_char(sql, ')');
  buffer_free(&name);
}

/* Is the table still made of the files that the snapshot knows? Those of a later TRUNCATE, a rewriting ALTER TABLE or
 * an attached partition hold no row that it shows. Queries see pg_class and pg_inherits as of the snapshot, functions
 * as they are now. */
static bool check_files(struct worklist *list, const struct table_spec *spec, struct buffer *sql, struct error *err) {
  buffer_append_text(sql, "WITH RECURSIVE root AS (SELECT ");
  append_regclass(sql, spec);
  buffer_append_text(sql, " AS oid), before AS (SELECT c.oid, c.relkind, c.relfilenode FROM pg_class c JOIN root USING "
                          "(oid) UNION ALL SELECT c.oid, c.relkind, c.relfilenode FROM before JOIN pg_inherits i ON "
                          "i.inhparent = before.oid AND before.relkind = 'p' AND NOT i.inhdetachpending "
                          "JOIN pg_class c ON c.oid = i.inhrelid), "
                          "now AS (SELECT oid FROM root UNION SELECT relid FROM root, pg_partition_tree(root.oid)) "
                          "SELECT FROM before FULL JOIN now USING (oid) "
                          "WHERE relfilenode IS DISTINCT FROM coalesce(pg_relation_filenode(now.oid), 0)");
  int64_t differing;
  if (!worklist_run(list, sql, &differing, err))
    return false;
  return differing == 0 || error_set(err, ERROR_START_OVER, "table %s.%s was rewritten after the slot was made",
                                     spec->schema, spec->table);
}

static bool check_all_files(struct worklist *list, struct buffer *sql, struct error *err) {
  bool ok = true;
  for (int i = 0; ok && i < list->settings.table_count; i++)
    ok = check_files(list, &list->settings.tables[i], sql, err);
  return ok;
}

/* Of a column whose type has no cast to a time, or a text that is none. */
static bool fail_times(const struct worklist *list, const char *state, struct error *err) {
  bool bounded = list->settings.from_us != 0 || list->settings.to_us != 0;
  if (!bounded || (strcmp(state, "42846") != 0 && strcmp(state, "22007") != 0 && strcmp(state, "22008") != 0))
    return false;
  err->kind = ERROR_CONFIG;
  error_remedy(err,
               "the column that stands for occurred_at cannot be compared with a time: take the rows without --from "
               "and --to, or name a column of a timestamp type: columns: {occurred_at: …}");
  return true;
}

static bool fail_make(const struct worklist *list, const char *what, struct error *err) {
  const char *state = rowstream_sqlstate(list->rs);
  /* the table, the schema, or the row of such a name, is there, though not in the snapshot */
  if (strcmp(state, "42P07") == 0 || strcmp(state, "42P06") == 0 || strcmp(state, "23505") == 0)
    err->kind = ERROR_START_OVER;
  if (!fail_times(list, state, err) && err->kind == ERROR_CONFIG && err->remedy[0] == '\0')
    error_remedy(err,
                 "%s CREATE on the schema walferry, and SELECT on the outbox tables; where those have row level "
                 "security the role needs BYPASSRLS",
                 list->settings.kind == WORKLIST_SNAPSHOT
                     ? "`walferry init CONFIG --snapshot` with --admin grants what is missing:"
                     : "have an administrator grant what is missing (--sink stdout and --dry-run only need SELECT):");
  return error_wrap(err, "%s", what);
}

bool worklist_fill(struct worklist *list, const struct catalog_publication *facts, const char *snapshot, uint64_t *rows,
                   struct error *err) {
  struct buffer sql;
  buffer_init(&sql, BUFFER_MAX_ROW);
  uint64_t count = 0;
  bool ok = check_times(list, facts, err) && begin(list, snapshot, &sql, err) && have_schema(list, err) &&
            lock_tables(list, facts, &sql, err) && drop_earlier(list, &sql, err) && check_all_files(list, &sql, err);
  for (int i = 0; ok && i < list->settings.table_count; i++) {
    list->parts[i].first = count;
    ok = copy_table(list, i, &facts->tables[i], &sql, err);
    count += list->parts[i].count;
  }
  ok = ok && rowstream_run(list->rs, "COMMIT", NULL, err);
  buffer_free(&sql);
  if (!ok)
    return fail_make(list, "making the work list", err);
  *rows = count;
  return true;
}

int worklist_dropped(const struct worklist *list) {
  return list->dropped;
}

/* Of the columns of facts, in their order. */
static bool view_columns(struct worklist *list, int i, const struct catalog_publication_table *facts,
                         struct buffer *sql, struct error *err) {
  const struct table_spec *spec = &list->settings.tables[i];
  worklist_relation(list, i, facts->column_count);
  buffer_append_text(sql, "SELECT u.n, a.attname, a.atttypid FROM pg_attribute a JOIN unnest(ARRAY[");
  for (int column = 0; column < facts->column_count; column++) {
    buffer_append_text(sql, column == 0 ? "" : ", ");
    quote_literal(sql, facts->columns[column]);
  }
  buffer_append_text(sql, "]::name[]) WITH ORDINALITY u (name, n) ON u.name = a.attname WHERE a.attrelid = ");
  append_regclass(sql, spec);
  return worklist_ask(list, sql, worklist_take_column, &list->parts[i], err);
}

static void take_count(struct worklist_part *part, const struct slice *values) {
  part->count = worklist_number(values[0]);
}

static bool view_table(struct worklist *list, int i, const struct catalog_publication_table *facts, struct buffer *sql,
                       struct error *err) {
  struct worklist_part *part = &list->parts[i];
  append_rows(sql, list, i, facts);
  append_order(sql, &list->settings.tables[i], facts);
  part->query = memory_copy(sql->data, sql->len);
  buffer_clear(sql);
  buffer_append_text(sql, "SELECT count(*)");
  append_from(sql, list, i, facts);
  return worklist_ask(list, sql, take_count, part, err) && view_columns(list, i, facts, sql, err);
}

bool worklist_view(struct worklist *list, const struct catalog_publication *facts, uint64_t *rows, struct error *err) {
  struct buffer sql;
  buffer_init(&sql, BUFFER_MAX_ROW);
  uint64_t count = 0;
  bool ok = check_times(list, facts, err) && begin(list, NULL, &sql, err) && lock_tables(list, facts, &sql, err) &&
            check_all_files(list, &sql, err);
  for (int i = 0; ok && i < list->settings.table_count; i++) {
    list->parts[i].first = count;
    ok = view_table(list, i, &facts->tables[i], &sql, err);
    count += list->parts[i].count;
  }
  buffer_free(&sql);
  if (!ok)
    return fail_make(list, "reading the rows of the outbox", err);
  *rows = count;
  return true;
}

static void take_lsn(struct worklist_part *part, const struct slice *values) {
  lsn_parse(values[0], &part->first);
}

bool worklist_wal_lsn(struct worklist *list, lsn_t *lsn, struct error *err) {
  struct buffer sql;
  buffer_init(&sql, BUFFER_MAX_ROW);
  buffer_append_text(&sql, "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() "
                           "ELSE pg_current_wal_insert_lsn() END");
  struct worklist_part answer = {.first = 0};
  bool ok = worklist_ask(list, &sql, take_lsn, &answer, err);
  buffer_free(&sql);
  if (ok)
    *lsn = answer.first;
  return ok || error_wrap(err, "reading the server's WAL position");
}
