/* See init.h. */
#include "bridge/ops/init.h"

#include <stdlib.h>
#include <string.h>

#include "bridge/base/log.h"
#include "bridge/base/memory.h"
#include "bridge/inbox/layout.h"
#include "bridge/kafka/client.h"
#include "bridge/ops/init_acl.h"
#include "bridge/ops/init_inbox.h"
#include "bridge/ops/init_partitions.h"
#include "bridge/ops/init_sql.h"
#include "bridge/ops/topics.h"
#include "bridge/postgres/connection.h"
#include "bridge/postgres/quote.h"
#include "bridge/relay/facts.h"
#include "bridge/relay/replay.h"
#include "bridge/relay/tidy_table.h"

static const char *emit_prefix(const struct relay_settings *relay) {
  return relay->intake.prefix_count > 0 ? relay->intake.prefixes[0] : "walferry";
}

/* Which columns an existing table has, by role. */
static bool existing_columns(struct connection *conn, const struct table_spec *table, bool *exists,
                             bool has[FIELD_COUNT], struct error *err) {
  const char *params[] = {table->schema, table->table};
  struct rows *rows = connection_query(conn,
                                       "SELECT a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
                                       "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND "
                                       "c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped",
                                       2, params, err);
  if (rows == NULL)
    return false;
  *exists = rows_count(rows) > 0;
  for (enum event_field field = 0; field < FIELD_COUNT; field++) {
    const char *wanted = init_column(table, field);
    has[field] = false;
    for (int i = 0; i < rows_count(rows) && !has[field]; i++)
      has[field] = strcmp(rows_text(rows, i, 0), wanted) == 0;
  }
  rows_free(rows);
  return true;
}

static bool run_sql(struct connection *conn, struct buffer *sql, struct error *err) {
  buffer_append_char(sql, '\0');
  return connection_run(conn, sql->data, err);
}

static bool function_exists(struct connection *conn, const char *name, bool *exists, struct error *err) {
  const char *params[] = {name};
  struct rows *rows = connection_query(conn,
                                       "SELECT 1 FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace "
                                       "WHERE n.nspname = 'walferry' AND p.proname = $1",
                                       1, params, err);
  if (rows == NULL)
    return false;
  *exists = rows_count(rows) > 0;
  rows_free(rows);
  return true;
}

static bool is_denied(const struct connection *conn) {
  return strcmp(connection_sqlstate(conn), "42501") == 0;
}

/* A relay's role may neither make nor replace functions; where an administrator has run what --print prints, it need
 * not. *left: the one that is there was left as it is. */
static bool make_function(struct connection *conn, struct buffer *sql, const char *name, bool *left,
                          struct error *err) {
  *left = false;
  struct error why;
  if (run_sql(conn, sql, &why))
    return true;
  struct error ignored;
  if (is_denied(conn) && function_exists(conn, name, left, &ignored) && *left)
    return true;
  *err = why;
  return false;
}

static const char *was_left(bool left) {
  return left ? "; left as it was" : "";
}

static bool make_table(struct connection *conn, const struct table_spec *table, bool emit, FILE *out,
                       struct error *err) {
  bool exists;
  bool has[FIELD_COUNT];
  if (!existing_columns(conn, table, &exists, has, err))
    return false;
  struct buffer sql;
  buffer_init(&sql, BUFFER_MAX_ROW);
  bool ok = true;
  if (!exists) {
    init_sql_table(&sql, table);
    if (table->by_day)
      init_partitions_make(&sql, table);
    ok = run_sql(conn, &sql, err) && existing_columns(conn, table, &exists, has, err);
    buffer_clear(&sql);
  }
  ok = ok && tidy_tables_check(conn, table, 1, err); /* a table that was there may lack the column for the mark */
  if (ok)
    fprintf(out, "ok  table %s.%s\n", table->schema, table->table);
  if (ok && emit) {
    init_sql_emit(&sql, table, has);
    bool left;
    ok = make_function(conn, &sql, "emit", &left, err);
    if (ok)
      fprintf(out, "ok  function walferry.emit (writes %s.%s%s)\n", table->schema, table->table, was_left(left));
  }
  buffer_free(&sql);
  return ok || error_wrap(err, "table %s.%s", table->schema, table->table);
}

