/* See settings.h. */
#include "bridge/settings.h"

#include <stdlib.h>

#include "bridge/base/memory.h"
#include "decoders/decoder.h"

#define SEGMENT_BYTES (128 << 10)
#define HISTORY_KEEP_MS INT64_C(86400000) /* a day, where nothing is held back for replays */

/* All tables' header columns, one behind the other. */
static struct header_column *make_header_columns(const struct config *config) {
  size_t count = 0;
  for (unsigned i = 0; i < config->relay.table_count; i++)
    count += config->relay.tables[i].header_count;
  struct header_column *columns = memory_alloc(count * sizeof *columns), *next = columns;
  for (unsigned i = 0; i < config->relay.table_count; i++) {
    const struct config_table *table = &config->relay.tables[i];
    for (unsigned h = 0; h < table->header_count; h++)
      *next++ = (struct header_column){.column = table->headers[h].column, .name = table->headers[h].name};
  }
  return columns;
}

static enum after_publish after_publish_of(enum config_after_publish after_publish) {
  switch (after_publish) {
  case CONFIG_AFTER_PUBLISH_KEEP:
    break;
  case CONFIG_AFTER_PUBLISH_MARK:
    return AFTER_PUBLISH_MARK;
  case CONFIG_AFTER_PUBLISH_DELETE:
    return AFTER_PUBLISH_DELETE;
  }
  return AFTER_PUBLISH_KEEP;
}

/* The column names by role. The cells point into the config. */
static void fill_table(struct table_spec *spec, const struct config_table *table, const struct header_column *headers) {
  const struct config_columns *c = &table->columns;
  *spec = (struct table_spec){
      .schema = table->schema,
      .table = table->table,
      .columns = {[FIELD_ID] = c->id,
                  [FIELD_TYPE] = c->type,
                  [FIELD_KEY] = c->key,
                  [FIELD_AGGREGATE] = c->aggregate,
                  [FIELD_PAYLOAD] = c->payload,
                  [FIELD_OCCURRED_AT] = c->occurred_at,
                  [FIELD_VERSION] = c->version,
                  [FIELD_SOURCE] = c->source,
                  [FIELD_CORRELATION_ID] = c->correlation_id,
                  [FIELD_CAUSATION_ID] = c->causation_id,
                  [FIELD_TRACE_ID] = c->trace_id,
                  [FIELD_TRACEPARENT] = c->traceparent,
                  [FIELD_TENANT_ID] = c->tenant_id,
                  [FIELD_ACTOR_ID] = c->actor_id,
                  [FIELD_ACTOR_TYPE] = c->actor_type,
                  [FIELD_TOPIC] = c->topic,
                  [FIELD_PARTITION] = c->partition,
                  [FIELD_HEADERS] = c->headers,
                  [FIELD_CONTENT_TYPE] = c->content_type},
      .headers = headers,
      .header_count = (int)table->header_count,
      .after_publish = after_publish_of(table->after_publish),
      .published_at = c->published_at != NULL ? c->published_at : "published_at",
      .by_day = table->by_day,
  };
}

static enum envelope_layout layout_of(enum config_envelope envelope) {
  switch (envelope) {
  case CONFIG_ENVELOPE_STANDARD:
    break;
  case CONFIG_ENVELOPE_CONTRACT:
    return ENVELOPE_CONTRACT;
  case CONFIG_ENVELOPE_ACTOR:
    return ENVELOPE_ACTOR;
  case CONFIG_ENVELOPE_CLOUDEVENTS:
    return ENVELOPE_CLOUDEVENTS;
  case CONFIG_ENVELOPE_PAYLOAD:
    return ENVELOPE_PAYLOAD;
  }
  return ENVELOPE_STANDARD;
}

static struct router *make_router(const struct config *config, struct error *err) {
  unsigned count = config->relay.route_count;
  struct route_spec *routes = memory_alloc(count * sizeof *routes);
  for (unsigned i = 0; i < count; i++)
    routes[i] = (struct route_spec){.type = config->relay.routes[i].type,
                                    .topic = config->relay.routes[i].topic,
                                    .round_robin = config->relay.routes[i].round_robin};
  struct router *router = router_new(routes, (int)count, err);
  free(routes);
  return router;
}

static const char *plugin_of(const struct config *config) {
  return config->postgres.decoder == CONFIG_DECODER_WAL2JSON ? "wal2json" : "pgoutput";
}

