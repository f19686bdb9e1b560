/* Asks the server for the facts that admit.c judges. */
#ifndef WALFERRY_RELAY_FACTS_H
#define WALFERRY_RELAY_FACTS_H

#include "bridge/relay/admit.h"
#include "bridge/relay/relay.h"

/* What one generation knows of the server. publication (without one: the tables by themselves) is owned; facts points
 * into this struct. */
struct facts {
  struct catalog_server server;
  struct catalog_publication publication;
  struct admit_facts admit;
};

void facts_free(struct facts *facts);

/* Whether the value of output_plugin_libraries lists the plugin. "a, b" in double quotes is one name, and none that
 * there is: what becomes of a list that was set as one string. */
bool facts_plugin_listed(const char *list, const char *plugin);

/* Server version, wal_level, plugin, database and its encoding: ERROR_REFUSED where they rule the relay out. */
bool facts_server(struct facts *facts, struct connection *conn, const struct relay_settings *settings,
                  struct error *err);
/* Reads the publication anew, or the tables where settings->publication is NULL. */
bool facts_publication(struct facts *facts, struct connection *conn, const struct relay_settings *settings,
                       struct error *err);
/* Judges it against the tables and the required columns. */
bool facts_check_publication(const struct facts *facts, const struct relay_settings *settings, struct error *err);

/* The publication made for the configured tables: insert only, by way of the partition root. */
bool facts_create_publication(struct connection *conn, const struct relay_settings *settings, struct error *err);
/* The same as SQL; malloc'ed. Identifiers are quoted. */
char *facts_publication_sql(const struct relay_settings *settings);

#endif
