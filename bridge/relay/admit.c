/* See admit.h. */
#include "bridge/relay/admit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/memory.h"
#include "decoders/decoder.h"

struct way_on {
  char text[240];
};

/* The deliberate way out, as a sentence with the command. A slot goes on from `lsn`, if it can. */
static struct way_on way_on_from(const struct admit_facts *f, lsn_t lsn) {
  lsn_t from = lsn > f->slot.confirmed_flush_lsn ? lsn : f->slot.confirmed_flush_lsn;
  struct way_on way;
  snprintf(way.text, sizeof way.text,
           "To go on knowing what is missed or repeated: `walferry position CONFIG set %s --confirm NAME`%s; without "
           "--confirm it says what that would be",
           f->slot.exists ? lsn_format(from).text : "new", f->slot.exists ? "" : " and `walferry init CONFIG`");
  return way;
}

static struct way_on way_on(const struct admit_facts *f) {
  return way_on_from(f, 0);
}

static uint32_t entry_oid(const struct position *p, const char *origin) {
  for (int i = 0; i < p->table_count; i++)
    if (strcmp(p->tables[i].origin, origin) == 0)
      return p->tables[i].entry_oid;
  return 0;
}

/* Rows of a table that the config names only now were passed over up to the position. */
static lsn_t since(const struct position *p, const struct catalog_publication_table *t, const char *origin) {
  if (p->commit_lsn == 0)
    return 0;
  return entry_oid(p, origin) == 0 ? p->commit_lsn + 1 : position_table_since(p, t->schema, t->table);
}

void admit_begin(struct position *position, lsn_t start) {
  position->state = POSITION_SET;
  position->complete = true;
  position->end_lsn = start;
  if (position->word.at_us != 0)
    position->floor = start;
}

void admit_fill_identity(const struct admit_facts *facts, struct position *p) {
  snprintf(p->system_id, sizeof p->system_id, "%s", facts->identity.system_id);
  snprintf(p->slot, sizeof p->slot, "%s", facts->slot_name);
  snprintf(p->plugin, sizeof p->plugin, "%s", facts->plugin);
  p->database_oid = facts->database_oid;
  p->timeline = facts->identity.timeline;
  p->publication_oid = facts->publication->oid;
  p->fingerprint = facts->fingerprint;
  int count = facts->publication->table_count;
  struct position_table *tables = memory_alloc((size_t)count * sizeof *tables);
  for (int i = 0; i < count; i++) {
    const struct catalog_publication_table *t = &facts->publication->tables[i];
    char *origin = memory_format("%s.%s", t->schema, t->table);
    tables[i] = (struct position_table){.origin = origin, .entry_oid = t->entry_oid, .since = since(p, t, origin)};
  }
  for (int i = 0; i < p->table_count; i++)
    free(p->tables[i].origin);
  free(p->tables);
  p->table_count = count;
  p->tables = tables;
}

bool admit_owner(const struct admit_facts *f, const struct position *p, struct error *err) {
  if (strcmp(p->system_id, f->identity.system_id) != 0) {
    error_refuse(err, "cluster_changed",
                 "the position in %s belongs to the Postgres cluster with system identifier %s, but this server is %s",
                 f->position_topic, p->system_id, f->identity.system_id);
    return error_remedy(err, "point postgres.conninfo at the right cluster, or give this instance another name. %s",
                        way_on(f).text);
  }
  if (p->database_oid != f->database_oid || strcmp(p->slot, f->slot_name) != 0) {
    error_refuse(err, "instance_conflict",
                 "the position in %s belongs to slot %s of the database with OID %" PRIu32
                 ", but the config names slot %s of database %s (OID %" PRIu32 ")",
                 f->position_topic, p->slot, p->database_oid, f->slot_name, f->database, f->database_oid);
    return error_remedy(err,
                        "an instance name serves one database and one slot: give this instance another `name`. If it "
                        "moved for good: %s",
                        way_on(f).text);
  }
  if (strcmp(p->plugin, f->plugin) != 0) {
    error_refuse(err, "slot_mismatch", "the position in %s was made with the decoder %s, but the config says %s",
                 f->position_topic, p->plugin, f->plugin);
    return error_remedy(err, "set postgres.decoder: %s", p->plugin);
  }
  return true;
}

