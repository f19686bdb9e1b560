/* Which topic an event goes to: routes in order, first match wins; patterns and templates are compiled once. */
#ifndef WALFERRY_EVENT_ROUTER_H
#define WALFERRY_EVENT_ROUTER_H

#include "bridge/base/buffer.h"
#include "bridge/base/error.h"
#include "bridge/event/event.h"

struct router;

struct route_spec {
  const char *type;  /* exact, or with `*` anywhere for any run of characters */
  const char *topic; /* literal with ${aggregate} ${type} ${key} ${tenant_id} ${version} ${source}; $$ is a dollar */
  bool round_robin;  /* its events are spread over the partitions, whatever their keys */
};

/* ERROR_CONFIG names the route and what is wrong with its template. The specs are copied. */
struct router *router_new(const struct route_spec *routes, int count, struct error *err);
void router_free(struct router *router);

/* Appends the topic's name. false: no route matched, or a field that the template needs is absent (named in why, of at
 * least 128 bytes). An event's own topic field beats the routes, and is then placed by key. source falls back to
 * default_source. */
bool router_topic(const struct router *router, const struct event *event, struct slice default_source,
                  struct buffer *topic, bool *round_robin, char *why, size_t why_size);

/* The topics that need no event to be known (templates without fields), for creation ahead of time. */
int router_literal_topics(const struct router *router, const char **topics, int max);

/* Of the other topics what stands before their first field, each once; it may be empty. Borrowed from the router. */
int router_template_prefixes(const struct router *router, struct slice *prefixes, int max);

#endif
