/* How the outside ends a run. Written by the signal thread, read by all. */
#ifndef WALFERRY_BASE_STOP_H
#define WALFERRY_BASE_STOP_H

#include <stdatomic.h>
#include <stdbool.h>

struct stop {
  _Atomic(bool) requested; /* finish what is open, start nothing new */
  _Atomic(bool) now;       /* give up what is open too */
};

#endif
