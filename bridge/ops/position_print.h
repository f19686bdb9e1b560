/* What `position show` and `history` know, and their two forms. Pure: no I/O but the stream given. */
#ifndef WALFERRY_OPS_POSITION_PRINT_H
#define WALFERRY_OPS_POSITION_PRINT_H

#include <stdio.h>

#include "bridge/postgres/catalog.h"
#include "bridge/relay/admit.h"
#include "bridge/relay/history.h"

struct position_view {
  const char *instance;
  const struct position *position;
  bool unreadable; /* there is a record, and position says nothing */
  const char *slot_name;
  struct catalog_slot slot;
  const char *held_name; /* NULL: none is held back */
  struct catalog_slot held;
  int64_t held_since_us; /* its window begins there; 0 unknown */
  int64_t now_us;
  struct admit_facts server; /* only its identity, and the ancestor of another timeline */
};

/* How slot and position stand to each other, as a sentence; malloc'ed. */
char *position_view_distance(const struct position_view *view);

void position_show_text(const struct position_view *view, FILE *out);
void position_show_json(const struct position_view *view, FILE *out);
void position_history_text(const struct history *history, FILE *out);
void position_history_json(const struct history *history, FILE *out);

#endif
