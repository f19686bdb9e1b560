/* See position.h. */
#include "bridge/ops/position.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bridge/base/clock.h"
#include "bridge/base/jsontext.h"
#include "bridge/base/log.h"
#include "bridge/ops/instance.h"
#include "bridge/ops/position_print.h"
#include "bridge/relay/reposition.h"

#define KAFKA_TIMEOUT_MS 10000

static bool read_history(const struct relay_settings *relay, const struct stop *stop, struct history *history,
                         struct error *err) {
  const struct kafka_settings *kafka = &relay->publisher.kafka;
  char *topic = kafka_position_topic(kafka->instance);
  struct kafka_admin *admin = kafka_admin_new(kafka, err);
  bool ok = admin != NULL && kafka_admin_reachable(admin, KAFKA_TIMEOUT_MS, err) &&
            history_read(admin, kafka, topic, KAFKA_TIMEOUT_MS, &stop->requested, history, err);
  kafka_admin_free(admin);
  free(topic);
  return ok;
}

static bool run_history(const struct position_request *request, const struct relay_settings *relay,
                        const struct stop *stop, FILE *out, struct error *err) {
  struct history history;
  if (!read_history(relay, stop, &history, err))
    return false;
  (request->json ? position_history_json : position_history_text)(&history, out);
  history_free(&history);
  return true;
}

/* One that cannot be read is no reason to show nothing: the slot beside it is what to go on from. */
static bool read_stored(const struct relay_settings *relay, const struct stop *stop, struct position *position,
                        bool *unreadable, struct error *err) {
  struct publisher *publisher = publisher_new(&relay->publisher, stop);
  bool ok = publisher_peek(publisher, position, err);
  publisher_free(publisher);
  *unreadable = !ok && err->code != NULL && strcmp(err->code, "position_unreadable") == 0;
  if (*unreadable)
    error_clear(err);
  return ok || *unreadable;
}

static bool read_server(const struct relay_settings *relay, struct position_view *view, struct error *err) {
  char *name = instance_command_name(relay->name, "position");
  struct connection *conn = connection_open(relay->conninfo, name, err);
  struct replication *rep = conn == NULL ? NULL : replication_open(relay->conninfo, name, err);
  struct admit_facts *server = &view->server;
  bool ok = rep != NULL && replication_identify(rep, &server->identity, err) &&
            (view->position->state != POSITION_SET ||
             replication_timeline_end(rep, server->identity.timeline, view->position->timeline, &server->ancestor_found,
                                      &server->ancestor_end, err)) &&
            catalog_slot(conn, relay->slot, &view->slot, err) &&
            (view->held_name == NULL || catalog_slot(conn, view->held_name, &view->held, err));
  replication_close(rep);
  connection_close(conn);
  free(name);
  return ok;
}

/* When the relay stood where the held-back slot does. */
static int64_t held_since_us(const struct position_view *view, const struct history *history) {
  int64_t us = 0;
  for (int i = 0; i < history->count; i++)
    if (strcmp(history->entries[i].system_id, view->server.identity.system_id) == 0 &&
        history->entries[i].lsn <= view->held.confirmed_flush_lsn)
      us = history->entries[i].at_us;
  return us;
}

static bool run_show(const struct position_request *request, const struct relay_settings *relay,
                     const struct stop *stop, FILE *out, struct error *err) {
  struct position position;
  struct history history = {.entries = NULL};
  position_init(&position);
  struct position_view view = {.instance = relay->name,
                               .position = &position,
                               .slot_name = relay->slot,
                               .held_name = relay->retain.slot,
                               .now_us = clock_wall_us()};
  /* Kafka first: the position may only have moved on when Postgres is asked. */
  bool ok = read_stored(relay, stop, &position, &view.unreadable, err) &&
            (relay->retain.slot == NULL || read_history(relay, stop, &history, err)) && read_server(relay, &view, err);
  if (ok && view.held.exists)
    view.held_since_us = held_since_us(&view, &history);
  if (ok)
    (request->json ? position_show_json : position_show_text)(&view, out);
  history_free(&history);
  position_clear(&position);
  return ok;
}

/* set: in words what is there, and what would be. */

static const char *events(int64_t count) {
  return count == 1 ? "event" : "events";
}

static void say_before(const struct reposition *r, FILE *out) {
  const struct position *p = &r->before;
  struct lsn_text stored = lsn_format(position_ack_lsn(p));
  const char *at = stored.text;
  switch (r->what) {
  case REPOSITION_NONE:
    fprintf(out, "Stored is no position: what is in Kafka already is not known.\n");
    return;
  case REPOSITION_UNREADABLE:
    fprintf(out, "The stored position cannot be read: what is in Kafka already is not known.\n");
    return;
  case REPOSITION_OTHER:
    fprintf(out,
            "Stored is %s of another origin (cluster %s, database OID %" PRIu32
            ", slot %s, decoder %s, timeline %" PRIu32 "): it says nothing about this server.\n",
            at, p->system_id, p->database_oid, p->slot, p->plugin, p->timeline);
    return;
  case REPOSITION_LEFT:
    fprintf(out,
            "Stored is %s of timeline %" PRIu32
            ", which this server left at %s: events that Kafka has from there on are "
            "not in this database.\n",
            at, p->timeline, lsn_format(r->left_at).text);
    return;
  case REPOSITION_AHEAD:
    fprintf(out,
            "Stored is %s, and the server's WAL ends at %s: Kafka has events that this database does not have, and how "
            "many cannot be counted here.\n",
            at, lsn_format(r->facts.admit.identity.flush_lsn).text);
    return;
  case REPOSITION_REWRITTEN:
    fprintf(out,
            "Stored is %s, but the server does not have the transaction that was published last (commit %s): Kafka has "
            "events that this database does not have, and others may stand in their place.\n",
            at, lsn_format(p->commit_lsn).text);
    return;
  case REPOSITION_COMPARABLE:
    fprintf(out, "Stored is %s.\n", at);
    return;
  }
}

