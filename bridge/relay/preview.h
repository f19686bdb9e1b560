/* A relay that only prints: records as lines of JSON, streamed from a temporary copy of the slot. Neither the slot nor
 * Kafka nor the position is touched, so it may run beside a relay that holds the slot. */
#ifndef WALFERRY_RELAY_PREVIEW_H
#define WALFERRY_RELAY_PREVIEW_H

#include "bridge/relay/relay.h"

struct preview_settings {
  const struct relay_settings *relay; /* its until counts, its publisher does not */
  int64_t events_max;                 /* so many records, then it is done; 0: no limit */
  int out_fd;                         /* borrowed; SIGPIPE is ignored */
};

/* Prints what a relay would publish from where the slot stands (README, "Looking without publishing"); rows that the
 * stored position covers already are printed too, since Kafka is not asked. true: stopped, the wanted LSN or number is
 * reached, or nobody reads the output any more. ERROR_REFUSED as a relay would: "slot_missing", "row_invalid" with
 * stop_on_invalid, and so on. A lost connection is ERROR_RETRY: the copy is gone with it. */
bool preview_run(const struct preview_settings *settings, const struct stop *stop, struct error *err);

#endif
