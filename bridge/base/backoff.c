/* See backoff.h. */
#include "bridge/base/backoff.h"

void backoff_init(struct backoff *b, int64_t first_ms, int64_t cap_ms, uint64_t seed) {
  *b = (struct backoff){.first_ms = first_ms, .cap_ms = cap_ms, .random_state = seed | 1};
}

void backoff_reset(struct backoff *b) {
  b->attempts = 0;
}

/* xorshift64 (Marsaglia 2003): spreading restarts needs no better randomness. */
static uint64_t draw(struct backoff *b) {
  uint64_t x = b->random_state;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  b->random_state = x;
  return x;
}

int64_t backoff_next_ms(struct backoff *b) {
  int64_t span = b->first_ms;
  for (int i = 0; i < b->attempts && span < b->cap_ms; i++)
    span *= 2;
  if (span > b->cap_ms)
    span = b->cap_ms;
  b->attempts++;
  int64_t half = span / 2;
  return span - half + (half > 0 ? (int64_t)(draw(b) % (uint64_t)(half + 1)) : 0);
}
