/* Looks every few seconds at what may change under a relay that streams: the publication (or the tables) and the slot.
 * On a thread and a connection of its own, so that publishing goes on while the server answers. Judging what was seen
 * is relay.c's. */
#ifndef WALFERRY_RELAY_WATCH_H
#define WALFERRY_RELAY_WATCH_H

#include "bridge/relay/facts.h"

#define WATCH_INTERVAL_MS 3000

struct watch;

/* The connection is the watch's from now on; settings and stop must outlive it. */
struct watch *watch_start(const struct relay_settings *settings, const struct stop *stop, struct connection *conn);
/* Does not wait for an answer that is outstanding. Accepts NULL. */
void watch_stop(struct watch *watch);

/* There is something to take: what was seen since the last time, a failure, or a look that takes so long that it has to
 * be waited for. Costs a mutex. */
bool watch_ready(struct watch *watch);
/* Puts publication and slot as seen last into facts. It waits for a look that begins after this call where `fresh`,
 * else only for one that is under way when nothing was seen yet. False with err once a look has failed: no more come.
 * ERROR_STOPPED where a stop is requested meanwhile. */
bool watch_take(struct watch *watch, bool fresh, struct facts *facts, struct error *err);

#endif
