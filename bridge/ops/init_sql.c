/* See init_sql.h. */
#include "bridge/ops/init_sql.h"

#include <stdio.h>

#include "bridge/postgres/quote.h"

/* Column types of a table made by `init`, by role; the default name where the config gives none. */
static const struct {
  enum event_field field;
  const char *name;
  const char *definition;
} columns[] = {
    {FIELD_ID, "id", "uuid NOT NULL DEFAULT gen_random_uuid()"},
    {FIELD_AGGREGATE, "aggregatetype", "text NOT NULL"},
    {FIELD_KEY, "aggregateid", "text NOT NULL"},
    {FIELD_TYPE, "type", "text NOT NULL"},
    {FIELD_PAYLOAD, "payload", "jsonb"},
    {FIELD_OCCURRED_AT, "occurred_at", "timestamptz NOT NULL DEFAULT now()"},
    {FIELD_VERSION, "version", "text"},
    {FIELD_SOURCE, "source", "text"},
    {FIELD_CORRELATION_ID, "correlation_id", "text"},
    {FIELD_CAUSATION_ID, "causation_id", "text"},
    {FIELD_TRACE_ID, "trace_id", "text"},
    {FIELD_TRACEPARENT, "traceparent", "text"},
    {FIELD_TENANT_ID, "tenant_id", "text"},
    {FIELD_ACTOR_ID, "actor_id", "text"},
    {FIELD_ACTOR_TYPE, "actor_type", "text"},
    {FIELD_TOPIC, "topic", "text"},
    {FIELD_PARTITION, "partition", "integer"},
    {FIELD_HEADERS, "headers", "jsonb"},
    {FIELD_CONTENT_TYPE, "content_type", "text"},
};
#define COLUMN_COUNT (sizeof columns / sizeof columns[0])

static void table_name(struct buffer *sql, const struct table_spec *table) {
  quote_table(sql, table->schema, table->table);
}

const char *init_column(const struct table_spec *table, enum event_field field) {
  if (table->columns[field] != NULL)
    return table->columns[field];
  for (size_t i = 0; i < COLUMN_COUNT; i++)
    if (columns[i].field == field)
      return columns[i].name;
  return event_field_name(field);
}

void init_sql_table(struct buffer *sql, const struct table_spec *table) {
  buffer_append_text(sql, "CREATE SCHEMA IF NOT EXISTS ");
  quote_identifier(sql, table->schema);
  buffer_append_text(sql, ";\nCREATE TABLE IF NOT EXISTS ");
  table_name(sql, table);
  buffer_append_text(sql, " (\n");
  for (size_t i = 0; i < COLUMN_COUNT; i++) {
    buffer_append_text(sql, "  ");
    quote_identifier(sql, init_column(table, columns[i].field));
    buffer_printf(sql, " %s,\n", columns[i].definition);
  }
  if (table->after_publish == AFTER_PUBLISH_MARK) {
    buffer_append_text(sql, "  ");
    quote_identifier(sql, table->published_at);
    buffer_append_text(sql, " timestamptz,\n");
  }
  buffer_append_text(sql, "  PRIMARY KEY (");
  quote_identifier(sql, init_column(table, FIELD_ID));
  if (table->by_day) { /* which a unique index of a partitioned table has to hold */
    buffer_append_text(sql, ", ");
    quote_identifier(sql, init_column(table, FIELD_OCCURRED_AT));
  }
  buffer_append_text(sql, "),\n  CONSTRAINT payload_size CHECK (octet_length(");
  quote_identifier(sql, init_column(table, FIELD_PAYLOAD));
  buffer_printf(sql, "::text) <= %d)\n)", INIT_PAYLOAD_MAX_BYTES);
  if (table->by_day) {
    buffer_append_text(sql, " PARTITION BY RANGE (");
    quote_identifier(sql, init_column(table, FIELD_OCCURRED_AT));
    buffer_append_char(sql, ')');
  }
  buffer_append_text(sql, ";\n");
}

/* Parameters of both functions behind aggregate, type, key and payload, in this order. Where none is given, the ids of
 * the event being handled (settings of the inbox) are carried on. */
