/* A histogram of durations with fixed bounds, as Prometheus counts them. Not locked: its owner does that. */
#ifndef WALFERRY_BASE_HISTOGRAM_H
#define WALFERRY_BASE_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BOUNDS 16

/* Upper bounds in microseconds, each inclusive, from 1 ms to 10 min; what is longer counts in the last bucket. */
extern const int64_t histogram_bounds_us[HISTOGRAM_BOUNDS];

struct histogram {
  uint64_t buckets[HISTOGRAM_BOUNDS + 1]; /* not cumulated; the last is for what exceeds all bounds */
  uint64_t count;
  int64_t sum_us;
};

/* A negative duration (two clocks that differ) counts as 0. */
void histogram_add(struct histogram *histogram, int64_t us);

#endif
