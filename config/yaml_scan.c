/* See yaml_scan.h. Works on libyaml's events: a loaded document no longer shows anchors, nor where an alias stood. */
#include "config/yaml_scan.h"

#include <yaml.h>

#define DEPTH_MAX 16

static bool refuse(struct error *err, const char *path, yaml_mark_t mark, const char *what, const char *remedy) {
  error_set(err, ERROR_CONFIG, "%s:%zu:%zu: %s", path, mark.line + 1, mark.column + 1, what);
  return error_remedy(err, "%s", remedy);
}

/* The reader (bad UTF-8, control characters) knows only a byte offset. */
static yaml_mark_t mark_of_offset(const char *text, size_t len, size_t offset) {
  yaml_mark_t mark = {.index = offset, .line = 0, .column = 0};
  for (size_t i = 0; i < len && i < offset; i++) {
    if (text[i] == '\n') {
      mark.line++;
      mark.column = 0;
    } else if (((unsigned char)text[i] & 0xc0) != 0x80) { /* continuation bytes are no characters of their own */
      mark.column++;
    }
  }
  return mark;
}

static bool refuse_syntax(struct error *err, const char *path, const char *text, size_t len,
                          const yaml_parser_t *parser) {
  bool unreadable = parser->error == YAML_READER_ERROR;
  yaml_mark_t mark = unreadable ? mark_of_offset(text, len, parser->problem_offset) : parser->problem_mark;
  const char *problem = parser->problem != NULL ? parser->problem : "unknown error";
  error_set(err, ERROR_CONFIG, "%s:%zu:%zu: not valid YAML: %s%s%s", path, mark.line + 1, mark.column + 1, problem,
            parser->context != NULL ? " " : "", parser->context != NULL ? parser->context : "");
  return error_remedy(err, unreadable
                               ? "save the file as UTF-8 text without control characters"
                               : "check indentation (blanks, never tabs) and quotes; a value with ${...} inside { } or "
                                 "[ ], and one that starts with * or &, must stand in double quotes");
}

struct scan {
  unsigned documents;
  unsigned depth;
  bool done;
};

static bool check_properties(const char *path, const yaml_event_t *event, const yaml_char_t *anchor,
                             const yaml_char_t *tag, struct error *err) {
  if (anchor != NULL)
    return refuse(err, path, event->start_mark, "an anchor (&name) is not allowed", "write the value out where needed");
  if (tag != NULL)
    return refuse(err, path, event->start_mark, "a tag (!name) is not allowed",
                  "write the value without it; text that looks like something else goes in double quotes");
  return true;
}

static bool check_deeper(const char *path, const yaml_event_t *event, struct scan *scan, struct error *err) {
  if (++scan->depth <= DEPTH_MAX)
    return true;
  return refuse(err, path, event->start_mark, "nested too deeply", "no key of a config file goes that deep");
}

static bool check_event(const char *path, const yaml_event_t *event, struct scan *scan, struct error *err) {
  switch (event->type) {
  case YAML_DOCUMENT_START_EVENT:
    if (++scan->documents > 1)
      return refuse(err, path, event->start_mark, "a second document is not allowed",
                    "one file configures one database: remove the `---` and what follows, or give it its own file");
    return true;
  case YAML_ALIAS_EVENT:
    return refuse(err, path, event->start_mark, "an alias (*name) is not allowed",
                  "write the value out; a text that starts with * goes in double quotes");
  case YAML_SCALAR_EVENT:
    return check_properties(path, event, event->data.scalar.anchor, event->data.scalar.tag, err);
  case YAML_SEQUENCE_START_EVENT:
    return check_properties(path, event, event->data.sequence_start.anchor, event->data.sequence_start.tag, err) &&
           check_deeper(path, event, scan, err);
  case YAML_MAPPING_START_EVENT:
    return check_properties(path, event, event->data.mapping_start.anchor, event->data.mapping_start.tag, err) &&
           check_deeper(path, event, scan, err);
  case YAML_SEQUENCE_END_EVENT:
  case YAML_MAPPING_END_EVENT:
    scan->depth--;
    return true;
  case YAML_STREAM_END_EVENT:
    scan->done = true;
    if (scan->documents > 0)
      return true;
    return refuse(err, path, (yaml_mark_t){.line = 0, .column = 0}, "the file is empty",
                  "start from config/examples/shop.yaml: name, postgres and kafka are required");
  case YAML_NO_EVENT:
  case YAML_STREAM_START_EVENT:
  case YAML_DOCUMENT_END_EVENT:
    return true;
  }
  return true;
}

bool yaml_scan(const char *path, const char *text, size_t len, struct error *err) {
  yaml_parser_t parser;
  if (yaml_parser_initialize(&parser) == 0)
    return error_set(err, ERROR_FATAL, "%s:1:1: libyaml cannot start", path);
  yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
  struct scan scan = {.done = false};
  bool ok = true;
  while (ok && !scan.done) {
    yaml_event_t event;
    if (yaml_parser_parse(&parser, &event) == 0) {
      ok = refuse_syntax(err, path, text, len, &parser);
    } else {
      ok = check_event(path, &event, &scan, err);
      yaml_event_delete(&event);
    }
  }
  yaml_parser_delete(&parser);
  return ok;
}
