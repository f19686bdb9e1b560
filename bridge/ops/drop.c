/* See drop.h. */
#include "bridge/ops/drop.h"

#include <stdlib.h>
#include <string.h>

#include "bridge/base/clock.h"
#include "bridge/base/log.h"
#include "bridge/base/memory.h"
#include "bridge/postgres/quote.h"
#include "bridge/postgres/slot.h"
#include "bridge/relay/facts.h"
#include "bridge/relay/replay.h"
#include "bridge/relay/worklist.h"

#define KAFKA_TIMEOUT_MS 10000
#define GRACE_MS 3000 /* the backends of an instance that was just stopped may be there for a moment longer */
#define GRACE_SLICE_MS 200
#define SESSIONS_TEXT_MAX 512

struct drop {
  const struct relay_settings *relay;
  const struct stop *stop;
  FILE *out;
  struct connection *conn;
  struct facts facts;
  char *position_topic;
  bool topic_exists;
  struct error publication_trouble; /* why it stays; ERROR_NONE: it does not */
  struct error kafka_trouble;       /* why the position topic stays */
};

bool drop_confirm(const char *name, const char *confirmed, struct error *err) {
  if (strcmp(name, confirmed) == 0)
    return true;
  error_set(err, ERROR_CONFIG, "--confirm says %s, but the config's name is %s", confirmed, name);
  return error_remedy(err, "make sure that this is the instance to remove, then give --confirm %s", name);
}

bool drop_nothing(struct error *err) {
  error_set(err, ERROR_CONFIG, "the config has no relay section: an inbox has no slot, publication or position");
  return error_remedy(err, "to remove an inbox, delete its group in Kafka and its rows in schema walferry: "
                           "docs/operations.md, \"Removing an instance\"");
}

static bool go_on(const struct drop *d, struct error *err) {
  return !atomic_load(&d->stop->requested) || error_set(err, ERROR_STOPPED, "stopped");
}

/* Who is connected under our own application_name, or our replays', and who holds the slot: "backend 7 (walferry/shop,
 * role relay)". */
static bool find_sessions(struct drop *d, struct buffer *names, struct error *err) {
  char holder[16];
  snprintf(holder, sizeof holder, "%d", d->facts.admit.slot.active_pid);
  struct rows *rows =
      connection_query(d->conn,
                       "SELECT a.pid, a.application_name, a.usename, a.client_addr FROM pg_catalog.pg_stat_activity a "
                       "WHERE a.pid <> pg_catalog.pg_backend_pid() AND (a.pid = $1::pg_catalog.int4 "
                       "OR a.application_name IN (pg_catalog.current_setting('application_name'), "
                       "pg_catalog.current_setting('application_name') || '.replay')) ORDER BY a.pid",
                       1, (const char *[]){holder}, err);
  if (rows == NULL)
    return error_wrap(err, "looking for sessions of the instance");
  for (int i = 0; i < rows_count(rows); i++) {
    const char *name = rows_text(rows, i, 1), *role = rows_text(rows, i, 2), *address = rows_text(rows, i, 3);
    buffer_printf(names, "%sbackend %s (%s, role %s%s%s)", i > 0 ? ", " : "", rows_text(rows, i, 0),
                  name != NULL ? name : "no application_name", role != NULL ? role : "unknown",
                  address != NULL ? ", from " : "", address != NULL ? address : "");
  }
  rows_free(rows);
  return true;
}

static bool refuse_active(const struct drop *d, struct slice sessions, struct error *err) {
  if (d->facts.admit.slot.active) {
    error_refuse(err, "slot_active", "slot %s is in use: %.*s", d->relay->slot, SLICE_ARG(sessions));
    return error_remedy(err,
                        "stop what reads it, every instance of %s too, then run `walferry drop CONFIG --confirm NAME` "
                        "again. What is no "
                        "walferry of yours, and nobody needs: SELECT pg_terminate_backend(PID)",
                        d->relay->name);
  }
  error_refuse(err, "instance_active", "sessions of this instance are connected: %.*s", SLICE_ARG(sessions));
  return error_remedy(
      err,
      "stop every instance of %s first, a standby too: it could make slot and position again. Then run `walferry drop "
      "CONFIG --confirm NAME` again",
      d->relay->name);
}

