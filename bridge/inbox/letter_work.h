/* One dead letter, or one message that is parked behind it, in one transaction. What is tried again, counted and told
 * is the caller's matter (letters.c). Internal to bridge/inbox. */
#ifndef WALFERRY_INBOX_LETTER_WORK_H
#define WALFERRY_INBOX_LETTER_WORK_H

#include "bridge/inbox/failure.h"
#include "bridge/inbox/letters.h"

/* Why nothing was committed. */
struct letter_trouble {
  enum failure_class failure;
  char sqlstate[6];    /* "": no statement failed */
  const char *code;    /* static, of the dead letter */
  const char *message; /* of LETTER_TROUBLED, as is the next; of letter_work, until its next letter or parked message */
  const char *details; /* JSON, as the inbox writes it; NULL: none */
};

enum letter_result {
  LETTER_SETTLED = 1, /* the transaction was committed, or there was nothing to do: outcome */
  LETTER_TROUBLED,    /* by the message itself: trouble; rolled back */
  LETTER_BROKEN       /* by anything else: trouble and err; rolled back, unless the connection is of no use any more */
};

/* What is worked on. Starts with what is given, else zeros. */
struct letter_task {
  bool parked;
  char id[24];                     /* of the dead letter, given; of a parked message its own number, once it is known */
  char *topic, *key;               /* owned; of the record, of a parked message given. key as `\x00ff`, NULL: none */
  bool held;                       /* a letter, and its key is held: what is parked comes next */
  char *partition, *offset, *type; /* owned; of the record, once it was read. type may be NULL */
  const char *handler;             /* of the config; NULL: none */
  char behind[24];                 /* LETTERS_BEHIND: the letter that it waits for */
};
void letter_task_clear(struct letter_task *task); /* frees what it owns */

struct letter_work;
struct letter_work *letter_work_new(const struct letters_settings *settings); /* borrowed */
void letter_work_free(struct letter_work *work);                              /* accepts NULL */

/* Handles (or discards) the letter task->id and resolves it. In a dry run says only what would become of it. */
enum letter_result letter_work_letter(struct letter_work *work, struct connection *conn, struct letter_task *task,
                                      enum letters_outcome *outcome, struct letter_trouble *trouble, struct error *err);
/* Handles the first message that is parked behind the key and removes it; where none is, lets go of the key.
 * LETTERS_GONE: the key is not held any more, or by a letter that is open, or another works on it. */
enum letter_result letter_work_parked(struct letter_work *work, struct connection *conn, struct letter_task *task,
                                      enum letters_outcome *outcome, struct letter_trouble *trouble, struct error *err);

/* Writes down that it failed: the letter stays open; what was parked becomes a letter that holds its key, task->id.
 * LETTERS_GONE where it was settled by another meanwhile, else LETTERS_FAILED. */
enum letter_result letter_work_fail(struct letter_work *work, struct connection *conn, struct letter_task *task,
                                    const struct letter_trouble *failed, enum letters_outcome *outcome,
                                    struct letter_trouble *trouble, struct error *err);

#endif
