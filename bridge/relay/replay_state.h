/* The inside of a replay, shared by replay.c (its stream and its recovery), replay_start.c (an attempt up to where it
 * streams) and replay_table.c (an attempt that reads rows). */
#ifndef WALFERRY_RELAY_REPLAY_STATE_H
#define WALFERRY_RELAY_REPLAY_STATE_H

#include "bridge/relay/facts.h"
#include "bridge/relay/printer.h"
#include "bridge/relay/replay.h"
#include "bridge/relay/source.h"

/* Lives as long as the process: what the recovery must remember. */
struct replay {
  const struct replay_settings *settings;
  const struct stop *stop;
  struct replay_outcome *outcome;
  struct relay_settings relay; /* the instance's, but for what is a replay's own */
  char *instance;
  char key[REPLAY_KEY_SIZE];
  struct publisher *publisher;
  struct publisher *relay_publisher; /* only peeks */
  struct printer printer;
  struct progress *progress; /* the source's */
  struct position at;        /* how far it has got, where Kafka is not told */
  bool begun;                /* the run is known: what is stored is its position */
  char run_id[32];           /* the source thread reads it */
  bool unread;               /* nobody reads what is printed */
  bool let_in;               /* Postgres has accepted us */
  bool unproven;             /* no transaction has shown yet that a time is not too old */
  bool begins_anew;          /* what was printed cannot be gone on with */
  int decode_failures;       /* in a row, without getting on */
  int last_backend_pid;
  struct connection *lock; /* with REPLAY_TABLE: its session holds the lock, and does nothing else; NULL: none does */
  int64_t lock_seen_ms;
  int64_t unreachable_since_ms; /* 0: all is well; else since the start of the first attempt that failed */
  int64_t reported_ms;
  int64_t pace_portion; /* records that are published at once, for max_per_second; 0: no limit */
  int64_t due_ms;       /* before then no batch is published, for max_per_second; 0: at once */
};

/* One attempt: everything that is dropped and made again by the recovery. */
struct replay_attempt {
  struct connection *conn;
  struct replication *rep; /* until the source takes it */
  struct source *source;
  struct partitions *partitions; /* NULL with a plugin that tells of rows by the root */
  struct facts facts;            /* of the held-back slot; its confirmed_flush_lsn is the copy's */
  struct position relay;         /* the relay's, as it was when this attempt began */
  struct position position;
  int64_t streaming_ms; /* since when it streams */
  int64_t watched_ms;
};

/* The code of the error with which it ends where another replay of the instance runs. */
extern const char REPLAY_SLOT_HELD[];

/* Sleeps in slices; false when asked to stop. */
bool replay_pause(const struct replay *r, int64_t ms);
bool replay_go_on(const struct replay *r, struct error *err); /* else ERROR_STOPPED */

static inline bool replay_to_kafka(const struct replay *r) {
  return r->settings->request.sink == REPLAY_KAFKA;
}
static inline const struct position *replay_position(const struct replay *r) {
  return replay_to_kafka(r) ? publisher_position(r->publisher) : &r->at;
}
/* Stores a position by itself; in memory where Kafka is not told. */
bool replay_keep_position(struct replay *r, const struct position *position, struct error *err);

/* a->conn, and with it the lock: one replay of an instance at a time, but for those that only read rows. ERROR_FENCED
 * REPLAY_SLOT_HELD. */
bool replay_connect(struct replay *r, struct replay_attempt *a, struct error *err);
/* The relay's position, to look at; POSITION_NONE where there is no such topic. */
bool replay_peek(struct replay *r, struct replay_attempt *a, struct error *err);
/* The position that is stored under the run's key, or kept in memory where Kafka is not told. */
bool replay_open_position(struct replay *r, struct replay_attempt *a, struct error *err);
/* A first position: nothing is done yet, and each topic has the partitions that the relay has pinned, or those of the
 * run before, to topics that only replays write to. To be cleared. */
void replay_first_position(const struct replay_attempt *a, const struct position_run *run, struct position *first);
/* What the summary and the records' header have of the run that a->position is of. */
void replay_take_run(struct replay *r, const struct replay_attempt *a);

/* The whole start sequence, up to a source that streams. *over: the run is finished already, and nothing streams. */
bool replay_start(struct replay *r, struct replay_attempt *a, bool *over, struct error *err);

/* Where records go that are not published; with REPLAY_COUNT nowhere. r->unread: there is nobody to read them. */
bool replay_print(struct replay *r, const struct segment *batch, struct error *err);
/* So many records were published since then. */
void replay_pace(struct replay *r, int64_t since_ms, uint64_t records);
/* How far it is, several times a second; always: now. */
void replay_report(struct replay *r, struct replay_progress progress, bool always);

/* One attempt with REPLAY_TABLE, from its start to its end. */
bool replay_table(struct replay *r, struct replay_attempt *a, struct error *err);

#endif