static void say_counts(const struct reposition *r, FILE *out) {
  struct lsn_text target = lsn_format(r->lsn);
  const char *lsn = target.text;
  if (r->unseen_to != 0)
    fprintf(out,
            "What was committed between %s and %s cannot be counted, nor published by the relay: slot %s does not send "
            "it any more%s. Compare the outbox with the topic.\n",
            lsn_format(r->unseen_from).text, lsn_format(r->unseen_to).text, r->relay->slot,
            r->relay->retain.slot == NULL ? ", and no slot is held back" : ", nor does the held-back one");
  if (!r->counted) {
    fprintf(out, "What will be repeated or skipped cannot be counted: %s\n", r->uncounted.message);
    return;
  }
  bool known = r->what == REPOSITION_COMPARABLE || r->what == REPOSITION_LEFT;
  fprintf(out, "Skipped: %" PRId64 " %s committed before %s that %s not published, and would not be.\n",
          r->counts.skipped, events(r->counts.skipped), lsn, known ? "are" : "perhaps are");
  if (known)
    fprintf(out, "Repeated: %" PRId64 " %s committed from %s on that are in Kafka already.\n", r->counts.repeated,
            events(r->counts.repeated), lsn);
  else
    fprintf(out, "Repeated: what is committed from %s on and is in Kafka already; not known how much.\n", lsn);
  fprintf(out, "(Counted from %s to %s, by a copy of slot %s.)\n", lsn_format(r->counted_from).text,
          lsn_format(r->counted_to).text, r->counted_with);
}

static void say(const struct reposition *r, FILE *out) {
  say_before(r, out);
  if (r->lsn == 0) {
    fprintf(out,
            "Slot %s does not exist. The next one made for %s begins where the WAL ends then: what was committed "
            "before, and is not published, is not streamed. Find it in the outbox.\n",
            r->relay->slot, r->relay->name);
    return;
  }
  fprintf(out, "Slot %s stands at %s; the server's WAL ends at %s.\n", r->relay->slot,
          lsn_format(r->facts.admit.slot.confirmed_flush_lsn).text, lsn_format(r->facts.admit.identity.flush_lsn).text);
  say_counts(r, out);
}

static bool confirm(const struct position_request *request, const char *config_path, const char *name,
                    struct error *err) {
  if (request->confirm != NULL && strcmp(request->confirm, name) == 0)
    return true;
  if (request->confirm == NULL)
    error_set(err, ERROR_CONFIG, "nothing was changed: --confirm is missing");
  else
    error_set(err, ERROR_CONFIG, "nothing was changed: --confirm says %s, but the config's name is %s",
              request->confirm, name);
  return error_remedy(err, "to do it: walferry position %s set %s --confirm %s", config_path, request->target, name);
}

static void put_text(char *to, size_t size, const char *text) {
  snprintf(to, size, "%s", utf8_valid(slice_of(text)) ? text : "?");
}

/* Who it is: on this machine, and to the database. */
static bool sign(const struct position_request *request, struct connection *conn, struct position_word *word,
                 struct error *err) {
  *word = (struct position_word){.at_us = clock_wall_us()};
  char host[64] = "";
  gethostname(host, sizeof host - 1);
  const struct passwd *user = getpwuid(getuid());
  char by[sizeof word->by];
  if (user != NULL)
    snprintf(by, sizeof by, "%.60s@%.60s", user->pw_name, host);
  else
    snprintf(by, sizeof by, "%u@%.60s", (unsigned)getuid(), host);
  put_text(word->by, sizeof word->by, by);
  put_text(word->reason, sizeof word->reason, request->reason == NULL ? "" : request->reason);
  struct rows *rows = connection_query(conn, "SELECT session_user", 0, NULL, err);
  if (rows == NULL)
    return false;
  put_text(word->role, sizeof word->role, rows_text(rows, 0, 0));
  rows_free(rows);
  return true;
}

static bool run_set(const struct position_request *request, const char *config_path, const struct relay_settings *relay,
                    const struct stop *stop, FILE *out, struct error *err) {
  struct reposition r;
  struct position_word word;
  bool ok = reposition_look(&r, relay, request->lsn, stop, err);
  if (ok) {
    say(&r, out);
    ok = confirm(request, config_path, relay->name, err) && sign(request, r.conn, &word, err) &&
         reposition_store(&r, &word, err);
  }
  if (ok)
    log_warn("position.set", log_string("instance", relay->name), log_lsn("lsn", request->lsn),
             log_string("by", word.by), log_string("role", word.role), log_string("reason", word.reason));
  if (ok && request->lsn != 0)
    fprintf(out, "Done: %s goes on from %s.\n", relay->name, lsn_format(request->lsn).text);
  else if (ok)
    fprintf(out, "Done: now run `walferry init %s`, which makes the slot.\n", config_path);
  reposition_free(&r);
  return ok;
}

bool position_run(const struct position_request *request, const char *config_path, const struct relay_settings *relay,
                  const struct stop *stop, FILE *out, struct error *err) {
  switch (request->verb) {
  case POSITION_VERB_SHOW:
    return run_show(request, relay, stop, out, err);
  case POSITION_VERB_HISTORY:
    return run_history(request, relay, stop, out, err);
  case POSITION_VERB_SET:
    return run_set(request, config_path, relay, stop, out, err);
  }
  return error_set(err, ERROR_FATAL, "position does nothing of the kind");
}
