/* What systemd is told of a relay that it started (Type=notify, sd_notify(3)): that the start is over, in which state
 * the relay is, that it lives, and that it leaves. It looks at the relay's progress, as HTTP does, and knows nothing
 * else of it. Built without libsystemd, nobody is told anything. */
#ifndef WALFERRY_OPS_DAEMON_H
#define WALFERRY_OPS_DAEMON_H

#include "bridge/base/error.h"
#include "bridge/base/stop.h"
#include "bridge/relay/progress.h"

/* What was told last. */
struct daemon_told {
  bool ready;
  bool stopping;
  enum progress_state state; /* 0: nothing yet */
  int64_t generation;
  lsn_t ack_lsn;
  int64_t status_ms;   /* when */
  int64_t watchdog_ms; /* when */
};

/* A message for systemd: lines of NAME=value; empty when there is nothing to tell. */
struct daemon_message {
  char text[1536];
};

/* What there is to tell of a moment, which told is then brought up to. watchdog_every_ms: 0 if nobody watches. Pure.
 *
 * READY=1 once: when the relay streams, waits as a standby, or retries what a restart would not help either; never
 * before a refusal. STATUS= at each change, and every two seconds while the LSN moves. WATCHDOG=1 no more often than
 * asked for, and only if the relay has made a step since the last one and none of its threads hangs: a relay that hangs
 * is one to be started again. STOPPING=1 once. */
void daemon_message(struct daemon_told *told, const struct progress_snapshot *moment, bool stopping,
                    int64_t watchdog_every_ms, int64_t now_ms, struct daemon_message *out);

struct daemon;
/* A thread that looks several times a second and tells. NULL where nobody listens (no NOTIFY_SOCKET). progress and stop
 * are borrowed until daemon_end. */
struct daemon *daemon_start(struct progress *progress, const struct stop *stop);
/* Ends the thread, and says how the run ended: NULL if well. systemd shows that as the status of the ended unit.
 * Accepts NULL. */
void daemon_end(struct daemon *daemon, const struct error *why);

#endif
