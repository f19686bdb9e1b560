/* Named moments at which a test can kill or hold the process. Present only in builds with WALFERRY_FAILPOINTS;
 * elsewhere FAILPOINT costs nothing.
 *
 *   WALFERRY_FAILPOINT="publisher.after_commit=kill"           at the first hit
 *   WALFERRY_FAILPOINT="publisher.after_produce=kill@3"        at the third hit
 *   WALFERRY_FAILPOINT="publisher.before_commit=pause:/path"   creates /path, waits until it is removed
 *   WALFERRY_FAILPOINT="clock=x60"                             FAILPOINT_CLOCK: the wall clock, so many times as fast
 * Several are separated by commas. */
#ifndef WALFERRY_BASE_FAILPOINT_H
#define WALFERRY_BASE_FAILPOINT_H

#ifdef WALFERRY_FAILPOINTS
#include <stdint.h>

void failpoint_hit(const char *name);
int64_t failpoint_clock(int64_t unix_us);
#define FAILPOINT(name) failpoint_hit(name)
#define FAILPOINT_CLOCK(unix_us) failpoint_clock(unix_us)
#else
#define FAILPOINT(name) ((void)0)
#define FAILPOINT_CLOCK(unix_us) (unix_us)
#endif

#endif
