/* Patterns with `*`, as routes and topic overrides have them. */
#ifndef WALFERRY_BASE_PATTERN_H
#define WALFERRY_BASE_PATTERN_H

#include "bridge/base/slice.h"

/* Exact, but that each `*` stands for any run of bytes, an empty one too. */
bool pattern_matches(const char *pattern, struct slice text);

#endif
