/* Which keys a config file may have, and libcyaml's loading by it. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "config/raw.h"

/* Presence only: ranges and lengths are checked later, where line and column are known. */
#define TEXT(structure, member)                                                                                        \
  CYAML_FIELD_STRING_PTR(#member, CYAML_FLAG_OPTIONAL, structure, member, 0, CYAML_UNLIMITED)
#define TEXT_REQUIRED(structure, member)                                                                               \
  CYAML_FIELD_STRING_PTR(#member, CYAML_FLAG_DEFAULT, structure, member, 0, CYAML_UNLIMITED)
#define LIST(structure, member, entry)                                                                                 \
  CYAML_FIELD_SEQUENCE(#member, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, structure, member, &(entry), 0,              \
                       CYAML_UNLIMITED)
#define SECTION(structure, member, fields) CYAML_FIELD_MAPPING(#member, CYAML_FLAG_OPTIONAL, structure, member, fields)
#define LATER(key) CYAML_FIELD_IGNORE(key, CYAML_FLAG_OPTIONAL)

static const cyaml_schema_value_t text_entry = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 0, CYAML_UNLIMITED)};

static const cyaml_schema_field_t replay_fields[] = {
    TEXT(struct raw_replay, slot),
    TEXT(struct raw_replay, keep),
    TEXT(struct raw_replay, keep_bytes),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t postgres_fields[] = {
    TEXT_REQUIRED(struct raw_postgres, conninfo),
    TEXT(struct raw_postgres, password_file),
    TEXT(struct raw_postgres, slot),
    TEXT(struct raw_postgres, publication),
    TEXT(struct raw_postgres, decoder),
    TEXT(struct raw_postgres, create),
    CYAML_FIELD_MAPPING_PTR("replay", CYAML_FLAG_OPTIONAL, struct raw_postgres, replay, replay_fields),
    TEXT(struct raw_postgres, failover),
    CYAML_FIELD_END,
};

#define SHAPE(structure, member)                                                                                       \
  CYAML_FIELD_STRING_PTR(#member, CYAML_FLAG_OPTIONAL, structure, shape.member, 0, CYAML_UNLIMITED)

static const cyaml_schema_field_t override_fields[] = {
    TEXT_REQUIRED(struct raw_override, topic),
    SHAPE(struct raw_override, partitions),
    SHAPE(struct raw_override, replication),
    SHAPE(struct raw_override, retention_ms),
    SHAPE(struct raw_override, min_insync_replicas),
    TEXT(struct raw_override, cleanup),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t override_entry = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_override, override_fields)};

static const cyaml_schema_field_t topics_fields[] = {
    TEXT(struct raw_topics, create),
    SHAPE(struct raw_topics, partitions),
    SHAPE(struct raw_topics, replication),
    SHAPE(struct raw_topics, retention_ms),
    SHAPE(struct raw_topics, min_insync_replicas),
    LIST(struct raw_topics, overrides, override_entry),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t kafka_fields[] = {
    TEXT_REQUIRED(struct raw_kafka, brokers),
    TEXT(struct raw_kafka, password_file),
    LIST(struct raw_kafka, properties, text_entry),
    SECTION(struct raw_kafka, topics, topics_fields),
    CYAML_FIELD_END,
};

#define COLUMN(role) TEXT(struct config_columns, role)
const cyaml_schema_field_t raw_column_fields[] = {
    COLUMN(id),          COLUMN(type),        COLUMN(key),       COLUMN(aggregate),      COLUMN(payload),
    COLUMN(occurred_at), COLUMN(version),     COLUMN(source),    COLUMN(correlation_id), COLUMN(causation_id),
    COLUMN(trace_id),    COLUMN(traceparent), COLUMN(tenant_id), COLUMN(actor_id),       COLUMN(actor_type),
    COLUMN(topic),       COLUMN(partition),   COLUMN(headers),   COLUMN(content_type),   COLUMN(published_at),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t header_fields[] = {
    TEXT_REQUIRED(struct config_header, column),
    TEXT_REQUIRED(struct config_header, name),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t header_entry = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct config_header, header_fields)};

static const cyaml_schema_field_t table_fields[] = {
    TEXT_REQUIRED(struct raw_table, table),        SECTION(struct raw_table, columns, raw_column_fields),
    LIST(struct raw_table, headers, header_entry), TEXT(struct raw_table, after_publish),
    TEXT(struct raw_table, partition_by),          CYAML_FIELD_END,
};
static const cyaml_schema_value_t table_entry = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_table, table_fields)};

static const cyaml_schema_field_t route_fields[] = {
    TEXT_REQUIRED(struct raw_route, type),
    TEXT_REQUIRED(struct raw_route, topic),
    TEXT(struct raw_route, partition),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t route_entry = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_route, route_fields)};

