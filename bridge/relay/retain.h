/* The held-back slot: a second logical slot that stands where the relay stood a while ago, so that a window of events
 * can be streamed again. It is moved up as the window passes, on a thread and connections of its own, since moving it
 * makes the server decode WAL: publishing never waits for it. What is wrong with it is told, and is no reason to stop.
 */
#ifndef WALFERRY_RELAY_RETAIN_H
#define WALFERRY_RELAY_RETAIN_H

#include "bridge/base/stop.h"
#include "bridge/postgres/catalog.h"
#include "bridge/postgres/connection.h"

struct position;
struct progress;
struct relay_settings;

struct retain_settings {
  const char *slot;   /* NULL: none is held back */
  int64_t keep_ms;    /* the window, and how far back the position's history goes, with a slot or without */
  int64_t keep_bytes; /* of WAL that it may hold back */
};

/* Is it one that can be copied for a replay: logical, of this plugin and database, not lost? Pure. ERROR_REFUSED
 * "slot_missing", "slot_mismatch" or "slot_invalidated". */
bool retain_usable(const char *name, const struct catalog_slot *slot, const char *plugin, const char *database,
                   struct error *err);

/* Makes it as a copy of the relay's slot where there is none, and anew where it was lost: what it held back is gone
 * then. *made tells. Errors as of retain_usable and connection_query. */
bool retain_establish(const struct relay_settings *settings, struct connection *conn, const char *database, bool *made,
                      struct error *err);

/* Where the relay's slot is gone: makes it as a copy of the held-back one, if that sends everything behind the stored
 * position. Then nothing is lost, as what it sends again is known as published. *restored tells. */
bool retain_restore(const struct relay_settings *settings, const struct stop *stop, bool *restored, struct error *err);

/* The relay stood there at that time. */
struct retain_sample {
  int64_t at_us;
  lsn_t lsn;
};

/* The relay stands at lsn now: where it stood further before, the server has gone back in time. Pure. */
void retain_clip(struct retain_sample *samples, int count, lsn_t lsn);

/* Since when all is kept by a slot that stands at lsn: the relay stood there then, or a little before; 0: not known.
 * Where it stood there for a while, since the first time. Pure. */
int64_t retain_since(const struct retain_sample *samples, int count, lsn_t lsn);

/* What decides where the slot has to stand. */
struct retain_view {
  const struct retain_sample *samples; /* the oldest first */
  int sample_count;
  int64_t now_us, keep_us;
  int64_t keep_bytes;
  lsn_t restart_lsn; /* from there on the server keeps WAL for the slot; 0 unknown */
  lsn_t needed_lsn;  /* and from there on for the relay's anyway */
  lsn_t committed;   /* the relay's position */
  lsn_t pinned;      /* an unfinished replay needs what is behind it; 0: none */
};
/* The LSN to move it up to; 0: it may stay where it is. Pure. */
lsn_t retain_target(const struct retain_view *view);

struct retain;
/* NULL, and all below do nothing, without a slot in the settings. settings, stop and progress must outlive it. */
struct retain *retain_start(const struct relay_settings *settings, const struct stop *stop, struct progress *progress);
/* Does not wait for an answer that is outstanding. Accepts NULL. */
void retain_stop(struct retain *retain);
/* Relay thread: this is committed in Kafka and the relay's slot is ours (NULL: is not). It works only then. */
void retain_committed(struct retain *retain, const struct position *position);

#endif
