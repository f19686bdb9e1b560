/* See yaml_tree.h. */
#include "config/yaml_tree.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "bridge/base/buffer.h"
#include "bridge/base/memory.h"
#include "config/nearest.h"
#include "config/yaml_scan.h"

struct yaml_mark_entry {
  char *key;
  struct yaml_place place;
};

struct yaml_marks {
  struct yaml_mark_entry *entries;
  size_t count;
  size_t capacity;
};

struct walk {
  const char *path;
  yaml_document_t *document;
  struct yaml_marks *marks;
  struct error *err;
};

static void marks_add(struct yaml_marks *marks, const char *key, yaml_mark_t mark) {
  if (marks->count == marks->capacity) {
    marks->capacity = marks->capacity == 0 ? 64 : marks->capacity * 2;
    marks->entries = memory_resize(marks->entries, marks->capacity * sizeof *marks->entries);
  }
  marks->entries[marks->count++] =
      (struct yaml_mark_entry){.key = memory_string(key), .place = {.line = mark.line + 1, .column = mark.column + 1}};
}

void yaml_marks_free(struct yaml_marks *marks) {
  if (marks == NULL)
    return;
  for (size_t i = 0; i < marks->count; i++)
    free(marks->entries[i].key);
  free(marks->entries);
  free(marks);
}

/* Length of the key around this one: a.b[0] -> a.b -> a -> "". */
static size_t parent_length(const char *key, size_t len) {
  while (len > 0 && key[len - 1] != '.' && key[len - 1] != '[')
    len--;
  return len > 0 ? len - 1 : 0;
}

static const struct yaml_mark_entry *find_entry(const struct yaml_marks *marks, const char *key, size_t len) {
  for (size_t i = 0; i < marks->count; i++) {
    const struct yaml_mark_entry *entry = &marks->entries[i];
    if (strlen(entry->key) == len && memcmp(entry->key, key, len) == 0)
      return entry;
  }
  return NULL;
}

bool yaml_marks_has(const struct yaml_marks *marks, const char *key) {
  return find_entry(marks, key, strlen(key)) != NULL;
}

struct yaml_place yaml_marks_find(const struct yaml_marks *marks, const char *key) {
  for (size_t len = strlen(key);; len = parent_length(key, len)) {
    const struct yaml_mark_entry *entry = find_entry(marks, key, len);
    if (entry != NULL)
      return entry->place;
    if (len == 0)
      return (struct yaml_place){.line = 1, .column = 1};
  }
}

__attribute__((format(printf, 3, 4))) static bool refuse(const struct walk *walk, yaml_mark_t mark, const char *format,
                                                         ...) {
  char what[512];
  va_list args;
  va_start(args, format);
  vsnprintf(what, sizeof what, format, args);
  va_end(args);
  return error_set(walk->err, ERROR_CONFIG, "%s:%zu:%zu: %s", walk->path, mark.line + 1, mark.column + 1, what);
}

/* "the file" or "`relay.tables[0]`". */
static char *describe(const char *key) {
  return key[0] == '\0' ? memory_string("the file") : memory_format("`%s`", key);
}

static const char *kind_name(yaml_node_type_t type) {
  switch (type) {
  case YAML_SCALAR_NODE:
    return "a single value";
  case YAML_SEQUENCE_NODE:
    return "a list";
  case YAML_MAPPING_NODE:
    return "a mapping (key: value)";
  case YAML_NO_NODE:
    break;
  }
  return "nothing";
}

/* The keys that this mapping may have, as "a, b, c"; those for later are left out. */
static char *possible_keys(const cyaml_schema_field_t *fields) {
  struct buffer list;
  buffer_init(&list, 4096);
  for (const cyaml_schema_field_t *field = fields; field->key != NULL; field++) {
    if (field->value.type == CYAML_IGNORE)
      continue;
    buffer_append_text(&list, list.len > 0 ? ", " : "");
    buffer_append_text(&list, field->key);
  }
  buffer_append_char(&list, '\0');
  return list.data;
}

