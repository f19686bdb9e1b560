/* What SQL does to a slot besides streaming from it: copy, move up, drop. Each waits for the server as long as the
 * connection's time limit lets it. */
#ifndef WALFERRY_POSTGRES_SLOT_H
#define WALFERRY_POSTGRES_SLOT_H

#include "bridge/base/lsn.h"
#include "bridge/postgres/connection.h"

/* A permanent copy that stands where the slot does, also while another connection holds that one. */
bool slot_copy(struct connection *conn, const char *slot, const char *copy, struct error *err);
/* Moves it up to `to` at most; never back. The server decodes the WAL in between, and keeps nothing of it if it is
 * interrupted. */
bool slot_advance(struct connection *conn, const char *slot, lsn_t to, struct error *err);
/* One that is not there (any more) is no error. */
bool slot_drop(struct connection *conn, const char *slot, struct error *err);

#endif
