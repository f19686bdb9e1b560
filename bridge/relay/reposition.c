/* See reposition.h. */
#include "bridge/relay/reposition.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/clock.h"
#include "bridge/base/failpoint.h"

#define HELD_WAIT_MS                                                                                                   \
  3000 /* the row follows what was said; an instance that was killed may hold the slot for a moment */
#define LOOK_MS 20

static bool identify(struct reposition *r, struct replication *rep, struct error *err) {
  struct admit_facts *f = &r->facts.admit;
  return replication_identify(rep, &f->identity, err) &&
         (r->before.state != POSITION_SET || r->before.timeline == f->identity.timeline ||
          strcmp(r->before.system_id, f->identity.system_id) != 0 ||
          replication_timeline_end(rep, f->identity.timeline, r->before.timeline, &f->ancestor_found, &f->ancestor_end,
                                   err));
}

static bool ask_postgres(struct reposition *r, struct error *err) {
  const struct relay_settings *s = r->relay;
  r->conn = connection_open(s->conninfo, s->name, err);
  if (r->conn == NULL || !facts_server(&r->facts, r->conn, s, err) || !facts_publication(&r->facts, r->conn, s, err) ||
      !catalog_slot(r->conn, s->slot, &r->facts.admit.slot, err))
    return false;
  r->facts.admit.position_topic = r->topic;
  struct catalog_slot held = {.exists = false};
  struct error ignored;
  if (s->retain.slot != NULL && catalog_slot(r->conn, s->retain.slot, &held, err) &&
      retain_usable(s->retain.slot, &held, s->plugin, r->facts.admit.database, &ignored))
    r->held = held;
  struct replication *rep = replication_open(s->conninfo, s->name, err);
  bool ok = rep != NULL && identify(r, rep, err);
  replication_close(rep);
  return ok;
}

static bool ask_kafka(struct reposition *r, struct error *err) {
  struct publisher *publisher = publisher_new(&r->relay->publisher, r->stop);
  bool ok = publisher_peek(publisher, &r->before, err);
  publisher_free(publisher);
  if (ok || err->code == NULL || strcmp(err->code, "position_unreadable") != 0)
    return ok;
  r->what = REPOSITION_UNREADABLE;
  error_clear(err);
  return true;
}

/* Of a split transaction too. Idle progress of a timeline that was left counts up to there. */
static lsn_t published_end(const struct reposition *r, const struct position *p) {
  lsn_t end = admit_covered_end(p) > p->end_lsn ? admit_covered_end(p) : p->end_lsn;
  lsn_t idle = r->left_at != 0 && p->idle_end_lsn > r->left_at ? r->left_at : p->idle_end_lsn;
  return idle > end ? idle : end;
}

static enum reposition_before compare(struct reposition *r) {
  const struct admit_facts *f = &r->facts.admit;
  const struct position *p = &r->before;
  if (p->state != POSITION_SET)
    return REPOSITION_NONE;
  if (strcmp(p->system_id, f->identity.system_id) != 0 || p->database_oid != f->database_oid ||
      strcmp(p->slot, f->slot_name) != 0 || strcmp(p->plugin, f->plugin) != 0)
    return REPOSITION_OTHER;
  if (p->timeline != f->identity.timeline) {
    if (!f->ancestor_found)
      return REPOSITION_OTHER;
    r->left_at = f->ancestor_end;
    if (admit_covered_end(p) > f->ancestor_end)
      return REPOSITION_LEFT;
  }
  return published_end(r, p) > f->identity.flush_lsn ? REPOSITION_AHEAD : REPOSITION_COMPARABLE;
}

/* Where a new slot is to begin: the one that is there must go first. */
static bool judge_new(const struct reposition *r, struct error *err) {
  if (!r->facts.admit.slot.exists)
    return true;
  error_set(err, ERROR_CONFIG, "slot %s exists: there is no new one to begin with", r->relay->slot);
  return error_remedy(err,
                      "give an LSN from %s on; or, where the slot is of no use, drop it first: SELECT "
                      "pg_drop_replication_slot('%s')",
                      lsn_format(r->facts.admit.slot.confirmed_flush_lsn).text, r->relay->slot);
}

static bool judge_lsn(const struct reposition *r, struct error *err) {
  const struct admit_facts *f = &r->facts.admit;
  if (!f->slot.exists) {
    error_refuse(err, "slot_missing", "slot %s does not exist, so there is nothing to go on from at %s", f->slot_name,
                 lsn_format(r->lsn).text);
    return error_remedy(
        err, "`walferry position CONFIG set new --confirm NAME`, then `walferry init CONFIG`: a slot is made, "
             "and what was committed before is not streamed");
  }
  if (!admit_slot(f, err) || !facts_check_publication(&r->facts, r->relay, err))
    return false;
  if (r->lsn > f->identity.flush_lsn) {
    error_set(err, ERROR_CONFIG, "%s is beyond the end of the server's WAL, %s", lsn_format(r->lsn).text,
              lsn_format(f->identity.flush_lsn).text);
    return error_remedy(err, "give an LSN from %s, where the slot stands, to there",
                        lsn_format(f->slot.confirmed_flush_lsn).text);
  }
  if (r->lsn < f->slot.confirmed_flush_lsn) {
    error_set(err, ERROR_CONFIG, "slot %s stands at %s already and sends nothing of before", f->slot_name,
              lsn_format(f->slot.confirmed_flush_lsn).text);
    return error_remedy(err,
                        "to send events of before again: `walferry replay CONFIG --from %s`. To go on from the slot: "
                        "give an LSN from %s on",
                        lsn_format(r->lsn).text, lsn_format(f->slot.confirmed_flush_lsn).text);
  }
  return true;
}

