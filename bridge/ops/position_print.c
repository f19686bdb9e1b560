/* See position_print.h. The keys of the JSON forms are stable: others read them. */
#include "bridge/ops/position_print.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/buffer.h"
#include "bridge/base/clock.h"
#include "bridge/base/jsonobject.h"
#include "bridge/base/memory.h"
#include "bridge/ops/report_row.h"

char *position_view_distance(const struct position_view *v) {
  const struct position *p = v->position;
  if (v->unreadable)
    return memory_string("this version cannot read the position: a start is refused (position_unreadable)");
  if (p->state != POSITION_SET)
    return memory_string(v->slot.exists ? "there is a slot, and no position for it: a start is refused (slot_unknown)"
                                        : "nothing was published yet");
  if (strcmp(p->system_id, v->server.identity.system_id) != 0)
    return memory_format("the position is of another cluster (%s; this is %s): a start is refused (cluster_changed)",
                         p->system_id, v->server.identity.system_id);
  lsn_t idle;
  struct error lacks;
  if (!admit_history(&v->server, p, &idle, &lacks))
    return memory_format("%s: a start is refused (%s)", lacks.message, lacks.code);
  if (!v->slot.exists)
    return memory_string("the slot is gone: a start is refused (slot_missing)");
  struct position cut = *p; /* borrows the lists */
  cut.idle_end_lsn = idle;
  lsn_t at = position_ack_lsn(&cut), slot = v->slot.confirmed_flush_lsn;
  if (slot > at)
    return memory_format("the slot is %" PRIu64 " bytes of WAL ahead of the position: a start is refused "
                         "(slot_advanced)",
                         slot - at);
  if (slot == at)
    return memory_string("slot and position stand at the same place");
  return memory_format("the slot is %" PRIu64 " bytes of WAL behind the position, as it should be: what it sends again "
                       "is known as published",
                       at - slot);
}

static void print_word(const struct position_word *word, FILE *out) {
  if (word->at_us == 0)
    return;
  report_row(out, "  set", "by %s, database role %s, at %s, to %s", word->by, word->role,
             clock_rfc3339(word->at_us).text, word->lsn == 0 ? "a new slot" : lsn_format(word->lsn).text);
  if (word->reason[0] != '\0')
    report_row(out, "  because", "%s", word->reason);
}

static void print_position(const struct position_view *v, FILE *out) {
  const struct position *p = v->position;
  if (v->unreadable) {
    report_row(out, "position", "not one that this version can read");
    return;
  }
  if (p->state != POSITION_SET) {
    report_row(out, "position", p->state == POSITION_INTENT ? "none yet: a slot is to be created" : "none");
    print_word(&p->word, out);
    return;
  }
  report_row(out, "position", "%s, timeline %" PRIu32 "%s%s", lsn_format(position_ack_lsn(p)).text, p->timeline,
             p->written_us == 0 ? "" : ", stored ", p->written_us == 0 ? "" : clock_rfc3339(p->written_us).text);
  if (p->commit_lsn == 0)
    report_row(out, "  last event", "none yet");
  else
    report_row(out, "  last event", "committed %s at %s, xid %" PRIu32, clock_rfc3339(p->commit_time_us).text,
               lsn_format(p->commit_lsn).text, p->xid);
  if (!p->complete)
    report_row(out, "  half done", "change %" PRIu64 " of that transaction is next", p->next_index);
  if (p->idle_end_lsn > p->end_lsn)
    report_row(out, "  idle up to", "%s", lsn_format(p->idle_end_lsn).text);
  print_word(&p->word, out);
}

static void print_held(const struct position_view *v, FILE *out) {
  if (v->held_name == NULL) {
    report_row(out, "held back", "nothing (postgres.replay)");
    return;
  }
  if (!v->held.exists) {
    report_row(out, "held back", "%s does not exist", v->held_name);
    return;
  }
  report_row(out, "held back", "%s at %s%s%s, %s, %.1f MB of WAL", v->held_name,
             lsn_format(v->held.confirmed_flush_lsn).text, v->held_since_us == 0 ? "" : ", published up to there by ",
             v->held_since_us == 0 ? "" : clock_rfc3339(v->held_since_us).text,
             v->held.wal_status[0] != '\0' ? v->held.wal_status : "unknown",
             (double)catalog_wal_retained(&v->held) / (1024 * 1024));
}

void position_show_text(const struct position_view *v, FILE *out) {
  report_row(out, "instance", "%s", v->instance);
  print_position(v, out);
  if (v->slot.exists)
    report_row(out, "slot", "%s at %s, %s", v->slot_name, lsn_format(v->slot.confirmed_flush_lsn).text,
               v->slot.active ? "in use" : "read by nobody");
  else
    report_row(out, "slot", "%s does not exist", v->slot_name);
  char *distance = position_view_distance(v);
  report_row(out, "  so", "%s", distance);
  free(distance);
  print_held(v, out);
  report_row(out, "server", "WAL up to %s", lsn_format(v->server.identity.flush_lsn).text);
}