static const cyaml_schema_field_t relay_fields[] = {
    LIST(struct raw_relay, tables, table_entry),
    LIST(struct raw_relay, messages, text_entry),
    TEXT(struct raw_relay, envelope),
    TEXT(struct raw_relay, type_format),
    LIST(struct raw_relay, routes, route_entry),
    TEXT(struct raw_relay, on_invalid),
    TEXT(struct raw_relay, quarantine_topic),
    TEXT(struct raw_relay, after_publish),
    LATER("contracts"),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t handler_fields[] = {
    TEXT_REQUIRED(struct raw_handler, type),
    TEXT(struct raw_handler, call),
    TEXT(struct raw_handler, ignore),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t handler_entry = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_handler, handler_fields)};

static const cyaml_schema_field_t retry_fields[] = {
    TEXT(struct raw_retry, max_attempts),
    TEXT(struct raw_retry, backoff_ms),
    TEXT(struct raw_retry, backoff_max_ms),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t dead_letter_fields[] = {
    TEXT(struct raw_dead_letter, suffix),
    TEXT(struct raw_dead_letter, hold_key),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t inbox_fields[] = {
    TEXT_REQUIRED(struct raw_inbox, group),
    CYAML_FIELD_SEQUENCE("topics", CYAML_FLAG_POINTER, struct raw_inbox, topics, &text_entry, 0, CYAML_UNLIMITED),
    CYAML_FIELD_SEQUENCE("handlers", CYAML_FLAG_POINTER, struct raw_inbox, handlers, &handler_entry, 0,
                         CYAML_UNLIMITED),
    TEXT(struct raw_inbox, unmatched),
    SECTION(struct raw_inbox, retry, retry_fields),
    TEXT(struct raw_inbox, timeout_ms),
    TEXT(struct raw_inbox, retention_days),
    SECTION(struct raw_inbox, dead_letter, dead_letter_fields),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t http_fields[] = {
    TEXT_REQUIRED(struct raw_http, listen),
    TEXT(struct raw_http, inbox_listen),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t log_fields[] = {
    TEXT(struct raw_log, level),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t root_fields[] = {
    TEXT_REQUIRED(struct raw_config, name),
    CYAML_FIELD_MAPPING("postgres", CYAML_FLAG_DEFAULT, struct raw_config, postgres, postgres_fields),
    CYAML_FIELD_MAPPING("kafka", CYAML_FLAG_DEFAULT, struct raw_config, kafka, kafka_fields),
    CYAML_FIELD_MAPPING_PTR("relay", CYAML_FLAG_OPTIONAL, struct raw_config, relay, relay_fields),
    CYAML_FIELD_MAPPING_PTR("inbox", CYAML_FLAG_OPTIONAL, struct raw_config, inbox, inbox_fields),
    SECTION(struct raw_config, http, http_fields),
    SECTION(struct raw_config, log, log_fields),
    LATER("tenants"),
    CYAML_FIELD_END,
};

const cyaml_schema_value_t raw_schema = {CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw_config, root_fields)};

/* libcyaml tells details only through its log; the first line is the cause, the rest a backtrace. */
struct complaint {
  char text[256];
};

__attribute__((format(printf, 3, 0))) static void note_complaint(cyaml_log_t level, void *ctx, const char *format,
                                                                 va_list args) {
  struct complaint *complaint = ctx;
  if (level >= CYAML_LOG_ERROR && complaint->text[0] == '\0') {
    vsnprintf(complaint->text, sizeof complaint->text, format, args);
    complaint->text[strcspn(complaint->text, "\n")] = '\0';
  }
}

static cyaml_config_t cyaml_setup(struct complaint *complaint) {
  return (cyaml_config_t){.log_fn = note_complaint,
                          .log_ctx = complaint,
                          .mem_fn = cyaml_mem,
                          .log_level = CYAML_LOG_ERROR,
                          .flags = CYAML_CFG_NO_ALIAS};
}

struct raw_config *raw_load(const char *text, size_t len, struct error *err) {
  struct complaint complaint = {.text = ""};
  cyaml_config_t setup = cyaml_setup(&complaint);
  struct raw_config *raw = NULL;
  cyaml_err_t result = cyaml_load_data((const uint8_t *)text, len, &setup, &raw_schema, (cyaml_data_t **)&raw, NULL);
  if (result == CYAML_OK && raw != NULL)
    return raw;
  error_set(err, ERROR_CONFIG, "libcyaml refuses the file: %s%s%s", cyaml_strerror(result),
            complaint.text[0] == '\0' ? "" : ": ", complaint.text);
  error_remedy(err, "compare it with config/examples/shop.yaml");
  return NULL;
}

void raw_free(struct raw_config *raw) {
  if (raw == NULL)
    return;
  struct complaint complaint = {.text = ""};
  cyaml_config_t setup = cyaml_setup(&complaint);
  cyaml_free(&setup, &raw_schema, raw, 0);
}
