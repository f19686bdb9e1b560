/* From changes to segments: counts, skips what the position covers, checks that the server sends again what it must,
 * and has the records built. One per generation; source thread; no I/O. */
#ifndef WALFERRY_RELAY_INTAKE_H
#define WALFERRY_RELAY_INTAKE_H

#include "bridge/base/error.h"
#include "bridge/event/record.h"
#include "bridge/relay/position.h"
#include "bridge/relay/segment.h"
#include "decoders/change.h"

/* What is passed over, for a replay: behind the count, so that the index of a split transaction stays what it is. */
struct intake_filter {
  const char *const *types; /* patterns as routes have them, of which one is enough; type_count 0: any type */
  int type_count;
  int64_t from_us; /* commit times, both inclusive, Unix us; 0: any */
  int64_t to_us;
  bool no_dead_letters;
};

struct intake_rules {
  const struct table_spec *tables;
  int table_count;
  const char *const *prefixes; /* of transactional logical messages */
  int prefix_count;
  bool dead_letters; /* takes MESSAGE_PREFIX_DEAD_LETTER too, which counts as the last of the prefixes */
  struct intake_filter filter;
  struct record_rules record;
  bool stop_on_invalid; /* else quarantine */
  size_t segment_bytes; /* a segment is closed once it holds this much */
};

/* Finds the configured table that rows of another relation belong to, as partitions_find does. */
struct intake_resolver {
  bool (*find)(void *ctx, const struct relation *relation, lsn_t commit_lsn, uint32_t xid, int *table,
               struct error *err);
  void *ctx;
};

/* What becomes of rows that the position covers and the server sends again. */
enum intake_covered {
  INTAKE_COVERED_DROP = 1,
  INTAKE_COVERED_VERIFY, /* dropped; and as soon as the last covered transaction came again, and so the database is the
                            one that was read, intake_change fails with ERROR_START_OVER and INTAKE_VERIFIED */
  INTAKE_COVERED_HAND_ON /* those of tables that are marked or deleted from, in segments of their own: `covered`; none
                            of before the floor or the table's `since`, which may never have been published */
};
extern const char INTAKE_VERIFIED[]; /* the code of that error */

struct intake;

/* from: the position to go on from, copied. expect_last: the slot stands at or before from's last covered transaction,
 * so the server must send exactly that one before any later one. */
struct intake *intake_new(const struct intake_rules *rules, const struct position *from, bool expect_last);
void intake_free(struct intake *intake); /* accepts NULL */
/* Before the first change. Without one, rows of a relation that the rules do not name are passed over. */
void intake_set_resolver(struct intake *intake, struct intake_resolver resolver);
/* Before the first change. Without it, INTAKE_COVERED_DROP. */
void intake_set_covered(struct intake *intake, enum intake_covered covered);

/* Takes one change. Refusals: "history_rewritten" (the covered transaction did not come again, or not the same),
 * "resume_mismatch" (a split transaction came again with other rows), "row_invalid" (stop_on_invalid),
 * "column_missing", and the resolver's. */
bool intake_change(struct intake *intake, const struct change *change, struct error *err);

/* A keepalive: the server has decoded everything before wal_end. *idle_end is what may be written as idle progress, 0
 * if nothing. */
bool intake_keepalive(struct intake *intake, lsn_t wal_end, lsn_t *idle_end, struct error *err);

/* The next finished segment, the caller's; NULL when there is none. */
struct segment *intake_next_segment(struct intake *intake);

/* Finishes the segment that is being filled, in the middle of a transaction. */
void intake_cut(struct intake *intake);

/* The end LSN of the last transaction handed out whole, 0 if none: what is not confirmed while the ack is below it. */
lsn_t intake_last_end(const struct intake *intake);
/* Everything up to here was decoded, events or not: the highest commit end or keepalive seen. */
lsn_t intake_decoded_to(const struct intake *intake);

/* Of what the index of a split transaction depends on: tables, prefixes, plugin, counting version. */
uint64_t intake_fingerprint(const struct intake_rules *rules, const char *plugin);

#endif