static enum topic_cleanup cleanup_of(enum config_cleanup cleanup) {
  switch (cleanup) {
  case CONFIG_CLEANUP_DELETE:
    return TOPIC_CLEANUP_DELETE;
  case CONFIG_CLEANUP_COMPACT:
    return TOPIC_CLEANUP_COMPACT;
  case CONFIG_CLEANUP_COMPACT_DELETE:
    return TOPIC_CLEANUP_COMPACT_DELETE;
  }
  return (enum topic_cleanup)0; /* not in the file: the broker's */
}

static struct topic_shape shape_of(const struct config_topic_shape *shape, enum config_cleanup cleanup) {
  return (struct topic_shape){.partitions = shape->partitions,
                              .replication = shape->replication,
                              .retention_ms = shape->retention_ms,
                              .min_insync_replicas = shape->min_insync_replicas,
                              .cleanup = cleanup_of(cleanup)};
}

static struct topic_override *make_overrides(const struct config *config) {
  unsigned count = config->kafka.topics.override_count;
  struct topic_override *overrides = memory_alloc(count * sizeof *overrides);
  for (unsigned i = 0; i < count; i++) {
    const struct config_topic_override *from = &config->kafka.topics.overrides[i];
    overrides[i] = (struct topic_override){.topic = from->topic, .shape = shape_of(&from->shape, from->cleanup)};
  }
  return overrides;
}

bool settings_need_relay(const struct config *config, struct error *err) {
  if (config->has_relay)
    return true;
  error_set(err, ERROR_CONFIG, "%s: there is no relay section", config->path);
  return error_remedy(err, "add one with the outbox tables: relay: {tables: [{table: public.outbox}]}");
}

bool settings_need_inbox(const struct config *config, struct error *err) {
  if (config->has_inbox)
    return true;
  error_set(err, ERROR_CONFIG, "%s: there is no inbox section", config->path);
  return error_remedy(err, "add one: inbox: {group: NAME, topics: [TOPIC], handlers: [{type: TYPE, call: "
                           "schema.function}]}");
}

bool settings_need_either(const struct config *config, struct error *err) {
  if (config->has_relay || config->has_inbox)
    return true;
  error_set(err, ERROR_CONFIG, "%s: there is neither a relay nor an inbox section", config->path);
  return error_remedy(err, "add the one that is to run: relay: {tables: [{table: public.outbox}]}, or inbox: {group: "
                           "NAME, topics: [TOPIC], handlers: [{type: TYPE, call: schema.function}]}");
}

const struct relay_settings *settings_relay(const struct settings *settings, const struct config *config) {
  return config->has_relay ? &settings->relay : NULL;
}

const struct inbox_settings *settings_inbox(const struct settings *settings, const struct config *config) {
  return config->has_inbox ? &settings->inbox : NULL;
}

static bool fill_relay(struct settings *settings, const struct config *config, struct error *err) {
  settings->router = make_router(config, err);
  if (settings->router == NULL)
    return error_wrap(err, "%s: relay.routes", config->path);
  settings->tables = memory_alloc(config->relay.table_count * sizeof *settings->tables);
  settings->header_columns = make_header_columns(config);
  const struct header_column *next = settings->header_columns;
  for (unsigned i = 0; i < config->relay.table_count; i++) {
    fill_table(&settings->tables[i], &config->relay.tables[i], next);
    next += config->relay.tables[i].header_count;
  }
  settings->overrides = make_overrides(config);
  settings->relay = (struct relay_settings){
      .name = config->name,
      .conninfo = config->postgres.conninfo,
      .slot = config->postgres.slot,
      .publication = decoder_class_find(plugin_of(config))->reads_publication ? config->postgres.publication : NULL,
      .plugin = plugin_of(config),
      .create = config->postgres.create,
      .failover = config->postgres.failover,
      .intake = {.tables = settings->tables,
                 .table_count = (int)config->relay.table_count,
                 .prefixes = (const char *const *)config->relay.messages.items,
                 .prefix_count = (int)config->relay.messages.count,
                 .record = {.instance = config->name,
                            .layout = layout_of(config->relay.envelope),
                            .versioned_types = config->relay.versioned_types,
                            .router = settings->router,
                            .quarantine_topic = config->relay.quarantine_topic},
                 .stop_on_invalid = config->relay.on_invalid == CONFIG_ON_INVALID_STOP,
                 .segment_bytes = SEGMENT_BYTES},
      .publisher = {.position_key = POSITION_KEY,
                    .stop_on_invalid = config->relay.on_invalid == CONFIG_ON_INVALID_STOP,
                    .kafka = settings->kafka,
                    .quarantine_topic = config->relay.quarantine_topic,
                    .create_topics = config->kafka.topics.create,
                    .topics = {.common = shape_of(&config->kafka.topics.shape, (enum config_cleanup)0),
                               .overrides = settings->overrides,
                               .override_count = (int)config->kafka.topics.override_count}},
      .retain = {.slot = config->postgres.has_replay ? config->postgres.replay.slot : NULL,
                 .keep_ms = config->postgres.has_replay ? config->postgres.replay.keep_ms : HISTORY_KEEP_MS,
                 .keep_bytes = config->postgres.replay.keep_bytes},
      .until = RELAY_FOREVER,
  };
  return true;
}

