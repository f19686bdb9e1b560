/* May this position go on, on this server, with this slot? Compares facts and decides; pure: no I/O.
 * Every refusal of a start stands here. */
#ifndef WALFERRY_RELAY_ADMIT_H
#define WALFERRY_RELAY_ADMIT_H

#include "bridge/base/error.h"
#include "bridge/postgres/catalog.h"
#include "bridge/postgres/replication.h"
#include "bridge/relay/position.h"

struct admit_facts {
  const char *slot_name;
  const char *plugin;
  const char *publication_name; /* NULL with a plugin that reads none: `publication` then holds the tables alone */
  const char *position_topic;   /* for messages */
  uint32_t database_oid;
  const char *database;
  struct replication_identity identity;
  struct catalog_slot slot; /* read while we hold it */
  const struct catalog_publication *publication;
  uint64_t fingerprint;
  bool ancestor_found; /* about position->timeline, where it differs from identity.timeline */
  lsn_t ancestor_end;
  bool adopt;    /* --adopt-slot */
  bool snapshot; /* --snapshot */
};

/* Is the slot one of ours in kind, and alive? Also asked before streaming starts, where the server's own words would
 * say less. */
bool admit_slot(const struct admit_facts *facts, struct error *err);

/* Does a stored position, be it an intent, belong to this cluster, database, slot and decoder? */
bool admit_owner(const struct admit_facts *facts, const struct position *position, struct error *err);

/* Does the history of the server, be there a slot on it or not, hold what the position covers? *idle is its idle
 * progress, cut back where an older timeline's ended. Wants what admit_lost_from wants. */
bool admit_history(const struct admit_facts *facts, const struct position *position, lsn_t *idle, struct error *err);

/* What a slot that stands at `start` begins with. Where an operator asked for it (`position set new`) there is a floor:
 * what was committed before is passed over. */
void admit_begin(struct position *position, lsn_t start);

/* Fills the identity of a position (system, database, slot, plugin, timeline, publication with its tables, fingerprint)
 * from the facts; progress is left as it is. */
void admit_fill_identity(const struct admit_facts *facts, struct position *position);

/* On success position is POSITION_SET and may go on: a first one is made from the slot (*changed is then true and it
 * has to be stored before anything is acknowledged), an older timeline's idle progress is cut back. *expect_last as in
 * intake_new. On refusal position is untouched and err has code, cause and remedy. */
bool admit_position(const struct admit_facts *facts, struct position *position, bool *changed, bool *expect_last,
                    struct error *err);

/* May --snapshot be given with this position? ERROR_REFUSED "snapshot_too_late" where the slot was made without one. */
bool admit_snapshot(const struct admit_facts *facts, const struct position *position, struct error *err);

/* Where the server's history of what the position covers ends, if it does before the position: records of
 * transactions whose commit LSN is not below *from are in Kafka, and no longer in the database. False where all is
 * there, or where that point is not known. Wants the identity, and the ancestor of another timeline. */
bool admit_lost_from(const struct admit_facts *facts, const struct position *position, lsn_t *from);

/* The end of what was published of the server's WAL; for a split transaction its commit record. */
lsn_t admit_covered_end(const struct position *position);

/* A slot is missing: may one be created? Only where nothing was ever published: state NONE or INTENT. Wants what
 * admit_lost_from wants. */
bool admit_creation(const struct admit_facts *facts, const struct position *position, struct error *err);

/* And does the config let it be? */
bool admit_may_create(const char *slot, bool create, struct error *err);

/* The configured tables by themselves: there, and in the WAL. Asked also before a publication is made for them. */
bool admit_tables(const struct catalog_publication *publication, struct error *err);

/* The configured tables in the publication (name NULL: by themselves): exists, inserts, every table covered whole,
 * columns sent. required: NULL- terminated column names per table, or NULL entries. */
bool admit_publication(const char *name, const struct catalog_publication *publication,
                       const char *const *const *required, struct error *err);

/* While running: the publication and its entries are still what they were, and nobody else moved the slot. */
bool admit_still(const struct admit_facts *facts, const struct position *position, struct error *err);

#endif
