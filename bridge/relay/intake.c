/* See intake.h. */
#include "bridge/relay/intake.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/fnv1a.h"
#include "bridge/base/memory.h"
#include "bridge/base/message_prefix.h"
#include "bridge/base/pattern.h"
#include "bridge/event/dead_letter.h"

const char INTAKE_VERIFIED[] = "history_verified";

struct intake {
  const struct intake_rules *rules;
  struct position from;
  bool expect_last;
  enum intake_covered on_covered;
  struct intake_resolver resolver; /* find NULL: none */

  struct binding *bindings; /* one per table */
  struct binding *last_binding;
  uint64_t last_serial;
  struct record_builder *builder;
  struct jsontext_scratch scratch; /* of the last message */

  bool in_transaction;
  bool covered;     /* this transaction was published already */
  bool resumed;     /* its first from.next_index changes were */
  lsn_t commit_lsn; /* of the open transaction, as are the following */
  uint32_t xid;
  int64_t commit_time_us;
  uint64_t index; /* of the next counted change */
  uint64_t hash;

  struct segment *open;
  struct segment *ready_first;
  struct segment *ready_last;
  lsn_t last_end;
  lsn_t decoded_to;
};

struct intake *intake_new(const struct intake_rules *rules, const struct position *from, bool expect_last) {
  struct intake *in = memory_alloc(sizeof *in);
  in->rules = rules;
  position_init(&in->from);
  position_copy(&in->from, from);
  in->expect_last = expect_last;
  in->on_covered = INTAKE_COVERED_DROP;
  in->bindings = memory_alloc((size_t)rules->table_count * sizeof *in->bindings);
  for (int i = 0; i < rules->table_count; i++)
    binding_init(&in->bindings[i], &rules->tables[i]);
  in->builder = record_builder_new(&rules->record);
  return in;
}

void intake_set_resolver(struct intake *in, struct intake_resolver resolver) {
  in->resolver = resolver;
}

void intake_set_covered(struct intake *in, enum intake_covered covered) {
  in->on_covered = covered;
}

void intake_free(struct intake *in) {
  if (in == NULL)
    return;
  segment_free(in->open);
  segment_free_list(in->ready_first);
  for (int i = 0; i < in->rules->table_count; i++)
    binding_free(&in->bindings[i]);
  free(in->bindings);
  record_builder_free(in->builder);
  jsontext_scratch_free(&in->scratch);
  position_clear(&in->from);
  free(in);
}

static bool refuse_rewritten(const struct intake *in, struct error *err, const char *found) {
  error_refuse(err, "history_rewritten",
               "the slot stands at or before the last published transaction (commit %s, xid %" PRIu32
               "), so the server must send it again, but it sent %s: the database was rolled back to an older state",
               lsn_format(in->from.commit_lsn).text, in->from.xid, found);
  return error_remedy(err,
                      "Kafka holds events that this database no longer has. Bring back the right database; or, to go "
                      "on from where the slot stands (`walferry position CONFIG show` says where): `walferry position "
                      "CONFIG set LSN --confirm NAME`");
}

static bool on_begin(struct intake *in, const struct change *change, struct error *err) {
  in->in_transaction = true;
  in->commit_lsn = change->begin.commit_lsn;
  in->xid = change->begin.xid;
  in->commit_time_us = change->begin.commit_time_us;
  in->index = change->begin.first_index;
  in->hash = FNV1A_START;
  in->covered = position_covers(&in->from, in->commit_lsn);
  in->resumed = false;
  if (in->from.commit_lsn == 0)
    return true;
  if (in->commit_lsn == in->from.commit_lsn) {
    if (in->xid != in->from.xid || in->commit_time_us != in->from.commit_time_us)
      return refuse_rewritten(in, err, "another one with the same commit LSN");
    in->expect_last = false;
    in->resumed = !in->from.complete;
  } else if (in->commit_lsn > in->from.commit_lsn && in->expect_last) {
    struct lsn_text lsn = lsn_format(in->commit_lsn);
    char found[64] = "a later one, commit ";
    strncat(found, lsn.text, sizeof found - strlen(found) - 1);
    return refuse_rewritten(in, err, found);
  }
  return true;
}

