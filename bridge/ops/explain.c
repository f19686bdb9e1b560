/* See explain.h. */
#include "bridge/ops/explain.h"

#include <string.h>

#include "config/nearest.h"

static const struct explain_page *page_at(size_t i) {
  if (i < explain_refusal_count)
    return &explain_refusals[i];
  i -= explain_refusal_count;
  if (i < explain_inbox_count)
    return &explain_inbox[i];
  i -= explain_inbox_count;
  return i < explain_row_count ? &explain_rows[i] : &explain_messages[i - explain_row_count];
}

static size_t page_count(void) {
  return explain_refusal_count + explain_inbox_count + explain_row_count + explain_message_count;
}

static const char *kind_text(enum explain_kind kind) {
  switch (kind) {
  case EXPLAIN_REFUSAL:
    return "refused: exit code 3, nothing more is published or acknowledged until it is put right";
  case EXPLAIN_PARTITION:
    return "a partition is refused: the inbox does not read it on until it is put right, and goes on with the others";
  case EXPLAIN_ERROR:
    return "an error";
  case EXPLAIN_ROW:
    return "a row in quarantine; with relay.on_invalid: stop it ends the relay instead (row_invalid)";
  case EXPLAIN_MESSAGE:
    return "a dead letter of the inbox";
  }
  return "";
}

static void print_section(FILE *out, const char *title, const char *text) {
  if (text != NULL)
    fprintf(out, "\n%s\n%s", title, text);
}

static void print_page(const struct explain_page *page, FILE *out) {
  fprintf(out, "%s: %s\n(%s)\n", page->code, page->summary, kind_text(page->kind));
  print_section(out, "What it means", page->meaning);
  print_section(out, "What to look at", page->look);
  print_section(out, "What to do", page->steps);
  fprintf(out, "\nThe documents on it\n  %s\n", page->section);
}

static void print_list(FILE *out) {
  static const struct {
    enum explain_kind kind;
    const char *title;
  } parts[] = {{EXPLAIN_REFUSAL, "Refusals (exit code 3):"},
               {EXPLAIN_PARTITION, "Partitions that the inbox does not read on:"},
               {EXPLAIN_ERROR, "Other ends and errors:"},
               {EXPLAIN_ROW, "Rows in quarantine:"},
               {EXPLAIN_MESSAGE, "Dead letters:"}};
  for (size_t part = 0; part < sizeof parts / sizeof parts[0]; part++) {
    fprintf(out, "%s%s\n", part == 0 ? "" : "\n", parts[part].title);
    for (size_t i = 0; i < page_count(); i++)
      if (page_at(i)->kind == parts[part].kind)
        fprintf(out, "  %-22s  %s\n", page_at(i)->code, page_at(i)->summary);
  }
  fprintf(out,
          "\nA page of one: walferry explain CODE. Names in the examples are those of config/examples/shop.yaml.\n");
}

static bool fail_unknown(const char *code, struct error *err) {
  const struct explain_page *nearest = NULL;
  size_t distance = nearest_limit(code) + 1;
  for (size_t i = 0; i < page_count(); i++) {
    size_t d = nearest_distance(code, page_at(i)->code);
    if (d < distance) {
      distance = d;
      nearest = page_at(i);
    }
  }
  error_set(err, ERROR_CONFIG, "there is no code \"%s\"", code);
  if (nearest != NULL)
    return error_remedy(err, "did you mean %s? `walferry explain` lists them all", nearest->code);
  return error_remedy(err, "`walferry explain` lists them all");
}

bool explain_print(const char *code, FILE *out, struct error *err) {
  if (code == NULL) {
    print_list(out);
    return true;
  }
  for (size_t i = 0; i < page_count(); i++) {
    if (strcmp(page_at(i)->code, code) == 0) {
      print_page(page_at(i), out);
      return true;
    }
  }
  return fail_unknown(code, err);
}
