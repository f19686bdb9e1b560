/* The strict pass over the YAML text, before anything is loaded from it: what libcyaml lets through or reports at the
 * wrong place is refused here, and the line and column of every value are kept. Knows the schema, no meaning. */
#ifndef WALFERRY_CONFIG_YAML_TREE_H
#define WALFERRY_CONFIG_YAML_TREE_H

#include <stdbool.h>

#include <cyaml/cyaml.h>

#include "bridge/base/error.h"

struct yaml_marks;

struct yaml_place { /* both from 1, as editors count; columns are characters */
  unsigned long line;
  unsigned long column;
};

/* Checks text (len bytes) against a schema of mappings, sequences, strings and CYAML_IGNORE (a key for later, refused
 * as not supported yet). Refuses, with ERROR_CONFIG, "FILE:LINE:COLUMN: " in front and a remedy: broken YAML, an empty
 * file, a second document, anchors, aliases, tags, unknown, duplicate and missing keys, nulls, empty values, NUL bytes,
 * and a value of the wrong kind. NULL on failure; free with yaml_marks_free. */
struct yaml_marks *yaml_check(const char *path, const char *text, size_t len, const cyaml_schema_value_t *schema,
                              struct error *err);
void yaml_marks_free(struct yaml_marks *marks); /* accepts NULL */

/* Where the value of a key stands, "relay.tables[0].columns.key"; "" is the whole file. A key that the file does not
 * have gives the place of the nearest thing around it. */
struct yaml_place yaml_marks_find(const struct yaml_marks *marks, const char *key);
/* Whether the file has it: libcyaml loads an empty list like an absent one. */
bool yaml_marks_has(const struct yaml_marks *marks, const char *key);

#endif
