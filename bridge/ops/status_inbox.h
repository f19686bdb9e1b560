/* What `status` knows of an inbox, and its two forms. Pure: no I/O but the stream given. */
#ifndef WALFERRY_OPS_STATUS_INBOX_H
#define WALFERRY_OPS_STATUS_INBOX_H

#include <stdio.h>

#include "bridge/base/buffer.h"
#include "bridge/kafka/admin.h"
#include "bridge/ops/inbox_view.h"

struct status_inbox {
  const char *consumer; /* the group */
  bool tables_read;     /* view; else only not_set_up */
  bool set_up;          /* false: there are no tables (of this version), and not_set_up says why */
  struct error not_set_up;
  struct inbox_view view;
  bool logs_read; /* of all partitions that could be asked for; else logs_error */
  struct error logs_error;
  bool group_read; /* group; else logs_error */
  struct kafka_group_facts group;
  const char *cluster_id; /* NULL: not known */
};

void status_inbox_text(const struct status_inbox *inbox, FILE *out);
/* The member "inbox". Its keys are stable: others read them. */
void status_inbox_json(const struct status_inbox *inbox, struct buffer *json);

#endif
