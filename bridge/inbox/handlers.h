/* Can the handlers be called, as the inbox calls them? */
#ifndef WALFERRY_INBOX_HANDLERS_H
#define WALFERRY_INBOX_HANDLERS_H

#include "bridge/inbox/registry.h"
#include "bridge/postgres/connection.h"

/* One, by the role of the connection; a type that is ignored needs none. The remedy is the SQL that helps.
 * ERROR_REFUSED "handler_missing", "handler_returns_set" or "handler_not_volatile"; ERROR_CONFIG
 * "handler_not_executable"; else as of connection_query. */
bool handler_check(struct connection *conn, const struct handler_spec *spec, struct error *err);

/* All; the first that fails. */
bool handlers_check(struct connection *conn, const struct handler_spec *specs, size_t count, struct error *err);

#endif