static bool refuse_unknown(const struct walk *walk, const yaml_node_t *key, const char *name, const char *parent,
                           const cyaml_schema_field_t *fields) {
  const char *nearest = NULL;
  size_t best = nearest_limit(name);
  for (const cyaml_schema_field_t *field = fields; field->key != NULL; field++) {
    size_t distance = field->value.type == CYAML_IGNORE ? NEAREST_FAR : nearest_distance(name, field->key);
    if (distance < best || (distance == best && nearest == NULL)) {
      best = distance;
      nearest = field->key;
    }
  }
  char *where = describe(parent), *possible = possible_keys(fields);
  refuse(walk, key->start_mark, "unknown key \"%s\" in %s", name, where);
  if (nearest != NULL)
    error_remedy(walk->err, "did you mean \"%s\"? possible keys here: %s", nearest, possible);
  else
    error_remedy(walk->err, "possible keys here: %s", possible);
  free(where);
  free(possible);
  return false;
}

static bool has_nul(const yaml_node_t *scalar) {
  return memchr(scalar->data.scalar.value, '\0', scalar->data.scalar.length) != NULL;
}

static const char *scalar_text(const yaml_node_t *scalar) {
  return (const char *)scalar->data.scalar.value; /* libyaml ends it with a NUL */
}

static bool check_scalar(const struct walk *walk, const yaml_node_t *node, const char *key) {
  static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
  const char *text = scalar_text(node);
  if (has_nul(node)) {
    refuse(walk, node->start_mark, "`%s` holds a NUL byte", key);
    return error_remedy(walk->err, "remove the \\0 from it");
  }
  bool plain = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
  for (size_t i = 0; i < sizeof nulls / sizeof nulls[0]; i++) {
    if ((plain || i == 0) && strcmp(text, nulls[i]) == 0) {
      refuse(walk, node->start_mark, "`%s` has no value", key);
      return error_remedy(walk->err, "give `%s` a value, or leave the key out where it has a default", key);
    }
  }
  return true;
}

static bool check_node(struct walk *walk, int index, const cyaml_schema_value_t *schema, const char *key);

static bool check_sequence(struct walk *walk, const yaml_node_t *node, const cyaml_schema_value_t *schema,
                           const char *key) {
  unsigned i = 0;
  for (yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top; item++, i++) {
    char *item_key = memory_format("%s[%u]", key, i);
    bool ok = check_node(walk, *item, schema->sequence.entry, item_key);
    free(item_key);
    if (!ok)
      return false;
  }
  return true;
}

static const cyaml_schema_field_t *find_field(const cyaml_schema_field_t *fields, const char *name) {
  for (const cyaml_schema_field_t *field = fields; field->key != NULL; field++) {
    if (strcmp(field->key, name) == 0)
      return field;
  }
  return NULL;
}

/* The first pair before end whose key is name; NULL if there is none. */
static const yaml_node_t *find_key(const struct walk *walk, const yaml_node_t *mapping, const yaml_node_pair_t *end,
                                   const char *name) {
  for (const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start; pair < end; pair++) {
    const yaml_node_t *key = yaml_document_get_node(walk->document, pair->key);
    if (key != NULL && key->type == YAML_SCALAR_NODE && strcmp(scalar_text(key), name) == 0)
      return key;
  }
  return NULL;
}

static bool check_pair(struct walk *walk, const yaml_node_t *mapping, const yaml_node_pair_t *pair,
                       const cyaml_schema_field_t *fields, const char *parent) {
  const yaml_node_t *key = yaml_document_get_node(walk->document, pair->key);
  if (key->type != YAML_SCALAR_NODE || has_nul(key)) {
    refuse(walk, key->start_mark, "a key must be a plain word");
    return error_remedy(walk->err, "write `key: value`; text with { or [ in front goes in double quotes");
  }
  const char *name = scalar_text(key);
  const cyaml_schema_field_t *field = find_field(fields, name);
  if (field == NULL)
    return refuse_unknown(walk, key, name, parent, fields);
  const yaml_node_t *earlier = find_key(walk, mapping, pair, name);
  if (earlier != NULL) {
    refuse(walk, key->start_mark, "duplicate key \"%s\", already on line %zu", name, earlier->start_mark.line + 1);
    return error_remedy(walk->err, "keep one of the two");
  }
  char *full = memory_format("%s%s%s", parent, parent[0] == '\0' ? "" : ".", name);
  bool ok;
  if (field->value.type == CYAML_IGNORE) {
    refuse(walk, key->start_mark, "`%s` is not supported yet", full);
    ok = error_remedy(walk->err, "remove the key");
  } else {
    ok = check_node(walk, pair->value, &field->value, full);
  }
  free(full);
  return ok;
}

