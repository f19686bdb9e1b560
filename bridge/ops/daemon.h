/* What systemd is told of a relay or inbox that it started (Type=notify, sd_notify(3)): that the start is over, how it
 * is doing, that it lives, and that it leaves. Built without libsystemd, nobody is told anything. */
#ifndef WALFERRY_OPS_DAEMON_H
#define WALFERRY_OPS_DAEMON_H

#include "bridge/base/error.h"
#include "bridge/base/stop.h"
#include "bridge/ops/watched.h"

/* What was told last. */
struct daemon_told {
  bool ready;
  bool stopping;
  const char *state; /* NULL: nothing yet */
  int64_t attempt;
  char summary[sizeof((struct vitals *)NULL)->summary];
  int64_t status_ms;   /* when */
  int64_t watchdog_ms; /* when */
};

/* A message for systemd: lines of NAME=value; empty when there is nothing to tell. */
struct daemon_message {
  char text[1536];
};

/* What there is to tell of a moment, which told is then brought up to. watchdog_every_ms: 0 if nobody watches. Pure.
 *
 * READY=1 once: when the start is over, be it that what a restart would not help either is tried again; never before a
 * refusal. STATUS= at each change of state, and every two seconds while the summary changes. WATCHDOG=1 no more often
 * than asked for, and only if a step was made since the last one, or a call with a limit of its own is waited for, and
 * no thread hangs: what hangs is to be started again. STOPPING=1 once. */
void daemon_message(struct daemon_told *told, const struct vitals *vitals, bool stopping, int64_t watchdog_every_ms,
                    int64_t now_ms, struct daemon_message *out);

struct daemon;
/* A thread that looks several times a second and tells. NULL where nobody listens (no NOTIFY_SOCKET). What watched
 * points to and stop are borrowed until daemon_end. */
struct daemon *daemon_start(const struct watched *watched, const struct stop *stop);
/* Ends the thread, and says how the run ended: NULL if well. systemd shows that as the status of the ended unit.
 * Accepts NULL. */
void daemon_end(struct daemon *daemon, const struct error *why);

#endif
