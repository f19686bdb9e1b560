/* The `relay` section. */
#include <stdlib.h>
#include <string.h>

#include "bridge/base/memory.h"
#include "config/names.h"
#include "config/sections.h"

#define IDENTIFIER_REMEDY "write 1 to 63 bytes without quotes, as the name stands in the catalog"
#define DEFAULT_ROUTE_TOPIC "outbox.event.${aggregate}"

static bool load_columns(const struct loading *loading, const char *table_key, const struct config_columns *raw,
                         struct config_columns *out) {
  for (const cyaml_schema_field_t *field = raw_column_fields; field->key != NULL; field++) {
    struct loading_key key = loading_key("%s.columns.%s", table_key, field->key);
    char *const *from = (char *const *)((const char *)raw + field->data_offset);
    char **to = (char **)((char *)out + field->data_offset);
    if (!section_name(loading, key.text, *from, NULL, names_check_identifier, IDENTIFIER_REMEDY, to))
      return false;
  }
  return true;
}

static bool load_headers(const struct loading *loading, const char *table_key, const struct raw_table *raw,
                         struct config_table *out) {
  out->headers = memory_alloc(raw->headers_count * sizeof *out->headers);
  for (unsigned i = 0; i < raw->headers_count; i++) {
    struct loading_key column = loading_key("%s.headers[%u].column", table_key, i);
    struct loading_key name = loading_key("%s.headers[%u].name", table_key, i);
    struct config_header *header = &out->headers[out->header_count++];
    if (!section_name(loading, column.text, raw->headers[i].column, NULL, names_check_identifier, IDENTIFIER_REMEDY,
                      &header->column) ||
        !section_name(loading, name.text, raw->headers[i].name, NULL, names_check_header,
                      "write 1 to 249 bytes without control characters", &header->name))
      return false;
    for (const struct config_header *other = out->headers; other < header; other++) {
      if (strcmp(other->name, header->name) != 0)
        continue;
      loading_fail(loading, name.text, "the header \"%s\" is there twice", header->name);
      return loading_remedy(loading, "keep one of the two");
    }
  }
  return true;
}

/* "schema.table", split at the first dot; a name without one is in public. */
static bool load_table_name(const struct loading *loading, const char *key, const char *raw, struct config_table *out) {
  char *text;
  if (!loading_text(loading, key, raw, NULL, &text))
    return false;
  const char *dot = strchr(text, '.');
  out->schema = dot == NULL ? memory_string("public") : memory_copy(text, (size_t)(dot - text));
  out->table = memory_string(dot == NULL ? text : dot + 1);
  const char *part = "schema", *wrong = names_check_identifier(out->schema);
  if (wrong == NULL) {
    part = "table";
    wrong = names_check_identifier(out->table);
  }
  if (wrong != NULL)
    loading_fail(loading, key, "`%s`: the %s in \"%s\" %s", key, part, text, wrong);
  free(text);
  return wrong == NULL || loading_remedy(loading, "write schema.table, or table for one in public; each %s",
                                         "1 to 63 bytes without quotes, as it stands in the catalog");
}

static bool load_after_publish(const struct loading *loading, const char *key, const char *raw,
                               enum config_after_publish fallback, enum config_after_publish *out) {
  static const char *const names[] = {"keep", "mark", "delete"};
  static const enum config_after_publish values[] = {CONFIG_AFTER_PUBLISH_KEEP, CONFIG_AFTER_PUBLISH_MARK,
                                                     CONFIG_AFTER_PUBLISH_DELETE};
  size_t chosen, usual = 0;
  while (values[usual] != fallback)
    usual++;
  if (!loading_choice(loading, key, raw, names, 3, usual, &chosen))
    return false;
  *out = values[chosen];
  return true;
}

/* What becomes of the rows: of published ones, and of all by their day. */
static bool load_keeping(const struct loading *loading, const char *table_key, const struct raw_table *raw,
                         enum config_after_publish usual, struct config_table *out) {
  static const char *const partitions[] = {"none", "day"};
  struct loading_key after = loading_key("%s.after_publish", table_key);
  struct loading_key by = loading_key("%s.partition_by", table_key);
  size_t chosen;
  if (!load_after_publish(loading, after.text, raw->after_publish, usual, &out->after_publish) ||
      !loading_choice(loading, by.text, raw->partition_by, partitions, 2, 0, &chosen))
    return false;
  out->by_day = chosen == 1;
  return true;
}

static bool load_tables(const struct loading *loading, const struct raw_relay *raw, struct config *config) {
  enum config_after_publish usual;
  if (!load_after_publish(loading, "relay.after_publish", raw->after_publish, CONFIG_AFTER_PUBLISH_KEEP, &usual))
    return false;
  config->relay.tables = memory_alloc(raw->tables_count * sizeof *config->relay.tables);
  for (unsigned i = 0; i < raw->tables_count; i++) {
    struct loading_key item = loading_key("relay.tables[%u]", i);
    struct loading_key name = loading_key("%s.table", item.text);
    struct config_table *table = &config->relay.tables[config->relay.table_count++];
    if (!load_table_name(loading, name.text, raw->tables[i].table, table) ||
        !load_columns(loading, item.text, &raw->tables[i].columns, &table->columns) ||
        !load_headers(loading, item.text, &raw->tables[i], table) ||
        !load_keeping(loading, item.text, &raw->tables[i], usual, table))
      return false;
    for (const struct config_table *other = config->relay.tables; other < table; other++) {
      if (strcmp(other->schema, table->schema) != 0 || strcmp(other->table, table->table) != 0)
        continue;
      loading_fail(loading, name.text, "the table %s.%s is there twice", table->schema, table->table);
      return loading_remedy(loading, "keep one of the two");
    }
  }
  return true;
}

