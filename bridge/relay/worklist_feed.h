/* The rows of a work list as records, in batches of what one Kafka transaction takes. */
#ifndef WALFERRY_RELAY_WORKLIST_FEED_H
#define WALFERRY_RELAY_WORKLIST_FEED_H

#include "bridge/relay/intake.h"
#include "bridge/relay/worklist.h"

struct worklist_feed { /* all borrowed */
  struct worklist *list;
  const struct intake_rules *rules;
  const struct position *position; /* as of intake_new */
  lsn_t lsn;                       /* of the moment that the list shows: the rows' commit LSN, */
  int64_t taken_us;                /* and their commit time, Unix us */
  int64_t records_max;             /* with the segment that reaches it a batch ends; 0: never for that */
  struct rowstream_wait wait;      /* asked before each batch is handed on; false, with err, ends it */
  /* batch: of the rows before `next` that were not handed on yet, in one list; the feed's, until this returns. NULL
   * where the rules pass over all of them. False, with err, ends it. */
  bool (*take)(void *ctx, struct segment *batch, uint64_t next, struct error *err);
  void *ctx;
};

/* Hands on the rows from `next` on that are below `end`. Errors as of worklist_read, intake_change and take. */
bool worklist_feed_run(const struct worklist_feed *feed, uint64_t next, uint64_t end, struct error *err);

#endif
