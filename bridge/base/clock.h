/* Time: a monotonic clock for waiting, the wall clock for stamping, and RFC 3339 texts. */
#ifndef WALFERRY_BASE_CLOCK_H
#define WALFERRY_BASE_CLOCK_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

#define CLOCK_RFC3339_SIZE 40
/* 2000-01-01 00:00 UTC, the zero of Postgres timestamps, in Unix microseconds. */
#define CLOCK_POSTGRES_EPOCH_US INT64_C(946684800000000)

int64_t clock_monotonic_ms(void);
int64_t clock_monotonic_us(void);
int64_t clock_wall_us(void); /* microseconds since 1970-01-01 UTC */
void clock_sleep_ms(int64_t ms);
void clock_sleep_us(int64_t us);
/* So many ms from now, for pthread_cond_timedwait on a condition that goes by CLOCK_MONOTONIC. */
struct timespec clock_deadline(int64_t ms);
void clock_condition_init(pthread_cond_t *condition); /* one that does */

struct clock_text {
  char text[CLOCK_RFC3339_SIZE];
};

/* "2026-11-21T08:01:58.123456Z"; the fraction is left out when it is zero. */
struct clock_text clock_rfc3339(int64_t unix_us);

#endif
