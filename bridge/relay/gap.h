/* How many events lie between two places in the WAL: streamed from a temporary copy of a slot and counted, not
 * published. What `position set` tells before it is done. */
#ifndef WALFERRY_RELAY_GAP_H
#define WALFERRY_RELAY_GAP_H

#include "bridge/relay/facts.h"

struct gap_question {
  const struct relay_settings *relay;
  const char *slot;              /* a copy of it is read, also while it is in use */
  const struct position *before; /* what is published; POSITION_NONE: not known, then all counts as unpublished */
  lsn_t target;                  /* transactions whose commit record starts before it are not published any more */
  lsn_t from, to;                /* what is looked at; from is not before where the slot stands */
};

struct gap_counts {
  int64_t skipped;  /* before the target, and not published */
  int64_t repeated; /* behind it, and published already */
  bool rewritten;   /* the transaction published last should be in between and is not: another history */
};

/* facts: its publication is known; conn may be asked. Errors as of a relay that streams: ERROR_RETRY "decode_failed"
 * for what the server cannot decode. */
bool gap_count(const struct gap_question *question, const struct facts *facts, struct connection *conn,
               const struct stop *stop, struct gap_counts *out, struct error *err);

#endif