static const struct {
  enum event_field field;
  const char *parameter;
  const char *type;
  const char *setting; /* NULL: none */
  const char *unless;  /* a parameter that says otherwise: one trace's id does not go with another's traceparent */
} options[] = {
    {FIELD_VERSION, "version", "text", NULL, NULL},
    {FIELD_CORRELATION_ID, "correlation_id", "text", "walferry.correlation_id", NULL},
    {FIELD_CAUSATION_ID, "causation_id", "text", "walferry.causation_id", NULL},
    {FIELD_TRACE_ID, "trace_id", "text", "walferry.trace_id", "traceparent"},
    {FIELD_TRACEPARENT, "traceparent", "text", "walferry.traceparent", "trace_id"},
    {FIELD_TENANT_ID, "tenant_id", "text", "walferry.tenant_id", NULL},
    {FIELD_ACTOR_ID, "actor_id", "text", NULL, NULL},
    {FIELD_ACTOR_TYPE, "actor_type", "text", NULL, NULL},
    {FIELD_TOPIC, "topic", "text", NULL, NULL},
    {FIELD_HEADERS, "headers", "jsonb", NULL, NULL},
};
#define OPTION_COUNT (sizeof options / sizeof options[0])

/* Dollar quotes around a body, with a tag that none of the names in it holds. The body is cleared. */
static void dollar_quoted(struct buffer *sql, struct buffer *body) {
  char tag[32] = "$walferry$";
  buffer_append_char(body, '\0');
  for (int i = 1; strstr(body->data, tag) != NULL; i++)
    snprintf(tag, sizeof tag, "$walferry%d$", i);
  buffer_printf(sql, "%s%s%s", tag, body->data, tag);
  buffer_clear(body);
}

/* Up to where the body of the function begins, which the caller writes, and its beginning. */
static void function_head(struct buffer *sql, struct buffer *body, const char *name) {
  buffer_init(body, sql->max);
  buffer_printf(sql,
                "CREATE SCHEMA IF NOT EXISTS walferry;\n"
                "CREATE OR REPLACE FUNCTION walferry.%s(aggregate text, type text, key text, payload jsonb",
                name);
  for (size_t i = 0; i < OPTION_COUNT; i++)
    buffer_printf(sql, ",\n    %s %s DEFAULT NULL", options[i].parameter, options[i].type);
  buffer_append_text(sql, ",\n    id uuid DEFAULT gen_random_uuid())\nRETURNS uuid LANGUAGE plpgsql AS ");
  buffer_append_text(body, "\n#variable_conflict use_variable\nBEGIN\n");
}

static void function_end(struct buffer *sql, struct buffer *body, const char *name) {
  buffer_printf(body, "  RETURN %s.id;\nEND ", name);
  dollar_quoted(sql, body);
  buffer_append_text(sql, ";\n");
  buffer_free(body);
}

static void option_value(struct buffer *sql, const char *function, size_t i) {
  if (options[i].setting == NULL) {
    buffer_printf(sql, "%s.%s", function, options[i].parameter);
    return;
  }
  buffer_printf(sql, "coalesce(%s.%s, ", function, options[i].parameter);
  if (options[i].unless != NULL)
    buffer_printf(sql, "CASE WHEN %s.%s IS NULL THEN ", function, options[i].unless);
  buffer_printf(sql, "nullif(current_setting('%s', true), '')%s)", options[i].setting,
                options[i].unless != NULL ? " END" : "");
}

void init_sql_emit(struct buffer *sql, const struct table_spec *table, const bool has[FIELD_COUNT]) {
  static const enum event_field required[] = {FIELD_ID, FIELD_AGGREGATE, FIELD_TYPE, FIELD_KEY, FIELD_PAYLOAD};
  struct buffer body;
  function_head(sql, &body, "emit");
  buffer_append_text(&body, "  INSERT INTO ");
  table_name(&body, table);
  for (size_t i = 0; i < sizeof required / sizeof required[0]; i++) {
    buffer_append_text(&body, i == 0 ? " (" : ", ");
    quote_identifier(&body, init_column(table, required[i]));
  }
  for (size_t i = 0; i < OPTION_COUNT; i++) {
    if (!has[options[i].field])
      continue;
    buffer_append_text(&body, ", ");
    quote_identifier(&body, init_column(table, options[i].field));
  }
  buffer_append_text(&body, ")\n  VALUES (emit.id, emit.aggregate, emit.type, emit.key, emit.payload");
  for (size_t i = 0; i < OPTION_COUNT; i++) {
    if (!has[options[i].field])
      continue;
    buffer_append_text(&body, ",\n    ");
    option_value(&body, "emit", i);
  }
  buffer_append_text(&body, ");\n");
  function_end(sql, &body, "emit");
}

