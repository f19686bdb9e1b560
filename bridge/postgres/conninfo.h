/* Connection strings: taken apart, expanded and put together again. No connection is made here. */
#ifndef WALFERRY_POSTGRES_CONNINFO_H
#define WALFERRY_POSTGRES_CONNINFO_H

#include <stdbool.h>

#include "bridge/base/error.h"

/* Splits text (keyword=value pairs, or a postgres:// URI) as libpq does, gives each value to expand (malloc'ed result,
 * NULL with err on failure; NULL for the function: values stay as they are) and puts keyword and value together again,
 * every value quoted: what a value expands to, blanks, quotes or nothing at all, stays that value.
 * *out: malloc'ed, untouched on failure. ERROR_CONFIG when libpq cannot split it, with libpq's words, unless they might
 * quote a secret: where the text has a password in it, and always without expand, when the text is not the file's own.
 */
bool conninfo_expand(const char *text, char *(*expand)(void *ctx, const char *value, struct error *err), void *ctx,
                     char **out, struct error *err);

/* Does a connection string as made by conninfo_expand set this keyword, be it to nothing? */
bool conninfo_has(const char *conninfo, const char *keyword);

/* The value of a keyword, malloc'ed; NULL where it is not set. */
char *conninfo_value(const char *conninfo, const char *keyword);

/* conninfo with one more keyword; a later one wins over an earlier one. malloc'ed. */
char *conninfo_with(const char *conninfo, const char *keyword, const char *value);

#endif
