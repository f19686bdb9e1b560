/* Values that several sections have. See sections.h. */
#include <stdlib.h>
#include <string.h>

#include "bridge/base/memory.h"
#include "config/sections.h"

bool section_name(const struct loading *loading, const char *key, const char *raw, const char *fallback,
                  const char *(*check)(const char *text), const char *remedy, char **out) {
  char *text;
  if (!loading_text(loading, key, raw, fallback, &text))
    return false;
  const char *wrong = text == NULL ? NULL : check(text);
  if (wrong != NULL) {
    if (raw == NULL)
      loading_fail(loading, key, "`%s` defaults to \"%s\", which %s", key, text, wrong);
    else
      loading_fail(loading, key, "`%s`: \"%s\" %s", key, text, wrong);
    free(text);
    return loading_remedy(loading, "%s", remedy);
  }
  *out = text;
  return true;
}

static const char *anything(const char *text) {
  (void)text;
  return NULL;
}

bool section_strings(const struct loading *loading, const char *key, char *const *raw, unsigned count,
                     const char *(*check)(const char *text), const char *remedy, struct config_strings *out) {
  out->items = memory_alloc(count * sizeof *out->items);
  for (unsigned i = 0; i < count; i++) {
    struct loading_key item = loading_key("%s[%u]", key, i);
    char *text;
    if (!section_name(loading, item.text, raw[i], NULL, check == NULL ? anything : check, remedy, &text))
      return false;
    out->items[out->count++] = text;
    for (unsigned j = 0; j < i; j++) {
      if (strcmp(out->items[j], text) != 0)
        continue;
      loading_fail(loading, item.text, "`%s`: \"%s\" is there twice", key, text);
      return loading_remedy(loading, "keep one of the two");
    }
  }
  return true;
}
