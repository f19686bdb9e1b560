/* Log sequence numbers of Postgres: a byte position in the WAL, written "16/B374D848". */
#ifndef WALFERRY_BASE_LSN_H
#define WALFERRY_BASE_LSN_H

#include <stdbool.h>
#include <stdint.h>

#include "bridge/base/slice.h"

typedef uint64_t lsn_t; /* 0 is "none", as in Postgres (InvalidXLogRecPtr) */

#define LSN_TEXT_SIZE 18

struct lsn_text {
  char text[LSN_TEXT_SIZE];
};

/* Strict: one to eight hexadecimal digits, a slash, one to eight more, nothing else. */
bool lsn_parse(struct slice text, lsn_t *lsn);
/* By value, so that one expression may hold several: lsn_format(lsn).text */
struct lsn_text lsn_format(lsn_t lsn);

#endif
