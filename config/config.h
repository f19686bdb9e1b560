/* The configuration file (docs: README "Configuration"): one YAML file per database, loaded strictly. */
#ifndef WALFERRY_CONFIG_CONFIG_H
#define WALFERRY_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "bridge/base/error.h"

/* Strings are never NULL unless the comment says so; absent lists have count 0. All is owned by the config. */

struct config_columns { /* column name by role; NULL: the default name, where the table has it */
  char *id, *type, *key, *aggregate, *payload;
  char *occurred_at, *version, *source, *correlation_id, *causation_id, *trace_id, *traceparent, *tenant_id;
  char *actor_id, *actor_type, *topic, *partition, *headers, *content_type;
  char *published_at; /* no part of the event: where after_publish: mark writes */
};

struct config_header { /* a column that travels as a record header */
  char *column;
  char *name;
};

enum config_after_publish { CONFIG_AFTER_PUBLISH_KEEP = 1, CONFIG_AFTER_PUBLISH_MARK, CONFIG_AFTER_PUBLISH_DELETE };

struct config_table {
  char *schema; /* "public" when the file names none */
  char *table;
  struct config_columns columns;
  struct config_header *headers; /* each name once */
  unsigned header_count;
  enum config_after_publish after_publish; /* default: relay.after_publish, whose default is keep */
  bool by_day;                             /* partition_by: day; default none */
};

struct config_route {
  char *type;  /* exact or with * */
  char *topic; /* as written: its ${aggregate} and the like are the event's, never the environment's; names checked */
  bool round_robin; /* default false: by key */
};

enum config_cleanup { CONFIG_CLEANUP_DELETE = 1, CONFIG_CLEANUP_COMPACT, CONFIG_CLEANUP_COMPACT_DELETE };

/* How walferry creates a topic. */
struct config_topic_shape {
  int32_t partitions;
  int32_t replication;
  int64_t retention_ms;        /* -1: for ever; 0: the broker's */
  int32_t min_insync_replicas; /* at most replication; 0: the broker's */
};

struct config_topic_override {
  char *topic;                     /* exact or with * */
  struct config_topic_shape shape; /* whole: what the file leaves out is that of kafka.topics */
  enum config_cleanup cleanup;     /* 0: the broker's */
};

struct config_strings {
  char **items;
  unsigned count;
};

enum config_decoder { CONFIG_DECODER_PGOUTPUT = 1, CONFIG_DECODER_WAL2JSON };
enum config_envelope {
  CONFIG_ENVELOPE_STANDARD = 1,
  CONFIG_ENVELOPE_CONTRACT,
  CONFIG_ENVELOPE_ACTOR,
  CONFIG_ENVELOPE_CLOUDEVENTS,
  CONFIG_ENVELOPE_PAYLOAD
};
enum config_on_invalid { CONFIG_ON_INVALID_QUARANTINE = 1, CONFIG_ON_INVALID_STOP };

enum config_unmatched { CONFIG_UNMATCHED_DEAD_LETTER = 1, CONFIG_UNMATCHED_SKIP };

struct config_handler {
  char *type; /* exact or with * */
  char *call; /* schema.function; NULL: `ignore: true`, events of this type are passed over */
};

struct config {
  char *path;
  char *name; /* 1 to 63 of [a-z0-9_-], starting with a letter */

  struct {
    char *conninfo;    /* expanded, with the password of password_file: a libpq keyword/value string, values quoted.
                          Secret. */
    char *slot;        /* default "walferry_<name>", - as _ */
    char *publication; /* default: the same */
    enum config_decoder decoder; /* default pgoutput */
    bool create;                 /* default false */
    bool failover;               /* default false */
    bool has_replay;
    struct {
      char *slot;         /* the held-back one; default "<postgres.slot>_replay" */
      int64_t keep_ms;    /* the window; 1 minute to 30 days, default 24 h */
      int64_t keep_bytes; /* of WAL that it may hold back; 1 MB to 1000 TB, default 10 GB */
    } replay;
  } postgres;

  struct {
    char *brokers;
    struct config_strings properties; /* "name=value", with the password of password_file as sasl.password; those that
                                         would break exactly-once are refused at load. Secret. */
    struct {
      bool create; /* default true */
      /* Of topics that walferry creates. Partitions default to 3, replication to 1, as a single broker has it: `check`
       * warns below 3. */
      struct config_topic_shape shape;
      struct config_topic_override *overrides; /* first match wins */
      unsigned override_count;
    } topics;
  } kafka;

  bool has_relay;
  struct {
    struct config_table *tables; /* each once; no tables only where there are messages */
    unsigned table_count;
    struct config_strings messages; /* prefixes, each once; may be none; never MESSAGE_PREFIX_DEAD_LETTER */
    enum config_envelope envelope;  /* default standard */
    bool versioned_types;           /* type_format: versioned; default as_written */
    struct config_route *routes;    /* at least one; default {"*", "outbox.event.${aggregate}"} */
    unsigned route_count;
    enum config_on_invalid on_invalid; /* default quarantine */
    char *quarantine_topic;            /* default "<name>.quarantine" */
  } relay;

  bool has_inbox;
  struct {
    char *group;
    struct config_strings topics;    /* at least one, each once */
    struct config_handler *handlers; /* at least one, each type once */
    unsigned handler_count;
    enum config_unmatched unmatched; /* what becomes of an event that no handler is for; default dead_letter */
    struct {
      int32_t max_attempts;   /* default 5 */
      int32_t backoff_ms;     /* default 200 */
      int32_t backoff_max_ms; /* at least backoff_ms; default 30000 or backoff_ms, whichever is more */
    } retry;
    int32_t timeout_ms;     /* of one handler call; default 30000 */
    int32_t retention_days; /* of the marks of what was handled; 1 to 3650, default 7 */
    struct {
      char *suffix;  /* of the dead-letter topic, behind the event's own; default ".dlq" */
      bool hold_key; /* default false */
    } dead_letter;
  } inbox;

  struct {
    char *listen;       /* "host:port", port 0 to 65535, an IPv6 host in brackets; NULL: no HTTP */
    char *inbox_listen; /* of `walferry inbox`; default: as listen */
  } http;
  struct {
    char *level; /* debug | info | warn | error; default info */
  } log;
};

/* Loads and checks the file. On failure ERROR_CONFIG with a message that starts "FILE:LINE:COLUMN: " (1:1 where the
 * file cannot be read) and a remedy that says what would be right. No message quotes a password, or a property that
 * can hold one. Environment variables are read from getenv; `relay` and `inbox` are both optional here: the
 * commands check that what they need is there. NULL on failure; free with config_free. */
struct config *config_load(const char *path, struct error *err);
/* The same for a text in memory (len bytes); path is for messages, and a relative password_file is looked for in its
 * folder. */
struct config *config_parse(const char *path, const char *text, unsigned long len, struct error *err);
void config_free(struct config *config); /* accepts NULL */

#endif