bool admit_slot(const struct admit_facts *f, struct error *err) {
  const struct catalog_slot *s = &f->slot;
  if (strcmp(s->wal_status, "lost") == 0 || s->invalidation_reason[0] != '\0') {
    error_refuse(err, "slot_invalidated", "slot %s was invalidated by the server (wal_status %s, reason %s)",
                 f->slot_name, s->wal_status, s->invalidation_reason[0] != '\0' ? s->invalidation_reason : "not given");
    return error_remedy(
        err,
        "drop it: SELECT pg_drop_replication_slot('%s'). Then `walferry init CONFIG` makes it anew of the "
        "held-back slot (postgres.replay), and nothing is lost. Without one, the events since the "
        "position are no longer in the WAL: `walferry position CONFIG set new --confirm NAME`, then "
        "`walferry init CONFIG`, and publish the rows still in the outbox: `walferry replay CONFIG --source table "
        "--from TIME`; with a snapshot half published: "
        "`walferry drop CONFIG --confirm NAME`, `walferry init CONFIG --snapshot` and "
        "`walferry relay CONFIG --snapshot`",
        f->slot_name);
  }
  if (!s->logical || s->temporary || s->two_phase || strcmp(s->plugin, f->plugin) != 0 ||
      strcmp(s->database, f->database) != 0) {
    error_refuse(err, "slot_mismatch",
                 "slot %s does not fit: it is %s, %s, plugin %s, database %s, two-phase %s; wanted is a permanent "
                 "logical slot with plugin %s in database %s without two-phase",
                 f->slot_name, s->logical ? "logical" : "physical", s->temporary ? "temporary" : "permanent", s->plugin,
                 s->database, s->two_phase ? "on" : "off", f->plugin, f->database);
    if (s->logical && strcmp(s->plugin, f->plugin) != 0 && decoder_class_find(s->plugin) != NULL)
      return error_remedy(err, "set postgres.decoder: %s, or choose another postgres.slot", s->plugin);
    return error_remedy(err,
                        "choose another postgres.slot, or drop this one if nobody needs it: SELECT "
                        "pg_drop_replication_slot('%s')",
                        f->slot_name);
  }
  return true;
}

/* Without a publication the tables' own OIDs tell whether they are the ones that were read. */
static bool check_tables_same(const struct admit_facts *f, const struct position *p, struct error *err) {
  for (int i = 0; i < f->publication->table_count; i++) {
    const struct catalog_publication_table *t = &f->publication->tables[i];
    char *origin = memory_format("%s.%s", t->schema, t->table);
    uint32_t before = entry_oid(p, origin);
    bool same = before == 0 || before == t->entry_oid; /* 0: newly configured */
    if (!same && t->entry_oid == 0) {
      error_refuse(err, "table_missing", "table %s does not exist any more", origin);
      error_remedy(err, "bring it back, or take it out of relay.tables");
    } else if (!same) {
      error_refuse(err, "table_changed", "table %s was dropped and created again (OID %" PRIu32 ", was %" PRIu32 ")",
                   origin, t->entry_oid, before);
      error_remedy(err, "rows of the new table may be other events than those of the old one. %s", way_on(f).text);
    }
    free(origin);
    if (!same)
      return false;
  }
  return true;
}

