/* The seam between the replication stream and the rest: turns the frames of one output plugin into changes.
 * A decoder knows no sockets, no Kafka and no clock. */
#ifndef WALFERRY_DECODERS_DECODER_H
#define WALFERRY_DECODERS_DECODER_H

#include "bridge/base/error.h"
#include "decoders/change.h"

struct decoder;

struct decoder_options { /* for START_REPLICATION */
  char **texts;          /* name, value, name, value, ... */
  int count;             /* of pairs */
};

/* What a plugin brings. Required: all of it. */
struct decoder_class {
  const char *plugin;     /* "pgoutput": the slot's plugin name */
  bool reads_publication; /* a publication says which tables it sends; else it sends them all, partitions under their
                             own names */
  bool sends_server_encoding; /* texts as the database has them, which must then be UTF-8; else converted */
  void (*options)(const char *publication, struct decoder_options *options); /* publication: NULL if it reads none */
  struct decoder *(*create)(void);
  bool (*decode)(struct decoder *dec, struct span frame, struct change *change, struct error *err);
  void (*destroy)(struct decoder *dec);
};

/* By plugin name; NULL if there is none. */
const struct decoder_class *decoder_class_find(const char *plugin);

/* The options that decoder_decode counts on. */
void decoder_options_init(struct decoder_options *options, const struct decoder_class *class, const char *publication);
void decoder_options_free(struct decoder_options *options);

struct decoder *decoder_new(const struct decoder_class *class);
void decoder_free(struct decoder *dec); /* accepts NULL */

/* Decodes the payload of one XLogData message ('w' without its header) into at most one change.
 * Borrowed: change lives until the next call, and as long as frame, which may have been overwritten: texts are brought
 * into their form where they stand, so that a large one is not in memory twice. Truncated, trailing or impossible bytes
 * are ERROR_FATAL that names the message and the offset; the decoder must not be used afterwards. */
bool decoder_decode(struct decoder *dec, struct span frame, struct change *change, struct error *err);

#endif