static bool make_message_function(const struct relay_settings *relay, struct connection *conn, FILE *out,
                                  struct error *err) {
  struct buffer sql;
  buffer_init(&sql, BUFFER_MAX_ROW);
  init_sql_emit_message(&sql, emit_prefix(relay));
  bool left;
  bool ok = make_function(conn, &sql, "emit_message", &left, err);
  if (ok)
    fprintf(out, "ok  function walferry.emit_message (prefix %s%s)\n", emit_prefix(relay), was_left(left));
  buffer_free(&sql);
  return ok;
}

static void role_sql(struct buffer *sql, const struct init_settings *settings) {
  const struct relay_settings *relay = settings->relay;
  if (relay != NULL)
    init_sql_role(sql, settings->role, true, relay->intake.tables, relay->intake.table_count);
  else
    init_sql_role(sql, settings->role, false, NULL, 0);
  if (relay != NULL && relay->snapshot)
    init_sql_snapshot(sql, settings->role);
}

/* The schema walferry is there by now. */
static bool make_role(const struct init_settings *settings, struct connection *conn, FILE *out, struct error *err) {
  if (settings->admin_conninfo == NULL || settings->role == NULL)
    return true;
  struct buffer sql;
  buffer_init(&sql, BUFFER_MAX_ROW);
  role_sql(&sql, settings);
  if (settings->inbox != NULL)
    init_inbox_grants(&sql, settings->role);
  bool ok = run_sql(conn, &sql, err);
  if (ok)
    fprintf(out, "ok  role %s\n", settings->role);
  buffer_free(&sql);
  return ok;
}

/* Where an administrator has made the tables, and our role may use them, it need not be able to make them. */
static bool make_inbox(struct connection *conn, FILE *out, struct error *err) {
  struct buffer sql;
  buffer_init(&sql, BUFFER_MAX_ROW);
  init_inbox_sql(&sql);
  struct error why, ignored;
  bool ok = run_sql(conn, &sql, &why);
  buffer_free(&sql);
  if (!ok && strcmp(connection_sqlstate(conn), INIT_INBOX_LAYOUT_SQLSTATE) == 0) {
    error_refuse(err, "inbox_layout", "%s", why.message);
    return error_remedy(err, "use the walferry that they belong to, or see `walferry explain inbox_layout`");
  }
  bool left = !ok && is_denied(conn) && layout_check(conn, &ignored);
  if (ok || left)
    fprintf(out, "ok  inbox tables and functions%s\n", was_left(left));
  else
    *err = why;
  return ok || left;
}

/* Where the plugin reads no publication, the tables are judged all the same. */
static bool make_publication(const struct relay_settings *relay, struct connection *conn, FILE *out,
                             struct error *err) {
  struct facts facts = {.server = {.version = 0}};
  bool ok = facts_server(&facts, conn, relay, err) && facts_publication(&facts, conn, relay, err);
  bool wanted = relay->publication != NULL;
  if (ok && wanted && !facts.publication.exists)
    ok = facts_create_publication(conn, relay, err) && facts_publication(&facts, conn, relay, err);
  ok = ok && facts_check_publication(&facts, relay, err);
  facts_free(&facts);
  if (ok && wanted)
    fprintf(out, "ok  publication %s\n", relay->publication);
  return ok;
}

static bool any_by_day(const struct relay_settings *relay) {
  for (int i = 0; i < relay->intake.table_count; i++)
    if (relay->intake.tables[i].by_day)
      return true;
  return false;
}

