/* Numbers from text, whole and in range, or not at all. */
#ifndef WALFERRY_BASE_NUMBER_H
#define WALFERRY_BASE_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

#include "bridge/base/slice.h"

/* Decimal digits with an optional minus, no blanks, no leading zeros, no plus sign, no "-0". Untouched on failure. */
bool number_parse(struct slice text, int64_t min, int64_t max, int64_t *value);
bool number_parse_u64(struct slice text, uint64_t max, uint64_t *value);

#endif
