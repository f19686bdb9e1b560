/* What the inbox reports of itself, for whoever watches it: metrics, health checks, the service manager. The inbox's
 * thread writes; any thread may look. Under a mutex that is held for a copy at most. */
#ifndef WALFERRY_INBOX_REPORT_H
#define WALFERRY_INBOX_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bridge/base/error.h"
#include "bridge/base/histogram.h"
#include "bridge/inbox/registry.h"

enum inbox_state {
  INBOX_STARTING = 1,
  INBOX_STREAMING,  /* member of the group; events are handled, or would be */
  INBOX_RECOVERING, /* Postgres or the consumer failed, the next attempt has not got through yet */
  INBOX_STOPPING
};
#define INBOX_STATES INBOX_STOPPING
const char *inbox_state_name(enum inbox_state state);

/* Whom the inbox's thread waits for; nobody while it works by itself, and while it waits for events. */
enum inbox_peer { INBOX_NOBODY = 1, INBOX_POSTGRES, INBOX_KAFKA };

/* What became of one event, once its transaction was committed. */
enum inbox_outcome {
  INBOX_PROCESSED = 1, /* the handler was called */
  INBOX_DUPLICATE,     /* its mark was there */
  INBOX_IGNORED,       /* `ignore: true` */
  INBOX_SKIPPED,       /* no handler is for it, `unmatched: skip` */
  INBOX_PARKED,        /* behind a dead letter of its key */
  INBOX_DEAD_LETTERED
};
#define INBOX_OUTCOMES INBOX_DEAD_LETTERED
const char *inbox_outcome_name(enum inbox_outcome outcome);

enum inbox_partition_state {
  INBOX_PARTITION_READING = 1,
  INBOX_PARTITION_BACKING_OFF, /* its next message failed, and is tried again at a later time */
  INBOX_PARTITION_STOPPED      /* refused for safety: an operator must decide */
};
const char *inbox_partition_state_name(enum inbox_partition_state state);

/* One partition that is ours. */
struct inbox_partition_view {
  char topic[256];
  int32_t partition;
  enum inbox_partition_state state;
  int64_t next_offset; /* as committed in Postgres; -1: not known yet */
  int64_t lag;         /* messages (offsets) from there to the end of the log; -1: not known */
  int64_t behind_ms;   /* how long ago the oldest message that is waited for was written; 0: none is, or it is new.
                          Goes on by itself until the partition is reported again. */
  int attempts;        /* of its next message, while it backs off */
  const char *code;    /* static, of what holds it up: "handler_failed", "topic_recreated"; NULL: nothing does */
  char message[512];   /* of the same */
};

struct inbox_report;
/* handlers: for the counts; texts are borrowed. */
struct inbox_report *inbox_report_new(const struct handler_spec *handlers, size_t handler_count);
void inbox_report_free(struct inbox_report *r); /* accepts NULL */
/* Before the inbox runs: so long may one handler call take, which is no silence of the server. */
void inbox_report_call_limit(struct inbox_report *r, int64_t timeout_ms);

/* The inbox's thread. */
void inbox_report_enter(struct inbox_report *r, enum inbox_state state);
void inbox_report_turn(struct inbox_report *r); /* a step was made */
/* From here on it talks to that one; a failure is then that one's. Also a step. */
void inbox_report_talk(struct inbox_report *r, enum inbox_peer peer);
/* Enters INBOX_RECOVERING: it is tried again. What ends the run is not reported. */
void inbox_report_failed(struct inbox_report *r, const struct error *err);
/* Brokers do not answer, or do again; what goes on meanwhile goes on. */
void inbox_report_kafka_silent(struct inbox_report *r, const struct error *err);
void inbox_report_kafka_answered(struct inbox_report *r);
void inbox_report_partition(struct inbox_report *r, const struct inbox_partition_view *view); /* new, or changed */
void inbox_report_partition_gone(struct inbox_report *r, const char *topic, int32_t partition);
/* handler: the index of its spec, or -1 where none is for the event. code: static, of a dead letter, else NULL. */
void inbox_report_outcome(struct inbox_report *r, int handler, enum inbox_outcome outcome, const char *code);
/* An attempt failed and is made again. */
void inbox_report_retry(struct inbox_report *r, int handler);
/* How long the server took over one call. Also a step, and a word of the server: it is waited for anew. */
void inbox_report_called(struct inbox_report *r, int handler, int64_t us);
void inbox_report_batch(struct inbox_report *r, int messages, int64_t us); /* was committed, from BEGIN on */

struct inbox_dead_letter_count {
  const char *code; /* static */
  uint64_t count;
};
#define INBOX_DEAD_LETTER_CODES 32 /* more than there are; what exceeds it counts with the last */

struct inbox_handler_counts {
  const char *type;                      /* the spec's; NULL: of events that no handler is for */
  uint64_t outcomes[INBOX_OUTCOMES + 1]; /* by enum inbox_outcome */
  uint64_t retries;
  struct histogram time;
};

/* One moment. Times "ago" are in ms on the monotonic clock, -1 for never; "_us" are Unix microseconds, 0 for never. */
struct inbox_snapshot {
  enum inbox_state state;
  int64_t state_ms;     /* for so long */
  enum inbox_peer peer; /* talking to it, for so long: */
  int64_t peer_ms;
  int64_t turned_ago_ms;
  int64_t call_limit_ms; /* 0: not told */

  bool kafka_away;
  char kafka_error[1024];

  int64_t failed_us; /* the last failure of an attempt */
  enum error_kind failed_kind;
  enum inbox_peer failed_peer;
  const char *failed_code; /* static; NULL: none */
  char failed_message[1024];
  uint64_t recoveries_retry; /* by the kind of error that ended the attempt */
  uint64_t recoveries_start_over;
  uint64_t recoveries_fatal;

  uint64_t batches, messages; /* committed */
  struct histogram batch_time;
  struct inbox_dead_letter_count dead_letters[INBOX_DEAD_LETTER_CODES];
  int dead_letter_codes;

  struct inbox_handler_counts *handlers; /* one more than there are specs: the last is for no handler */
  size_t handler_count;
  struct inbox_partition_view *partitions; /* sorted by topic and number */
  size_t partition_count;
};
/* Any thread. */
void inbox_report_look(struct inbox_report *r, struct inbox_snapshot *out);
void inbox_snapshot_free(struct inbox_snapshot *snapshot);

/* Whether events are handled, or would be: streaming, no server known to be away, and no partition stopped (one that
 * backs off goes on by itself). Else why not: "starting", "recovering", "stopping", "postgres_away", "kafka_away",
 * "partition_stopped". */
struct inbox_readiness {
  bool ready;
  const char *reason; /* static; "streaming" when ready */
  char details[1280]; /* the error, of partitions the first that is stopped; "" where there is none */
};
void inbox_readiness(const struct inbox_snapshot *s, struct inbox_readiness *out);
/* False when the thread hangs, for which waiting is no help: the process should be started again. */
bool inbox_alive(const struct inbox_snapshot *s);

#endif
