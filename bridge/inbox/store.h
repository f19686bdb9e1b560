/* The inbox's session with Postgres: its tables, and the transactions in which messages are handled. What is sent goes
 * ahead of its answers; see statements.h for what each statement guarantees.
 *
 * A transaction: store_begin, store_move for each partition, store_call for each message, store_commit. Nothing of it
 * is known to be done before store_commit says so. Any error of kind ERROR_RETRY means that the session is broken:
 * close the store, and open another. One thread owns a store. */
#ifndef WALFERRY_INBOX_STORE_H
#define WALFERRY_INBOX_STORE_H

#include "bridge/base/stop.h"
#include "bridge/event/received.h"
#include "bridge/inbox/failure.h"
#include "bridge/inbox/registry.h"
#include "bridge/inbox/report.h"

struct store;

struct store_settings {
  const char *name;
  const char *conninfo;
  const char *consumer;
  const struct handler_spec *handlers; /* borrowed */
  size_t handler_count;
  int timeout_ms;              /* of one statement, and so of a handler's call */
  const struct stop *stop;     /* when requested, what takes long is cancelled after some seconds */
  struct inbox_report *report; /* each answer is a step */
};

/* Tables and handlers have been checked (layout.h, handlers.h). */
struct store *store_open(const struct store_settings *settings, struct error *err);
void store_close(struct store *s); /* accepts NULL */
/* Between two transactions: does the session stand? Asks nobody. */
bool store_alive(struct store *s, struct error *err);

struct store_partition {
  const char *topic;
  int32_t partition;
};

/* A row of walferry.inbox_offsets. */
struct store_offset {
  bool exists; /* else nothing of the following */
  int64_t next_offset;
  int64_t claim;
  int64_t died_after;       /* so far whoever had it last got with it, which did not end in good order; -1: it did */
  char *cluster_id;         /* NULL: not known; owned */
  int64_t record_offset;    /* -1: none */
  int64_t record_timestamp; /* ms; -1: none */
  char *record_id;          /* NULL: none; owned */
};
bool store_offset_read(struct store *s, const struct store_partition *at, struct store_offset *offset,
                       struct error *err);
void store_offset_clear(struct store_offset *offset);
bool store_offset_enter(struct store *s, const struct store_partition *at, int64_t next_offset, const char *cluster_id,
                        struct error *err);
/* read: the claim that was read. *claim: ours, or 0 where another was faster or still has it locked: try again. */
bool store_offset_claim(struct store *s, const struct store_partition *at, int64_t read, const char *cluster_id,
                        int64_t *claim, struct error *err);
bool store_offset_release(struct store *s, const struct store_partition *at, int64_t claim, struct error *err);

/* A partition's progress. */
struct store_move {
  struct store_partition at;
  int64_t claim;
  int64_t from, to;
  int64_t record_offset; /* of the last record before `to`, with its timestamp (ms) and id (absent: none) */
  int64_t record_timestamp;
  struct slice record_id;
};

void store_begin(struct store *s);
void store_move(struct store *s, const struct store_move *move);
/* Calls a handler of the settings, unless the mark is there or the key is held. Nothing is borrowed behind it. */
void store_call(struct store *s, size_t handler, const struct received_record *record, const struct received *event);

/* What became of one call, in their order. */
struct store_called {
  enum inbox_outcome outcome; /* INBOX_PROCESSED, INBOX_DUPLICATE or INBOX_PARKED */
  int64_t us;                 /* INBOX_PROCESSED: how long the server took over mark and handler */
};

enum store_ending {
  STORE_COMMITTED = 1,
  STORE_FAILED,    /* rolled back; failure, details, call */
  STORE_DISPLACED, /* rolled back: another claimed the partition, or its offset was moved; move */
  STORE_CANCELLED  /* rolled back, as we are asked to stop */
};

struct store_result {
  enum store_ending ending;
  enum failure_class failure;
  char sqlstate[6];
  bool in_handler;      /* raised within a function, not while its call was planned */
  int call;             /* which one failed, from 0; -1: no call, or it is not known which */
  int move;             /* which one was displaced */
  struct slice details; /* {"sqlstate","message","detail","hint","context"}, as known; until the next call */
  struct slice message; /* the server's own, of one line; may hold row data */
  struct error error;   /* the same for the log */
};
/* called: room for as many as there were calls. false: the session broke; *result says all the same what it died of,
 * and whether the transaction was committed is not known. */
bool store_commit(struct store *s, struct store_called *called, struct store_result *result, struct error *err);

/* Attempts at one message. Each is a transaction of its own. */
struct store_message {
  struct store_partition at;
  int64_t offset;
};
/* Before it is called alone: counted even if it is the end of us. *attempts: this one included; 0: another has claimed
 * the partition. */
bool store_attempt_begin(struct store *s, const struct store_message *message, int64_t claim, int *attempts,
                         struct error *err);
bool store_attempt_failed(struct store *s, const struct store_message *message, struct slice details,
                          struct error *err);
bool store_attempt_uncount(struct store *s, const struct store_message *message, struct error *err);
/* In the transaction that handles it. */
void store_attempt_forget(struct store *s, const struct store_message *message);

/* Behind store_begin and store_move: parks a message that no handler is called for, if its key is held. The transaction
 * stays open where that succeeded, parked or not (STORE_COMMITTED, though it is not yet). */
bool store_park(struct store *s, const struct received_record *record, bool *parked, struct store_result *result,
                struct error *err);

/* A message that is given up. */
struct store_letter {
  const struct received_record *record;
  const struct received *event;
  const char *code;
  struct slice message;
  struct slice details; /* a JSON object; absent: none */
  bool hold;            /* its key */
};
struct store_letter_row {
  int64_t id;
  int attempts;
  char first_failure[40], last_failure[40]; /* RFC 3339 */
};
/* Behind store_begin and store_move (or store_park), in place of a call: the row. The transaction stays open where that
 * succeeded (STORE_COMMITTED, though it is not yet), and is ended by store_letter_emit, where there is something for
 * the relay, and store_commit. */
bool store_letter(struct store *s, const struct store_letter *letter, struct store_letter_row *row,
                  struct store_result *result, struct error *err);
void store_letter_emit(struct store *s, struct slice record);

/* What is due now and then, as far as it can be done now: every minute or so. */
bool store_maintain(struct store *s, int retention_days, struct error *err);

#endif
