/* Which copies of the position a commit writes into its history (history.h), and which old ones it takes away. Pure. */
#ifndef WALFERRY_RELAY_MINUTES_H
#define WALFERRY_RELAY_MINUTES_H

#include "bridge/relay/position.h"

#define MINUTES_US INT64_C(60000000)
#define MINUTES_KEY_SIZE 32
#define MINUTES_DROPS_MAX 64 /* tombstones in one Kafka transaction; more wait for the next minute */

/* The time that a window counts back from: the wall clock's, but where that jumps ahead it follows at no more than
 * twice the pace of the monotonic one, so that what a window holds is not given up before anybody can put the clock
 * right. */
struct minutes_clock {             /* zero at first */
  int64_t window_us, monotonic_us; /* of the look before */
};
int64_t minutes_clock(struct minutes_clock *clock, int64_t wall_us, int64_t monotonic_us);

struct minutes_step {
  bool due;          /* the first commit of its minute: the following holds */
  int64_t minute_us; /* the copy's */
  int64_t drop_from_us;
  int drop_count; /* minutes to be tombstoned, from drop_from_us on */
};

/* last_us: the minute of the copy that was written last in this run; 0: none. window_us: of minutes_clock. The step is
 * noted in next, the position that will be stored with it: from which minute on there may be copies survives a restart
 * that way. */
struct minutes_step minutes_step(int64_t keep_us, int64_t last_us, int64_t now_us, int64_t window_us,
                                 struct position *next);

/* "at/2026-11-22T01:08Z" */
void minutes_key(int64_t minute_us, char key[MINUTES_KEY_SIZE]);
bool minutes_is_key(struct slice key);

/* "set/2026-11-22T01:08:15.123456Z": the copy that tells of an operator's word, and stays. */
void minutes_word_key(int64_t at_us, char key[2 * MINUTES_KEY_SIZE]);
bool minutes_is_word_key(struct slice key);

#endif
