/* See lsn.h. */
#include "bridge/base/lsn.h"

#include <inttypes.h>
#include <stdio.h>

static bool hex_part(const char *data, size_t len, uint32_t *value) {
  if (len == 0 || len > 8)
    return false;
  uint32_t sum = 0;
  for (size_t i = 0; i < len; i++) {
    char c = data[i];
    uint32_t digit;
    if (c >= '0' && c <= '9')
      digit = (uint32_t)(c - '0');
    else if (c >= 'A' && c <= 'F')
      digit = (uint32_t)(c - 'A') + 10;
    else if (c >= 'a' && c <= 'f')
      digit = (uint32_t)(c - 'a') + 10;
    else
      return false;
    sum = sum << 4 | digit;
  }
  *value = sum;
  return true;
}

bool lsn_parse(struct slice text, lsn_t *lsn) {
  const char *slash = text.len == 0 ? NULL : memchr(text.data, '/', text.len);
  if (slash == NULL)
    return false;
  size_t high_len = (size_t)(slash - text.data);
  uint32_t high, low;
  if (!hex_part(text.data, high_len, &high) || !hex_part(slash + 1, text.len - high_len - 1, &low))
    return false;
  *lsn = (uint64_t)high << 32 | low;
  return true;
}

struct lsn_text lsn_format(lsn_t lsn) {
  struct lsn_text out;
  snprintf(out.text, sizeof out.text, "%" PRIX32 "/%" PRIX32, (uint32_t)(lsn >> 32), (uint32_t)lsn);
  return out;
}