static bool check_mapping(struct walk *walk, const yaml_node_t *node, const cyaml_schema_value_t *schema,
                          const char *key) {
  const cyaml_schema_field_t *fields = schema->mapping.fields;
  const yaml_node_pair_t *end = node->data.mapping.pairs.top;
  for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < end; pair++) {
    if (!check_pair(walk, node, pair, fields, key))
      return false;
  }
  for (const cyaml_schema_field_t *field = fields; field->key != NULL; field++) {
    if ((field->value.flags & CYAML_FLAG_OPTIONAL) != 0 || find_key(walk, node, end, field->key) != NULL)
      continue;
    char *where = describe(key);
    refuse(walk, node->start_mark, "%s lacks the required key \"%s\"", where, field->key);
    error_remedy(walk->err, "add `%s:` to %s", field->key, where);
    free(where);
    return false;
  }
  return true;
}

static bool check_node(struct walk *walk, int index, const cyaml_schema_value_t *schema, const char *key) {
  const yaml_node_t *node = yaml_document_get_node(walk->document, index);
  yaml_node_type_t wanted = schema->type == CYAML_MAPPING    ? YAML_MAPPING_NODE
                            : schema->type == CYAML_SEQUENCE ? YAML_SEQUENCE_NODE
                                                             : YAML_SCALAR_NODE;
  if (node->type == YAML_SCALAR_NODE && key[0] != '\0' && !check_scalar(walk, node, key))
    return false;
  if (node->type != wanted) {
    char *where = describe(key);
    refuse(walk, node->start_mark, "%s must be %s, but is %s", where, kind_name(wanted), kind_name(node->type));
    free(where);
    return error_remedy(walk->err, wanted == YAML_SEQUENCE_NODE  ? "write it as a list: [a, b], or one `- item` a line"
                                   : wanted == YAML_MAPPING_NODE ? "write keys with values, indented below it"
                                                                 : "write one value behind the colon");
  }
  marks_add(walk->marks, key, node->start_mark);
  if (wanted == YAML_MAPPING_NODE)
    return check_mapping(walk, node, schema, key);
  return wanted == YAML_SCALAR_NODE || check_sequence(walk, node, schema, key);
}

struct yaml_marks *yaml_check(const char *path, const char *text, size_t len, const cyaml_schema_value_t *schema,
                              struct error *err) {
  if (!yaml_scan(path, text, len, err))
    return NULL;
  yaml_parser_t parser;
  yaml_document_t document;
  if (yaml_parser_initialize(&parser) == 0) {
    error_set(err, ERROR_FATAL, "%s:1:1: libyaml cannot start", path);
    return NULL;
  }
  yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
  struct yaml_marks *marks = NULL;
  if (yaml_parser_load(&parser, &document) == 0) { /* yaml_scan has accepted the text: only memory can be missing */
    error_set(err, ERROR_CONFIG, "%s:%zu:%zu: not valid YAML: %s", path, parser.problem_mark.line + 1,
              parser.problem_mark.column + 1, parser.problem != NULL ? parser.problem : "out of memory");
    goto out;
  }
  marks = memory_alloc(sizeof *marks);
  struct walk walk = {.path = path, .document = &document, .marks = marks, .err = err};
  if (!check_node(&walk, 1, schema, "")) { /* nodes are numbered from 1, the root first */
    yaml_marks_free(marks);
    marks = NULL;
  }
  yaml_document_delete(&document);
out:
  yaml_parser_delete(&parser);
  return marks;
}
