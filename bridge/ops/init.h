/* `walferry init`: outbox, functions, role and grants, the inbox's tables, publication, slot with its first position,
 * topics. What is there already is left as it is. */
#ifndef WALFERRY_OPS_INIT_H
#define WALFERRY_OPS_INIT_H

#include <stdio.h>

#include "bridge/relay/relay.h"

struct init_settings {
  const struct relay_settings *relay;
  const char *admin_conninfo; /* NULL: the relay's own */
  const char *role;           /* the relay's role, to be granted what it needs; NULL: whoever connects */
  bool inbox;                 /* the config has an inbox, which runs as the same role */
};

/* One line per object on out. */
bool init_run(const struct init_settings *settings, const struct stop *stop, FILE *out, struct error *err);
/* The same as SQL, and in comments the topics and Kafka's ACLs; touches nothing. */
void init_print(const struct init_settings *settings, FILE *out);

#endif
