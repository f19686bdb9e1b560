/* See worklist.h. */
#include "bridge/relay/worklist_state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/buffer.h"
#include "bridge/base/memory.h"
#include "bridge/base/number.h"
#include "bridge/postgres/quote.h"
#include "decoders/relation.h"

#define PAGE_ROWS 10000                        /* a statement's snapshot holds back vacuum: none is kept for long */
#define LOCK_TIMEOUT "SET lock_timeout = '1s'" /* pg_dump holds its locks for hours */

/* What tells the kinds apart. */
static const struct kind {
  const char *prefix;  /* of its tables; one underscore, behind which the id is */
  const char *comment; /* on them, before the owner */
  const char *lost;    /* the code of a row that is not there */
} kinds[] = {
    [WORKLIST_SNAPSHOT] = {"snapshot_", "work list of walferry, slot ", "snapshot_lost"},
    [WORKLIST_REPLAY] = {"replay_", "work list of walferry, replays of ", "replay_list_lost"},
};

bool worklist_holds(const struct relation *relation) {
  bool named = false;
  for (enum worklist_kind kind = WORKLIST_SNAPSHOT; kind <= WORKLIST_REPLAY; kind++)
    named = named || strncmp(relation->table, kinds[kind].prefix, strlen(kinds[kind].prefix)) == 0;
  return named && strcmp(relation->schema, WORKLIST_SCHEMA) == 0 && relation->column_count > 0 &&
         strcmp(relation->columns[0].name, WORKLIST_ORDINAL) == 0;
}

static char *comment_of(enum worklist_kind kind, const char *owner) {
  return memory_format("%s%s", kinds[kind].comment, owner);
}

struct worklist *worklist_open(const struct worklist_settings *settings, uint64_t id, struct error *err) {
  struct rowstream *rs = rowstream_open(settings->conninfo, settings->name, settings->wait, err);
  if (rs == NULL)
    return NULL;
  struct worklist *list = memory_alloc(sizeof *list);
  list->settings = *settings;
  list->rs = rs;
  list->comment = comment_of(settings->kind, settings->owner);
  list->parts = memory_alloc((size_t)settings->table_count * sizeof *list->parts);
  for (int i = 0; i < settings->table_count; i++)
    list->parts[i] =
        (struct worklist_part){.table = memory_format("%s%" PRIx64 "_%d", kinds[settings->kind].prefix, id, i)};
  return list;
}

void worklist_close(struct worklist *list) {
  if (list == NULL)
    return;
  rowstream_close(list->rs);
  for (int i = 0; i < list->settings.table_count; i++) {
    free(list->parts[i].table);
    free(list->parts[i].query);
    relation_free(list->parts[i].relation);
  }
  free(list->parts);
  free(list->values);
  free(list->comment);
  free(list);
}

bool worklist_run(struct worklist *list, struct buffer *sql, int64_t *rows, struct error *err) {
  buffer_append_char(sql, '\0');
  bool ok = rowstream_run(list->rs, sql->data, rows, err);
  buffer_clear(sql);
  return ok;
}

bool worklist_ask(struct worklist *list, struct buffer *sql,
                  void (*take)(struct worklist_part *part, const struct slice *values), struct worklist_part *part,
                  struct error *err) {
  buffer_append_char(sql, '\0');
  bool ok = rowstream_query(list->rs, sql->data, err);
  buffer_clear(sql);
  const struct slice *values;
  for (int columns = 1; ok && columns > 0;) {
    ok = rowstream_next(list->rs, &values, &columns, err);
    if (ok && columns > 0)
      take(part, values);
  }
  return ok;
}

uint64_t worklist_number(struct slice text) {
  uint64_t value = 0;
  number_parse_u64(text, UINT64_MAX, &value);
  return value;
}

void worklist_relation(struct worklist *list, int i, int columns) {
  const struct table_spec *spec = &list->settings.tables[i];
  struct worklist_part *part = &list->parts[i];
  part->relation = relation_new(0, slice_of(spec->schema), slice_of(spec->table), columns);
  part->relation->serial = (uint64_t)i + 1;
}