static bool make_partition_functions(const struct relay_settings *relay, struct connection *conn, FILE *out,
                                     struct error *err) {
  if (!any_by_day(relay))
    return true;
  struct buffer sql;
  buffer_init(&sql, BUFFER_MAX_ROW);
  init_partitions_functions(&sql, relay->slot);
  bool left;
  bool ok = make_function(conn, &sql, "outbox_retain", &left, err);
  if (ok)
    fprintf(out, "ok  functions walferry.outbox_partitions and walferry.outbox_retain (slot %s%s)\n", relay->slot,
            was_left(left));
  buffer_free(&sql);
  return ok;
}

static bool make_outbox(const struct relay_settings *relay, struct connection *conn, FILE *out, struct error *err) {
  bool ok = make_partition_functions(relay, conn, out, err);
  for (int i = 0; ok && i < relay->intake.table_count; i++)
    ok = make_table(conn, &relay->intake.tables[i], i == 0, out, err);
  return ok && make_message_function(relay, conn, out, err);
}

static const char *conninfo_of(const struct init_settings *settings) {
  if (settings->admin_conninfo != NULL)
    return settings->admin_conninfo;
  return settings->relay != NULL ? settings->relay->conninfo : settings->inbox->conninfo;
}

static bool make_database_objects(const struct init_settings *settings, FILE *out, struct error *err) {
  const struct relay_settings *relay = settings->relay;
  struct connection *conn =
      connection_open(conninfo_of(settings), relay != NULL ? relay->name : settings->inbox->name, err);
  if (conn == NULL)
    return error_wrap(err, "connecting %s", settings->admin_conninfo != NULL ? "as admin" : "with postgres.conninfo");
  bool ok = (relay == NULL || make_outbox(relay, conn, out, err)) &&
            (settings->inbox == NULL || make_inbox(conn, out, err)) && make_role(settings, conn, out, err) &&
            (relay == NULL || make_publication(relay, conn, out, err));
  if (!ok && err->kind == ERROR_CONFIG && err->remedy[0] == '\0')
    error_remedy(err,
                 settings->admin_conninfo != NULL
                     ? "--admin takes the connection string of a role that may make all of this"
                     : "run it with --admin and the connection string of a role that may make all of this, or have an "
                       "administrator run what `walferry init CONFIG --print` prints, then run it again");
  connection_close(conn);
  return ok;
}

static bool make_topics(const struct relay_settings *relay, const struct stop *stop, FILE *out, struct error *err) {
  if (!relay->publisher.create_topics) {
    fprintf(out, "--  topics (kafka.topics.create is false)\n");
    return true;
  }
  struct topic_use topics[TOPICS_MAX];
  int count = topics_known(relay, NULL, topics);
  struct publisher *publisher = publisher_new(&relay->publisher, stop);
  bool ok = true;
  for (int i = 0; ok && i < count; i++) {
    ok = publisher_prepare_topic(publisher, topics[i].name, err);
    if (ok)
      fprintf(out, "ok  topic %s\n", topics[i].name);
  }
  publisher_free(publisher);
  return ok;
}

/* Replays make it themselves where it is missing; here it is made by whoever has the rights to. */
static bool make_replay_topic(const struct relay_settings *relay, const struct stop *stop, FILE *out,
                              struct error *err) {
  if (relay->retain.slot == NULL)
    return true;
  char *instance = replay_instance(relay->name);
  struct publisher_settings settings = relay->publisher;
  settings.kafka.instance = instance;
  struct publisher *publisher = publisher_new(&settings, stop);
  bool ok = publisher_check_position_topic(publisher, err);
  if (ok)
    fprintf(out, "ok  topic %s\n", publisher_position_topic(publisher));
  publisher_free(publisher);
  free(instance);
  return ok;
}

