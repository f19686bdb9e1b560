/* A moment as people write it on a command line. */
#ifndef WALFERRY_BASE_MOMENT_H
#define WALFERRY_BASE_MOMENT_H

#include <stdbool.h>
#include <stdint.h>

/* RFC 3339 ("2026-11-21T08:01:58Z", or with a blank, without an offset in UTC), a day ("2026-11-21"), or so long before
 * now ("90s", "15m", "2h", "7d"). */
bool moment_parse(const char *text, int64_t now_us, int64_t *unix_us);

#endif
