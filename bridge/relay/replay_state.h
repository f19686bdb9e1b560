/* The inside of a replay, shared by replay.c (its stream and its recovery) and replay_start.c (an attempt up to where
 * it streams). */
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
  int decode_failures;       /* in a row, without getting on */
  int last_backend_pid;
  int64_t unreachable_since_ms; /* 0: all is well; else since the start of the first attempt that failed */
  int64_t reported_ms;
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

/* The code of the error with which it ends where another replay holds the copy. */
extern const char REPLAY_SLOT_HELD[];

/* Sleeps in slices; false when asked to stop. */
bool replay_pause(const struct replay *r, int64_t ms);
bool replay_go_on(const struct replay *r, struct error *err); /* else ERROR_STOPPED */

static inline bool replay_to_kafka(const struct replay *r) {
  return r->settings->request.sink == REPLAY_KAFKA;
}
/* Stores a position by itself; in memory where Kafka is not told. */
bool replay_keep_position(struct replay *r, const struct position *position, struct error *err);

/* The whole start sequence, up to a source that streams. *over: the run is finished already, and nothing streams. */
bool replay_start(struct replay *r, struct replay_attempt *a, bool *over, struct error *err);

#endif