void worklist_take_column(struct worklist_part *part, const struct slice *values) {
  relation_set_column(part->relation, (int)worklist_number(values[0]) - 1, values[1],
                      (uint32_t)worklist_number(values[2]));
}

void worklist_append_owned(struct buffer *sql, enum worklist_kind kind, const char *owner) {
  char *comment = comment_of(kind, owner);
  buffer_append_text(sql,
                     "SELECT c.relname, pg_get_userbyid(c.relowner), pg_has_role(c.relowner, 'USAGE') OR "
                     "pg_has_role(n.nspowner, 'USAGE') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                     "WHERE n.nspname = '" WORKLIST_SCHEMA "' AND c.relkind = 'r' AND "
                     "obj_description(c.oid, 'pg_class') = ");
  quote_literal(sql, comment);
  free(comment);
}

void worklist_append_drop(struct buffer *sql, const char *table) {
  buffer_append_text(sql, sql->len == 0 ? "DROP TABLE IF EXISTS " : ", ");
  quote_table(sql, WORKLIST_SCHEMA, table);
}

/* the smallest, NULL of an empty table; how many: with one missing, they are not those that were told to be there */
static void take_range(struct worklist_part *part, const struct slice *values) {
  if (!slice_present(values[0]))
    return;
  part->first = worklist_number(values[0]);
  part->count = worklist_number(values[1]);
}

static void take_count(struct worklist_part *part, const struct slice *values) {
  part->count = worklist_number(values[0]);
}

static void append_columns(struct buffer *sql, const char *select, const struct worklist_part *part) {
  buffer_printf(sql, "SELECT %s FROM pg_attribute WHERE attnum > 1 AND attrelid = to_regclass(", select);
  struct buffer name;
  buffer_init(&name, BUFFER_MAX_ROW);
  quote_table(&name, WORKLIST_SCHEMA, part->table);
  buffer_append_char(&name, '\0');
  quote_literal(sql, name.data);
  buffer_append_char(sql, ')');
  buffer_free(&name);
}

