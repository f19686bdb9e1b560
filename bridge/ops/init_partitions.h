/* The SQL that `init` runs or prints for an outbox in partitions by day. Pure: texts from settings. */
#ifndef WALFERRY_OPS_INIT_PARTITIONS_H
#define WALFERRY_OPS_INIT_PARTITIONS_H

#include "bridge/base/buffer.h"
#include "bridge/event/event.h"

/* walferry.outbox_partitions and walferry.outbox_retain, with the table that the second keeps its notes in. slot: whose
 * progress says what is published. */
void init_partitions_functions(struct buffer *sql, const char *slot);
/* The first partitions of such a table. */
void init_partitions_make(struct buffer *sql, const struct table_spec *table);

#endif
