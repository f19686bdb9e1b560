/* See layout.h. */
#include "bridge/inbox/layout.h"

#include <string.h>

#include "bridge/base/number.h"
#include "bridge/inbox/statements.h"

#define UNDEFINED_TABLE "42P01"
#define INSUFFICIENT_PRIVILEGE "42501"

static bool fail_read(const struct connection *conn, struct error *err) {
  if (strcmp(connection_sqlstate(conn), UNDEFINED_TABLE) == 0) {
    error_refuse(err, "inbox_not_set_up", "the inbox's tables are not in this database");
    return error_remedy(
        err, "run `walferry init CONFIG` with --admin and the connection string of a role that may make them");
  }
  if (strcmp(connection_sqlstate(conn), INSUFFICIENT_PRIVILEGE) == 0)
    error_remedy(err, "run `walferry init CONFIG` with --admin: it grants what the inbox needs");
  return error_wrap(err, "reading walferry.inbox_layout");
}

bool layout_check(struct connection *conn, struct error *err) {
  struct rows *rows = connection_query(conn, inbox_statements[INBOX_LAYOUT_READ].sql, 0, NULL, err);
  if (rows == NULL)
    return fail_read(conn, err);
  int64_t version = 0; /* without a row */
  bool readable = rows_count(rows) == 0 || number_parse(slice_of(rows_text(rows, 0, 0)), 0, INT32_MAX, &version);
  rows_free(rows);
  if (readable && version == INBOX_LAYOUT)
    return true;
  error_refuse(err, "inbox_layout", "the inbox tables in schema walferry have layout %d, this walferry needs layout %d",
               (int)version, INBOX_LAYOUT);
  return error_remedy(err, "use the walferry that they belong to, or see `walferry explain inbox_layout`");
}
