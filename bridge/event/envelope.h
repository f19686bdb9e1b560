/* The JSON around an event, by layout. A layout is a table of parts in envelope.c. */
#ifndef WALFERRY_EVENT_ENVELOPE_H
#define WALFERRY_EVENT_ENVELOPE_H

#include "bridge/base/buffer.h"
#include "bridge/base/timestamp.h"
#include "bridge/event/payload.h"
#include "bridge/event/record.h"

struct envelope_part;

struct envelope {
  enum envelope_layout layout;
  const struct envelope_part *parts; /* NULL: the payload alone */
  struct buffer text;                /* head and tail */
  struct payload_scratch scratch;
  char time_text[TIMESTAMP_TEXT_SIZE]; /* of the event last written */
  size_t time_len;
  int64_t time_us;
};

struct envelope *envelope_new(enum envelope_layout layout);
void envelope_free(struct envelope *envelope); /* accepts NULL */
/* Ends what envelope_write lent, and keeps no more memory than buffer_reuse does. */
void envelope_reuse(struct envelope *envelope);

/* The value in three runs, to be laid end to end: the payload is not copied here. */
struct envelope_text {
  struct slice head;
  struct slice payload; /* absent where a CloudEvent has no data */
  struct slice tail;
  bool tombstone; /* no value at all: a NULL payload without an envelope */
};

/* Borrowed from the event and the envelope, until its next use. source: for events without one of their own.
 * false: problem says why (payload_not_json, record_too_large). */
bool envelope_write(struct envelope *envelope, const struct event *event, struct slice source,
                    struct envelope_text *text, struct problem *problem);

/* The record's content type (absent: not known). fixed: the row's own is that of the data inside, not the record's. */
struct envelope_content_type {
  struct slice text;
  bool fixed;
};
struct envelope_content_type envelope_content_type(const struct envelope *envelope, const struct event *event);

void problem_set(struct problem *problem, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
