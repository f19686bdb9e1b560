/* See loading.h. */
#include "config/loading.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/buffer.h"
#include "bridge/base/memory.h"
#include "bridge/base/number.h"
#include "config/expand.h"
#include "config/nearest.h"

struct loading_key loading_key(const char *format, ...) {
  struct loading_key key;
  va_list args;
  va_start(args, format);
  vsnprintf(key.text, sizeof key.text, format, args);
  va_end(args);
  return key;
}

static bool fail_at(const struct loading *loading, const char *key, const char *what) {
  struct yaml_place place = yaml_marks_find(loading->marks, key);
  return error_set(loading->err, ERROR_CONFIG, "%s:%lu:%lu: %s", loading->path, place.line, place.column, what);
}

bool loading_fail(const struct loading *loading, const char *key, const char *format, ...) {
  char what[768];
  va_list args;
  va_start(args, format);
  vsnprintf(what, sizeof what, format, args);
  va_end(args);
  return fail_at(loading, key, what);
}

bool loading_remedy(const struct loading *loading, const char *format, ...) {
  char remedy[768];
  va_list args;
  va_start(args, format);
  vsnprintf(remedy, sizeof remedy, format, args);
  va_end(args);
  return error_remedy(loading->err, "%s", remedy);
}

bool loading_place(const struct loading *loading, const char *key) {
  struct error unplaced = *loading->err;
  loading_fail(loading, key, "`%s`: %s", key, unplaced.message);
  return loading_remedy(loading, "%s", unplaced.remedy);
}

bool loading_text(const struct loading *loading, const char *key, const char *raw, const char *fallback, char **out) {
  if (raw == NULL) {
    *out = memory_string(fallback);
    return true;
  }
  char *text = expand_environment(raw, loading->err);
  if (text == NULL)
    return loading_place(loading, key);
  if (text[0] == '\0') {
    free(text);
    loading_fail(loading, key, "`%s` is empty after \"%s\" is expanded", key, raw);
    return loading_remedy(loading, "set the variable to a value, or write ${NAME:-default}");
  }
  *out = text;
  return true;
}

bool loading_number64(const struct loading *loading, const char *key, const char *raw, int64_t fallback, int64_t min,
                      int64_t max, int64_t *out) {
  char *text;
  if (!loading_text(loading, key, raw, NULL, &text))
    return false;
  if (text == NULL) {
    *out = fallback;
    return true;
  }
  int64_t value;
  bool whole = number_parse(slice_of(text), INT64_MIN, INT64_MAX, &value);
  if (!whole)
    loading_fail(loading, key, "`%s`: \"%s\" is not a whole number", key, text);
  else if (value < min || value > max)
    loading_fail(loading, key, "`%s`: %s is out of range", key, text);
  free(text);
  if (!whole || value < min || value > max)
    return loading_remedy(
        loading, "write a number from %" PRId64 " to %" PRId64 " in plain digits: no unit, no leading zero", min, max);
  *out = value;
  return true;
}

bool loading_number(const struct loading *loading, const char *key, const char *raw, int32_t fallback, int32_t min,
                    int32_t max, int32_t *out) {
  int64_t value;
  if (!loading_number64(loading, key, raw, fallback, min, max, &value))
    return false;
  *out = (int32_t)value;
  return true;
}

struct unit {
  const char *name;
  int64_t factor;
};

/* "24h" as 24 times the factor of h; false where it is no such thing. */
static bool parse_with_unit(const char *text, const struct unit *units, size_t count, int64_t *out) {
  size_t digits = strspn(text, "0123456789");
  for (size_t i = 0; i < count; i++)
    if (strcmp(text + digits, units[i].name) == 0 &&
        number_parse(slice_from(text, digits), 0, INT64_MAX / units[i].factor, out)) {
      *out *= units[i].factor;
      return true;
    }
  return false;
}

