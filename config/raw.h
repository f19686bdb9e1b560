/* The file as libcyaml loads it: every scalar is still its text, numbers and booleans included, because libcyaml reads
 * `30s` as 30 and `fasle` as true. The schema is the one table that the strict pass walks as well. */
#ifndef WALFERRY_CONFIG_RAW_H
#define WALFERRY_CONFIG_RAW_H

#include <cyaml/cyaml.h>

#include "bridge/base/error.h"
#include "config/config.h"

/* Absent scalars are NULL, absent lists have count 0. */

struct raw_replay {
  char *slot, *keep, *keep_bytes;
};

struct raw_postgres {
  char *conninfo, *password_file, *slot, *publication, *decoder, *create, *failover;
  struct raw_replay *replay; /* NULL: no such section */
};

/* The roles of one topic's settings; the cells of raw_topics and raw_override. */
struct raw_shape {
  char *partitions, *replication, *retention_ms, *min_insync_replicas;
};

struct raw_override {
  char *topic, *cleanup;
  struct raw_shape shape;
};

struct raw_topics {
  char *create;
  struct raw_shape shape;
  struct raw_override *overrides;
  unsigned overrides_count;
};

struct raw_kafka {
  char *brokers, *password_file;
  char **properties;
  unsigned properties_count;
  struct raw_topics topics;
};

struct raw_table {
  char *table;
  struct config_columns columns;
  struct config_header *headers;
  unsigned headers_count;
  char *after_publish, *partition_by;
};

struct raw_route {
  char *type, *topic, *partition;
};

struct raw_relay {
  struct raw_table *tables;
  unsigned tables_count;
  char **messages;
  unsigned messages_count;
  char *envelope, *type_format;
  struct raw_route *routes;
  unsigned routes_count;
  char *on_invalid, *quarantine_topic;
  char *after_publish;
};

struct raw_handler {
  char *type, *call, *ignore;
};

struct raw_retry {
  char *max_attempts, *backoff_ms, *backoff_max_ms;
};

struct raw_dead_letter {
  char *suffix, *hold_key;
};

struct raw_inbox {
  char *group;
  char **topics;
  unsigned topics_count;
  struct raw_handler *handlers;
  unsigned handlers_count;
  char *unmatched;
  struct raw_retry retry;
  char *timeout_ms, *retention_days;
  struct raw_dead_letter dead_letter;
};

struct raw_http {
  char *listen, *inbox_listen;
};

struct raw_log {
  char *level;
};

struct raw_config {
  char *name;
  struct raw_postgres postgres;
  struct raw_kafka kafka;
  struct raw_relay *relay; /* NULL: no such section */
  struct raw_inbox *inbox; /* NULL: no such section */
  struct raw_http http;
  struct raw_log log;
};

/* The whole file. A field of type CYAML_IGNORE is a key meant for later: known, but not supported yet. */
extern const cyaml_schema_value_t raw_schema;

/* The roles of `columns`: key is the role's name, data_offset its place in struct config_columns. Ends with a NULL key.
 */
extern const cyaml_schema_field_t raw_column_fields[];

/* Loads a text that the strict pass (yaml_check) has accepted. NULL with ERROR_CONFIG and libcyaml's own words if
 * libcyaml refuses it all the same. */
struct raw_config *raw_load(const char *text, size_t len, struct error *err);
void raw_free(struct raw_config *raw); /* accepts NULL */

#endif
