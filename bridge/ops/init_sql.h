/* The SQL that `init` runs or prints. Pure: texts from settings. */
#ifndef WALFERRY_OPS_INIT_SQL_H
#define WALFERRY_OPS_INIT_SQL_H

#include "bridge/base/buffer.h"
#include "bridge/event/event.h"

/* The largest payload that the outbox's CHECK lets in: well below what the server can still decode (about 500 MB). */
#define INIT_PAYLOAD_MAX_BYTES (64 << 20)

/* CREATE TABLE IF NOT EXISTS with a column per role and a size check; without partitions where it is to have some
 * (init_partitions.h). */
void init_sql_table(struct buffer *sql, const struct table_spec *table);

/* walferry.emit for a table; has[field]: the table has a column for the role. */
void init_sql_emit(struct buffer *sql, const struct table_spec *table, const bool has[FIELD_COUNT]);
/* walferry.emit_message for a prefix. */
void init_sql_emit_message(struct buffer *sql, const char *prefix);

/* Role (created without a password if missing, with LOGIN, and REPLICATION where it streams) and its grants. */
void init_sql_role(struct buffer *sql, const char *role, bool replication, const struct table_spec *tables,
                   int table_count);

/* And what the role needs besides to take a snapshot: its work list is a table of its own. */
void init_sql_snapshot(struct buffer *sql, const char *role);

/* The column name of a role: configured or default. */
const char *init_column(const struct table_spec *table, enum event_field field);

#endif
