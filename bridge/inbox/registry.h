/* Which handler an event has, by its type. Pure: no I/O. */
#ifndef WALFERRY_INBOX_REGISTRY_H
#define WALFERRY_INBOX_REGISTRY_H

#include <stddef.h>

#include "bridge/base/slice.h"

struct handler_spec {
  const char *type; /* exact, or with `*` anywhere for any run of characters */
  const char *call; /* schema.function; NULL: events of this type are ignored */
};

/* What is to be done with an event. */
enum registry_action {
  REGISTRY_CALL = 1,
  REGISTRY_IGNORE,     /* its type is said to be none of ours */
  REGISTRY_SKIP,       /* no handler is for it, and such events are passed over */
  REGISTRY_DEAD_LETTER /* no handler is for it, and such events are dead letters */
};

struct registry;

/* The specs are copied. unmatched: the action for a type that none of them is for. */
struct registry *registry_new(const struct handler_spec *specs, size_t count, enum registry_action unmatched);
void registry_free(struct registry *registry); /* accepts NULL */

/* Exact beats wildcard; of wildcards the one with the most characters beside its stars, and among equals the one given
 * first. An event without a type (absent or empty) is matched by stars alone. With REGISTRY_CALL, *handler is the index
 * in the specs and *call the function, borrowed from the registry; else they are untouched. */
enum registry_action registry_find(const struct registry *registry, struct slice type, size_t *handler,
                                   const char **call);

#endif
