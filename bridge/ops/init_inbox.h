/* The SQL of the inbox's tables and functions, which `init` runs or prints. Pure: texts.
 * Statements on them are in bridge/inbox/statements.h. */
#ifndef WALFERRY_OPS_INIT_INBOX_H
#define WALFERRY_OPS_INIT_INBOX_H

#include "bridge/base/buffer.h"

/* The SQLSTATE with which the script ends where the tables there have another layout than INBOX_LAYOUT. */
#define INIT_INBOX_LAYOUT_SQLSTATE "WF001"

/* Tables, functions and the first partition of the marks; what is there is left as it is. */
void init_inbox_sql(struct buffer *sql);
/* What the role that the inbox runs as needs on them. EXECUTE on the handlers is their author's to grant. */
void init_inbox_grants(struct buffer *sql, const char *role);
/* A query for those that the role of the session lacks: a row for each, with the GRANT that helps. */
void init_inbox_missing_sql(struct buffer *sql);

#endif
