/* Which configured table a relation belongs to that the config does not name: for a plugin that tells of rows by the
 * partition they are in. Partitions come and go, so the server's catalogs are asked; source thread, once it is made. */
#ifndef WALFERRY_RELAY_PARTITIONS_H
#define WALFERRY_RELAY_PARTITIONS_H

#include "bridge/base/error.h"
#include "bridge/event/event.h"
#include "bridge/postgres/catalog.h"

struct partitions;

/* tables: as configured, with what the catalogs say of each. conninfo, name: for a connection of its own, opened when
 * it is first needed. timeout_ms: for each of its statements, since nothing is answered to the server meanwhile.
 * All but conn is borrowed for as long as it lives. NULL and an error if the partitions that there are cannot be read
 * (from conn). */
struct partitions *partitions_new(const struct table_spec *tables, const struct catalog_publication *facts,
                                  struct connection *conn, const char *conninfo, const char *name, int timeout_ms,
                                  struct error *err);
void partitions_free(struct partitions *partitions); /* accepts NULL */

/* *table is the index of the configured table whose partition the relation is, or -1. A partition that was once seen
 * stays one. A table that merely looks like one (it has all columns that the configured table must have) is looked up
 * again for each transaction that the last look did not see: it may have been attached since. commit_lsn, xid: of the
 * transaction. ERROR_REFUSED "partition_unknown" for one that looks like a partition and is no longer there: it may
 * have been dropped before its rows were published. ERROR_RETRY where the transaction is streamed, but not visible to
 * others within timeout_ms. */
bool partitions_find(struct partitions *partitions, const struct relation *relation, lsn_t commit_lsn, uint32_t xid,
                     int *table, struct error *err);

#endif
