/* See position.h. */
#include "bridge/relay/position.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/memory.h"

const char *position_state_name(enum position_state state) {
  switch (state) {
  case POSITION_NONE:
    return "none";
  case POSITION_INTENT:
    return "intent";
  case POSITION_SET:
    return "position";
  }
  return "";
}

void position_init(struct position *p) {
  *p = (struct position){.state = POSITION_NONE};
}

void position_clear(struct position *p) {
  for (int i = 0; i < p->table_count; i++)
    free(p->tables[i].origin);
  free(p->tables);
  for (int i = 0; i < p->topic_count; i++)
    free(p->topics[i].name);
  free(p->topics);
  position_init(p);
}

void position_copy(struct position *to, const struct position *from) {
  position_clear(to);
  *to = *from;
  to->tables = from->table_count == 0 ? NULL : memory_alloc((size_t)from->table_count * sizeof *to->tables);
  for (int i = 0; i < from->table_count; i++)
    to->tables[i] = (struct position_table){.origin = memory_string(from->tables[i].origin),
                                            .entry_oid = from->tables[i].entry_oid,
                                            .since = from->tables[i].since};
  to->topics = NULL;
  to->topic_count = 0;
  for (int i = 0; i < from->topic_count; i++)
    position_pin(to, from->topics[i].name, from->topics[i].partitions);
}

lsn_t position_ack_lsn(const struct position *p) {
  return p->idle_end_lsn > p->end_lsn ? p->idle_end_lsn : p->end_lsn;
}

bool position_covers(const struct position *p, lsn_t commit_lsn) {
  return commit_lsn < p->floor || commit_lsn < p->commit_lsn || (commit_lsn == p->commit_lsn && p->complete);
}

lsn_t position_table_since(const struct position *p, const char *schema, const char *table) {
  size_t len = strlen(schema);
  for (int i = 0; i < p->table_count; i++) {
    const char *origin = p->tables[i].origin;
    if (strncmp(origin, schema, len) == 0 && origin[len] == '.' && strcmp(origin + len + 1, table) == 0)
      return p->tables[i].since;
  }
  return 0;
}

int32_t position_partitions(const struct position *p, const char *topic) {
  for (int i = 0; i < p->topic_count; i++)
    if (strcmp(p->topics[i].name, topic) == 0)
      return p->topics[i].partitions;
  return 0;
}

void position_pin(struct position *p, const char *topic, int32_t partitions) {
  p->topics = memory_resize(p->topics, (size_t)(p->topic_count + 1) * sizeof *p->topics);
  p->topics[p->topic_count++] = (struct position_topic){.name = memory_string(topic), .partitions = partitions};
}

bool position_same_progress(const struct position *a, const struct position *b) {
  return a->state == b->state && a->commit_lsn == b->commit_lsn && a->end_lsn == b->end_lsn && a->xid == b->xid &&
         a->complete == b->complete && a->next_index == b->next_index && a->idle_end_lsn == b->idle_end_lsn &&
         a->floor == b->floor && a->snapshot.state == b->snapshot.state && a->snapshot.next == b->snapshot.next &&
         strcmp(a->system_id, b->system_id) == 0;
}

static void append_lsn(struct buffer *json, const char *name, lsn_t lsn) {
  buffer_printf(json, ",\"%s\":\"%s\"", name, lsn_format(lsn).text);
}

static void append_since(const struct position *p, struct buffer *json) {
  bool any = false;
  for (int i = 0; i < p->table_count; i++) {
    if (p->tables[i].since == 0)
      continue;
    buffer_append_text(json, any ? "," : ",\"since\":{");
    buffer_append_json(json, slice_of(p->tables[i].origin));
    buffer_printf(json, ":\"%s\"", lsn_format(p->tables[i].since).text);
    any = true;
  }
  buffer_append_text(json, any ? "}" : "");
}

/* What later versions added, and only some positions have. */
static void append_optional(const struct position *p, struct buffer *json) {
  append_since(p, json);
  if (p->floor != 0)
    append_lsn(json, "floor", p->floor);
  if (p->written_us != 0)
    buffer_printf(json, ",\"written_us\":%" PRId64, p->written_us);
  if (p->history_since_us != 0)
    buffer_printf(json, ",\"history_since_us\":%" PRId64, p->history_since_us);
  if (p->word.at_us == 0)
    return;
  buffer_printf(json, ",\"set\":{\"at_us\":%" PRId64 ",\"lsn\":\"%s\",\"by\":", p->word.at_us,
                lsn_format(p->word.lsn).text);
  buffer_append_json(json, slice_of(p->word.by));
  buffer_append_text(json, ",\"role\":");
  buffer_append_json(json, slice_of(p->word.role));
  buffer_append_text(json, ",\"reason\":");
  buffer_append_json(json, slice_of(p->word.reason));
  buffer_append_char(json, '}');
}

