/* How far a partition of a dead-letter topic is replayed: what of it was sent, or is no letter, so that nothing is sent
 * twice and what a filter passed over is still there for a later run. A plain offset says that only where nothing was
 * passed over; what was settled behind that is kept in the text that Kafka stores beside an offset. Pure: no I/O.
 *
 * The text: empty, or "wf1 " and for each run of settled records how far it begins behind the one before (or the
 * offset), and how far it reaches, in offsets: "wf1 3,1,20,4". Who sets the group's offsets with Kafka's own tools
 * leaves none, and by that means the offset alone. */
#ifndef WALFERRY_INBOX_LETTER_PROGRESS_H
#define WALFERRY_INBOX_LETTER_PROGRESS_H

#include "bridge/base/buffer.h"

#define LETTER_PROGRESS_TEXT_MAX 4000 /* brokers take 4096 unless told otherwise (offset.metadata.max.bytes) */

/* Starts as zeros. */
struct letter_progress {
  int64_t next; /* all below is settled */
  struct letter_run {
    int64_t from, to; /* of offsets; to is behind the last */
  } * runs;           /* settled behind next, in order, none touching another */
  int count, capacity;
  int64_t looked; /* below it there is no record that was not looked at */
};

/* As stored; false where the text is not ours. */
bool letter_progress_read(struct letter_progress *p, int64_t next, struct slice text);
void letter_progress_free(struct letter_progress *p);

/* What is read next has this offset or a later one: all records before were looked at, in this run or before. */
void letter_progress_begin(struct letter_progress *p, int64_t offset);
bool letter_progress_settled(const struct letter_progress *p, int64_t offset);
/* The next record in the order of offsets: it is settled, or it stays for a later run. */
void letter_progress_settle(struct letter_progress *p, int64_t offset);
void letter_progress_leave(struct letter_progress *p, int64_t offset);

/* Whether the next record can be settled: whether it begins no new run, or that has room in the text. */
bool letter_progress_has_room(const struct letter_progress *p);
/* Appends the text, which belongs to next. */
void letter_progress_write(const struct letter_progress *p, struct buffer *text);

#endif
