/* See nearest.h. Levenshtein's distance, row by row. */
#include "config/nearest.h"

#include <ctype.h>
#include <string.h>

#define TEXT_MAX 63

static size_t least(size_t a, size_t b) {
  return a < b ? a : b;
}

size_t nearest_distance(const char *a, const char *b) {
  size_t a_len = strlen(a), b_len = strlen(b);
  if (a_len > TEXT_MAX || b_len > TEXT_MAX)
    return NEAREST_FAR;
  size_t row[TEXT_MAX + 1];
  for (size_t j = 0; j <= b_len; j++)
    row[j] = j;
  for (size_t i = 1; i <= a_len; i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b_len; j++) {
      size_t differs = tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]);
      size_t best = least(diagonal + differs, least(row[j - 1], row[j]) + 1);
      diagonal = row[j];
      row[j] = best;
    }
  }
  return row[b_len];
}

size_t nearest_limit(const char *text) {
  size_t limit = (strlen(text) + 2) / 3;
  return limit < 1 ? 1 : least(limit, 3);
}
