/* For the plugins behind decoder.h only: what every decoder begins with, and the classes there are. */
#ifndef WALFERRY_DECODERS_PLUGIN_H
#define WALFERRY_DECODERS_PLUGIN_H

#include "decoders/decoder.h"

/* First member of each plugin's own struct. The plugin fills in nothing; decoder_new does. */
struct decoder {
  const struct decoder_class *class;
  bool broken; /* latched: a frame was refused, so what the decoder knows of the stream may be wrong */
};

extern const struct decoder_class pgoutput_class;
extern const struct decoder_class wal2json_class;

/* Both texts are copied. */
void decoder_options_add(struct decoder_options *options, const char *name, const char *value);

#endif
