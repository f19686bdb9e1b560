/* Timestamps as text: what Postgres and RFC 3339 write, to and from Unix microseconds. Pure arithmetic, because the
 * C library's way (strftime, gmtime) costs as much as the rest of a record. */
#ifndef WALFERRY_BASE_TIMESTAMP_H
#define WALFERRY_BASE_TIMESTAMP_H

#include "bridge/base/slice.h"

#define TIMESTAMP_TEXT_SIZE 28 /* "2026-11-21T08:01:58.123456Z" and a NUL */

/* "2026-11-21 08:01:58.123456+00" as Postgres writes it (DateStyle ISO), or RFC 3339: blank or T between date and time,
 * any number of decimals (those behind the sixth are dropped), Z or an offset of hours, minutes and seconds, or
 * nothing, which is taken as UTC. Years 1 to 9999 only, as RFC 3339 can write no others: no infinity, no BC. */
bool timestamp_parse(struct slice text, int64_t *unix_us);

/* RFC 3339 in UTC, the fraction left out when it is zero; what lies outside the years 1 to 9999 becomes the nearest
 * instant inside. Returns the length. */
size_t timestamp_format(int64_t unix_us, char text[TIMESTAMP_TEXT_SIZE]);

/* Unix milliseconds, rounded down. */
int64_t timestamp_floor_ms(int64_t unix_us);

#endif
