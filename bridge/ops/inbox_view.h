/* What Postgres and Kafka say of an inbox: stored offsets beside the logs, dead letters, what is held. Facts for
 * `check` and `status`; nothing is changed, and no group is joined. */
#ifndef WALFERRY_OPS_INBOX_VIEW_H
#define WALFERRY_OPS_INBOX_VIEW_H

#include "bridge/inbox/admission.h"
#include "bridge/inbox/inbox.h"
#include "bridge/postgres/connection.h"

struct inbox_view_partition {
  char *topic;
  int32_t partition;
  struct admission_stored stored; /* its texts are the next two */
  char *cluster_id, *record_id;
  bool dirty;       /* claimed, and not released in good order (yet) */
  char *updated_at; /* RFC 3339: when the offset moved, or was claimed; NULL: nothing is stored */
  bool log_known;
  int64_t low, end; /* of the log */
};

struct inbox_view_letters { /* open ones of one code */
  char *code;
  int64_t count;
  char *oldest; /* RFC 3339, last failure */
};

struct inbox_view {
  struct inbox_view_partition *partitions; /* by topic and number */
  int partition_count;
  struct inbox_view_letters *letters; /* the most frequent first */
  int letter_count;
  int64_t held_keys, parked, attempts; /* attempts: messages that have failed and are tried again */
};

/* From the tables, which must be there (layout_check). Errors as of connection_query; free it in any case. */
bool inbox_view_read(struct inbox_view *view, struct connection *conn, const char *consumer, struct error *err);
void inbox_view_free(struct inbox_view *view);
/* The partition, added where nothing is stored for it; valid until the next is added. */
struct inbox_view_partition *inbox_view_partition(struct inbox_view *view, const char *topic, int32_t partition);
void inbox_view_sort(struct inbox_view *view);

/* May it be read on, as the inbox would judge it? cluster_id: the brokers', or NULL. record: what stands at the stored
 * record's place; NULL where it was not looked at. Needs log_known. */
bool inbox_view_judge(const struct inbox_view_partition *partition, const char *consumer, const char *cluster_id,
                      const struct record_facts *record, struct error *err);

#endif
