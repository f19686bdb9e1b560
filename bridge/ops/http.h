/* Serves the pages of pages.h. One thread of its own, which only reads; few connections, small requests, no bodies. */
#ifndef WALFERRY_OPS_HTTP_H
#define WALFERRY_OPS_HTTP_H

#include "bridge/base/error.h"
#include "bridge/ops/watched.h"

struct http;

/* listen: "host:port", an IPv6 host in brackets; port 0 takes a free one. Logs "http.listening" with address and port.
 * What watched points to is borrowed until http_stop. ERROR_CONFIG when it cannot listen there. */
struct http *http_start(const char *listen, const struct watched *watched, struct error *err);
void http_stop(struct http *http); /* accepts NULL */

#endif
