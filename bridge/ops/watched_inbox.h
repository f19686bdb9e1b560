/* The inbox, as HTTP, metrics and the service manager see it. */
#ifndef WALFERRY_OPS_WATCHED_INBOX_H
#define WALFERRY_OPS_WATCHED_INBOX_H

#include "bridge/inbox/report.h"
#include "bridge/ops/watched.h"

/* The source; a moment is a struct inbox_snapshot. Texts are borrowed. */
struct watched_inbox {
  struct inbox_report *report;
  const char *group;
};
extern const struct watched_class watched_inbox_class;

#endif