static void close_segment(struct intake *in) {
  struct segment *s = in->open;
  in->open = NULL;
  if (in->ready_last == NULL)
    in->ready_first = s;
  else
    in->ready_last->next = s;
  in->ready_last = s;
}

/* covered: for rows that are published already. */
static struct segment *open_segment(struct intake *in, bool covered) {
  if (in->open != NULL && in->open->covered != covered)
    close_segment(in);
  if (in->open == NULL) {
    in->open = segment_new();
    in->open->covered = covered;
    in->open->commit_lsn = in->commit_lsn;
    in->open->xid = in->xid;
    in->open->commit_time_us = in->commit_time_us;
  }
  in->open->next_index = in->index;
  in->open->hash = in->hash;
  return in->open;
}

static bool refuse_resume(const struct intake *in, struct error *err) {
  error_refuse(err, "resume_mismatch",
               "transaction %s (xid %" PRIu32 ") was published up to change %" PRIu64
               ", but the server now sends other changes for it",
               lsn_format(in->commit_lsn).text, in->xid, in->from.next_index);
  return error_remedy(
      err,
      "put tables, messages and the publication back to what they were when it was interrupted, let the relay finish "
      "this transaction, then change them. To repeat or skip it: `walferry position CONFIG set %s --confirm NAME`, or "
      "an "
      "LSN behind it",
      lsn_format(in->commit_lsn).text);
}

/* All that is covered came again, and as it was. */
static bool tell_verified(const struct intake *in, struct error *err) {
  if (in->on_covered != INTAKE_COVERED_VERIFY || in->commit_lsn != in->from.commit_lsn)
    return true;
  error_set(err, ERROR_START_OVER, "the last published transaction, %s, came again", lsn_format(in->commit_lsn).text);
  err->code = INTAKE_VERIFIED;
  return false;
}

static bool on_commit(struct intake *in, const struct change *change, struct error *err) {
  in->in_transaction = false;
  if (change->commit.end_lsn > in->decoded_to)
    in->decoded_to = change->commit.end_lsn;
  if (in->covered) {
    if (in->open != NULL)
      close_segment(in);
    return tell_verified(in, err);
  }
  if (in->resumed && in->index < in->from.next_index)
    return refuse_resume(in, err);
  if (in->index == 0)
    return true; /* nothing of ours in it: idle progress, as a keepalive would report */
  struct segment *s = open_segment(in, false);
  s->ends = true;
  s->end_lsn = change->commit.end_lsn;
  in->last_end = change->commit.end_lsn;
  close_segment(in);
  return true;
}

/* Counts a change; *skip where the position already holds it. */
static bool count_change(struct intake *in, const char *origin, struct slice id, bool *skip, struct error *err) {
  in->hash = fnv1a(in->hash, origin, strlen(origin) + 1);
  in->hash = fnv1a(in->hash, id.data, id.len);
  in->index++;
  *skip = in->resumed && in->index <= in->from.next_index;
  if (!*skip || in->index < in->from.next_index)
    return true;
  return in->hash == in->from.hash ? tell_verified(in, err) : refuse_resume(in, err);
}

static bool append_event(struct intake *in, const struct event *event, const struct table_spec *table,
                         struct problem *problem, struct error *err) {
  struct segment *segment = open_segment(in, false);
  struct record *record = NULL;
  if (problem->code == NULL)
    record = (event->dead_letter ? dead_letter_record : record_build)(in->builder, event, &segment->memory, problem);
  if (record == NULL) {
    struct slice id = event->fields[FIELD_ID];
    if (in->rules->stop_on_invalid)
      return segment_refuse_row(event->origin, id, event->commit_lsn, event->xid, event->index, problem, err);
    record = record_build_quarantine(in->builder, event, &segment->memory, problem);
  }
  record->table = table;
  segment_append(segment, record);
  if (segment->bytes >= in->rules->segment_bytes)
    close_segment(in);
  return true;
}

static bool wanted(const struct intake_filter *filter, const struct event *event) {
  if ((filter->from_us != 0 && event->commit_time_us < filter->from_us) ||
      (filter->to_us != 0 && event->commit_time_us > filter->to_us) || (filter->no_dead_letters && event->dead_letter))
    return false;
  bool matches = filter->type_count == 0;
  for (int i = 0; i < filter->type_count && !matches; i++)
    matches = pattern_matches(filter->types[i], event->fields[FIELD_TYPE]);
  return matches;
}