/* One member of the envelope's text; NULL where the option is absent, which concat_ws leaves out. */
static void message_member(struct buffer *sql, size_t i) {
  buffer_printf(sql, ",\n    '\"%s\":' || ", options[i].parameter);
  if (options[i].field != FIELD_HEADERS)
    buffer_append_text(sql, "to_json(");
  option_value(sql, "emit_message", i);
  buffer_append_text(sql, options[i].field != FIELD_HEADERS ? ")::text" : "::text");
}

void init_sql_emit_message(struct buffer *sql, const char *prefix) {
  struct buffer body;
  function_head(sql, &body, "emit_message");
  buffer_append_text(&body, "  PERFORM pg_logical_emit_message(true, ");
  quote_literal(&body, prefix);
  buffer_append_text(&body, ", '{' || concat_ws(',',\n"
                            "    '\"id\":' || to_json(emit_message.id)::text,\n"
                            "    '\"type\":' || to_json(emit_message.type)::text,\n"
                            "    '\"aggregate\":' || to_json(emit_message.aggregate)::text,\n"
                            "    '\"key\":' || to_json(emit_message.key)::text,\n"
                            "    '\"occurred_at\":' || to_json(now())::text");
  for (size_t i = 0; i < OPTION_COUNT; i++)
    if (options[i].field != FIELD_ACTOR_ID && options[i].field != FIELD_ACTOR_TYPE)
      message_member(&body, i);
  buffer_append_text(&body,
                     ",\n    CASE WHEN coalesce(emit_message.actor_id, emit_message.actor_type) IS NOT NULL THEN\n"
                     "      '\"actor\":' || json_strip_nulls(json_build_object('id', emit_message.actor_id,\n"
                     "        'type', emit_message.actor_type))::text END,\n"
                     "    '\"payload\":' || coalesce(emit_message.payload::text, 'null')) || '}');\n");
  function_end(sql, &body, "emit_message");
}

static void grant_after_publish(struct buffer *sql, const struct table_spec *table) {
  if (table->after_publish == AFTER_PUBLISH_DELETE)
    buffer_append_text(sql, ", DELETE");
  if (table->after_publish != AFTER_PUBLISH_MARK)
    return;
  buffer_append_text(sql, ", UPDATE (");
  quote_identifier(sql, table->published_at);
  buffer_append_char(sql, ')');
}

void init_sql_role(struct buffer *sql, const char *role, bool replication, const struct table_spec *tables,
                   int table_count) {
  struct buffer body;
  buffer_init(&body, sql->max);
  buffer_append_text(&body, " BEGIN\n  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = ");
  quote_literal(&body, role);
  buffer_append_text(&body, ") THEN\n    CREATE ROLE ");
  quote_identifier(&body, role);
  buffer_printf(&body, " LOGIN%s;\n  END IF;\nEND ", replication ? " REPLICATION" : "");
  buffer_append_text(sql, "DO ");
  dollar_quoted(sql, &body);
  buffer_append_text(sql, ";\n");
  buffer_free(&body);
  buffer_append_text(sql, "GRANT USAGE ON SCHEMA walferry TO ");
  quote_identifier(sql, role);
  buffer_append_text(sql, ";\n");
  for (int i = 0; i < table_count; i++) {
    buffer_append_text(sql, "GRANT USAGE ON SCHEMA ");
    quote_identifier(sql, tables[i].schema);
    buffer_append_text(sql, " TO ");
    quote_identifier(sql, role);
    buffer_append_text(sql, ";\nGRANT SELECT");
    grant_after_publish(sql, &tables[i]);
    buffer_append_text(sql, " ON ");
    table_name(sql, &tables[i]);
    buffer_append_text(sql, " TO ");
    quote_identifier(sql, role);
    buffer_append_text(sql, ";\n");
  }
}

void init_sql_snapshot(struct buffer *sql, const char *role) {
  buffer_append_text(sql, "GRANT CREATE ON SCHEMA walferry TO ");
  quote_identifier(sql, role);
  buffer_append_text(sql, "; -- for relay --snapshot; may be revoked once that is done\n");
}
