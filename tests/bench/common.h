/* What the benchmark's programs share: a schedule of events, their ids, options that are numbers. */
#ifndef WALFERRY_BENCH_COMMON_H
#define WALFERRY_BENCH_COMMON_H

#include <stdbool.h>
#include <stdint.h>

#define BENCH_ID_SIZE 37 /* a UUID as text, with its NUL */
#define BENCH_KEYS 1000  /* that events take in turn */

/* Event n of a run; the same in the table and in the topic. */
void bench_id(char id[BENCH_ID_SIZE], int64_t n);

/* Prints the message and ends the program with 1. */
void bench_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Prints the help and ends the program: with 0 when it was asked for, else with 2, on stderr. */
void bench_usage(const char *help, bool asked) __attribute__((noreturn));

/* The value of an option, whole and in range, or usage: exit 2. */
int64_t bench_number(const char *option, const char *text, int64_t min, int64_t max);

/* Event i is due at start + i / rate; times are microseconds of the wall clock, so that they compare with those of
 * other processes and of Postgres. */
int64_t bench_due_us(int64_t start_us, int64_t i, int64_t rate);
void bench_sleep_until(int64_t wall_us);

#endif
