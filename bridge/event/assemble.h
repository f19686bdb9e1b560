/* From borrowed pieces to a struct record that has copies of them all, in one allocation. */
#ifndef WALFERRY_EVENT_ASSEMBLE_H
#define WALFERRY_EVENT_ASSEMBLE_H

#include "bridge/base/blocks.h"
#include "bridge/event/record.h"

#define DRAFT_VALUE_PARTS 3

struct record_draft {
  struct slice topic;
  struct slice key;
  bool tombstone;                        /* no value at all */
  struct slice value[DRAFT_VALUE_PARTS]; /* laid end to end, so that a large payload is copied only here */
  const struct record_header *headers;
  int header_count;
  int static_names; /* the names of the first so many headers are literals; the others' are copied */
  int64_t timestamp_ms;
  int32_t partition;
  bool quarantined;
  bool substitute;
  bool bare; /* as in struct record, like what follows */
  bool trace_dropped;
  const char *origin;
  struct slice id;
  lsn_t commit_lsn;
  uint32_t xid;
  uint64_t index;
};

/* In memory, or by itself where that is NULL. */
struct record *record_assemble(struct blocks *memory, const struct record_draft *draft);

#endif
