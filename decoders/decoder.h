/* The seam between the replication stream and the rest: turns the frames of one output plugin into changes.
 * A decoder knows no sockets, no Kafka and no clock. */
#ifndef WALFERRY_DECODERS_DECODER_H
#define WALFERRY_DECODERS_DECODER_H

#include "bridge/base/error.h"
#include "decoders/change.h"

struct decoder;

/* What a plugin brings. Required: all of it. */
struct decoder_class {
  const char *plugin; /* "pgoutput": the slot's plugin name */
  struct decoder *(*create)(void);
  bool (*decode)(struct decoder *dec, struct slice frame, struct change *change, struct error *err);
  void (*destroy)(struct decoder *dec);
};

/* By plugin name; NULL if there is none. */
const struct decoder_class *decoder_class_find(const char *plugin);

struct decoder *decoder_new(const struct decoder_class *class);
void decoder_free(struct decoder *dec); /* accepts NULL */

/* Decodes the payload of one XLogData message ('w' without its header) into at most one change.
 * Borrowed: change lives until the next call. Truncated, trailing or impossible bytes are ERROR_FATAL that names the
 * message and the offset; the decoder must not be used afterwards. */
bool decoder_decode(struct decoder *dec, struct slice frame, struct change *change, struct error *err);

#endif
