/* The pages that are served over HTTP: what is on them, not how they travel. No secrets and no conninfo on any. */
#ifndef WALFERRY_OPS_PAGES_H
#define WALFERRY_OPS_PAGES_H

#include "bridge/base/buffer.h"
#include "bridge/relay/progress.h"

/* Whose pages they are; texts are borrowed. */
struct pages_subject {
  const char *name;
  const char *slot;
  const char *publication;
  int64_t started_us; /* Unix */
};

struct page {
  const char *path;
  const char *content_type;
  const char *summary;
  /* Returns the HTTP status. */
  int (*write)(const struct progress_snapshot *s, const struct pages_subject *subject, struct buffer *out);
};

const struct page *page_find(const char *path); /* NULL when there is none */

#endif
