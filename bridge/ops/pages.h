/* The pages that are served over HTTP: what is on them, not how they travel. No secrets and no conninfo on any. */
#ifndef WALFERRY_OPS_PAGES_H
#define WALFERRY_OPS_PAGES_H

#include "bridge/base/buffer.h"
#include "bridge/ops/watched.h"

struct page {
  const char *path;
  const char *content_type;
  /* moment: of the watched one's class. Returns the HTTP status. */
  int (*write)(const struct watched *watched, const void *moment, struct buffer *out);
};

const struct page *page_find(const char *path); /* NULL when there is none */

#endif
