/* How dead letters are shown. Texts of others are printed without control characters, so that none of them acts on a
 * terminal; JSON holds them whole. */
#ifndef WALFERRY_OPS_DLQ_PRINT_H
#define WALFERRY_OPS_DLQ_PRINT_H

#include <stdio.h>

#include "bridge/inbox/letters.h"
#include "bridge/inbox/stored.h"

/* The columns of a letter, as text; NULL is SQL NULL. Times are RFC 3339. */
struct dlq_letter {
  const char *id, *state;
  const char *first_failure, *last_failure, *resolved_at;
  struct stored_row record; /* of a list: without headers and value, and the key cut to DLQ_KEY_MAX bytes */
  const char *source, *message_id, *type;
  const char *code, *message, *details, *attempts;
  const char *parked; /* how many; NULL: it holds no key */
};
#define DLQ_KEY_MAX 64

/* Control characters as blanks, what is no UTF-8 as question marks. */
void dlq_print_tame(FILE *out, struct slice text);

void dlq_print_head(FILE *out); /* above the lines of a table */
void dlq_print_line(const struct dlq_letter *letter, FILE *out);
void dlq_print_line_json(const struct dlq_letter *letter, FILE *out);

/* What the inbox makes of a stored record today. */
struct dlq_reading {
  const struct received_record *record;
  const struct received *event;
  const char *problem, *problem_message; /* NULL: a handler can be given it */
  const char *handler;                   /* NULL: none */
};
void dlq_print_whole(const struct dlq_letter *letter, const struct dlq_reading *reading, FILE *out);
void dlq_print_whole_json(const struct dlq_letter *letter, const struct dlq_reading *reading, FILE *out);

void dlq_print_note(const struct letters_note *note, bool dry_run, FILE *out);
void dlq_print_totals(const struct letters_totals *totals, bool dry_run, FILE *out);
void dlq_print_totals_json(const struct letters_totals *totals, FILE *out);

#endif
