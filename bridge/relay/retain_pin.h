/* What unfinished replays need of the held-back slot. */
#ifndef WALFERRY_RELAY_RETAIN_PIN_H
#define WALFERRY_RELAY_RETAIN_PIN_H

#include "bridge/kafka/admin.h"
#include "bridge/relay/position.h"

struct retain_pin { /* zero at first */
  int64_t read_to;  /* the end of the replays' position topic when it was read last */
  int count;
  struct retain_run *runs; /* count of them */
};

/* The lowest LSN that a replay of this instance still has to stream, among those that were not finished and got on at
 * since_us or later; 0: none. Reads of the replays' position topic what is new. ERROR_RETRY when the brokers do not
 * answer; ERROR_STOPPED once *stop. */
bool retain_pin_read(struct retain_pin *pin, const struct kafka_settings *settings, int64_t since_us, int timeout_ms,
                     const _Atomic(bool) *stop, lsn_t *pinned, struct error *err);
void retain_pin_free(struct retain_pin *pin);

#endif
