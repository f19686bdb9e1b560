/* `walferry dlq`: what an operator sees of the inbox's dead letters, and does with them. */
#ifndef WALFERRY_OPS_DLQ_H
#define WALFERRY_OPS_DLQ_H

#include <stdio.h>

#include "bridge/inbox/letters.h"

enum dlq_verb { DLQ_LIST = 1, DLQ_SHOW, DLQ_REPLAY, DLQ_DISCARD };

struct dlq_settings {
  enum dlq_verb verb;
  struct letter_filter filter; /* replay and discard: of open letters; show: an id */
  bool json;                   /* list: an object a line; show: one; replay, discard: the totals */
  bool dry_run;                /* replay, discard */
  const char *from_topic;      /* replay, by dlq_topic_run: of this topic's letters; NULL: of the database's */
  int64_t limit;               /* replay; 0: all */
  int64_t max_per_second;      /* replay, discard; 0: no limit */
  int64_t confirm;             /* discard: as many match; -1: not said */
};

/* Prints to out. ERROR_CONFIG where discard is not confirmed with the right number, or show finds nothing; ERROR_FATAL
 * where letters could not be replayed; else as letters_run. */
bool dlq_run(const struct dlq_settings *settings, const struct inbox_settings *inbox, const struct stop *stop,
             FILE *out, struct error *err);

#endif
