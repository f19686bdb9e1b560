/* See number.h. */
#include "bridge/base/number.h"

bool number_parse_u64(struct slice text, uint64_t max, uint64_t *value) {
  if (text.len == 0 || (text.len > 1 && text.data[0] == '0'))
    return false;
  uint64_t sum = 0;
  for (size_t i = 0; i < text.len; i++) {
    char c = text.data[i];
    if (c < '0' || c > '9')
      return false;
    if (__builtin_mul_overflow(sum, (uint64_t)10, &sum) || __builtin_add_overflow(sum, (uint64_t)(c - '0'), &sum))
      return false;
  }
  if (sum > max)
    return false;
  *value = sum;
  return true;
}

bool number_parse(struct slice text, int64_t min, int64_t max, int64_t *value) {
  bool negative = text.len > 0 && text.data[0] == '-';
  struct slice digits = negative ? slice_from(text.data + 1, text.len - 1) : text;
  uint64_t magnitude;
  uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
  if (!number_parse_u64(digits, limit, &magnitude) || (negative && magnitude == 0))
    return false;
  int64_t parsed = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
  if (parsed < min || parsed > max)
    return false;
  *value = parsed;
  return true;
}