/* What is published, in this server's terms. */
static struct position published(const struct reposition *r) {
  struct position p = r->before; /* borrows its lists */
  if (r->what == REPOSITION_COMPARABLE)
    return p;
  position_init(&p);
  if (r->what == REPOSITION_LEFT) /* up to where the histories are one */
    p = (struct position){.state = POSITION_SET, .complete = true, .end_lsn = r->left_at, .floor = r->left_at};
  return p;
}

static void ask(struct reposition *r, const struct gap_question *question) {
  r->counted_from = question->from;
  r->counted_to = question->to;
  r->counted_with = question->slot;
  r->counted = gap_count(question, &r->facts, r->conn, r->stop, &r->counts, &r->uncounted);
}

static void count(struct reposition *r) {
  const struct admit_facts *f = &r->facts.admit;
  struct position before = published(r);
  lsn_t slot_at = f->slot.confirmed_flush_lsn;
  struct gap_question question = {.relay = r->relay, .slot = f->slot_name, .before = &before, .target = r->lsn};
  question.from = slot_at;
  question.to = r->lsn;
  if (before.state == POSITION_SET) {
    lsn_t end = published_end(r, &before);
    lsn_t from = before.commit_lsn != 0 && !before.complete ? before.commit_lsn : end;
    bool last_expected = before.commit_lsn != 0 && slot_at <= before.commit_lsn;
    question.from = last_expected ? before.commit_lsn : from;
    if (question.from > r->lsn)
      question.from = r->lsn;
    question.to = end > r->lsn ? end : r->lsn;
    if (question.from < slot_at && r->held.exists && r->held.confirmed_flush_lsn <= question.from) {
      question.slot = r->relay->retain.slot;
    } else if (question.from < slot_at) {
      r->unseen_from = question.from;
      r->unseen_to = slot_at;
      question.from = slot_at;
    }
  }
  ask(r, &question);
  if (!r->counted || !r->counts.rewritten)
    return;
  /* What is covered by number is another transaction here. */
  r->what = REPOSITION_REWRITTEN;
  r->unseen_from = r->unseen_to = 0;
  before = published(r);
  question = (struct gap_question){
      .relay = r->relay, .slot = f->slot_name, .before = &before, .target = r->lsn, .from = slot_at, .to = r->lsn};
  ask(r, &question);
}

/* Its rows would be passed over, and not be counted. */
static bool judge_snapshot(const struct reposition *r, struct error *err) {
  const struct position_snapshot *s = &r->before.snapshot;
  if (s->state == POSITION_SNAPSHOT_ASKED && r->lsn != 0) {
    error_set(err, ERROR_CONFIG, "slot %s was made for a snapshot, which is not taken yet", r->relay->slot);
    return error_remedy(err, "let the relay take it first: every start does, with or without --snapshot; or do without "
                             "it: `walferry drop CONFIG --confirm NAME`, then `walferry init CONFIG`");
  }
  if (s->state != POSITION_SNAPSHOT_OPEN)
    return true;
  error_set(err, ERROR_CONFIG, "a snapshot is published up to row %" PRIu64 " of %" PRIu64, s->next, s->rows);
  return error_remedy(err, "let the relay finish it first; or begin anew: `walferry drop CONFIG --confirm NAME`, then "
                           "`walferry relay CONFIG "
                           "--snapshot`");
}

bool reposition_look(struct reposition *r, const struct relay_settings *relay, lsn_t lsn, const struct stop *stop,
                     struct error *err) {
  *r = (struct reposition){.relay = relay, .stop = stop, .lsn = lsn};
  position_init(&r->before);
  r->topic = kafka_position_topic(relay->publisher.kafka.instance);
  if (!ask_kafka(r, err) || !judge_snapshot(r, err) || !ask_postgres(r, err) ||
      !(lsn == 0 ? judge_new(r, err) : judge_lsn(r, err)))
    return false;
  if (r->what != REPOSITION_UNREADABLE)
    r->what = compare(r);
  if (lsn != 0)
    count(r);
  return r->uncounted.kind != ERROR_STOPPED || error_set(err, ERROR_STOPPED, "stopped");
}

