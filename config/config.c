/* See config.h. The order: a strict pass over the YAML (yaml_tree), libcyaml into texts (schema), then the sections. */
#include "config/config.h"

#include <stdlib.h>
#include <string.h>

#include "bridge/base/memory.h"
#include "config/file.h"
#include "config/names.h"
#include "config/sections.h"

#define FILE_MAX ((size_t)1 << 20)

static bool load_log(const struct loading *loading, const struct raw_log *raw, struct config *config) {
  static const char *const names[] = {"debug", "info", "warn", "error"};
  size_t chosen;
  if (!loading_choice(loading, "log.level", raw->level, names, 4, 1, &chosen))
    return false;
  config->log.level = memory_string(names[chosen]);
  return true;
}

static bool load_http(const struct loading *loading, const struct raw_http *raw, struct config *config) {
  static const char remedy[] = "write host:port, \"127.0.0.1:9464\"; port 0 takes a free one";
  return section_name(loading, "http.listen", raw->listen, NULL, names_check_listen, remedy, &config->http.listen) &&
         section_name(loading, "http.inbox_listen", raw->inbox_listen, config->http.listen, names_check_listen, remedy,
                      &config->http.inbox_listen);
}

static bool load_sections(const struct loading *loading, const struct raw_config *raw, struct config *config) {
  return section_name(loading, "name", raw->name, NULL, names_check_instance,
                      "write 1 to 63 of a-z, 0-9, _ and -, with a letter in front", &config->name) &&
         section_postgres(loading, &raw->postgres, config) && section_kafka(loading, &raw->kafka, config) &&
         section_relay(loading, raw->relay, config) && section_inbox(loading, raw->inbox, config) &&
         load_http(loading, &raw->http, config) && load_log(loading, &raw->log, config);
}

struct config *config_parse(const char *path, const char *text, unsigned long len, struct error *err) {
  struct error ignored = {.kind = ERROR_NONE};
  struct loading loading = {.path = path, .err = err == NULL ? &ignored : err};
  if (len > FILE_MAX) {
    error_set(loading.err, ERROR_CONFIG, "%s:1:1: the file is larger than %zu bytes", path, FILE_MAX);
    error_remedy(loading.err, "shorten it; one file configures one database");
    return NULL;
  }
  struct yaml_marks *marks = yaml_check(path, text, len, &raw_schema, loading.err);
  if (marks == NULL)
    return NULL;
  loading.marks = marks;
  struct config *config = NULL;
  struct raw_config *raw = raw_load(text, len, loading.err);
  if (raw == NULL) {
    loading_place(&loading, "");
    goto out;
  }
  config = memory_alloc(sizeof *config);
  config->path = memory_string(path);
  if (!load_sections(&loading, raw, config)) {
    config_free(config);
    config = NULL;
  }
out:
  raw_free(raw);
  yaml_marks_free(marks);
  return config;
}

struct config *config_load(const char *path, struct error *err) {
  struct error why = {.kind = ERROR_NONE};
  size_t len = 0;
  char *text = file_read(path, FILE_MAX, true, &len, &why);
  if (text == NULL) {
    error_set(err, ERROR_CONFIG, "%s:1:1: the file %s", path, why.message);
    error_remedy(err, "name a YAML file that walferry may read, like config/examples/shop.yaml");
    return NULL;
  }
  struct config *config = config_parse(path, text, len, err);
  free(text);
  return config;
}

static void strings_free(struct config_strings *strings) {
  for (unsigned i = 0; i < strings->count; i++)
    free(strings->items[i]);
  free(strings->items);
}

static void table_free(struct config_table *table) {
  for (unsigned i = 0; i < table->header_count; i++) {
    free(table->headers[i].column);
    free(table->headers[i].name);
  }
  free(table->headers);
  free(table->schema);
  free(table->table);
  for (const cyaml_schema_field_t *field = raw_column_fields; field->key != NULL; field++)
    free(*(char **)((char *)&table->columns + field->data_offset));
}

static void relay_free(struct config *config) {
  for (unsigned i = 0; i < config->relay.table_count; i++)
    table_free(&config->relay.tables[i]);
  free(config->relay.tables);
  strings_free(&config->relay.messages);
  for (unsigned i = 0; i < config->relay.route_count; i++) {
    free(config->relay.routes[i].type);
    free(config->relay.routes[i].topic);
  }
  free(config->relay.routes);
  free(config->relay.quarantine_topic);
}

static void inbox_free(struct config *config) {
  free(config->inbox.group);
  strings_free(&config->inbox.topics);
  for (unsigned i = 0; i < config->inbox.handler_count; i++) {
    free(config->inbox.handlers[i].type);
    free(config->inbox.handlers[i].call);
  }
  free(config->inbox.handlers);
  free(config->inbox.dead_letter.suffix);
}

void config_free(struct config *config) {
  if (config == NULL)
    return;
  free(config->path);
  free(config->name);
  free(config->postgres.conninfo);
  free(config->postgres.slot);
  free(config->postgres.publication);
  free(config->postgres.replay.slot);
  free(config->kafka.brokers);
  strings_free(&config->kafka.properties);
  for (unsigned i = 0; i < config->kafka.topics.override_count; i++)
    free(config->kafka.topics.overrides[i].topic);
  free(config->kafka.topics.overrides);
  relay_free(config);
  inbox_free(config);
  free(config->http.listen);
  free(config->http.inbox_listen);
  free(config->log.level);
  free(config);
}