static void append_run(struct buffer *json, const struct position_run *run) {
  buffer_append_text(json, ",\"run\":{\"id\":");
  buffer_append_json(json, slice_of(run->id));
  if (run->list != 0)
    buffer_printf(json, ",\"list\":\"%016" PRIx64 "\"", run->list);
  append_lsn(json, "from", run->from);
  append_lsn(json, "to", run->to);
  buffer_printf(json, ",\"from_us\":%" PRId64 ",\"to_us\":%" PRId64 ",\"records\":%" PRIu64 ",\"finished\":%s}",
                run->from_us, run->to_us, run->records, run->finished ? "true" : "false");
}

const char *position_snapshot_name(enum position_snapshot_state state) {
  switch (state) {
  case POSITION_SNAPSHOT_NONE:
    return "none";
  case POSITION_SNAPSHOT_ASKED:
    return "asked";
  case POSITION_SNAPSHOT_OPEN:
    return "open";
  case POSITION_SNAPSHOT_DONE:
    return "done";
  }
  return "";
}

static bool snapshot_pending(const struct position *p) {
  return p->snapshot.state == POSITION_SNAPSHOT_ASKED || p->snapshot.state == POSITION_SNAPSHOT_OPEN;
}

static void append_snapshot(struct buffer *json, const struct position_snapshot *s) {
  if (s->state == POSITION_SNAPSHOT_NONE)
    return;
  buffer_printf(json,
                ",\"snapshot\":{\"state\":\"%s\",\"next\":%" PRIu64 ",\"rows\":%" PRIu64 ",\"taken_us\":%" PRId64 "}",
                position_snapshot_name(s->state), s->next, s->rows, s->taken_us);
}

void position_encode(const struct position *p, struct buffer *json) {
  buffer_printf(json, "{\"format\":%d,\"state\":\"%s\",\"system_id\":\"%s\",\"timeline\":%" PRIu32,
                snapshot_pending(p) ? POSITION_FORMAT_SNAPSHOT : POSITION_FORMAT, position_state_name(p->state),
                p->system_id, p->timeline);
  buffer_printf(json, ",\"database_oid\":%" PRIu32 ",\"slot\":", p->database_oid);
  buffer_append_json(json, slice_of(p->slot));
  buffer_append_text(json, ",\"plugin\":");
  buffer_append_json(json, slice_of(p->plugin));
  buffer_printf(json, ",\"publication_oid\":%" PRIu32 ",\"tables\":{", p->publication_oid);
  for (int i = 0; i < p->table_count; i++) {
    if (i > 0)
      buffer_append_char(json, ',');
    buffer_append_json(json, slice_of(p->tables[i].origin));
    buffer_printf(json, ":%" PRIu32, p->tables[i].entry_oid);
  }
  buffer_append_char(json, '}');
  append_lsn(json, "commit_lsn", p->commit_lsn);
  append_lsn(json, "end_lsn", p->end_lsn);
  append_lsn(json, "idle_end_lsn", p->idle_end_lsn);
  buffer_printf(json, ",\"xid\":%" PRIu32 ",\"commit_time_us\":%" PRId64 ",\"complete\":%s", p->xid, p->commit_time_us,
                p->complete ? "true" : "false");
  buffer_printf(json, ",\"next_index\":%" PRIu64 ",\"hash\":\"%016" PRIx64 "\",\"fingerprint\":\"%016" PRIx64 "\"",
                p->next_index, p->hash, p->fingerprint);
  append_optional(p, json);
  append_snapshot(json, &p->snapshot);
  buffer_append_text(json, ",\"topics\":{");
  for (int i = 0; i < p->topic_count; i++) {
    if (i > 0)
      buffer_append_char(json, ',');
    buffer_append_json(json, slice_of(p->topics[i].name));
    buffer_printf(json, ":%" PRId32, p->topics[i].partitions);
  }
  buffer_append_char(json, '}');
  if (p->run.id[0] != '\0')
    append_run(json, &p->run);
  buffer_append_char(json, '}');
}

static bool parse_hex64(const char *text, uint64_t *value) {
  /* strtoull alone would take blanks, a sign or "0x". */
  if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)
    return false;
  *value = strtoull(text, NULL, 16);
  return true;
}

