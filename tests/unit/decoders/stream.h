/* A decoder under test: every frame is fed from its own heap block, so that the sanitizer sees any read beyond its end.
 */
#ifndef WALFERRY_TESTS_DECODERS_STREAM_H
#define WALFERRY_TESTS_DECODERS_STREAM_H

#include <stdlib.h>

#include "bridge/base/memory.h"
#include "decoders/decoder.h"

struct stream {
  struct decoder *dec;
  char *block; /* the frame that change borrows from */
  struct change change;
  struct error err;
};

static inline struct stream stream_of(const char *plugin) {
  return (struct stream){.dec = decoder_new(decoder_class_find(plugin))};
}

static inline void close_stream(struct stream *s) {
  decoder_free(s->dec);
  free(s->block);
}

static inline bool feed_bytes(struct stream *s, const char *bytes, size_t len) {
  free(s->block);
  s->block = memory_resize(NULL, len);
  memcpy(s->block, bytes, len);
  error_clear(&s->err);
  return decoder_decode(s->dec, (struct span){.data = s->block, .len = len}, &s->change, &s->err);
}

#endif
