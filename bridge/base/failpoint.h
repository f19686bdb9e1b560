/* Named moments at which a test can kill or hold the process. Present only in builds with WALFERRY_FAILPOINTS;
 * elsewhere FAILPOINT costs nothing.
 *
 *   WALFERRY_FAILPOINT="publisher.after_commit=kill"           at the first hit
 *   WALFERRY_FAILPOINT="publisher.after_produce=kill@3"        at the third hit
 *   WALFERRY_FAILPOINT="publisher.before_commit=pause:/path"   creates /path, waits until it is removed
 * Several are separated by commas. */
#ifndef WALFERRY_BASE_FAILPOINT_H
#define WALFERRY_BASE_FAILPOINT_H

#ifdef WALFERRY_FAILPOINTS
void failpoint_hit(const char *name);
#define FAILPOINT(name) failpoint_hit(name)
#else
#define FAILPOINT(name) ((void)0)
#endif

#endif
