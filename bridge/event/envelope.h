/* The JSON around an event, by layout. A layout is a table of parts in envelope.c. */
#ifndef WALFERRY_EVENT_ENVELOPE_H
#define WALFERRY_EVENT_ENVELOPE_H

#include "bridge/base/buffer.h"
#include "bridge/event/record.h"

struct envelope_part;

struct envelope {
  const struct envelope_part *parts;
  struct buffer text;    /* head and tail */
  struct buffer decoded; /* the bytes of a bytea payload */
};

struct envelope *envelope_new(enum envelope_layout layout);
void envelope_free(struct envelope *envelope); /* accepts NULL */

/* The value in three runs, to be laid end to end: the payload is not copied here. */
struct envelope_text {
  struct slice head;
  struct slice payload; /* absent where the layout has none */
  struct slice tail;
};

/* Borrowed from the event and the envelope, until its next use. source: for events without one of their own.
 * false: problem says why (payload_not_json, record_too_large). */
bool envelope_write(struct envelope *envelope, const struct event *event, struct slice source,
                    struct envelope_text *text, struct problem *problem);

/* The bytes of a bytea in Postgres' hex form "\x6869", appended: half the text's length, and so within any buffer that
 * a row fits. false: it is of another form. */
bool bytea_decode(struct slice text, struct buffer *bytes);

/* Frees what a large row left behind, so that it does not stay for the process' life. */
void scratch_trim(struct buffer *scratch);

void problem_set(struct problem *problem, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
