/* One run of the loader: where it is, and how a raw text becomes a value or an error with its place. */
#ifndef WALFERRY_CONFIG_LOADING_H
#define WALFERRY_CONFIG_LOADING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bridge/base/error.h"
#include "config/yaml_tree.h"

struct loading {
  const char *path; /* of the file, for messages */
  const struct yaml_marks *marks;
  struct error *err;
};

/* The key of a value, "relay.tables[0].table". */
struct loading_key {
  char text[128];
};
struct loading_key loading_key(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ERROR_CONFIG "FILE:LINE:COLUMN: ..."; add the remedy with loading_remedy. Both return false. */
bool loading_fail(const struct loading *loading, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool loading_remedy(const struct loading *loading, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Puts the place and the key in front of an error that has none yet; its remedy stays. */
bool loading_place(const struct loading *loading, const char *key);

/* Each takes the raw text (NULL: the file has no such key, the fallback serves), expands ${...} in it, and writes *out.
 * On failure the error is set and *out untouched. */

/* A text that is not empty after expansion. *out is malloc'ed; NULL when both raw and fallback are. */
bool loading_text(const struct loading *loading, const char *key, const char *raw, const char *fallback, char **out);
/* A whole number in decimal digits, min to max. */
bool loading_number(const struct loading *loading, const char *key, const char *raw, int32_t fallback, int32_t min,
                    int32_t max, int32_t *out);
bool loading_number64(const struct loading *loading, const char *key, const char *raw, int64_t fallback, int64_t min,
                      int64_t max, int64_t *out);
/* A whole number with a unit behind it: s, m, h or d. *out in ms. */
bool loading_duration(const struct loading *loading, const char *key, const char *raw, int64_t fallback_ms,
                      int64_t min_ms, int64_t max_ms, int64_t *out);
/* A whole number with a unit behind it: B, kB, MB, GB or TB, each 1024 of the one before, as in Postgres' settings.
 * *out in bytes. */
bool loading_size(const struct loading *loading, const char *key, const char *raw, int64_t fallback, int64_t min,
                  int64_t max, int64_t *out);
/* true or false, nothing else. */
bool loading_bool(const struct loading *loading, const char *key, const char *raw, bool fallback, bool *out);
/* One of count names; *out is its index. */
bool loading_choice(const struct loading *loading, const char *key, const char *raw, const char *const *names,
                    size_t count, size_t fallback, size_t *out);

#endif