static bool check_publication_same(const struct admit_facts *f, const struct position *p, struct error *err) {
  if (f->publication_name == NULL)
    return check_tables_same(f, p, err);
  if (!f->publication->exists) {
    error_refuse(err, "publication_missing", "the publication that slot %s was read with is gone", f->slot_name);
    return error_remedy(err, "rows committed while it was missing are not sent: find them in the outbox (`walferry "
                             "replay CONFIG --source table --from TIME` publishes what is there). Create it again with "
                             "`walferry init CONFIG`; the next start says from where to go on");
  }
  if (f->publication->oid != p->publication_oid) {
    error_refuse(err, "publication_changed",
                 "publication %s was dropped and created again (OID %" PRIu32 ", was %" PRIu32 ")", f->publication_name,
                 f->publication->oid, p->publication_oid);
    return error_remedy(err,
                        "rows committed in between are not sent: find them in the outbox (`walferry replay CONFIG "
                        "--source table --from TIME` publishes what is there). %s",
                        way_on(f).text);
  }
  for (int i = 0; i < f->publication->table_count; i++) {
    const struct catalog_publication_table *t = &f->publication->tables[i];
    char *origin = memory_format("%s.%s", t->schema, t->table);
    uint32_t before = entry_oid(p, origin);
    bool same = before == 0 || before == t->entry_oid; /* 0: newly configured */
    if (!same) {
      error_refuse(err, "publication_changed", "table %s was %s publication %s since the position was written", origin,
                   t->entry_oid == 0 ? "taken out of" : "taken out of and added again to", f->publication_name);
      error_remedy(err,
                   "rows committed while it was out are not sent: find them in the outbox (`walferry replay CONFIG "
                   "--source table --from TIME` publishes what is there). %s",
                   way_on(f).text);
    }
    free(origin);
    if (!same)
      return false;
  }
  return true;
}

lsn_t admit_covered_end(const struct position *p) {
  return p->complete || p->commit_lsn == 0 ? p->end_lsn : p->commit_lsn + 1;
}

static bool check_timeline(const struct admit_facts *f, const struct position *p, lsn_t *idle, struct error *err) {
  *idle = p->idle_end_lsn;
  if (p->timeline == f->identity.timeline)
    return true;
  lsn_t end = admit_covered_end(p);
  if (f->identity.timeline < p->timeline || !f->ancestor_found) {
    error_refuse(err, "timeline_diverged",
                 "the position is on timeline %" PRIu32
                 ", which is not in the history of this server (timeline %" PRIu32 ")",
                 p->timeline, f->identity.timeline);
    return error_remedy(err,
                        "this server does not descend from the one that was read last; connect to one that does. %s",
                        way_on(f).text);
  }
  if (end > f->ancestor_end) {
    error_refuse(err, "timeline_diverged",
                 "the server left timeline %" PRIu32 " at %s, but events up to %s of it are in Kafka", p->timeline,
                 lsn_format(f->ancestor_end).text, lsn_format(end).text);
    /* Up to there all is published, and nothing behind it that the server has. */
    return error_remedy(err, "Kafka has events that this server lost in the failover. %s",
                        way_on_from(f, f->ancestor_end).text);
  }
  if (*idle > f->ancestor_end)
    *idle = f->ancestor_end;
  return true;
}

static bool check_work_list(const struct admit_facts *f, const struct position *p, struct error *err) {
  if (p->snapshot.state != POSITION_SNAPSHOT_OPEN || p->fingerprint == f->fingerprint)
    return true;
  error_refuse(err, "resume_mismatch",
               "the snapshot is published up to row %" PRIu64 " of %" PRIu64
               ", but relay.tables, relay.messages or the decoder are not what they were",
               p->snapshot.next, p->snapshot.rows);
  return error_remedy(err, "put them back, let the relay finish the snapshot, then change them. To give it up: "
                           "`walferry drop CONFIG --confirm NAME`, `walferry init CONFIG --snapshot` and "
                           "`walferry relay CONFIG --snapshot`");
}

