/* What record.c and quarantine.c share: a builder's scratch memory. */
#ifndef WALFERRY_EVENT_BUILDER_H
#define WALFERRY_EVENT_BUILDER_H

#include "bridge/event/envelope.h"
#include "bridge/event/headers.h"

struct record_builder {
  const struct record_rules *rules;
  struct envelope *envelope;
  struct header_list headers;
  struct buffer topic;
  struct buffer type;  /* the event's type with its version */
  struct buffer text;  /* the value of a quarantine record */
  struct buffer bytes; /* a bytea on its way into it */

  /* The default source of the origin that came last: one string for all rows of a table. */
  struct buffer source;
  char *source_origin;
};

/* "<instance>.<origin>", borrowed until another origin comes. */
struct slice builder_source(struct record_builder *builder, const char *origin);

#endif
