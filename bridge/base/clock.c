/* See clock.h. */
#include "bridge/base/clock.h"

#include <stdio.h>

static int64_t read_us(clockid_t id) {
  struct timespec ts;
  clock_gettime(id, &ts);
  return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_monotonic_us(void) {
  return read_us(CLOCK_MONOTONIC);
}

int64_t clock_monotonic_ms(void) {
  return read_us(CLOCK_MONOTONIC) / 1000;
}

int64_t clock_wall_us(void) {
  return read_us(CLOCK_REALTIME);
}

void clock_sleep_us(int64_t us) {
  struct timespec ts = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
  nanosleep(&ts, NULL);
}

void clock_sleep_ms(int64_t ms) {
  clock_sleep_us(ms * 1000);
}

struct timespec clock_deadline(int64_t ms) {
  int64_t us = clock_monotonic_us() + ms * 1000;
  return (struct timespec){.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
}

void clock_condition_init(pthread_cond_t *condition) {
  pthread_condattr_t attr;
  pthread_condattr_init(&attr);
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
  pthread_cond_init(condition, &attr);
  pthread_condattr_destroy(&attr);
}

struct clock_text clock_rfc3339(int64_t unix_us) {
  int64_t seconds = unix_us / 1000000;
  int64_t fraction = unix_us % 1000000;
  if (fraction < 0) {
    fraction += 1000000;
    seconds--;
  }
  time_t when = (time_t)seconds;
  struct tm tm;
  gmtime_r(&when, &tm);
  struct clock_text out;
  /* RFC 3339 has four digits at least, glibc's %Y has as many as it needs. */
  int year_len = snprintf(out.text, sizeof out.text, "%04lld", (long long)tm.tm_year + 1900);
  size_t used = (size_t)year_len;
  used += strftime(out.text + used, sizeof out.text - used, "-%m-%dT%H:%M:%S", &tm);
  if (fraction == 0)
    snprintf(out.text + used, sizeof out.text - used, "Z");
  else
    snprintf(out.text + used, sizeof out.text - used, ".%06dZ", (int)fraction);
  return out;
}