static bool check_server_end(const struct admit_facts *f, const struct position *p, struct error *err) {
  lsn_t ack = position_ack_lsn(p);
  lsn_t needed = admit_covered_end(p) > ack ? admit_covered_end(p) : ack;
  if (f->identity.flush_lsn >= needed)
    return true;
  error_refuse(err, "server_behind", "the server's WAL ends at %s, but the position is at %s",
               lsn_format(f->identity.flush_lsn).text, lsn_format(needed).text);
  return error_remedy(err, "the database was restored from an older backup or image, or this is a lagging copy. %s",
                      way_on(f).text);
}

bool admit_history(const struct admit_facts *f, const struct position *p, lsn_t *idle, struct error *err) {
  if (!check_timeline(f, p, idle, err))
    return false;
  struct position cut = *p; /* borrows the lists */
  cut.idle_end_lsn = *idle;
  return check_server_end(f, &cut, err);
}

bool admit_lost_from(const struct admit_facts *f, const struct position *p, lsn_t *from) {
  if (p->state != POSITION_SET || strcmp(p->system_id, f->identity.system_id) != 0)
    return false;
  bool older = p->timeline != f->identity.timeline && f->ancestor_found;
  lsn_t end = older && f->ancestor_end < f->identity.flush_lsn ? f->ancestor_end : f->identity.flush_lsn;
  *from = end;
  return admit_covered_end(p) > end;
}

static bool check_progress(const struct admit_facts *f, const struct position *p, struct error *err) {
  lsn_t ack = position_ack_lsn(p);
  if (f->slot.confirmed_flush_lsn > ack) {
    error_refuse(err, "slot_advanced",
                 "slot %s stands at %s, ahead of the position %s: it was dropped and created again, or advanced by "
                 "somebody else",
                 f->slot_name, lsn_format(f->slot.confirmed_flush_lsn).text, lsn_format(ack).text);
    return error_remedy(err,
                        "events committed between the two may not have been published: find them in the outbox "
                        "(`walferry replay CONFIG --source table --from TIME` publishes what is there). %s",
                        way_on(f).text);
  }
  if (p->commit_lsn != 0 && !p->complete && p->fingerprint != f->fingerprint) {
    error_refuse(err, "resume_mismatch",
                 "transaction %s is published up to change %" PRIu64
                 ", but relay.tables, relay.messages or the decoder are not what they were",
                 lsn_format(p->commit_lsn).text, p->next_index);
    return error_remedy(err,
                        "put them back, let the relay finish this transaction, then change them. To repeat or skip it: "
                        "`walferry position CONFIG set %s --confirm NAME`, or an LSN behind it",
                        lsn_format(p->commit_lsn).text);
  }
  return check_work_list(f, p, err);
}

bool admit_snapshot(const struct admit_facts *f, const struct position *p, struct error *err) {
  if (!f->snapshot || p->state != POSITION_SET || p->snapshot.state != POSITION_SNAPSHOT_NONE)
    return true;
  error_refuse(err, "snapshot_too_late",
               "--snapshot was given, but slot %s was made without a snapshot, and %s holds its position (%s)",
               f->slot_name, f->position_topic, lsn_format(position_ack_lsn(p)).text);
  return error_remedy(err, "start without --snapshot. If nothing was published yet and the rows from before are to be, "
                           "`walferry drop CONFIG --confirm NAME`, `walferry init CONFIG --snapshot` and "
                           "`walferry relay CONFIG --snapshot`");
}