/* Nobody may be at work: neither on the slot nor waiting for it. */
static bool check_idle(struct drop *d, struct error *err) {
  struct buffer sessions;
  buffer_init(&sessions, SESSIONS_TEXT_MAX); /* what does not fit in is left out */
  bool ok, idle;
  for (int64_t end = clock_monotonic_ms() + GRACE_MS;; clock_sleep_ms(GRACE_SLICE_MS)) {
    buffer_clear(&sessions);
    ok = go_on(d, err) && catalog_slot(d->conn, d->relay->slot, &d->facts.admit.slot, err) &&
         find_sessions(d, &sessions, err);
    idle = ok && !d->facts.admit.slot.active && sessions.len == 0;
    if (!ok || idle || clock_monotonic_ms() >= end)
      break;
  }
  if (ok && !idle)
    ok = refuse_active(d, buffer_slice(&sessions), err);
  buffer_free(&sessions);
  return ok;
}

/* A slot under the configured name that is not of the configured kind is somebody else's. */
static bool check_slot(const struct drop *d, struct error *err) {
  const struct catalog_slot *s = &d->facts.admit.slot;
  if (!s->exists ||
      (s->logical && strcmp(s->plugin, d->relay->plugin) == 0 && strcmp(s->database, d->facts.admit.database) == 0))
    return true;
  error_refuse(err, "slot_mismatch", "slot %s is not this instance's: it is %s, plugin %s, database %s", d->relay->slot,
               s->logical ? "logical" : "physical", s->logical ? s->plugin : "none", s->logical ? s->database : "none");
  return error_remedy(err,
                      "correct postgres.slot, postgres.decoder or the dbname in postgres.conninfo. If it is to go all "
                      "the same: SELECT pg_drop_replication_slot('%s')",
                      d->relay->slot);
}

static bool look_at_server(struct drop *d, struct error *err) {
  const struct relay_settings *relay = d->relay;
  d->conn = connection_open(relay->conninfo, relay->name, err);
  if (d->conn == NULL || !facts_read_server(&d->facts, d->conn, relay, err) || !check_idle(d, err))
    return false;
  d->facts.admit.position_topic = d->position_topic;
  struct replication *rep = replication_open(relay->conninfo, relay->name, err);
  bool ok = rep != NULL && replication_identify(rep, &d->facts.admit.identity, err) && check_slot(d, err);
  replication_close(rep);
  return ok;
}

/* The config may name the right brokers and the wrong database: then this is another instance's position. */
static bool check_position(const struct drop *d, const struct position *position, struct error *err) {
  if (position->state == POSITION_NONE || admit_owner(&d->facts.admit, position, err))
    return true;
  return error_remedy(err,
                      "correct the config. If what the position belongs to is gone for good, delete topic %s yourself, "
                      "then drop again",
                      d->position_topic);
}

/* Reads the position, which also fences what may be left of the instance: its open transaction is aborted, and nothing
 * of it can be published once the slot is gone. Brokers that are away are no reason to keep the slot. */
static bool look_at_kafka(struct drop *d, struct error *err) {
  struct kafka_topic_facts topic = {.exists = false};
  struct kafka_admin *admin = kafka_admin_new(&d->relay->publisher.kafka, err);
  bool ok = admin != NULL && kafka_admin_topic(admin, d->position_topic, KAFKA_TIMEOUT_MS, &topic, NULL, err);
  kafka_admin_free(admin);
  d->topic_exists = topic.exists;
  if (ok && topic.exists) {
    struct position position;
    position_init(&position);
    struct publisher *publisher = publisher_new(&d->relay->publisher, d->stop);
    ok = publisher_open(publisher, &position, err) && check_position(d, &position, err);
    publisher_free(publisher);
    position_clear(&position);
  }
  if (ok || (err->kind != ERROR_RETRY && err->kind != ERROR_START_OVER && err->kind != ERROR_FENCED))
    return ok;
  d->kafka_trouble = *err;
  error_clear(err);
  return true;
}

static bool fail_drop_slot(const struct drop *d, struct error *err) {
  const char *state = connection_sqlstate(d->conn);
  if (strcmp(state, "55006") == 0) { /* object_in_use: since we looked */
    error_refuse(err, "slot_active", "slot %s was taken meanwhile", d->relay->slot);
    return error_remedy(err, "stop every instance of %s first, then run `walferry drop CONFIG --confirm NAME` again",
                        d->relay->name);
  }
  if (strcmp(state, "42501") == 0)
    error_remedy(err, "as a role with REPLICATION: SELECT pg_drop_replication_slot('%s')", d->relay->slot);
  return error_wrap(err, "dropping slot %s", d->relay->slot);
}

