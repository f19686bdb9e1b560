/* What an operator does with dead letters: replay them by the handlers of today, or discard them, and then hand on what
 * is parked behind a key that one of them held. Beside a live inbox and beside others who do the same; it may be killed
 * at any moment.
 *
 * - A letter and each message that is parked is a transaction of its own, in which it is handled (by INBOX_REPLAY's
 *   statement, with its mark) and resolved or removed.
 * - Whoever works on a letter holds its row locked; another passes it by. What is parked is taken one by one behind
 *   INBOX_HOLD_LOCK, and only while the letter that holds the key is not open any more: so in order, whoever takes it.
 * - What a kill leaves is a hold whose letter is resolved; the end of each later run finishes it. */
#ifndef WALFERRY_INBOX_LETTERS_H
#define WALFERRY_INBOX_LETTERS_H

#include "bridge/base/stop.h"
#include "bridge/inbox/inbox.h"
#include "bridge/inbox/letter_filter.h"
#include "bridge/postgres/connection.h"

enum letters_action { LETTERS_REPLAY = 1, LETTERS_DISCARD };

/* What became of one letter or parked message. */
enum letters_outcome {
  LETTERS_HANDLED = 1, /* the handler was called */
  LETTERS_DUPLICATE,   /* its mark was there */
  LETTERS_PASSED_OVER, /* the config says that it is ignored or skipped */
  LETTERS_DISCARDED,
  LETTERS_FAILED, /* a letter stays open; what was parked is one now, and holds the key */
  LETTERS_BEHIND, /* an earlier letter of its key, which is held, is open: it waits for that one */
  LETTERS_GONE    /* another works on it, or has resolved it */
};
#define LETTERS_OUTCOMES LETTERS_GONE

/* One that was not resolved, or, in a dry run, any. Texts are valid during the call. */
struct letters_note {
  enum letters_outcome outcome;
  bool parked;
  const char *id; /* of the dead letter */
  const char *topic, *partition, *offset, *type;
  const char *code, *message; /* LETTERS_FAILED */
  const char *handler;        /* schema.function; NULL: none */
  const char *behind;         /* LETTERS_BEHIND: the id of that letter */
};

struct letters_totals {
  uint64_t letters[LETTERS_OUTCOMES + 1]; /* by outcome */
  uint64_t parked[LETTERS_OUTCOMES + 1];
  struct {
    char code[32];
    uint64_t count;
  } failed[16]; /* letters and parked ones by code; what finds no place counts in the last */
  int failed_codes;
};

struct letters_settings {
  const struct inbox_settings *inbox;
  const struct letter_filter *filter; /* state: LETTER_OPEN */
  enum letters_action action;
  int64_t limit;          /* letters that are tried at most; 0: all that are there when it starts */
  int64_t max_per_second; /* letters and parked messages; 0: no limit */
  bool dry_run;           /* changes nothing */
  void (*note)(void *to, const struct letters_note *note);
  void *note_to;
};

/* A connection as all of this needs it, to a database whose tables are ours (layout_check). */
struct connection *letters_connect(const struct inbox_settings *inbox, struct error *err);

/* How many letters match. */
bool letters_count(struct connection *conn, const struct inbox_settings *inbox, const struct letter_filter *filter,
                   int64_t *count, struct error *err);

/* In the order of their ids. True: all that match were tried; totals, which are filled in any case, say with what
 * success. ERROR_REFUSED: the handlers of the config cannot be called (handlers_check), and nothing is replayed.
 * ERROR_STOPPED: it was stopped, which is heard between two messages. ERROR_RETRY: a server stays away for 60 s. */
bool letters_run(const struct letters_settings *settings, const struct stop *stop, struct letters_totals *totals,
                 struct error *err);

#endif