static void json_word(struct buffer *json, const struct position_word *word) {
  if (word == NULL || word->at_us == 0) {
    jsonobject_text(json, "set", NULL);
    return;
  }
  jsonobject_open(json, "set");
  jsonobject_moment(json, "at", word->at_us);
  jsonobject_lsn(json, "lsn", word->lsn);
  jsonobject_text(json, "by", word->by);
  jsonobject_text(json, "role", word->role);
  jsonobject_text(json, "reason", word->reason[0] == '\0' ? NULL : word->reason);
  jsonobject_close(json);
}

static void json_position(struct buffer *json, const struct position_view *v) {
  const struct position *p = v->position;
  jsonobject_open(json, "position");
  jsonobject_text(json, "state", v->unreadable ? "unreadable" : position_state_name(p->state));
  if (p->state == POSITION_SET) {
    jsonobject_lsn(json, "lsn", position_ack_lsn(p));
    jsonobject_lsn(json, "commit_lsn", p->commit_lsn);
    jsonobject_lsn(json, "end_lsn", p->end_lsn);
    jsonobject_lsn(json, "idle_end_lsn", p->idle_end_lsn);
    jsonobject_lsn(json, "floor", p->floor);
    jsonobject_moment(json, "commit_time", p->commit_lsn == 0 ? 0 : p->commit_time_us);
    jsonobject_integer(json, "xid", p->xid);
    jsonobject_bool(json, "complete", p->complete);
    jsonobject_integer(json, "next_index", (int64_t)p->next_index);
    jsonobject_integer(json, "timeline", p->timeline);
    jsonobject_text(json, "system_id", p->system_id);
    jsonobject_moment(json, "written", p->written_us);
  }
  json_word(json, &p->word);
  jsonobject_close(json);
}

/* name NULL: there is none by config. */
static void json_slot(struct buffer *json, const char *key, const char *name, const struct catalog_slot *slot) {
  if (name == NULL) {
    jsonobject_text(json, key, NULL);
    return;
  }
  jsonobject_open(json, key);
  jsonobject_text(json, "name", name);
  jsonobject_bool(json, "exists", slot->exists);
  if (slot->exists) {
    jsonobject_bool(json, "active", slot->active);
    jsonobject_lsn(json, "confirmed_flush_lsn", slot->confirmed_flush_lsn);
    jsonobject_lsn(json, "restart_lsn", slot->restart_lsn);
    jsonobject_text(json, "wal_status", slot->wal_status);
    jsonobject_integer(json, "retained_bytes", catalog_wal_retained(slot));
  }
  jsonobject_close(json);
}

static void write_out(struct buffer *json, FILE *out) {
  buffer_append_char(json, '\n');
  fwrite(json->data, 1, json->len, out);
  buffer_free(json);
}

void position_show_json(const struct position_view *v, FILE *out) {
  struct buffer json;
  buffer_init(&json, BUFFER_MAX_ROW);
  char *distance = position_view_distance(v);
  jsonobject_open(&json, NULL);
  jsonobject_text(&json, "instance", v->instance);
  json_position(&json, v);
  json_slot(&json, "slot", v->slot_name, &v->slot);
  json_slot(&json, "held_back", v->held_name, &v->held);
  jsonobject_moment(&json, "held_back_since", v->held_since_us);
  jsonobject_text(&json, "system_id", v->server.identity.system_id);
  jsonobject_lsn(&json, "flush_lsn", v->server.identity.flush_lsn);
  jsonobject_text(&json, "so", distance);
  jsonobject_close(&json);
  free(distance);
  write_out(&json, out);
}

void position_history_text(const struct history *history, FILE *out) {
  if (history->count == 0) {
    fprintf(out, "no history yet: the relay stores a copy of its position each minute in which it commits\n");
    return;
  }
  fprintf(out, "%-28s %-17s %-17s %10s\n", "stored", "published up to", "last commit", "xid");
  for (int i = 0; i < history->count; i++) {
    const struct history_entry *e = &history->entries[i];
    fprintf(out, "%-28s %-17s %-17s %10" PRIu32 "%s\n", clock_rfc3339(e->at_us).text, lsn_format(e->lsn).text,
            e->commit_lsn == 0 ? "-" : lsn_format(e->commit_lsn).text, e->xid, e->complete ? "" : "  half done");
    if (e->word != NULL)
      fprintf(out, "%-28s set by %s, database role %s%s%s\n", "", e->word->by, e->word->role,
              e->word->reason[0] != '\0' ? ": " : "", e->word->reason);
  }
}

void position_history_json(const struct history *history, FILE *out) {
  for (int i = 0; i < history->count; i++) {
    const struct history_entry *e = &history->entries[i];
    struct buffer json;
    buffer_init(&json, BUFFER_MAX_ROW);
    jsonobject_open(&json, NULL);
    jsonobject_moment(&json, "stored", e->at_us);
    jsonobject_lsn(&json, "lsn", e->lsn);
    jsonobject_lsn(&json, "commit_lsn", e->commit_lsn);
    jsonobject_moment(&json, "commit_time", e->commit_lsn == 0 ? 0 : e->commit_time_us);
    jsonobject_integer(&json, "xid", e->xid);
    jsonobject_bool(&json, "complete", e->complete);
    jsonobject_integer(&json, "timeline", e->timeline);
    jsonobject_text(&json, "system_id", e->system_id);
    json_word(&json, e->word);
    jsonobject_close(&json);
    write_out(&json, out);
  }
}
