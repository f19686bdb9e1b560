/* `walferry position`: shows where the relay stands and stood, and sets where it goes on. */
#ifndef WALFERRY_OPS_POSITION_H
#define WALFERRY_OPS_POSITION_H

#include <stdio.h>

#include "bridge/relay/relay.h"

enum position_verb { POSITION_VERB_SHOW = 1, POSITION_VERB_HISTORY, POSITION_VERB_SET };

struct position_request {
  enum position_verb verb;
  bool json;           /* show, history */
  const char *target;  /* set: an LSN, or "new" */
  lsn_t lsn;           /* the same; 0 for "new" */
  const char *confirm; /* set: the instance's name; NULL: only look */
  const char *reason;  /* set; NULL: none */
};
#define POSITION_REASON_MAX 255 /* bytes */

/* show and history read only, fence nobody, and may run beside a relay. set prints what will be repeated or skipped;
 * then it is ERROR_CONFIG without the right name in confirm, with the command to type, else it is done. Errors of set
 * as of reposition_look and reposition_store. */
bool position_run(const struct position_request *request, const char *config_path, const struct relay_settings *relay,
                  const struct stop *stop, FILE *out, struct error *err);

#endif