static bool drop_slot(struct drop *d, struct error *err) {
  const char *slot = d->relay->slot;
  if (d->facts.admit.slot.exists) {
    struct rows *rows = connection_query(d->conn, "SELECT pg_catalog.pg_drop_replication_slot($1)", 1, &slot, err);
    bool gone = rows == NULL && strcmp(connection_sqlstate(d->conn), "42704") == 0; /* somebody was faster */
    if (rows == NULL && !gone)
      return fail_drop_slot(d, err);
    rows_free(rows);
  }
  fprintf(d->out, d->facts.admit.slot.exists ? "ok  slot %s dropped\n" : "--  slot %s (is not there)\n", slot);
  return true;
}

/* The held-back slot, if it is one of ours: what it keeps is for replays of this instance. */
static bool drop_retained(struct drop *d, struct error *err) {
  const char *name = d->relay->retain.slot;
  if (name == NULL)
    return true;
  struct catalog_slot slot;
  if (!catalog_slot(d->conn, name, &slot, err))
    return false;
  bool ours = slot.exists && slot.logical && strcmp(slot.database, d->facts.admit.database) == 0 &&
              strcmp(slot.plugin, d->relay->plugin) == 0;
  if (ours && !slot_drop(d->conn, name, err))
    return false;
  fprintf(d->out,
          ours           ? "ok  slot %s dropped (it was held back for replays)\n"
          : !slot.exists ? "--  slot %s (is not there)\n"
                         : "--  slot %s remains: it is not this instance's\n",
          name);
  return true;
}

/* Of a snapshot, and of a replay, that was not published to its end. */
static bool drop_work_lists(struct drop *d, struct error *err) {
  int of_snapshot, of_replay;
  if (!worklist_drop_all(d->conn, WORKLIST_SNAPSHOT, d->relay->slot, UINT64_MAX, &of_snapshot, err) ||
      !worklist_drop_all(d->conn, WORKLIST_REPLAY, d->relay->name, UINT64_MAX, &of_replay, err))
    return false;
  if (of_snapshot > 0)
    fprintf(d->out, "ok  work list of its snapshot dropped\n");
  if (of_replay > 0)
    fprintf(d->out, "ok  work list of a replay dropped\n");
  return true;
}

static bool run_drop_publication(struct drop *d, const char *quoted, struct error *err) {
  char *sql = memory_format("DROP PUBLICATION IF EXISTS %s", quoted);
  bool ok = connection_run(d->conn, sql, err);
  free(sql);
  return ok || error_wrap(err, "dropping publication %s", d->relay->publication);
}

/* Made by an administrator, it may not be ours to drop. It keeps no WAL: the rest goes on without it. */
static void leave_publication(struct drop *d, const char *quoted, const char *owner) {
  struct error *trouble = &d->publication_trouble;
  error_set(trouble, ERROR_CONFIG, "publication %s belongs to role %s: it remains", d->relay->publication, owner);
  error_remedy(trouble, "as %s or as a superuser: DROP PUBLICATION %s", owner, quoted);
  fprintf(d->out, "--  publication %s remains: it belongs to role %s\n", d->relay->publication, owner);
}

static bool drop_publication(struct drop *d, struct error *err) {
  const char *name = d->relay->publication;
  if (name == NULL) { /* one that exists under the configured name was not made for this instance */
    fprintf(d->out, "--  publication (the decoder %s reads none)\n", d->relay->plugin);
    return true;
  }
  struct rows *rows = connection_query(d->conn,
                                       "SELECT pg_catalog.pg_get_userbyid(p.pubowner), "
                                       "pg_catalog.pg_has_role(p.pubowner, 'USAGE') "
                                       "FROM pg_catalog.pg_publication p WHERE p.pubname = $1",
                                       1, &name, err);
  if (rows == NULL)
    return error_wrap(err, "reading publication %s", name);
  bool ok = true;
  struct buffer quoted;
  buffer_init(&quoted, BUFFER_MAX_ROW);
  quote_identifier(&quoted, name);
  buffer_append_char(&quoted, '\0');
  if (rows_count(rows) == 0) {
    fprintf(d->out, "--  publication %s (is not there)\n", name);
  } else if (!rows_bool(rows, 0, 1)) {
    leave_publication(d, quoted.data, rows_text(rows, 0, 0));
  } else {
    ok = run_drop_publication(d, quoted.data, err);
    if (ok)
      fprintf(d->out, "ok  publication %s dropped\n", name);
  }
  buffer_free(&quoted);
  rows_free(rows);
  return ok;
}

