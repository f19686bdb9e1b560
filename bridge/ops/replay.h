/* `walferry replay`: what an operator sees of it: a bar or log lines while it runs, and a summary. */
#ifndef WALFERRY_OPS_REPLAY_H
#define WALFERRY_OPS_REPLAY_H

#include <stdio.h>

#include "bridge/relay/replay.h"

struct replay_command {
  struct replay_request request;
  int64_t max_per_second; /* records; 0: no limit */
  bool json;              /* the summary as one JSON object */
};

/* Prints the summary to out; where the records go to stdout, it is logged instead. Without postgres.replay in the
 * config a slot's is ERROR_CONFIG, else as replay_run; what is left then can be gone on with by the same command, and
 * err says so.
 */
bool replay_command_run(const struct replay_command *command, const struct relay_settings *relay,
                        const struct stop *stop, FILE *out, struct error *err);

#endif
