/* The snapshot: the rows that stood in the outbox tables when the slot was made, published before what it streams.
 * Publisher thread; the slot is held meanwhile, and nothing of it acknowledged. */
#ifndef WALFERRY_RELAY_SNAPSHOT_H
#define WALFERRY_RELAY_SNAPSHOT_H

#include "bridge/postgres/rowstream.h"
#include "bridge/relay/relay.h"
#include "bridge/relay/source.h"
#include "bridge/relay/tidy.h"

struct snapshot {
  const struct relay_settings *settings;
  lsn_t point; /* the slot's consistent point: the wf_lsn of the rows, and the work list's name */
  struct publisher *publisher;
  struct source *source; /* holds the slot */
  struct progress *progress;
  struct tidy *tidy;          /* is told of published rows by the publisher; NULL: they stay as they are */
  struct rowstream_wait wait; /* asked between any two steps; false, with err, ends it */
};

/* Copies the rows that an exported snapshot shows into the work list; *out is what the position has to say of it. A
 * first position may be stored then, and not before. Errors as of worklist_fill. */
bool snapshot_copy(const struct snapshot *s, const struct catalog_publication *facts, const char *exported,
                   struct position_snapshot *out, struct error *err);

/* Publishes what the publisher's position says is left of the work list, waits until its rows are marked or deleted
 * where they are to be, drops it (where somebody reads it, that is left to a later start), and stores that.
 * ERROR_REFUSED "snapshot_lost" where the list is not there whole; other errors as of publisher_publish. */
bool snapshot_publish(const struct snapshot *s, struct error *err);

/* With a snapshot that is done: drops what there still is of its work list, and of earlier attempts' that ended late.
 * Those of a slot made later, behind position, stay. That it cannot is logged. */
void snapshot_drop_left(const struct relay_settings *settings, struct connection *conn,
                        const struct position *position);

#endif
