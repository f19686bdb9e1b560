/* See minutes.h. */
#include "bridge/relay/minutes.h"

#include <stdio.h>

#include "bridge/base/timestamp.h"

static bool starts_with(struct slice key, const char *prefix) {
  struct slice start = slice_of(prefix);
  return key.len > start.len && slice_equal(slice_from(key.data, start.len), start);
}

int64_t minutes_clock(struct minutes_clock *clock, int64_t wall_us, int64_t monotonic_us) {
  int64_t limit_us = clock->window_us + 2 * (monotonic_us - clock->monotonic_us);
  bool jumped = clock->window_us != 0 && wall_us > limit_us;
  *clock = (struct minutes_clock){.window_us = jumped ? limit_us : wall_us, .monotonic_us = monotonic_us};
  return clock->window_us;
}

struct minutes_step minutes_step(int64_t keep_us, int64_t last_us, int64_t now_us, int64_t window_us,
                                 struct position *next) {
  struct minutes_step step = {.minute_us = now_us - now_us % MINUTES_US};
  step.due = step.minute_us != last_us;
  if (!step.due)
    return step;
  int64_t since = next->history_since_us;
  if (since == 0 || since > step.minute_us) /* also where the clock was put back */
    since = step.minute_us;
  step.drop_from_us = since;
  /* One more than the window: a copy of its first minute may have been written after the window's beginning. */
  int64_t old = (window_us - window_us % MINUTES_US - MINUTES_US - keep_us - since) / MINUTES_US;
  step.drop_count = old < 0 ? 0 : old > MINUTES_DROPS_MAX ? MINUTES_DROPS_MAX : (int)old;
  next->history_since_us = since + step.drop_count * MINUTES_US;
  return step;
}

void minutes_key(int64_t minute_us, char key[MINUTES_KEY_SIZE]) {
  char time[TIMESTAMP_TEXT_SIZE];
  timestamp_format(minute_us - minute_us % MINUTES_US, time);
  snprintf(key, MINUTES_KEY_SIZE, "at/%.16sZ", time);
}

bool minutes_is_key(struct slice key) {
  return starts_with(key, "at/");
}

void minutes_word_key(int64_t at_us, char key[2 * MINUTES_KEY_SIZE]) {
  char time[TIMESTAMP_TEXT_SIZE];
  timestamp_format(at_us, time);
  snprintf(key, 2 * MINUTES_KEY_SIZE, "set/%s", time);
}

bool minutes_is_word_key(struct slice key) {
  return starts_with(key, "set/");
}
