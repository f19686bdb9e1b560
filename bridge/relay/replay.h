/* Replay: a window of history is streamed once more, from a copy of a slot that is held back, and published exactly
 * once more. The source thread, the intake, the queue and the publisher are the relay's; the recovery is of its kind: a
 * new producer, the stored position, the stream again from the held-back slot (docs/architecture.md, "Replay"). Or the
 * rows that are in the outbox tables, by a work list, the recovery of which is the list's next row. */
#ifndef WALFERRY_RELAY_REPLAY_H
#define WALFERRY_RELAY_REPLAY_H

#include "bridge/relay/relay.h"
#include "bridge/relay/replay_run.h"
#include "bridge/relay/tally.h"

struct replay_progress {
  const struct position_run *run;
  lsn_t at;             /* so far it has got: from run->from to run->to; 0 with a work list */
  uint64_t done, total; /* bytes of WAL, or rows */
  uint64_t events;      /* of this process */
};

struct replay_settings {
  const struct relay_settings *relay; /* of the instance whose history it is, with REPLAY_SLOT with retain.slot; its
                                         until does not count */
  struct replay_request request;
  int64_t max_per_second; /* records that are published, those of 0.1 s at once; 0: no limit */
  int out_fd;             /* with REPLAY_STDOUT; borrowed */
  void (*report)(void *ctx, const struct replay_progress *progress); /* several times a second while it streams */
  void *report_ctx;
};

struct replay_outcome {
  struct position_run run; /* id "": it did not get so far as to have one */
  lsn_t reached;           /* commit LSN of the last transaction that is done; 0: none yet, or rows */
  uint64_t rows;           /* of the work list, in all */
  uint64_t records_before; /* of run.records: published by attempts before this process */
  bool was_finished;       /* it was before, and nothing was done */
  struct tally *tally;     /* of this process; the caller's, to be freed */
};

/* The name of an instance's replays: of their transactional id and position topic, and to Postgres; malloc'ed. No
 * config can have it. */
char *replay_instance(const char *name);

/* The name of the temporary slot: one for each held-back slot. */
#define REPLAY_COPY_SIZE 64
void replay_copy_name(const char *slot, char name[REPLAY_COPY_SIZE]);

/* Runs until the end of the window (true), or, printing, until nobody reads (true). Else false: ERROR_STOPPED;
 * ERROR_RETRY when a server stays away for 60 s, as the recovery is given up then; ERROR_FENCED "slot_held" where
 * another replay of the instance runs; ERROR_CONFIG where there is nothing between the bounds; ERROR_REFUSED as a
 * relay's start is, or "slot_missing", "replay_too_old", "position_missing", "history_rewritten", "replay_list_lost".
 * Where records went to Kafka, the same request goes on from there. */
bool replay_run(const struct replay_settings *settings, const struct stop *stop, struct replay_outcome *outcome,
                struct error *err);

#endif