static void delete_position_topic(struct drop *d) {
  struct error *trouble = &d->kafka_trouble;
  if (trouble->kind == ERROR_NONE && d->topic_exists) {
    struct kafka_admin *admin = kafka_admin_new(&d->relay->publisher.kafka, trouble);
    if (admin != NULL)
      kafka_admin_delete_topic(admin, d->position_topic, KAFKA_TIMEOUT_MS, trouble);
    kafka_admin_free(admin);
  }
  if (trouble->kind == ERROR_NONE) {
    fprintf(d->out, d->topic_exists ? "ok  topic %s deleted\n" : "--  topic %s (is not there)\n", d->position_topic);
    return;
  }
  error_wrap(trouble, "position topic %s remains", d->position_topic);
  if (trouble->remedy[0] == '\0')
    error_remedy(trouble, "once the brokers answer, run the same command again: it finishes what is left");
  fprintf(d->out, "--  topic %s remains\n", d->position_topic);
}

/* Where its replays have kept theirs; without the instance nothing of it can be gone on with. */
static void delete_replay_topic(struct drop *d) {
  struct error *trouble = &d->kafka_trouble;
  if (trouble->kind != ERROR_NONE)
    return;
  char *instance = replay_instance(d->relay->name);
  char *topic = kafka_position_topic(instance);
  struct kafka_topic_facts facts = {.exists = false};
  struct kafka_admin *admin = kafka_admin_new(&d->relay->publisher.kafka, trouble);
  bool ok = admin != NULL && kafka_admin_topic(admin, topic, KAFKA_TIMEOUT_MS, &facts, NULL, trouble) &&
            (!facts.exists || kafka_admin_delete_topic(admin, topic, KAFKA_TIMEOUT_MS, trouble));
  kafka_admin_free(admin);
  if (ok && facts.exists)
    fprintf(d->out, "ok  topic %s deleted\n", topic);
  else if (!ok)
    error_wrap(trouble, "topic %s remains", topic);
  free(topic);
  free(instance);
}

static void print_kept(const struct drop *d) {
  for (int i = 0; i < d->relay->intake.table_count; i++)
    fprintf(d->out, "--  kept: table %s.%s\n", d->relay->intake.tables[i].schema, d->relay->intake.tables[i].table);
  fprintf(d->out, "--  kept: functions walferry.emit and walferry.emit_message, where they are\n");
  fprintf(d->out, "--  kept: the topics of events, and %s\n", d->relay->publisher.quarantine_topic);
}

/* What remains, as one error; a second one is logged. */
static bool report_remains(const struct drop *d, struct error *err) {
  bool publication = d->publication_trouble.kind != ERROR_NONE, topic = d->kafka_trouble.kind != ERROR_NONE;
  if (publication && topic)
    log_error_event(LOG_WARN, "drop.remains", &d->publication_trouble);
  if (publication || topic)
    *err = topic ? d->kafka_trouble : d->publication_trouble;
  return !publication && !topic;
}

bool drop_run(const struct relay_settings *relay, const struct stop *stop, FILE *out, struct error *err) {
  struct drop d = {.relay = relay, .stop = stop, .out = out, .position_topic = kafka_position_topic(relay->name)};
  bool ok = look_at_server(&d, err) && look_at_kafka(&d, err) && go_on(&d, err) && drop_slot(&d, err) &&
            go_on(&d, err) && drop_retained(&d, err) && go_on(&d, err) && drop_work_lists(&d, err) && go_on(&d, err) &&
            drop_publication(&d, err) && go_on(&d, err);
  if (ok) {
    delete_replay_topic(&d); /* before the other one: what is left is found by the same command */
    delete_position_topic(&d);
    print_kept(&d);
    ok = report_remains(&d, err);
  }
  connection_close(d.conn);
  facts_free(&d.facts);
  free(d.position_topic);
  return ok;
}
