/* Exponential backoff with jitter: each delay is drawn from the upper half of a span that doubles up to a cap. */
#ifndef WALFERRY_BASE_BACKOFF_H
#define WALFERRY_BASE_BACKOFF_H

#include <stdint.h>

struct backoff {
  int64_t first_ms;
  int64_t cap_ms;
  int attempts; /* since the last reset */
  uint64_t random_state;
};

void backoff_init(struct backoff *b, int64_t first_ms, int64_t cap_ms, uint64_t seed);
void backoff_reset(struct backoff *b);
int64_t backoff_next_ms(struct backoff *b);

#endif