static bool make_position(const struct relay_settings *relay, const struct stop *stop, enum relay_established *how,
                          FILE *out, struct error *err) {
  struct relay_settings with_create = *relay;
  with_create.create = true;
  bool restored;
  if (!retain_restore(relay, stop, &restored, err))
    return false;
  if (restored)
    fprintf(out, "ok  slot %s made of the held-back one: nothing is lost\n", relay->slot);
  if (!relay_establish(&with_create, stop, how, err))
    return false;
  switch (*how) {
  case RELAY_CREATED:
    fprintf(out, "ok  slot %s and its position\n", relay->slot);
    break;
  case RELAY_WAS_THERE:
    fprintf(out, "ok  slot %s and its position (were there)\n", relay->slot);
    break;
  case RELAY_LEFT:
    fprintf(out, "--  slot %s and its position (`walferry relay CONFIG --snapshot` makes them)\n", relay->slot);
    break;
  }
  return true;
}

/* A copy of the relay's slot. */
static bool make_retained(const struct relay_settings *relay, enum relay_established how, FILE *out,
                          struct error *err) {
  if (relay->retain.slot == NULL)
    return true;
  if (how == RELAY_LEFT) {
    fprintf(out, "--  slot %s, held back for replays (the relay makes it of the other)\n", relay->retain.slot);
    return true;
  }
  struct catalog_server server;
  bool made = false;
  struct connection *conn = connection_open(relay->conninfo, relay->name, err);
  bool ok =
      conn != NULL && catalog_server(conn, &server, err) && retain_establish(relay, conn, server.database, &made, err);
  connection_close(conn);
  if (ok)
    fprintf(out, "ok  slot %s, held back for replays%s\n", relay->retain.slot, made ? "" : " (was there)");
  return ok;
}

/* A topic's partitions are its writers' to choose, unless this relay is one of them. */
static bool is_written_by(const struct relay_settings *relay, const char *topic) {
  struct topic_use topics[TOPICS_MAX];
  int count = relay == NULL ? 0 : topics_known(relay, NULL, topics);
  for (int i = 0; i < count; i++)
    if (strcmp(topics[i].name, topic) == 0)
      return true;
  return false;
}

static void print_left_to_others(const struct init_settings *settings, FILE *out) {
  const struct inbox_settings *inbox = settings->inbox;
  for (int i = 0; i < inbox->topic_count; i++)
    if (!is_written_by(settings->relay, inbox->topics[i]))
      fprintf(out, "--  topic %s (is read; who writes to it makes it)\n", inbox->topics[i]);
  fprintf(out, "--  handlers, and EXECUTE on them for the role (`walferry check` says what is missing)\n");
}

bool init_run(const struct init_settings *settings, const struct stop *stop, FILE *out, struct error *err) {
  const struct relay_settings *relay = settings->relay;
  if (!make_database_objects(settings, out, err))
    return false;
  enum relay_established how;
  if (relay != NULL && (!make_position(relay, stop, &how, out, err) || !make_retained(relay, how, out, err) ||
                        !make_replay_topic(relay, stop, out, err) || !make_topics(relay, stop, out, err)))
    return false;
  if (settings->inbox != NULL)
    print_left_to_others(settings, out);
  return true;
}

static void outbox_sql(struct buffer *sql, const struct relay_settings *relay) {
  bool has[FIELD_COUNT];
  for (enum event_field field = 0; field < FIELD_COUNT; field++)
    has[field] = true;
  if (any_by_day(relay))
    init_partitions_functions(sql, relay->slot);
  for (int i = 0; i < relay->intake.table_count; i++) {
    init_sql_table(sql, &relay->intake.tables[i]);
    if (relay->intake.tables[i].by_day)
      init_partitions_make(sql, &relay->intake.tables[i]);
  }
  if (relay->intake.table_count > 0)
    init_sql_emit(sql, &relay->intake.tables[0], has);
  init_sql_emit_message(sql, emit_prefix(relay));
}

static void publication_sql(struct buffer *sql, const struct relay_settings *relay) {
  if (relay->publication == NULL)
    return;
  char *publication = facts_publication_sql(relay);
  buffer_printf(sql, "%s;\n", publication);
  free(publication);
}

