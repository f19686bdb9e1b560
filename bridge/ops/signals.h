/* Signals arrive here and nowhere else: a thread waits for them and sets the flags of struct stop. */
#ifndef WALFERRY_OPS_SIGNALS_H
#define WALFERRY_OPS_SIGNALS_H

#include "bridge/base/stop.h"

/* Call before any other thread exists: it blocks SIGTERM, SIGINT and SIGHUP everywhere. SIGTERM and SIGINT ask to stop;
 * 4 s later what is still open is given up, after 9 s or at a second signal the process leaves at once (what is open is
 * then settled at the next start), with this exit code. SIGHUP logs that a restart is needed. SIGPIPE is ignored. */
void signals_start(struct stop *stop, int left_exit_code);

#endif
