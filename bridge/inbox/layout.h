/* Are the inbox's tables there, as this version's statements expect them? */
#ifndef WALFERRY_INBOX_LAYOUT_H
#define WALFERRY_INBOX_LAYOUT_H

#include "bridge/postgres/connection.h"

/* ERROR_REFUSED "inbox_not_set_up" where there are none, "inbox_layout" where they are another version's; ERROR_CONFIG
 * where our role may not read them; else as of connection_query. */
bool layout_check(struct connection *conn, struct error *err);

#endif
