/* What the relay reports of itself, for whoever watches it: metrics, health checks, the service manager.
 *
 * Relay thread and source thread write; any thread may look. What changes with each frame are atomics; the rest changes
 * once a Kafka transaction or less, under a mutex that is held for a copy of a few kilobytes at most. */
#ifndef WALFERRY_RELAY_PROGRESS_H
#define WALFERRY_RELAY_PROGRESS_H

#include "bridge/base/error.h"
#include "bridge/base/lsn.h"
#include "bridge/postgres/catalog.h"
#include "bridge/relay/handover.h"
#include "bridge/relay/publisher.h"

enum progress_state {
  PROGRESS_STARTING = 1, /* the first attempt, and after a standby got the slot */
  PROGRESS_STANDBY,      /* another instance holds the slot */
  PROGRESS_SNAPSHOT,     /* the rows from before the slot are copied or published; the slot is ours */
  PROGRESS_STREAMING,    /* events flow, or would */
  PROGRESS_RECOVERING,   /* an attempt failed, the next has not got through yet */
  PROGRESS_STOPPING,     /* as asked; the process will be gone in a few seconds */
};
#define PROGRESS_STATES PROGRESS_STOPPING
const char *progress_state_name(enum progress_state state);

/* Whom the relay thread is talking to. */
enum progress_peer { PROGRESS_NOBODY = 1, PROGRESS_POSTGRES, PROGRESS_KAFKA };

/* Rows that are marked or deleted once they are published. */
struct progress_tidy {
  bool wanted;
  uint64_t rows;      /* done, since the start of the process */
  int64_t backlog;    /* published, and not done yet */
  int64_t failing_ms; /* for so long it has been tried in vain; 0: all is well */
  int64_t waiting_ms; /* for so long publishing has waited for it; 0: it does not */
  char error[1024];   /* while failing */
};

/* One moment. Times "ago" are in ms on the monotonic clock, -1 for never; "_us" are Unix microseconds, 0 for never. */
struct progress_snapshot {
  enum progress_state state;
  int64_t state_ms; /* for so long */
  int64_t generation;

  enum progress_peer peer; /* talking to it, for so long: */
  int64_t peer_ms;
  int64_t turned_ago_ms;        /* the relay thread's last step */
  int64_t source_turned_ago_ms; /* the source thread's; -1: there is none now */
  int64_t heard_ago_ms;         /* the server's last word on the stream; -1: there is none now */
  int64_t silence_max_ms;       /* a server that is well says something at least so often */

  bool kafka_away; /* an idle probe failed, and nothing succeeded since */
  char kafka_error[1024];

  int64_t failed_us; /* the last end of an attempt that was not asked for */
  enum error_kind failed_kind;
  enum progress_peer failed_peer;
  const char *failed_code; /* static; NULL: none */
  char failed_message[1024];

  uint64_t recoveries_retry; /* by the kind of error that ended the attempt */
  uint64_t recoveries_start_over;
  uint64_t recoveries_fenced;

  struct totals published;
  struct position_snapshot rows; /* of the snapshot; its state is NONE where this process had nothing to do with one */
  struct progress_tidy tidy;

  /* Only while streaming, else 0; as is the position below. */
  int64_t queue_bytes;
  int64_t queue_bytes_max;
  int64_t unpublished_events; /* decoded, and not committed in Kafka */
  int64_t lag_us;             /* see progress_look */
  lsn_t received;             /* highest WAL position seen on the stream; 0: none yet */

  int64_t slot_read_us; /* when the following was true; 0: never read, or too old to be told */
  struct catalog_slot slot;

  /* The held-back slot. */
  int64_t retained_read_us; /* when the following was true; 0: never read, or too old to be told */
  struct catalog_slot retained;
  int64_t retained_since_us; /* its window begins there; 0 unknown */
  int64_t retained_keep_ms;  /* what is asked of it, and how much WAL it may take */
  int64_t retained_keep_bytes;
  char retained_trouble[1024]; /* "": none */

  /* Of the position committed in Kafka. */
  lsn_t position_commit_lsn;
  lsn_t position_ack_lsn;
  int64_t position_commit_time_us;
  bool position_complete;
};

struct progress;
struct progress *progress_new(void);
void progress_free(struct progress *p); /* accepts NULL */

/* Any thread. lag_us is the age of the oldest transaction that was received and not committed in Kafka; with none, the
 * time since the server had WAL that it has not sent yet; 0 when caught up. */
void progress_look(struct progress *p, struct progress_snapshot *out);

/* Whether events flow, or would: streaming (or those of a snapshot), the server heard of lately, Kafka not known to be
 * away. Else why not:
 * "starting", "standby", "recovering", "stopping", "postgres_away", "kafka_away", "after_publish_stuck". */
struct progress_readiness {
  bool ready;
  const char *reason;  /* static; "streaming" when ready */
  const char *details; /* the error, in the snapshot; "" where there is none */
};
void progress_readiness(const struct progress_snapshot *s, struct progress_readiness *out);
/* False when a thread hangs, for which waiting is no help: the process should be started again. */
bool progress_alive(const struct progress_snapshot *s);

/* Relay thread. */
void progress_enter(struct progress *p, enum progress_state state);
void progress_generation(struct progress *p, int64_t generation);
void progress_turn(struct progress *p); /* a step was made */
/* From here on it talks to that one; a failure is then that one's. Also a step. */
void progress_talk(struct progress *p, enum progress_peer peer);
void progress_failed(struct progress *p, const struct error *err); /* enters PROGRESS_RECOVERING */
void progress_slot(struct progress *p, const struct catalog_slot *slot);
/* What the publisher has done, and the position that is committed in Kafka: after each Kafka transaction. */
void progress_published(struct progress *p, const struct totals *totals, const struct position *position);
/* The thread that moves up the held-back slot. */
void progress_retain_limits(struct progress *p, int64_t keep_ms, int64_t keep_bytes); /* before it is started */
void progress_retained(struct progress *p, const struct catalog_slot *slot, int64_t since_us);
void progress_retain_trouble(struct progress *p, const struct error *err);
/* How far a snapshot is published. */
void progress_rows(struct progress *p, const struct position_snapshot *rows);
void progress_kafka_answered(struct progress *p);
/* Publishing waits for rows to be marked or deleted, or does no longer. */
void progress_tidy_waits(struct progress *p, bool waits);
void progress_kafka_silent(struct progress *p, const struct error *err);

/* Any thread, one at a time. So many rows were marked or deleted, so many are left; failure: why not, NULL: all is
 * well.
 */
void progress_tidied(struct progress *p, int64_t rows, int64_t backlog, const struct error *failure);

/* Source thread. A source comes with its queue's levels and goes with the generation. */
struct handover_levels *progress_queue(struct progress *p);
void progress_source_started(struct progress *p, int64_t silence_max_ms);
void progress_source_turned(struct progress *p, int64_t now_ms);
void progress_heard(struct progress *p, lsn_t received, int64_t now_ms);
void progress_source_ended(struct progress *p);

#endif