static bool take_text(char *to, size_t size, const char *from) {
  return (size_t)snprintf(to, size, "%s", from) < size;
}

static bool take_u32(json_int_t from, uint32_t *to) {
  if (from < 0 || from > UINT32_MAX)
    return false;
  *to = (uint32_t)from;
  return true;
}

static bool take_word(const json_t *set, struct position_word *word) {
  const char *lsn, *by, *role, *reason;
  json_int_t at_us;
  json_error_t ignored;
  if (json_unpack_ex((json_t *)(uintptr_t)set, &ignored, 0, "{s:I,s:s,s:s,s:s,s:s}", "at_us", &at_us, "lsn", &lsn, "by",
                     &by, "role", &role, "reason", &reason) != 0)
    return false;
  word->at_us = at_us;
  return at_us > 0 && lsn_parse(slice_of(lsn), &word->lsn) && take_text(word->by, sizeof word->by, by) &&
         take_text(word->role, sizeof word->role, role) && take_text(word->reason, sizeof word->reason, reason);
}

static bool take_optional(const json_t *root, struct position *p) {
  const char *floor = NULL;
  json_int_t written_us = 0, history_since_us = 0;
  json_t *set = NULL;
  json_error_t ignored;
  if (json_unpack_ex((json_t *)(uintptr_t)root, &ignored, 0, "{s?s,s?I,s?I,s?o}", "floor", &floor, "written_us",
                     &written_us, "history_since_us", &history_since_us, "set", &set) != 0)
    return false;
  p->written_us = written_us;
  p->history_since_us = history_since_us;
  return (floor == NULL || lsn_parse(slice_of(floor), &p->floor)) && (set == NULL || take_word(set, &p->word));
}

/* since: NULL where all tables were always there. */
static bool take_since(const json_t *since, struct position *p) {
  for (int i = 0; since != NULL && i < p->table_count; i++) {
    const json_t *value = json_object_get(since, p->tables[i].origin);
    const char *lsn = json_string_value(value);
    if (value != NULL && (lsn == NULL || !lsn_parse(slice_of(lsn), &p->tables[i].since)))
      return false;
  }
  return since == NULL || json_is_object(since);
}

/* A position without one is a relay's. */
static bool take_run(const json_t *root, struct position_run *run) {
  json_t *member = json_object_get(root, "run");
  if (member == NULL)
    return true;
  const char *id, *from, *to, *list = NULL;
  json_int_t from_us, to_us, records;
  int finished;
  json_error_t ignored;
  if (json_unpack_ex(member, &ignored, 0, "{s:s,s?s,s:s,s:s,s:I,s:I,s:I,s:b}", "id", &id, "list", &list, "from", &from,
                     "to", &to, "from_us", &from_us, "to_us", &to_us, "records", &records, "finished", &finished) != 0)
    return false;
  if (id[0] == '\0' || !take_text(run->id, sizeof run->id, id) || !lsn_parse(slice_of(from), &run->from) ||
      !lsn_parse(slice_of(to), &run->to) || records < 0 || (list != NULL && !parse_hex64(list, &run->list)))
    return false;
  run->from_us = from_us;
  run->to_us = to_us;
  run->records = (uint64_t)records;
  run->finished = finished != 0;
  return true;
}

/* value: NULL where the position has none. */
static bool take_snapshot(const json_t *value, struct position_snapshot *snapshot) {
  if (value == NULL)
    return true;
  const char *state;
  json_int_t next, rows, taken_us;
  json_error_t ignored;
  if (json_unpack_ex((json_t *)(uintptr_t)value, &ignored, 0, "{s:s,s:I,s:I,s:I}", "state", &state, "next", &next,
                     "rows", &rows, "taken_us", &taken_us) != 0 ||
      next < 0 || rows < next)
    return false;
  for (enum position_snapshot_state s = POSITION_SNAPSHOT_ASKED; s <= POSITION_SNAPSHOT_DONE; s++)
    if (strcmp(state, position_snapshot_name(s)) == 0)
      *snapshot =
          (struct position_snapshot){.state = s, .next = (uint64_t)next, .rows = (uint64_t)rows, .taken_us = taken_us};
  return snapshot->state != POSITION_SNAPSHOT_NONE;
}

