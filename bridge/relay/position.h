/* The position: how far Kafka has durably got (docs/architecture.md, "The position"). Pure: no I/O.
 * It is stored as JSON under the key "current" of the position topic, in the same Kafka transaction as the records it
 * covers. */
#ifndef WALFERRY_RELAY_POSITION_H
#define WALFERRY_RELAY_POSITION_H

#include <stdbool.h>
#include <stdint.h>

#include "bridge/base/buffer.h"
#include "bridge/base/error.h"
#include "bridge/base/lsn.h"

#define POSITION_KEY "current"
#define POSITION_FORMAT 1
#define POSITION_FORMAT_SNAPSHOT 2 /* while a snapshot is not through: a version that knows of none must not go on */
/* Changes when what is counted changes: inserts into configured tables and transactional messages of configured
 * prefixes, before routing. */
#define POSITION_COUNTING 1

enum position_state {
  POSITION_NONE = 1, /* nothing was ever stored */
  POSITION_INTENT,   /* a slot is about to be created, or was; nothing was published yet */
  POSITION_SET
};

enum position_snapshot_state {
  POSITION_SNAPSHOT_NONE = 0, /* nobody asked for one */
  POSITION_SNAPSHOT_ASKED,    /* with the slot that is about to be created */
  POSITION_SNAPSHOT_OPEN,     /* its rows are in a work list, and being published */
  POSITION_SNAPSHOT_DONE
};

/* The rows that stood in the tables when the slot was created; they are published before what it streams. Or those of a
 * replay's work list. */
struct position_snapshot {
  enum position_snapshot_state state;
  uint64_t next;    /* the row of the work list to be published next; those before it are */
  uint64_t rows;    /* in all */
  int64_t taken_us; /* Unix microseconds */
};

struct position_table { /* a table's entry in the publication */
  char *origin;         /* "public.outbox" */
  uint32_t entry_oid;
  lsn_t since; /* its rows of transactions whose commit record starts before it are covered, but were passed over: the
                  config did not name it yet. 0: it always did */
};

struct position_topic { /* a topic's partition count, pinned when it was first written to */
  char *name;
  int32_t partitions;
};

/* An operator's word on where to go on (`walferry position set`). */
struct position_word {
  int64_t at_us;    /* when; 0: there was none */
  lsn_t lsn;        /* the one given */
  char by[128];     /* "user@host" of the command */
  char role[64];    /* of the database session */
  char reason[256]; /* may be empty */
};

/* A replay's own: what it was asked for, fixed at its first start. Its position counts from there. */
struct position_run {
  char id[32];   /* as in the header wf_replay; "": the position is a relay's */
  uint64_t list; /* the work list whose rows it publishes, of which position.snapshot says how far; 0: it streams */
  lsn_t from;    /* commit LSNs, both inclusive; of a list both are the WAL position at which it was made */
  lsn_t to;
  int64_t from_us; /* commit times, of a list occurred_at, both inclusive, Unix us; 0: any */
  int64_t to_us;
  uint64_t records; /* published so far, quarantine records too */
  bool finished;
};

struct position {
  enum position_state state;

  /* Whose position it is. */
  char system_id[24];
  uint32_t database_oid;
  char slot[64];
  char plugin[64];
  uint32_t timeline;
  uint32_t publication_oid;
  struct position_table *tables;
  int table_count;

  /* The last covered transaction; commit_lsn 0 before the first. */
  lsn_t commit_lsn;
  lsn_t end_lsn; /* while incomplete: still that of the transaction before */
  uint32_t xid;
  int64_t commit_time_us; /* Unix microseconds */
  bool complete;
  uint64_t next_index;  /* while incomplete: index of the next change to publish; > 0 */
  uint64_t hash;        /* while incomplete: running FNV-1a of (table, id) of the changes before next_index */
  uint64_t fingerprint; /* of tables, prefixes, decoder and counting version; matters while incomplete */

  lsn_t idle_end_lsn; /* progress without events */

  lsn_t floor;               /* transactions whose commit record starts before it are covered; 0: none */
  struct position_word word; /* the last one, also after later commits */

  int64_t written_us;       /* when this was stored, Unix microseconds; 0 unknown */
  int64_t history_since_us; /* copies of it may be kept from this minute on (history.h); 0: none are */
  struct position_snapshot snapshot;

  struct position_topic *topics;
  int topic_count;

  struct position_run run;
};

const char *position_state_name(enum position_state state); /* "none", "intent", "position" */

void position_init(struct position *p);                               /* POSITION_NONE */
void position_clear(struct position *p);                              /* frees what it owns; POSITION_NONE again */
void position_copy(struct position *to, const struct position *from); /* to is cleared first */

/* The flush LSN that may be acknowledged once this position is committed in Kafka. */
lsn_t position_ack_lsn(const struct position *p);

/* Whether a transaction whose commit record starts at commit_lsn has been published whole, or lies before the floor.
 * Compared by commit LSN only: the next commit record may start exactly at the end LSN of the last. */
bool position_covers(const struct position *p, lsn_t commit_lsn);

const char *position_snapshot_name(enum position_snapshot_state state); /* "none", "asked", "open", "done" */

/* From which commit LSN on rows of a table were not passed over; 0: from the first on. */
lsn_t position_table_since(const struct position *p, const char *schema, const char *table);

/* Partition count pinned for a topic; 0 if none. */
int32_t position_partitions(const struct position *p, const char *topic);
void position_pin(struct position *p, const char *topic, int32_t partitions);

/* Whether two hold the same progress (not the same pins). */
bool position_same_progress(const struct position *a, const struct position *b);

void position_encode(const struct position *p, struct buffer *json);
/* ERROR_REFUSED "position_unreadable" if it is no position of this format. */
bool position_decode(struct slice json, struct position *out, struct error *err);

#endif
