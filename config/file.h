/* Reading small files whole. */
#ifndef WALFERRY_CONFIG_FILE_H
#define WALFERRY_CONFIG_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "bridge/base/error.h"

/* malloc'ed, with a NUL behind its *len bytes; NULL with ERROR_CONFIG and the system's reason. A file above max bytes
 * is refused, and so is one that is not a regular file unless any_kind (pipes: `walferry relay <(...)`). */
char *file_read(const char *path, size_t max, bool any_kind, size_t *len, struct error *err);

#endif
