/* The inside of a work list, shared by worklist.c (it is opened, found, read and dropped) and worklist_make.c (it is
 * filled, or looked at without a copy). */
#ifndef WALFERRY_RELAY_WORKLIST_STATE_H
#define WALFERRY_RELAY_WORKLIST_STATE_H

#include "bridge/relay/worklist.h"

#define WORKLIST_SCHEMA "walferry"

struct worklist_part { /* an outbox table's share */
  char *table;
  char *query;               /* of all its rows, where there is no copy; else NULL */
  struct relation *relation; /* the outbox table's name, the copy's columns; NULL until found */
  uint64_t first, count;
};

struct worklist {
  struct worklist_settings settings;
  struct rowstream *rs;
  struct worklist_part *parts;
  char *comment;
  int dropped; /* tables of earlier lists */
  struct value *values;
  int value_capacity;
  uint64_t next;     /* the ordinal that comes next, */
  uint64_t page_end; /* where the statement under way ends; at or below next: there is none */
};

/* Runs what is in sql, and clears it; *rows (may be NULL) as of rowstream_run. */
bool worklist_run(struct worklist *list, struct buffer *sql, int64_t *rows, struct error *err);
/* The rows of a question, handed to take; clears sql. */
bool worklist_ask(struct worklist *list, struct buffer *sql,
                  void (*take)(struct worklist_part *part, const struct slice *values), struct worklist_part *part,
                  struct error *err);
uint64_t worklist_number(struct slice text);

/* The outbox table's relation, empty: columns are to be set by worklist_take_column, of rows (number from 1, name, type
 * OID). */
void worklist_relation(struct worklist *list, int i, int columns);
void worklist_take_column(struct worklist_part *part, const struct slice *values);

/* SELECT name, role, whether ours may drop it, of all tables of an owner's lists. */
void worklist_append_owned(struct buffer *sql, enum worklist_kind kind, const char *owner);
void worklist_append_drop(struct buffer *sql, const char *table);

#endif
