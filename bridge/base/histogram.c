/* See histogram.h. */
#include "bridge/base/histogram.h"

const int64_t histogram_bounds_us[HISTOGRAM_BOUNDS] = {
    1000,   2500,    5000,    10000,   25000,    50000,    100000,    250000,
    500000, 1000000, 2500000, 5000000, 10000000, 30000000, 120000000, 600000000,
};

void histogram_add(struct histogram *histogram, int64_t us) {
  if (us < 0)
    us = 0;
  int bucket = 0;
  while (bucket < HISTOGRAM_BOUNDS && us > histogram_bounds_us[bucket])
    bucket++;
  histogram->buckets[bucket]++;
  histogram->count++;
  histogram->sum_us += us;
}
