/* See pattern.h. */
#include "bridge/base/pattern.h"

/* After a mismatch only the last star needs to take more: linear in practice. */
bool pattern_matches(const char *pattern, struct slice text) {
  const char *after_star = NULL;
  size_t at = 0, star_at = 0;
  while (at < text.len) {
    if (*pattern == '*') {
      after_star = ++pattern;
      star_at = at;
      if (*pattern == '\0')
        return true;
    } else if (*pattern == text.data[at] && *pattern != '\0') {
      pattern++;
      at++;
    } else if (after_star != NULL) {
      pattern = after_star;
      at = ++star_at;
    } else {
      return false;
    }
  }
  while (*pattern == '*')
    pattern++;
  return *pattern == '\0';
}
