/* Timeline history files, as TIMELINE_HISTORY returns them. Pure.
 * Source: PostgreSQL src/backend/access/transam/timeline.c, readTimeLineHistory. */
#ifndef WALFERRY_POSTGRES_TIMELINE_H
#define WALFERRY_POSTGRES_TIMELINE_H

#include "bridge/base/error.h"
#include "bridge/base/lsn.h"

/* Lines "timeline<blanks>switch LSN<blanks>reason", oldest ancestor first; empty lines and those starting with # do not
 * count. *found is false when `timeline` is not listed; otherwise *end is where it ended. The whole text is checked:
 * a malformed line, or timelines that do not grow, is ERROR_FATAL and leaves the outputs untouched. */
bool timeline_history_find(struct slice text, uint32_t timeline, bool *found, lsn_t *end, struct error *err);

#endif
