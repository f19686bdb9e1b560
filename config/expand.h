/* ${NAME} in configured texts. */
#ifndef WALFERRY_CONFIG_EXPAND_H
#define WALFERRY_CONFIG_EXPAND_H

#include <stdbool.h>

#include "bridge/base/error.h"

/* Replaces ${NAME} by the environment's value, which may be empty; ${NAME:-default} by the default where NAME is not
 * set or empty; $$ by one dollar. An undefined name, a dollar before anything else and an unfinished ${ are
 * ERROR_CONFIG, with a remedy and without a place. The values are never part of an error.
 * malloc'ed; NULL on failure. */
char *expand_environment(const char *text, struct error *err);

/* The whole text is one reference, "${DATABASE_URL}". */
bool expand_is_reference(const char *text);

#endif
