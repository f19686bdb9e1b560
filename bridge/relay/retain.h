/* The held-back slot: a second logical slot that stands where the relay stood a while ago, so that a window of events
 * can be streamed again. It is moved up as the window passes, on a thread and connections of its own, and never so that
 * it hinders publishing. What is wrong with it is told, and is no reason to stop. */
#ifndef WALFERRY_RELAY_RETAIN_H
#define WALFERRY_RELAY_RETAIN_H

#include <stdint.h>

struct retain_settings {
  const char *slot;   /* NULL: none is held back */
  int64_t keep_ms;    /* the window, and how far back the position's history goes, with a slot or without */
  int64_t keep_bytes; /* of WAL that it may hold back */
};

#endif
