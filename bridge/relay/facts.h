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

/* Server version, wal_level, plugin, database and its encoding. */
bool facts_read_server(struct facts *facts, struct connection *conn, const struct relay_settings *settings,
                       struct error *err);
/* ERROR_REFUSED where one of them rules the relay out. */
bool facts_check_version(const struct facts *facts, struct error *err);
bool facts_check_wal_level(const struct facts *facts, struct error *err);
bool facts_check_plugin(const struct facts *facts, struct error *err);
bool facts_check_encoding(const struct facts *facts, struct error *err);
bool facts_check_failover(const struct facts *facts, const struct relay_settings *settings, struct error *err);
/* All of this: reads, then checks one after the other. */
bool facts_server(struct facts *facts, struct connection *conn, const struct relay_settings *settings,
                  struct error *err);

/* Is a plugin in output_plugin_libraries? A list that was set as one quoted string has a single member with commas in
 * it, and allows nothing. */
enum plugin_listed { PLUGIN_LISTED = 1, PLUGIN_NOT_LISTED, PLUGIN_LIST_QUOTED };
enum plugin_listed facts_plugin_listed(const char *list, const char *plugin);

/* Of slot and server as they were read. A standby has no slot of ours, or one that is synchronised and that nobody may
 * read before it is promoted: ERROR_RETRY "server_is_standby". One with a slot of its own (16 and newer) is as good as
 * a primary. */
bool facts_check_primary(const struct facts *facts, struct error *err);
/* The same of postgres.failover: ERROR_REFUSED where the slot is a standby's own. */
bool facts_check_failover_slot(const struct facts *facts, const struct relay_settings *settings, struct error *err);

/* Reads the publication anew, or the tables where settings->publication is NULL. */
bool facts_publication(struct facts *facts, struct connection *conn, const struct relay_settings *settings,
                       struct error *err);
/* Judges it against the tables and the required columns. */
bool facts_check_publication(const struct facts *facts, const struct relay_settings *settings, struct error *err);
/* The same for one of the tables alone. */
bool facts_check_table(const struct facts *facts, const struct relay_settings *settings, int table, struct error *err);

/* The publication made for the configured tables: insert only, by way of the partition root. */
bool facts_create_publication(struct connection *conn, const struct relay_settings *settings, struct error *err);
/* The same as SQL; malloc'ed. Identifiers are quoted. */
char *facts_publication_sql(const struct relay_settings *settings);

#endif
