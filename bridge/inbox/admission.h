/* May a partition be read on from where it was left, and from which offset? The refusals that concern stored offsets;
 * pure: no I/O. What the log holds is asked for by bridge/kafka/record_probe. */
#ifndef WALFERRY_INBOX_ADMISSION_H
#define WALFERRY_INBOX_ADMISSION_H

#include <stdint.h>

#include "bridge/base/error.h"
#include "bridge/base/slice.h"
#include "bridge/kafka/record_probe.h"

/* The header whose last value is the id of a record: what record_probe_look is to ask for. */
#define ADMISSION_ID_HEADER "id"

/* That value as it is stored (record_id) and compared: absent where it is none that a text column takes (no UTF-8, a
 * NUL in it), or longer than 512 bytes. Borrowed from the header. */
struct slice admission_id(struct slice header);

/* One partition of one consumer. */
struct admission_place {
  const char *consumer, *topic;
  int32_t partition;
};

/* Its row of walferry.inbox_offsets. */
struct admission_stored {
  bool exists; /* false: it was never consumed, the rest counts for nothing */
  int64_t next_offset;
  const char *cluster_id;   /* NULL: not known, any is ours */
  int64_t record_offset;    /* of the last record before next_offset; -1: none was handled yet */
  int64_t record_timestamp; /* ms; -1: it has none */
  struct slice record_id;   /* as admission_id gave it */
};

/* Its log, asked for after the row was read: a member of the group may move both on meanwhile. */
struct admission_log {
  const char *cluster_id;            /* NULL: not known */
  int64_t low, end;                  /* as record_probe_range gives them */
  const struct record_facts *record; /* at stored.record_offset; NULL where that is -1 */
};

/* true: go on at *start, which lies in the log. A stored record that was compacted or deleted meanwhile is no reason to
 * refuse. false, ERROR_REFUSED:
 *   kafka_cluster_changed  the brokers are another cluster, where the same offsets mean other records
 *   offset_deleted         the log begins behind the stored offset: records were deleted before they were read
 *   topic_recreated        the log ends before the stored offset, or another record stands where the last one stood
 * The end of what is committed lies before the stored offset only if records are gone: all that was handled before it
 * was committed. */
bool admission_judge(const struct admission_place *place, const struct admission_stored *stored,
                     const struct admission_log *log, int64_t *start, struct error *err);

#endif
