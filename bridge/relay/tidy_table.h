/* What the server is asked and told about a table whose published rows are marked or deleted. */
#ifndef WALFERRY_RELAY_TIDY_TABLE_H
#define WALFERRY_RELAY_TIDY_TABLE_H

#include "bridge/base/buffer.h"
#include "bridge/base/error.h"
#include "bridge/event/event.h"
#include "bridge/postgres/connection.h"

struct tidy_table {
  const struct table_spec *spec; /* borrowed */
  bool exists;                   /* with its id column; else all below is at zero */
  char id_type[130];             /* as SQL writes it: "uuid" */
  char equals[160];              /* of that type: "=", or "OPERATOR(public.=)", as its schema may not be searched */
  bool partitioned;
  bool indexed;        /* there is an index that begins with the id */
  char mark_type[130]; /* of the column for the mark; "" if there is none */
  bool may_read;       /* SELECT on the columns that are compared */
  bool may_change;     /* UPDATE on the column for the mark, or DELETE */
  bool rows_hidden;    /* row security holds for our role */
};

/* Asks for the facts. */
bool tidy_table_look(struct connection *conn, const struct table_spec *spec, struct tidy_table *out, struct error *err);
/* ERROR_REFUSED "after_publish_denied", with the SQL that helps. A table that is not there is not judged. role is
 * for that SQL. */
bool tidy_table_judge(const struct tidy_table *table, const char *role, struct error *err);
/* Both, for those of the tables that are tidied. */
bool tidy_tables_check(struct connection *conn, const struct table_spec *tables, int count, struct error *err);

/* ALTER TABLE for the column that is set. */
void tidy_table_column_sql(const struct table_spec *spec, struct buffer *sql);
/* The statement with an array of ids in its text form as $1. Rows that are marked or gone already are left alone. */
void tidy_table_sql(const struct tidy_table *table, struct buffer *sql);
/* One more element of that array: "{a", "{a,b"; the caller closes it. */
void tidy_table_append_id(struct buffer *array, struct slice id);

#endif