bool admit_position(const struct admit_facts *f, struct position *position, bool *changed, bool *expect_last,
                    struct error *err) {
  if (!admit_slot(f, err))
    return false;
  *changed = false;
  *expect_last = false;
  if (position->state == POSITION_SET) {
    if (f->adopt) {
      error_refuse(err, "position_exists", "--adopt-slot was given, but %s already holds a position for slot %s (%s)",
                   f->position_topic, f->slot_name, lsn_format(position_ack_lsn(position)).text);
      return error_remedy(err, "start without --adopt-slot: `walferry relay CONFIG`");
    }
    lsn_t idle;
    if (!admit_owner(f, position, err) || !admit_snapshot(f, position, err) ||
        !check_publication_same(f, position, err) || !admit_history(f, position, &idle, err))
      return false;
    struct position cut = *position; /* borrows the lists */
    cut.idle_end_lsn = idle;
    if (!check_progress(f, &cut, err))
      return false;
    *changed = position->timeline != f->identity.timeline || position->fingerprint != f->fingerprint;
    position->idle_end_lsn = idle;
    *expect_last = position->commit_lsn != 0 && f->slot.confirmed_flush_lsn <= position->commit_lsn;
    admit_fill_identity(f, position);
    return true;
  }
  if (position->state == POSITION_INTENT) {
    if (!admit_owner(f, position, err))
      return false;
  } else if (!f->adopt) {
    error_refuse(err, "slot_unknown", "slot %s exists, but %s holds no position for it", f->slot_name,
                 f->position_topic);
    return error_remedy(err,
                        "if the position topic was lost, bring it back. If the slot is new and was made for walferry, "
                        "start once with --adopt-slot, or say from where to go on: `walferry position CONFIG set %s "
                        "--confirm NAME`; nothing before that is published",
                        lsn_format(f->slot.confirmed_flush_lsn).text);
  }
  admit_begin(position, f->slot.confirmed_flush_lsn);
  admit_fill_identity(f, position);
  *changed = true;
  return true;
}

bool admit_creation(const struct admit_facts *f, const struct position *position, struct error *err) {
  if (position->state == POSITION_SET) {
    lsn_t idle;
    if (!admit_owner(f, position, err) || !admit_history(f, position, &idle, err))
      return false;
    error_refuse(err, "slot_missing", "slot %s is gone, but %s holds a position (%s)%s", f->slot_name,
                 f->position_topic, lsn_format(position_ack_lsn(position)).text,
                 position->timeline == f->identity.timeline
                     ? ""
                     : "; the server was promoted or restored since, and the slot did not come along");
    if (position->snapshot.state == POSITION_SNAPSHOT_OPEN)
      return error_remedy(
          err, "`walferry init CONFIG` makes it anew of the held-back slot (postgres.replay), and nothing is "
               "lost. Without one `walferry drop CONFIG --confirm NAME`, `walferry init CONFIG --snapshot` and "
               "`walferry relay CONFIG --snapshot`: rows of it "
               "that are "
               "published already then come again, with the same ids");
    return error_remedy(
        err, "`walferry init CONFIG` makes it anew of the held-back slot (postgres.replay), and nothing is lost. "
             "Without one, events committed since that position can no longer be streamed: find them in the "
             "outbox, then `walferry position CONFIG set new --confirm NAME` and `walferry init CONFIG`");
  }
  return position->state == POSITION_NONE || admit_owner(f, position, err);
}

bool admit_may_create(const char *slot, bool create, struct error *err) {
  if (create)
    return true;
  error_refuse(err, "slot_missing", "slot %s does not exist", slot);
  return error_remedy(err, "run `walferry init CONFIG`, or set postgres.create: true");
}

bool admit_tables(const struct catalog_publication *pub, struct error *err) {
  for (int i = 0; i < pub->table_count; i++) {
    const struct catalog_publication_table *t = &pub->tables[i];
    if (!t->exists) {
      error_refuse(err, "table_missing", "table %s.%s does not exist", t->schema, t->table);
      return error_remedy(err, "run `walferry init CONFIG`, or correct relay.tables");
    }
    if (t->unlogged) {
      error_refuse(err, "publication_incomplete", "table %s.%s is unlogged: its rows are not in the WAL", t->schema,
                   t->table);
      return error_remedy(err, "ALTER TABLE %s.%s SET LOGGED", t->schema, t->table);
    }
  }
  return true;
}

