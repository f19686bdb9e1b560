/* See slot.h. */
#include "bridge/postgres/slot.h"

#include <string.h>

bool slot_copy(struct connection *conn, const char *slot, const char *copy, struct error *err) {
  struct rows *rows = connection_query(conn, "SELECT pg_catalog.pg_copy_logical_replication_slot($1, $2, false)", 2,
                                       (const char *[]){slot, copy}, err);
  bool ok = rows != NULL;
  rows_free(rows);
  return ok || error_wrap(err, "copying slot %s to %s", slot, copy);
}

bool slot_advance(struct connection *conn, const char *slot, lsn_t to, struct error *err) {
  struct lsn_text lsn = lsn_format(to);
  struct rows *rows = connection_query(conn, "SELECT pg_catalog.pg_replication_slot_advance($1, $2::pg_catalog.pg_lsn)",
                                       2, (const char *[]){slot, lsn.text}, err);
  bool ok = rows != NULL;
  rows_free(rows);
  return ok || error_wrap(err, "moving slot %s up to %s", slot, lsn.text);
}

bool slot_drop(struct connection *conn, const char *slot, struct error *err) {
  struct rows *rows = connection_query(conn, "SELECT pg_catalog.pg_drop_replication_slot($1)", 1, &slot, err);
  bool ok = rows != NULL || strcmp(connection_sqlstate(conn), "42704") == 0; /* somebody was faster */
  rows_free(rows);
  return ok || error_wrap(err, "dropping slot %s", slot);
}
