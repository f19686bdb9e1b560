/* The bytes of a JSON string that stand for themselves. */
#ifndef WALFERRY_BASE_JSONSTRING_H
#define WALFERRY_BASE_JSONSTRING_H

#include <stdbool.h>

/* Behind them: at a quote, a backslash, a control character, at a byte beyond ASCII unless any_bytes, or at end. */
const char *jsonstring_plain_end(const char *at, const char *end, bool any_bytes);

#endif
