/* URI references (RFC 3986). */
#ifndef WALFERRY_EVENT_URI_H
#define WALFERRY_EVENT_URI_H

#include "bridge/base/buffer.h"

/* Appends text as a URI reference: what may not stand in one is percent-encoded, what is one already stays as it is
 * (but for brackets, which are encoded everywhere, and so only the way an IPv6 host is written changes). */
void uri_append_reference(struct buffer *out, struct slice text);

#endif
