/* The relay, as HTTP, metrics and the service manager see it. */
#ifndef WALFERRY_OPS_WATCHED_RELAY_H
#define WALFERRY_OPS_WATCHED_RELAY_H

#include "bridge/ops/watched.h"
#include "bridge/relay/progress.h"

/* The source; a moment is a struct progress_snapshot. Texts are borrowed. */
struct watched_relay {
  struct progress *progress;
  const char *slot;
  const char *publication;
};
extern const struct watched_class watched_relay_class;

#endif
