/* See common.h. */
#include "tests/bench/common.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bridge/base/number.h"

void bench_id(char id[BENCH_ID_SIZE], int64_t n) {
  snprintf(id, BENCH_ID_SIZE, "00000000-0000-4000-8000-%012" PRIx64, (uint64_t)n & UINT64_C(0xffffffffffff));
}

void bench_fail(const char *format, ...) {
  va_list args;
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fputc('\n', stderr);
  exit(1);
}

void bench_usage(const char *help, bool asked) {
  fputs(help, asked ? stdout : stderr);
  exit(asked ? 0 : 2);
}

int64_t bench_number(const char *option, const char *text, int64_t min, int64_t max) {
  int64_t value;
  if (number_parse(slice_of(text), min, max, &value))
    return value;
  fprintf(stderr, "--%s: %s is not a number from %" PRId64 " to %" PRId64 "\n", option, text, min, max);
  exit(2);
}

int64_t bench_due_us(int64_t start_us, int64_t i, int64_t rate) {
  return start_us + i * 1000000 / rate;
}

void bench_sleep_until(int64_t wall_us) {
  struct timespec until = {.tv_sec = wall_us / 1000000, .tv_nsec = wall_us % 1000000 * 1000};
  while (clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL) == EINTR)
    ;
}
