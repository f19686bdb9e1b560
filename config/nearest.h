/* "Did you mean ...?" */
#ifndef WALFERRY_CONFIG_NEAREST_H
#define WALFERRY_CONFIG_NEAREST_H

#include <stddef.h>

/* How many letters must be changed, added or dropped to make b of a, without regard to case. Texts longer than 63
 * characters are far from everything: NEAREST_FAR. */
#define NEAREST_FAR ((size_t)1000)
size_t nearest_distance(const char *a, const char *b);

/* Near enough to be a slip of the fingers: about one letter in three, at most three. */
size_t nearest_limit(const char *text);

#endif
