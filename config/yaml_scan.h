/* The first look at a YAML text: is it well-formed, one document, and free of what a config file does not need? */
#ifndef WALFERRY_CONFIG_YAML_SCAN_H
#define WALFERRY_CONFIG_YAML_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "bridge/base/error.h"

/* Refuses broken YAML, an empty file, a second document, anchors, aliases, tags and nesting deeper than any config
 * file's: ERROR_CONFIG with "FILE:LINE:COLUMN: " in front and a remedy. */
bool yaml_scan(const char *path, const char *text, size_t len, struct error *err);

#endif
