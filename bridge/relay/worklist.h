/* A work list: the rows of the configured outbox tables as they stood at one moment, copied into tables of the schema
 * walferry, numbered, and read from there as changes. What is deleted from an outbox meanwhile is not lost, and a run
 * that was killed goes on at a number. One table for each outbox table, with its columns as they are; rows of the same
 * table in the order of occurred_at (where it has that) and id. Or the same rows without a copy, to be read once, from
 * the first to the last. Knows no slot and no Kafka. */
#ifndef WALFERRY_RELAY_WORKLIST_H
#define WALFERRY_RELAY_WORKLIST_H

#include "bridge/event/event.h"
#include "bridge/postgres/catalog.h"
#include "bridge/postgres/rowstream.h"

/* The first column of a work list's tables. */
#define WORKLIST_ORDINAL "walferry_ordinal"

/* Is it one of those tables, of whatever list? */
bool worklist_holds(const struct relation *relation);

enum worklist_kind {
  WORKLIST_SNAPSHOT = 1, /* a relay's: its owner is a slot */
  WORKLIST_REPLAY        /* a replay's: its owner is an instance */
};

struct worklist_settings { /* all borrowed */
  enum worklist_kind kind; /* lists of one kind are never taken for the other's */
  const char *conninfo;
  const char *name; /* of the instance: to connect under */
  const struct table_spec *tables;
  int table_count;
  bool leave_marked; /* rows that after_publish: mark has marked are left out */
  const char *owner; /* those of earlier attempts are found by it */
  int64_t from_us;   /* only rows whose occurred_at is not before it, Unix us; 0: all */
  int64_t to_us;     /* and not behind it; 0: all */
  struct rowstream_wait wait;
};

/* Can the tables be copied? ERROR_CONFIG for one with a column of the work list's own name. */
bool worklist_suits(const struct catalog_publication *facts, struct error *err);

struct worklist;

/* id names it among those of all owners: a later attempt's list has another one. */
struct worklist *worklist_open(const struct worklist_settings *settings, uint64_t id, struct error *err);
void worklist_close(struct worklist *list); /* accepts NULL */

/* Copies, in one transaction, the rows that are visible in an exported snapshot (NULL: now), and drops what the owner
 * has of earlier lists of the kind. facts: what the catalogs say of the tables, in the same order. ERROR_CONFIG where a
 * right is missing, or a table has no occurred_at for the bounds; ERROR_START_OVER where another list has the id, the
 * snapshot is gone, or a table was rewritten since. */
bool worklist_fill(struct worklist *list, const struct catalog_publication *facts, const char *snapshot, uint64_t *rows,
                   struct error *err);
/* How many tables of earlier lists it has dropped. */
int worklist_dropped(const struct worklist *list);
/* The rows that are visible now, without a copy: needs no right but SELECT, and may be read once. Holds back vacuum
 * until the list is closed. Errors as of worklist_fill. */
bool worklist_view(struct worklist *list, const struct catalog_publication *facts, uint64_t *rows, struct error *err);
/* How far the server has written WAL: behind the commits of all rows of a list that was just made. */
bool worklist_wal_lsn(struct worklist *list, lsn_t *lsn, struct error *err);

/* Finds the list that was filled before, to be read; *rows 0 too where it is not there. */
bool worklist_find(struct worklist *list, uint64_t *rows, struct error *err);
/* The insert of row `ordinal`, which counts from 0 over all tables; the rows behind it come cheaply. Borrowed until the
 * next call, or worklist_forget. ERROR_REFUSED "snapshot_lost", of a replay "replay_list_lost", without a remedy, where
 * that row is not there, "row_undecodable" where the server has no text for it. */
bool worklist_read(struct worklist *list, uint64_t ordinal, struct change *change, struct error *err);
void worklist_forget(struct worklist *list);

/* This and worklist_drop_all do not wait for long where somebody reads a table: ERROR_RETRY (55P03). */
bool worklist_drop(struct worklist *list, struct error *err);
bool worklist_locked(const struct worklist *list); /* is that why it failed? */
/* All lists of an owner whose id is not above id_max, by whoever has dropped its slot, or knows that they are done
 * with; *dropped: tables. */
bool worklist_drop_all(struct connection *conn, enum worklist_kind kind, const char *owner, uint64_t id_max,
                       int *dropped, struct error *err);

#endif