static bool refuse_held(const struct reposition *r, struct error *err) {
  error_set(err, ERROR_FENCED, "slot %s is in use (backend %d)", r->relay->slot, r->facts.admit.slot.active_pid);
  err->code = "slot_held";
  return error_remedy(err,
                      "stop every instance of %s first, standbys too: the position is set while nobody has the slot",
                      r->relay->name);
}

/* The slot is the lock. Streaming from the LSN on, nothing of before is decoded, be it decodable or not. */
static bool take_slot(struct reposition *r, struct replication *rep, struct error *err) {
  struct catalog_slot *slot = &r->facts.admit.slot;
  bool busy = true;
  for (int64_t end = clock_monotonic_ms() + HELD_WAIT_MS;; clock_sleep_ms(LOOK_MS)) {
    if (busy && !relay_start_streaming(r->relay, rep, r->relay->slot, r->lsn, &busy, err))
      return false;
    if (!catalog_slot(r->conn, r->relay->slot, slot, err))
      return false;
    if (slot->active_pid == replication_backend_pid(rep))
      return judge_lsn(r, err); /* what was read before is stale */
    if (clock_monotonic_ms() >= end)
      return busy ? refuse_held(r, err) : error_set(err, ERROR_RETRY, "slot %s was lost meanwhile", r->relay->slot);
  }
}

/* Kept of the one before: how many partitions keys are spread over. */
static void fill(const struct reposition *r, const struct position_word *word, struct position *next) {
  for (int i = 0; i < r->before.topic_count; i++)
    position_pin(next, r->before.topics[i].name, r->before.topics[i].partitions);
  if (r->before.snapshot.state == POSITION_SNAPSHOT_DONE)
    next->snapshot = r->before.snapshot;
  else if (r->lsn == 0 && (r->before.state == POSITION_SET || r->what == REPOSITION_UNREADABLE))
    next->snapshot.state = POSITION_SNAPSHOT_DONE; /* a new slot's would be of rows that are published already */
  next->state = r->lsn == 0 ? POSITION_INTENT : POSITION_SET;
  next->complete = true;
  next->end_lsn = next->floor = r->lsn;
  next->word = *word;
  next->word.lsn = r->lsn;
  admit_fill_identity(&r->facts.admit, next);
}

/* What was told of events holds for the position that was looked at. */
static bool check_unchanged(const struct position *looked_at, const struct position *now, struct error *err) {
  if (position_same_progress(looked_at, now))
    return true;
  error_set(err, ERROR_RETRY, "nothing was changed: the position has moved from %s to %s since it was looked at",
            lsn_format(position_ack_lsn(looked_at)).text, lsn_format(position_ack_lsn(now)).text);
  return error_remedy(err, "run the same command again: it tells what that would mean now");
}

/* Fences whoever else may write, reads what is stored once more, and stores. */
static bool store(struct reposition *r, const struct position_word *word, struct error *err) {
  struct publisher *publisher = publisher_new(&r->relay->publisher, r->stop);
  struct position next, now;
  position_init(&next);
  position_init(&now);
  bool ok = publisher_check_position_topic(publisher, err);
  if (ok && !publisher_open(publisher, &now, err))
    ok = err->code != NULL && strcmp(err->code, "position_unreadable") == 0; /* which is what this is for */
  ok = ok && check_unchanged(&r->before, &now, err);
  if (ok)
    position_copy(&r->before, &now); /* its pins are the newest */
  FAILPOINT("reposition.before_store");
  if (ok) {
    fill(r, word, &next);
    ok = publisher_store(publisher, &next, err);
  }
  FAILPOINT("reposition.after_store");
  publisher_free(publisher);
  position_clear(&next);
  position_clear(&now);
  return ok;
}

/* So that the server forgets what is skipped, too: some of it may not be decodable. */
static bool move_slot(struct reposition *r, struct replication *rep, struct error *err) {
  struct catalog_slot *slot = &r->facts.admit.slot;
  if (!replication_feedback(rep, r->lsn, r->lsn, true, err))
    return false;
  for (int64_t end = clock_monotonic_ms() + HELD_WAIT_MS;; clock_sleep_ms(LOOK_MS)) {
    if (!catalog_slot(r->conn, r->relay->slot, slot, err))
      return false;
    if (slot->confirmed_flush_lsn >= r->lsn)
      return true;
    if (clock_monotonic_ms() >= end) {
      error_set(err, ERROR_RETRY, "the position is stored, but the server has not moved slot %s up to it",
                r->relay->slot);
      return error_remedy(err, "run the same command again");
    }
  }
}

bool reposition_store(struct reposition *r, const struct position_word *word, struct error *err) {
  const struct relay_settings *s = r->relay;
  if (r->lsn == 0)
    return store(r, word, err);
  struct replication *rep = replication_open(s->conninfo, s->name, err);
  bool ok =
      rep != NULL && identify(r, rep, err) && take_slot(r, rep, err) && store(r, word, err) && move_slot(r, rep, err);
  replication_close(rep);
  return ok;
}

void reposition_free(struct reposition *r) {
  connection_close(r->conn);
  facts_free(&r->facts);
  position_clear(&r->before);
  free(r->topic);
}