static bool take_members(const json_t *root, struct position *p) {
  const char *state, *system_id, *slot, *plugin, *commit_lsn, *end_lsn, *idle, *hash, *fingerprint;
  json_int_t format, timeline, database_oid, publication_oid, xid, commit_time, next_index;
  int complete;
  json_t *tables, *topics, *snapshot = NULL;
  json_error_t ignored;
  if (json_unpack_ex((json_t *)(uintptr_t)root, &ignored, 0,
                     "{s:I,s:s,s:s,s:I,s:I,s:s,s:s,s:I,s:o,s:s,s:s,s:s,s:I,s:I,s:b,s:I,s:s,s:s,s:o,s?o}", "format",
                     &format, "state", &state, "system_id", &system_id, "timeline", &timeline, "database_oid",
                     &database_oid, "slot", &slot, "plugin", &plugin, "publication_oid", &publication_oid, "tables",
                     &tables, "commit_lsn", &commit_lsn, "end_lsn", &end_lsn, "idle_end_lsn", &idle, "xid", &xid,
                     "commit_time_us", &commit_time, "complete", &complete, "next_index", &next_index, "hash", &hash,
                     "fingerprint", &fingerprint, "topics", &topics, "snapshot", &snapshot) != 0)
    return false;
  if (!take_snapshot(snapshot, &p->snapshot) ||
      format != (snapshot_pending(p) ? POSITION_FORMAT_SNAPSHOT : POSITION_FORMAT))
    return false;
  if (next_index < 0 || !json_is_object(tables) || !json_is_object(topics))
    return false;
  if (strcmp(state, "intent") == 0)
    p->state = POSITION_INTENT;
  else if (strcmp(state, "position") == 0)
    p->state = POSITION_SET;
  else
    return false;
  if (!take_text(p->system_id, sizeof p->system_id, system_id) || !take_text(p->slot, sizeof p->slot, slot) ||
      !take_text(p->plugin, sizeof p->plugin, plugin) || !take_u32(timeline, &p->timeline) ||
      !take_u32(database_oid, &p->database_oid) || !take_u32(publication_oid, &p->publication_oid) ||
      !take_u32(xid, &p->xid) || !lsn_parse(slice_of(commit_lsn), &p->commit_lsn) ||
      !lsn_parse(slice_of(end_lsn), &p->end_lsn) || !lsn_parse(slice_of(idle), &p->idle_end_lsn) ||
      !parse_hex64(hash, &p->hash) || !parse_hex64(fingerprint, &p->fingerprint) || !take_run(root, &p->run))
    return false;
  if ((p->snapshot.state == POSITION_SNAPSHOT_ASKED && p->state != POSITION_INTENT) ||
      (p->snapshot.state == POSITION_SNAPSHOT_OPEN && p->state != POSITION_SET))
    return false;
  p->commit_time_us = commit_time;
  p->complete = complete != 0;
  p->next_index = (uint64_t)next_index;
  if (p->state == POSITION_SET && p->commit_lsn != 0 && p->complete != (p->next_index == 0))
    return false;

  if (!take_optional(root, p))
    return false;

  const char *name;
  json_t *value;
  json_object_foreach(tables, name, value) {
    uint32_t oid;
    if (!json_is_integer(value) || !take_u32(json_integer_value(value), &oid))
      return false;
    p->tables = memory_resize(p->tables, (size_t)(p->table_count + 1) * sizeof *p->tables);
    p->tables[p->table_count++] = (struct position_table){.origin = memory_string(name), .entry_oid = oid};
  }
  if (!take_since(json_object_get(root, "since"), p))
    return false;
  json_object_foreach(topics, name, value) {
    if (!json_is_integer(value) || json_integer_value(value) < 1 || json_integer_value(value) > INT32_MAX)
      return false;
    position_pin(p, name, (int32_t)json_integer_value(value));
  }
  return true;
}

bool position_decode(struct slice json, struct position *out, struct error *err) {
  json_error_t problem;
  json_t *root = json_loadb(json.data, json.len, JSON_REJECT_DUPLICATES, &problem);
  struct position p;
  position_init(&p);
  bool ok = root != NULL && json_is_object(root) && take_members(root, &p);
  json_decref(root);
  if (!ok) {
    position_clear(&p);
    error_refuse(err, "position_unreadable", "the stored position is not one that this version of walferry can read");
    return error_remedy(
        err,
        "look at the record with the key \"%s\" in the position topic; if a newer walferry wrote "
        "it, run that version. To give it up and go on from the slot (`walferry position CONFIG show` says "
        "where it stands): `walferry position CONFIG set LSN --confirm NAME`",
        POSITION_KEY);
  }
  position_clear(out);
  *out = p;
  return true;
}