/* A row that is in Kafka, for whoever marks or deletes it. One that would go to the quarantine now went there. */
static void append_covered(struct intake *in, const struct event *event, const struct table_spec *table) {
  struct segment *segment = open_segment(in, true);
  struct problem problem;
  struct record *record = record_build(in->builder, event, &segment->memory, &problem);
  if (record == NULL)
    return;
  record->table = table;
  segment_append(segment, record);
  if (segment->bytes >= in->rules->segment_bytes)
    close_segment(in);
}

static struct event event_start(const struct intake *in) {
  return (struct event){.commit_lsn = in->commit_lsn,
                        .commit_time_us = in->commit_time_us,
                        .occurred_at_us = in->commit_time_us,
                        .xid = in->xid,
                        .index = in->index};
}

/* *found is NULL for a table that is not ours. */
static bool find_binding(struct intake *in, const struct relation *relation, struct binding **found,
                         struct error *err) {
  *found = in->last_binding;
  if (in->last_binding != NULL && in->last_serial == relation->serial)
    return true;
  int table = -1;
  for (int i = 0; i < in->rules->table_count && table < 0; i++) {
    const struct table_spec *spec = &in->rules->tables[i];
    if (strcmp(spec->table, relation->table) == 0 && strcmp(spec->schema, relation->schema) == 0)
      table = i;
  }
  if (table < 0 && in->resolver.find != NULL &&
      !in->resolver.find(in->resolver.ctx, relation, in->commit_lsn, in->xid, &table, err))
    return false;
  *found = table < 0 ? NULL : &in->bindings[table];
  if (*found == NULL)
    return true;
  in->last_binding = *found;
  in->last_serial = relation->serial;
  return true;
}

static bool is_handed_on(const struct intake *in, const struct table_spec *table) {
  return in->on_covered == INTAKE_COVERED_HAND_ON && table_is_tidied(table) &&
         in->commit_lsn >= position_table_since(&in->from, table->schema, table->table);
}

/* Of a row that is published nothing is refused any more: what its table was then is of no matter. What an operator has
 * passed over is covered too, and nobody knows whether it is published. */
static bool on_covered_insert(struct intake *in, const struct change *change, struct error *err) {
  struct binding *binding;
  if (in->on_covered != INTAKE_COVERED_HAND_ON || in->commit_lsn < in->from.floor)
    return true;
  if (!find_binding(in, change->insert.relation, &binding, err))
    return err->kind == ERROR_REFUSED;
  if (binding == NULL || !is_handed_on(in, binding->spec))
    return true;
  struct event event = event_start(in);
  if (!binding_update(binding, change->insert.relation, err) || !event_from_insert(binding, change, &event, err))
    return err->kind == ERROR_REFUSED;
  append_covered(in, &event, binding->spec);
  return true;
}

static bool on_insert(struct intake *in, const struct change *change, struct error *err) {
  if (in->covered)
    return on_covered_insert(in, change, err);
  struct binding *binding;
  if (!find_binding(in, change->insert.relation, &binding, err))
    return false;
  if (binding == NULL)
    return true; /* not ours */
  struct event event = event_start(in);
  if (!binding_update(binding, change->insert.relation, err) || !event_from_insert(binding, change, &event, err))
    return error_wrap(err, "transaction %s", lsn_format(in->commit_lsn).text);
  bool skip;
  if (!count_change(in, event.origin, event.fields[FIELD_ID], &skip, err))
    return false;
  if (skip && is_handed_on(in, binding->spec))
    append_covered(in, &event, binding->spec);
  struct problem problem = {.code = NULL};
  return skip || !wanted(&in->rules->filter, &event) || append_event(in, &event, binding->spec, &problem, err);
}

/* NULL where messages of this prefix are not ours. */
static const char *find_prefix(const struct intake_rules *rules, struct slice prefix) {
  for (int i = 0; i < rules->prefix_count; i++)
    if (slice_is(prefix, rules->prefixes[i]))
      return rules->prefixes[i];
  return rules->dead_letters && slice_is(prefix, MESSAGE_PREFIX_DEAD_LETTER) ? MESSAGE_PREFIX_DEAD_LETTER : NULL;
}