/* The topic is not expanded: its ${...} are the event's own fields. */
static bool load_topic_template(const struct loading *loading, const char *key, const char *raw, char **out) {
  const char *wrong = names_check_topic_template(raw);
  if (wrong != NULL) {
    loading_fail(loading, key, "`%s`: \"%s\" %s", key, raw, wrong);
    return loading_remedy(loading,
                          "%s; ${aggregate}, ${type}, ${key}, ${tenant_id}, ${version} and ${source} are the "
                          "event's, environment variables are not available here",
                          SECTION_TOPIC_REMEDY);
  }
  *out = memory_string(raw);
  return true;
}

static bool load_spread(const struct loading *loading, const char *key, const char *raw, bool *round_robin) {
  static const char *const names[] = {"key", "round_robin"};
  size_t chosen;
  if (!loading_choice(loading, key, raw, names, 2, 0, &chosen))
    return false;
  *round_robin = chosen == 1;
  return true;
}

static bool load_routes(const struct loading *loading, const struct raw_relay *raw, struct config *config) {
  if (raw->routes_count == 0) {
    config->relay.routes = memory_alloc(sizeof *config->relay.routes);
    config->relay.routes[config->relay.route_count++] =
        (struct config_route){.type = memory_string("*"), .topic = memory_string(DEFAULT_ROUTE_TOPIC)};
    return true;
  }
  config->relay.routes = memory_alloc(raw->routes_count * sizeof *config->relay.routes);
  for (unsigned i = 0; i < raw->routes_count; i++) {
    struct config_route *route = &config->relay.routes[config->relay.route_count++];
    struct loading_key type = loading_key("relay.routes[%u].type", i);
    struct loading_key topic = loading_key("relay.routes[%u].topic", i);
    struct loading_key partition = loading_key("relay.routes[%u].partition", i);
    if (!loading_text(loading, type.text, raw->routes[i].type, NULL, &route->type) ||
        !load_topic_template(loading, topic.text, raw->routes[i].topic, &route->topic) ||
        !load_spread(loading, partition.text, raw->routes[i].partition, &route->round_robin))
      return false;
  }
  return true;
}

static bool load_envelope(const struct loading *loading, const char *raw, enum config_envelope *out) {
  static const char *const names[] = {"standard", "contract", "actor", "cloudevents", "payload"};
  static const enum config_envelope values[] = {CONFIG_ENVELOPE_STANDARD, CONFIG_ENVELOPE_CONTRACT,
                                                CONFIG_ENVELOPE_ACTOR, CONFIG_ENVELOPE_CLOUDEVENTS,
                                                CONFIG_ENVELOPE_PAYLOAD};
  size_t chosen;
  if (!loading_choice(loading, "relay.envelope", raw, names, 5, 0, &chosen))
    return false;
  *out = values[chosen];
  return true;
}

static bool load_type_format(const struct loading *loading, const char *raw, bool *versioned) {
  static const char *const names[] = {"as_written", "versioned"};
  size_t chosen;
  if (!loading_choice(loading, "relay.type_format", raw, names, 2, 0, &chosen))
    return false;
  *versioned = chosen == 1;
  return true;
}

static bool load_on_invalid(const struct loading *loading, const char *raw, enum config_on_invalid *out) {
  static const char *const names[] = {"quarantine", "stop"};
  size_t chosen;
  if (!loading_choice(loading, "relay.on_invalid", raw, names, 2, 0, &chosen))
    return false;
  *out = chosen == 0 ? CONFIG_ON_INVALID_QUARANTINE : CONFIG_ON_INVALID_STOP;
  return true;
}

static bool load_quarantine_topic(const struct loading *loading, const char *raw, struct config *config) {
  char *fallback = memory_format("%s.quarantine", config->name);
  bool ok = section_name(loading, "relay.quarantine_topic", raw, fallback, names_check_topic, SECTION_TOPIC_REMEDY,
                         &config->relay.quarantine_topic);
  free(fallback);
  return ok;
}

static bool check_sources(const struct loading *loading, const struct raw_relay *raw) {
  if (raw->tables_count == 0 && raw->messages_count == 0) {
    loading_fail(loading, "relay", "`relay` names no table and no message prefix: there is nothing to carry");
    return loading_remedy(loading, "add `tables: [{table: public.outbox}]` or `messages: [walferry]` to it");
  }
  if (raw->routes_count > 0 || !yaml_marks_has(loading->marks, "relay.routes"))
    return true;
  loading_fail(loading, "relay.routes", "`relay.routes` is an empty list: no event would have a topic");
  return loading_remedy(loading, "add a route, or remove the key: the default is {type: \"*\", topic: \"%s\"}",
                        DEFAULT_ROUTE_TOPIC);
}

bool section_relay(const struct loading *loading, const struct raw_relay *raw, struct config *config) {
  config->has_relay = raw != NULL;
  return raw == NULL ||
         (check_sources(loading, raw) && load_tables(loading, raw, config) &&
          section_strings(loading, "relay.messages", raw->messages, raw->messages_count, names_check_message_prefix,
                          "take it out: with an `inbox` section the relay publishes them without being told",
                          &config->relay.messages) &&
          load_envelope(loading, raw->envelope, &config->relay.envelope) &&
          load_type_format(loading, raw->type_format, &config->relay.versioned_types) &&
          load_routes(loading, raw, config) && load_on_invalid(loading, raw->on_invalid, &config->relay.on_invalid) &&
          load_quarantine_topic(loading, raw->quarantine_topic, config));
}