static void fill_inbox(struct settings *settings, const struct config *config) {
  settings->handlers = memory_alloc(config->inbox.handler_count * sizeof *settings->handlers);
  for (unsigned i = 0; i < config->inbox.handler_count; i++)
    settings->handlers[i] =
        (struct handler_spec){.type = config->inbox.handlers[i].type, .call = config->inbox.handlers[i].call};
  settings->inbox = (struct inbox_settings){
      .name = config->name,
      .conninfo = config->postgres.conninfo,
      .kafka = settings->kafka,
      .group = config->inbox.group,
      .topics = (const char *const *)config->inbox.topics.items,
      .topic_count = (int)config->inbox.topics.count,
      .handlers = settings->handlers,
      .handler_count = config->inbox.handler_count,
      .unmatched = config->inbox.unmatched == CONFIG_UNMATCHED_SKIP ? REGISTRY_SKIP : REGISTRY_DEAD_LETTER,
      .max_attempts = config->inbox.retry.max_attempts,
      .backoff_ms = config->inbox.retry.backoff_ms,
      .backoff_max_ms = config->inbox.retry.backoff_max_ms,
      .timeout_ms = config->inbox.timeout_ms,
      .retention_days = config->inbox.retention_days,
      .dead_letter_suffix = config->inbox.dead_letter.suffix,
      .hold_key = config->inbox.dead_letter.hold_key,
      .dead_letter_records = config->has_relay,
  };
}

/* Where the relay sends the dead letters of the inbox beside it. */
static void connect_both(struct settings *settings, const struct config *config) {
  settings->dead_letter_topics = memory_alloc(config->inbox.topics.count * sizeof *settings->dead_letter_topics);
  for (unsigned i = 0; i < config->inbox.topics.count; i++)
    settings->dead_letter_topics[settings->dead_letter_topic_count++] =
        memory_format("%s%s", config->inbox.topics.items[i], config->inbox.dead_letter.suffix);
  settings->relay.intake.dead_letters = true;
  settings->relay.publisher.dead_letter_topics = (const char *const *)settings->dead_letter_topics;
  settings->relay.publisher.dead_letter_topic_count = settings->dead_letter_topic_count;
}

bool settings_init(struct settings *settings, const struct config *config, struct error *err) {
  *settings = (struct settings){.tables = NULL};
  settings->kafka = (struct kafka_settings){.brokers = config->kafka.brokers,
                                            .instance = config->name,
                                            .properties = (const char *const *)config->kafka.properties.items,
                                            .property_count = (int)config->kafka.properties.count};
  bool ok = kafka_settings_check(&settings->kafka, err) || error_wrap(err, "%s: kafka", config->path);
  if (ok && config->has_relay)
    ok = fill_relay(settings, config, err);
  if (ok && config->has_inbox)
    fill_inbox(settings, config);
  if (ok && config->has_relay && config->has_inbox)
    connect_both(settings, config);
  if (!ok)
    settings_free(settings);
  return ok;
}

void settings_free(struct settings *settings) {
  router_free(settings->router);
  free(settings->tables);
  free(settings->overrides);
  free(settings->header_columns);
  free(settings->handlers);
  for (int i = 0; i < settings->dead_letter_topic_count; i++)
    free(settings->dead_letter_topics[i]);
  free(settings->dead_letter_topics);
  *settings = (struct settings){.tables = NULL};
}