static void read_message(struct intake *in, const char *prefix, struct slice content, struct event *event,
                         struct problem *problem) {
  if (strcmp(prefix, MESSAGE_PREFIX_DEAD_LETTER) == 0) {
    event->origin = prefix;
    event->dead_letter = true;
    event->payload_form = PAYLOAD_TEXT;
    event->fields[FIELD_PAYLOAD] = content;
    return;
  }
  event_from_message(&in->scratch, prefix, content, event, &problem->code);
  if (problem->code != NULL)
    strncpy(problem->message, "the message's content is not an envelope", sizeof problem->message - 1);
}

static bool on_message(struct intake *in, const struct change *change, struct error *err) {
  if (!change->message.transactional || in->covered)
    return true;
  const char *prefix = find_prefix(in->rules, change->message.prefix);
  if (prefix == NULL)
    return true;
  struct event event = event_start(in);
  /* The content stands in for the id: a broken one may have none. */
  bool skip;
  if (!count_change(in, prefix, change->message.content, &skip, err))
    return false;
  if (skip)
    return true;
  struct problem problem = {.code = NULL};
  read_message(in, prefix, change->message.content, &event, &problem);
  return !wanted(&in->rules->filter, &event) || append_event(in, &event, NULL, &problem, err);
}

bool intake_change(struct intake *in, const struct change *change, struct error *err) {
  switch (change->kind) {
  case CHANGE_NONE:
    return true;
  case CHANGE_BEGIN:
    return on_begin(in, change, err);
  case CHANGE_INSERT:
    return on_insert(in, change, err);
  case CHANGE_MESSAGE:
    return on_message(in, change, err);
  case CHANGE_COMMIT:
    return on_commit(in, change, err);
  }
  return error_set(err, ERROR_FATAL, "a change of unknown kind %d", (int)change->kind);
}

bool intake_keepalive(struct intake *in, lsn_t wal_end, lsn_t *idle_end, struct error *err) {
  *idle_end = 0;
  if (in->in_transaction)
    return true; /* says nothing about the transaction under way */
  if (in->expect_last && wal_end > in->from.commit_lsn)
    return refuse_rewritten(in, err, "nothing of it, and is past it already");
  if (wal_end > in->decoded_to)
    in->decoded_to = wal_end;
  if (!in->expect_last && in->decoded_to >= position_ack_lsn(&in->from))
    *idle_end = in->decoded_to;
  return true;
}

struct segment *intake_next_segment(struct intake *in) {
  struct segment *s = in->ready_first;
  if (s != NULL) {
    in->ready_first = s->next;
    if (in->ready_first == NULL)
      in->ready_last = NULL;
    s->next = NULL;
  }
  return s;
}

void intake_cut(struct intake *in) {
  if (in->open != NULL)
    close_segment(in);
}

lsn_t intake_last_end(const struct intake *in) {
  return in->last_end;
}

lsn_t intake_decoded_to(const struct intake *in) {
  return in->decoded_to;
}

uint64_t intake_fingerprint(const struct intake_rules *rules, const char *plugin) {
  uint64_t hash = fnv1a(FNV1A_START, plugin, strlen(plugin) + 1);
  unsigned char counting = POSITION_COUNTING;
  hash = fnv1a(hash, &counting, 1);
  for (int i = 0; i < rules->table_count; i++) {
    hash = fnv1a(hash, rules->tables[i].schema, strlen(rules->tables[i].schema) + 1);
    hash = fnv1a(hash, rules->tables[i].table, strlen(rules->tables[i].table) + 1);
  }
  hash = fnv1a(hash, "", 1); /* ends the tables: no schema is empty */
  for (int i = 0; i < rules->prefix_count; i++)
    hash = fnv1a(hash, rules->prefixes[i], strlen(rules->prefixes[i]) + 1);
  if (rules->dead_letters)
    hash = fnv1a(hash, MESSAGE_PREFIX_DEAD_LETTER, sizeof MESSAGE_PREFIX_DEAD_LETTER);
  return hash;
}
