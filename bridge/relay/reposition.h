/* Setting the position: an operator's deliberate way out of a refusal. First it is looked at what that would mean, then
 * it is stored while nobody else can have the slot. */
#ifndef WALFERRY_RELAY_REPOSITION_H
#define WALFERRY_RELAY_REPOSITION_H

#include "bridge/relay/gap.h"

enum reposition_before {                      /* what the stored position is to this server */
                         REPOSITION_NONE = 1, /* there is none, or an intent */
                         REPOSITION_UNREADABLE,
                         REPOSITION_OTHER,     /* of another cluster, database or decoder: its LSNs say nothing here */
                         REPOSITION_LEFT,      /* of a timeline that the server left before it */
                         REPOSITION_AHEAD,     /* the server's WAL ends before it */
                         REPOSITION_REWRITTEN, /* the server lacks the transaction that was published last */
                         REPOSITION_COMPARABLE
};

struct reposition {
  const struct relay_settings *relay;
  const struct stop *stop;
  lsn_t lsn; /* asked for; 0: where a slot will begin that is not there yet */

  struct connection *conn;
  struct facts facts;       /* the slot's row too */
  char *topic;              /* of the position */
  struct catalog_slot held; /* the held-back slot; exists false: there is none that can be read */
  struct position before;   /* as stored */
  enum reposition_before what;
  lsn_t left_at; /* REPOSITION_LEFT: there */

  /* What it would mean for events. */
  bool counted;
  struct gap_counts counts;
  lsn_t counted_from, counted_to;
  const char *counted_with;     /* the slot that was copied */
  struct error uncounted;       /* why not, or ERROR_NONE */
  lsn_t unseen_from, unseen_to; /* what no slot can send any more, between the position and the slot; 0, 0: nothing */
};

/* Asks both servers, judges, and counts. Changes nothing and fences nobody. ERROR_CONFIG where the LSN is beyond the
 * server's WAL or before what the slot can send, or where a slot is there (lsn 0); ERROR_REFUSED as a start for a slot
 * or a publication that does not fit, "slot_missing" (lsn not 0). */
bool reposition_look(struct reposition *r, const struct relay_settings *relay, lsn_t lsn, const struct stop *stop,
                     struct error *err);
/* Stores it, with the word as given (its LSN is filled in), and moves the slot up to it. ERROR_FENCED "slot_held" where
 * an instance has the slot, or takes over; ERROR_RETRY where the position has moved since it was looked at. */
bool reposition_store(struct reposition *r, const struct position_word *word, struct error *err);
void reposition_free(struct reposition *r);

#endif
