/* An event that is as it should be, for tests to bend; slices of literals. */
#ifndef WALFERRY_TESTS_EVENT_FIXTURE_H
#define WALFERRY_TESTS_EVENT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "bridge/event/event.h"

/* For static tables; a call is no constant. */
#define LITERAL(text)                                                                                                  \
  { .data = (text), .len = sizeof(text) - 1 }

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

/* Byte for byte, and readable when it fails. */
#define assert_slice(actual, expected)                                                                                 \
  do {                                                                                                                 \
    struct slice slice_actual = (actual), slice_expected = (expected);                                                 \
    if (!slice_equal(slice_actual, slice_expected))                                                                    \
      fail_msg("expected (%zu) %.*s\n     got (%zu) %.*s", slice_expected.len, SLICE_ARG(slice_expected),              \
               slice_actual.len, SLICE_ARG(slice_actual));                                                             \
  } while (0)
#define assert_text(actual, expected) assert_slice(actual, slice_of(expected))

#define FIXTURE_LSN UINT64_C(0x16B374D848)
#define FIXTURE_COMMIT_US INT64_C(1795248120000000) /* 2026-11-21 08:02:00 UTC */

static inline struct event fixture_event(void) {
  struct event event = {.origin = "public.outbox",
                        .payload_form = PAYLOAD_JSON,
                        .occurred_at_us = INT64_C(1795248118123456), /* 2026-11-21 08:01:58.123456 UTC */
                        .commit_lsn = FIXTURE_LSN,
                        .commit_time_us = FIXTURE_COMMIT_US,
                        .xid = 4294967295,
                        .index = 7};
  event.fields[FIELD_ID] = slice_of("e-1");
  event.fields[FIELD_TYPE] = slice_of("RentalReserved");
  event.fields[FIELD_KEY] = slice_of("r-17");
  event.fields[FIELD_AGGREGATE] = slice_of("Rental");
  event.fields[FIELD_PAYLOAD] = slice_of("{\"a\": 1}");
  return event;
}

#endif