/* remedy: what is right, as the end of "write ...". */
static bool load_with_unit(const struct loading *loading, const char *key, const char *raw, const struct unit *units,
                           size_t count, int64_t min, int64_t max, const char *remedy, int64_t *out) {
  char *text;
  if (!loading_text(loading, key, raw, NULL, &text))
    return false;
  int64_t value;
  bool understood = parse_with_unit(text, units, count, &value);
  bool ok = understood && value >= min && value <= max;
  if (!ok)
    loading_fail(loading, key, understood ? "`%s`: %s is out of range" : "`%s`: \"%s\" is not a number with its unit",
                 key, text);
  free(text);
  if (!ok)
    return loading_remedy(loading, "write %s", remedy);
  *out = value;
  return true;
}

/* How a bound reads in the largest unit that leaves no rest. */
static char *describe(int64_t value, const struct unit *units, size_t count) {
  size_t i = count - 1;
  while (i > 0 && value % units[i].factor != 0)
    i--;
  return memory_format("%" PRId64 "%s", value / units[i].factor, units[i].name);
}

static bool load_quantity(const struct loading *loading, const char *key, const char *raw, const struct unit *units,
                          size_t count, const char *names, int64_t min, int64_t max, int64_t *out) {
  char *low = describe(min, units, count), *high = describe(max, units, count);
  char *remedy = memory_format("a whole number with its unit (%s), from %s to %s", names, low, high);
  bool ok = load_with_unit(loading, key, raw, units, count, min, max, remedy, out);
  free(remedy);
  free(high);
  free(low);
  return ok;
}

bool loading_duration(const struct loading *loading, const char *key, const char *raw, int64_t fallback_ms,
                      int64_t min_ms, int64_t max_ms, int64_t *out) {
  static const struct unit units[] = {{"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
  if (raw != NULL)
    return load_quantity(loading, key, raw, units, 4, "s, m, h, d", min_ms, max_ms, out);
  *out = fallback_ms;
  return true;
}

bool loading_size(const struct loading *loading, const char *key, const char *raw, int64_t fallback, int64_t min,
                  int64_t max, int64_t *out) {
  static const struct unit units[] = {
      {"B", 1}, {"kB", 1 << 10}, {"MB", 1 << 20}, {"GB", 1 << 30}, {"TB", INT64_C(1) << 40}};
  if (raw != NULL)
    return load_quantity(loading, key, raw, units, 5, "B, kB, MB, GB, TB", min, max, out);
  *out = fallback;
  return true;
}

bool loading_bool(const struct loading *loading, const char *key, const char *raw, bool fallback, bool *out) {
  static const char *const names[] = {"false", "true"};
  size_t chosen;
  if (!loading_choice(loading, key, raw, names, 2, fallback, &chosen))
    return false;
  *out = chosen == 1;
  return true;
}

/* "a, b or c" */
static char *list_choices(const char *const *names, size_t count) {
  struct buffer list;
  buffer_init(&list, 1024);
  for (size_t i = 0; i < count; i++)
    buffer_printf(&list, "%s%s", i == 0 ? "" : i + 1 == count ? " or " : ", ", names[i]);
  buffer_append_char(&list, '\0');
  return list.data;
}

static bool refuse_choice(const struct loading *loading, const char *key, const char *text, const char *const *names,
                          size_t count) {
  const char *nearest = NULL;
  size_t best = nearest_limit(text) + 1;
  for (size_t i = 0; i < count; i++) {
    size_t distance = nearest_distance(text, names[i]);
    if (distance < best) {
      best = distance;
      nearest = names[i];
    }
  }
  char *choices = list_choices(names, count);
  loading_fail(loading, key, "`%s`: \"%s\" is not %s", key, text, choices);
  if (nearest != NULL)
    loading_remedy(loading, "did you mean \"%s\"? write %s", nearest, choices);
  else
    loading_remedy(loading, "write %s", choices);
  free(choices);
  return false;
}

bool loading_choice(const struct loading *loading, const char *key, const char *raw, const char *const *names,
                    size_t count, size_t fallback, size_t *out) {
  char *text;
  if (!loading_text(loading, key, raw, NULL, &text))
    return false;
  size_t chosen = fallback;
  if (text != NULL) {
    for (chosen = 0; chosen < count && strcmp(text, names[chosen]) != 0;)
      chosen++;
    if (chosen == count)
      refuse_choice(loading, key, text, names, count);
    free(text);
  }
  if (chosen >= count)
    return false;
  *out = chosen;
  return true;
}
