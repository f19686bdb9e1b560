/* See moment.h. */
#include "bridge/base/moment.h"

#include <stdio.h>
#include <string.h>

#include "bridge/base/number.h"
#include "bridge/base/timestamp.h"

static bool parse_ago(struct slice text, int64_t now_us, int64_t *unix_us) {
  static const struct {
    char unit;
    int64_t seconds;
  } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
  for (size_t i = 0; i < sizeof units / sizeof units[0] && text.len > 1; i++) {
    int64_t count;
    if (text.data[text.len - 1] != units[i].unit ||
        !number_parse(slice_from(text.data, text.len - 1), 0, 1000000, &count))
      continue;
    *unix_us = now_us - count * units[i].seconds * 1000000;
    return true;
  }
  return false;
}

bool moment_parse(const char *text, int64_t now_us, int64_t *unix_us) {
  if (parse_ago(slice_of(text), now_us, unix_us) || timestamp_parse(slice_of(text), unix_us))
    return true;
  char day[TIMESTAMP_TEXT_SIZE];
  int len = snprintf(day, sizeof day, "%sT00:00:00Z", text);
  return strlen(text) == strlen("2026-11-21") && timestamp_parse(slice_from(day, (size_t)len), unix_us);
}