static void print_topic(struct buffer *sql, const char *topic, const struct topic_shape *shape) {
  buffer_printf(sql, "\n-- %s, ", topic);
  topic_shape_describe(shape, sql);
}

static void print_position_and_topics(struct buffer *sql, const struct relay_settings *relay) {
  char *position_topic = kafka_position_topic(relay->name);
  buffer_printf(sql,
                "-- The slot %s is made by walferry itself (%s), together with its "
                "first position.\n\n"
                "-- Topics: name, partitions, replication, settings\n"
                "-- %s, ",
                relay->slot,
                relay->snapshot ? "`walferry relay CONFIG --snapshot`"
                                : "`walferry init CONFIG` or postgres.create: true",
                position_topic);
  struct topic_shape shape = publisher_position_shape(&relay->publisher);
  topic_shape_describe(&shape, sql);
  if (relay->retain.slot != NULL) {
    char *instance = replay_instance(relay->name);
    char *replays = kafka_position_topic(instance);
    print_topic(sql, replays, &shape);
    free(replays);
    free(instance);
  }
  struct topic_use topics[TOPICS_MAX];
  int count = topics_known(relay, NULL, topics);
  for (int i = 0; i < count; i++) {
    shape = publisher_topic_shape(&relay->publisher, topics[i].name);
    print_topic(sql, topics[i].name, &shape);
  }
  buffer_append_char(sql, '\n');
  free(position_topic);
}

/* What only their author can make and grant, as comments. */
static void print_handlers(struct buffer *sql, const struct init_settings *settings) {
  const struct inbox_settings *inbox = settings->inbox;
  buffer_append_text(sql,
                     "-- The handlers are yours: functions that take a jsonb. The role needs, once they are there:\n");
  for (size_t i = 0; i < inbox->handler_count; i++) {
    const char *call = inbox->handlers[i].call;
    if (call == NULL)
      continue;
    char *schema = memory_copy(call, strcspn(call, "."));
    buffer_append_text(sql, "-- GRANT USAGE ON SCHEMA ");
    quote_identifier(sql, schema);
    buffer_append_text(sql, " TO ");
    quote_identifier(sql, settings->role);
    buffer_append_text(sql, "; GRANT EXECUTE ON FUNCTION ");
    quote_table(sql, schema, call + strlen(schema) + 1);
    buffer_append_text(sql, "(jsonb) TO ");
    quote_identifier(sql, settings->role);
    buffer_append_text(sql, ";\n");
    free(schema);
  }
}

void init_print(const struct init_settings *settings, FILE *out) {
  const struct relay_settings *relay = settings->relay;
  const struct inbox_settings *inbox = settings->inbox;
  struct buffer sql;
  buffer_init(&sql, BUFFER_MAX_ROW);
  buffer_append_text(&sql, relay != NULL ? "-- SQL, to be run by an owner of the tables\n"
                                         : "-- SQL, to be run by a role that may CREATE in the database\n");
  if (relay != NULL)
    outbox_sql(&sql, relay);
  if (inbox != NULL)
    init_inbox_sql(&sql);
  if (settings->role != NULL)
    role_sql(&sql, settings);
  if (inbox != NULL && settings->role != NULL) {
    init_inbox_grants(&sql, settings->role);
    print_handlers(&sql, settings);
  }
  if (relay != NULL) {
    publication_sql(&sql, relay);
    print_position_and_topics(&sql, relay);
  }
  for (int i = 0; inbox != NULL && i < inbox->topic_count; i++)
    if (!is_written_by(relay, inbox->topics[i]))
      buffer_printf(&sql, "-- %s is read by the inbox, and made by who writes to it\n", inbox->topics[i]);
  buffer_append_char(&sql, '\n');
  init_acls(&sql, relay, inbox);
  fwrite(sql.data, 1, sql.len, out);
  buffer_free(&sql);
}
