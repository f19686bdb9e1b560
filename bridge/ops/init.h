/* `walferry init`: for a relay outbox, functions, role and grants, publication, slot with its first position, topics;
 * for an inbox its tables, functions and grants. What is there already is left as it is. */
#ifndef WALFERRY_OPS_INIT_H
#define WALFERRY_OPS_INIT_H

#include <stdio.h>

#include "bridge/inbox/inbox.h"
#include "bridge/relay/relay.h"

struct init_settings {
  const struct relay_settings *relay; /* NULL: the config has none; one of the two there is */
  const struct inbox_settings *inbox; /* NULL: none; else it is of the same name, database and role */
  const char *admin_conninfo;         /* NULL: that of the config */
  const char *role;                   /* to be granted what they need; NULL: whoever connects */
};

/* One line per object on out. */
bool init_run(const struct init_settings *settings, const struct stop *stop, FILE *out, struct error *err);
/* The same as SQL, and in comments the topics and Kafka's ACLs; touches nothing. */
void init_print(const struct init_settings *settings, FILE *out);

#endif