/* How a publication sends a table: all of it, under its own name? */
static bool check_entry(const char *name, const struct catalog_publication *pub,
                        const struct catalog_publication_table *t, struct error *err) {
  if (t->replica_root[0] != '\0') {
    error_refuse(err, "publication_incomplete", "changes of %s.%s are published as those of its root %s", t->schema,
                 t->table, t->replica_root);
    return error_remedy(err, "name %s in relay.tables", t->replica_root);
  }
  if (t->partitioned && !pub->via_root) {
    error_refuse(err, "publication_incomplete",
                 "publication %s publishes rows of the partitioned table %s.%s as those of its partitions", name,
                 t->schema, t->table);
    return error_remedy(err, "ALTER PUBLICATION %s SET (publish_via_partition_root = true)", name);
  }
  if (t->entry_oid == 0) {
    error_refuse(err, "publication_incomplete", "publication %s does not cover table %s.%s", name, t->schema, t->table);
    return error_remedy(err, "ALTER PUBLICATION %s ADD TABLE %s.%s", name, t->schema, t->table);
  }
  if (t->row_filter) {
    error_refuse(err, "publication_incomplete", "publication %s filters the rows of %s.%s", name, t->schema, t->table);
    return error_remedy(
        err,
        "rows left out would be lost silently. Without the WHERE clause: ALTER PUBLICATION %s DROP TABLE "
        "%s.%s; ALTER PUBLICATION %s ADD TABLE %s.%s",
        name, t->schema, t->table, name, t->schema, t->table);
  }
  return true;
}

/* name: of the publication, or NULL. */
static bool check_columns(const char *name, const struct catalog_publication_table *t, const char *const *required,
                          struct error *err) {
  for (int c = 0; required[c] != NULL; c++) {
    bool sent = false;
    for (int k = 0; k < t->column_count && !sent; k++)
      sent = strcmp(t->columns[k], required[c]) == 0;
    if (sent)
      continue;
    if (name == NULL)
      error_refuse(err, "column_missing", "table %s.%s has no column %s", t->schema, t->table, required[c]);
    else
      error_refuse(err, "column_missing", "publication %s does not send column %s of %s.%s%s", name, required[c],
                   t->schema, t->table, t->column_list ? " (it has a column list)" : ": the table has no such column");
    return error_remedy(err, "add the column, or name another one in relay.tables[].columns");
  }
  return true;
}

bool admit_publication(const char *name, const struct catalog_publication *pub, const char *const *const *required,
                       struct error *err) {
  if (name != NULL && !pub->exists) {
    error_refuse(err, "publication_missing", "publication %s does not exist", name);
    return error_remedy(err, "run `walferry init CONFIG`, or set postgres.create: true");
  }
  if (name != NULL && !pub->inserts) {
    error_refuse(err, "publication_incomplete", "publication %s does not publish inserts", name);
    return error_remedy(err, "ALTER PUBLICATION %s SET (publish = 'insert')", name);
  }
  if (!admit_tables(pub, err))
    return false;
  for (int i = 0; i < pub->table_count; i++) {
    const struct catalog_publication_table *t = &pub->tables[i];
    if (name != NULL && !check_entry(name, pub, t, err))
      return false;
    if (required != NULL && required[i] != NULL && !check_columns(name, t, required[i], err))
      return false;
  }
  return true;
}

bool admit_still(const struct admit_facts *f, const struct position *p, struct error *err) {
  if (!check_publication_same(f, p, err))
    return false;
  if (f->slot.exists && f->slot.confirmed_flush_lsn > position_ack_lsn(p)) {
    error_refuse(err, "slot_advanced", "slot %s was moved to %s by somebody else, ahead of the position %s",
                 f->slot_name, lsn_format(f->slot.confirmed_flush_lsn).text, lsn_format(position_ack_lsn(p)).text);
    return error_remedy(err,
                        "events between the two may not have been published: find them in the outbox (`walferry replay "
                        "CONFIG --source table --from TIME` publishes what is there). %s",
                        way_on(f).text);
  }
  return true;
}