static bool find_part(struct worklist *list, int i, struct buffer *sql, bool *found, struct error *err) {
  struct worklist_part *part = &list->parts[i];
  int columns;
  append_columns(sql, "count(*)", part);
  if (!worklist_ask(list, sql, take_count, part, err))
    return false;
  columns = (int)part->count;
  part->count = 0;
  *found = columns > 0;
  if (!*found)
    return true;
  worklist_relation(list, i, columns);
  append_columns(sql, "row_number() OVER (ORDER BY attnum), attname, atttypid", part);
  if (!worklist_ask(list, sql, worklist_take_column, part, err))
    return false;
  buffer_append_text(sql, "SELECT min(" WORKLIST_ORDINAL "), count(*) FROM ");
  quote_table(sql, WORKLIST_SCHEMA, part->table);
  return worklist_ask(list, sql, take_range, part, err);
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

static struct worklist_part *part_of(struct worklist *list, uint64_t ordinal) {
  for (int i = 0; i < list->settings.table_count; i++)
    if (ordinal - list->parts[i].first < list->parts[i].count)
      return &list->parts[i];
  return NULL;
}

static bool turn_page(struct worklist *list, const struct worklist_part *part, uint64_t ordinal, struct error *err) {
  uint64_t end = part->first + part->count;
  list->page_end = part->query == NULL && end - ordinal > PAGE_ROWS ? ordinal + PAGE_ROWS : end;
  list->next = ordinal;
  if (part->query != NULL)
    return rowstream_query(list->rs, part->query, err);
  struct buffer sql;
  buffer_init(&sql, BUFFER_MAX_ROW);
  buffer_append_text(&sql, "SELECT * FROM ");
  quote_table(&sql, WORKLIST_SCHEMA, part->table);
  buffer_printf(&sql,
                " WHERE " WORKLIST_ORDINAL " >= %" PRIu64 " AND " WORKLIST_ORDINAL " < %" PRIu64
                " ORDER BY " WORKLIST_ORDINAL,
                ordinal, list->page_end);
  buffer_append_char(&sql, '\0');
  bool ok = rowstream_query(list->rs, sql.data, err);
  buffer_free(&sql);
  return ok;
}

static void fill_change(struct worklist *list, const struct worklist_part *part, const struct slice *values,
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
static bool fail_row(const struct worklist *list, const struct worklist_part *part, uint64_t ordinal,
                     struct error *err) {
  const char *state = rowstream_sqlstate(list->rs);
  if (strcmp(state, "XX000") != 0 && strcmp(state, "54000") != 0)
    return false;
  char cause[sizeof err->message];
  snprintf(cause, sizeof cause, "%s", err->message);
  error_refuse(err, "row_undecodable", "the server cannot print row %" PRIu64 " of %s: %s", ordinal,
               list->settings.kind == WORKLIST_SNAPSHOT ? "the snapshot" : "the outbox tables", cause);
  if (part->query != NULL)
    return error_remedy(err, "most likely it is above 500 MB: see which by octet_length of its columns, and leave it "
                             "out by --from and --to");
  return error_remedy(
      err,
      "most likely it is above 500 MB. It is that of SELECT FROM " WORKLIST_SCHEMA ".%s WHERE " WORKLIST_ORDINAL
      " = %" PRIu64 ": make it smaller there with an UPDATE, then start again%s",
      part->table, ordinal,
      list->settings.kind == WORKLIST_SNAPSHOT
          ? "; or take it out of the outbox, then `walferry drop CONFIG --confirm NAME`, and start over "
            "with --snapshot"
          : "; or leave it out by --from and --to");
}

bool worklist_read(struct worklist *list, uint64_t ordinal, struct change *change, struct error *err) {
  struct worklist_part *part = part_of(list, ordinal);
  if (part == NULL)
    return error_refuse(err, kinds[list->settings.kind].lost, "the work list has no row %" PRIu64, ordinal);
  if ((ordinal != list->next || list->next >= list->page_end) && !turn_page(list, part, ordinal, err))
    return false;
  const struct slice *values;
  int columns;
  if (!rowstream_next(list->rs, &values, &columns, err))
    return fail_row(list, part, ordinal, err);
  if (columns != part->relation->column_count + 1 || worklist_number(values[0]) != ordinal)
    return error_refuse(err, kinds[list->settings.kind].lost,
                        "row %" PRIu64 " of the work list is not there: " WORKLIST_SCHEMA ".%s was changed", ordinal,
                        part->table);
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
  if (!rowstream_run(list->rs, LOCK_TIMEOUT, NULL, err))
    return error_wrap(err, "dropping the work list");
  for (int i = 0; i < list->settings.table_count; i++)
    worklist_append_drop(&sql, list->parts[i].table);
  bool ok = worklist_run(list, &sql, NULL, err);
  buffer_free(&sql);
  return ok || error_wrap(err, "dropping the work list");
}

bool worklist_locked(const struct worklist *list) {
  return strcmp(rowstream_sqlstate(list->rs), "55P03") == 0;
}

bool worklist_drop_all(struct connection *conn, enum worklist_kind kind, const char *owner, uint64_t id_max,
                       int *dropped, struct error *err) {
  struct buffer sql;
  buffer_init(&sql, BUFFER_MAX_ROW);
  worklist_append_owned(&sql, kind, owner);
  char *last = memory_format("%016" PRIx64, id_max);
  buffer_append_text(&sql, " AND lpad(split_part(c.relname, '_', 2), 16, '0') COLLATE \"C\" <= ");
  quote_literal(&sql, last);
  free(last);
  buffer_append_char(&sql, '\0');
  struct rows *rows = connection_query(conn, sql.data, 0, NULL, err);
  buffer_clear(&sql);
  *dropped = 0;
  for (int i = 0; rows != NULL && i < rows_count(rows); i++, ++*dropped)
    worklist_append_drop(&sql, rows_text(rows, i, 0));
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
