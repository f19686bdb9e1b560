/* See registry.h. */
#include "bridge/inbox/registry.h"

#include <stdlib.h>

#include "bridge/base/memory.h"
#include "bridge/base/pattern.h"

struct handler {
  char *type;
  char *call;
  size_t index;
  size_t weight; /* characters beside the stars; of an exact type more than any wildcard has */
};

struct registry {
  struct handler *handlers; /* exact ones by their bytes, then wildcards, heaviest first */
  size_t exact_count;
  size_t count;
  enum registry_action unmatched;
};

static size_t weight_of(const char *type) {
  size_t stars = 0;
  for (const char *at = type; (at = strchr(at, '*')) != NULL; at++)
    stars++;
  return stars == 0 ? SIZE_MAX : strlen(type) - stars;
}

static int compare(const void *left, const void *right) {
  const struct handler *a = left, *b = right;
  if (a->weight != b->weight)
    return a->weight > b->weight ? -1 : 1;
  int order = a->weight == SIZE_MAX ? strcmp(a->type, b->type) : 0;
  return order != 0 ? order : a->index < b->index ? -1 : 1;
}

struct registry *registry_new(const struct handler_spec *specs, size_t count, enum registry_action unmatched) {
  struct registry *registry = memory_alloc(sizeof *registry);
  registry->handlers = memory_alloc(count * sizeof *registry->handlers);
  registry->count = count;
  registry->unmatched = unmatched;
  for (size_t i = 0; i < count; i++) {
    struct handler *handler = &registry->handlers[i];
    *handler = (struct handler){.type = memory_string(specs[i].type),
                                .call = memory_string(specs[i].call),
                                .index = i,
                                .weight = weight_of(specs[i].type)};
    registry->exact_count += handler->weight == SIZE_MAX;
  }
  qsort(registry->handlers, count, sizeof *registry->handlers, compare);
  return registry;
}

void registry_free(struct registry *registry) {
  if (registry == NULL)
    return;
  for (size_t i = 0; i < registry->count; i++) {
    free(registry->handlers[i].type);
    free(registry->handlers[i].call);
  }
  free(registry->handlers);
  free(registry);
}

static int compare_type(const void *key, const void *element) {
  const struct slice *type = key;
  const struct handler *handler = element;
  size_t len = strlen(handler->type);
  int order = memcmp(type->data, handler->type, type->len < len ? type->len : len);
  return order != 0 ? order : type->len < len ? -1 : type->len > len;
}

static const struct handler *find(const struct registry *registry, struct slice type) {
  if (type.len > 0) {
    const struct handler *exact =
        bsearch(&type, registry->handlers, registry->exact_count, sizeof *registry->handlers, compare_type);
    if (exact != NULL)
      return exact;
  }
  for (size_t i = registry->exact_count; i < registry->count; i++)
    if (pattern_matches(registry->handlers[i].type, type))
      return &registry->handlers[i];
  return NULL;
}

enum registry_action registry_find(const struct registry *registry, struct slice type, size_t *handler,
                                   const char **call) {
  const struct handler *found = find(registry, type);
  if (found == NULL)
    return registry->unmatched;
  if (found->call == NULL)
    return REGISTRY_IGNORE;
  *handler = found->index;
  *call = found->call;
  return REGISTRY_CALL;
}
