/* See decoder.h. Finds the class and forwards to it; knows no wire format. */
#include "decoders/decoder.h"

#include <stdlib.h>

#include "bridge/base/memory.h"
#include "decoders/plugin.h"

const struct decoder_class *decoder_class_find(const char *plugin) {
  static const struct decoder_class *const classes[] = {&pgoutput_class, &wal2json_class};
  for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
    if (strcmp(classes[i]->plugin, plugin) == 0)
      return classes[i];
  }
  return NULL;
}

void decoder_options_init(struct decoder_options *options, const struct decoder_class *class, const char *publication) {
  *options = (struct decoder_options){.count = 0};
  class->options(publication, options);
}

void decoder_options_add(struct decoder_options *options, const char *name, const char *value) {
  options->texts = memory_resize(options->texts, 2 * (size_t)(options->count + 1) * sizeof *options->texts);
  options->texts[2 * options->count] = memory_string(name);
  options->texts[2 * options->count + 1] = memory_string(value);
  options->count++;
}

void decoder_options_free(struct decoder_options *options) {
  for (int i = 0; i < 2 * options->count; i++)
    free(options->texts[i]);
  free(options->texts);
  *options = (struct decoder_options){.count = 0};
}

struct decoder *decoder_new(const struct decoder_class *class) {
  struct decoder *dec = class->create();
  dec->class = class;
  return dec;
}

void decoder_free(struct decoder *dec) {
  if (dec != NULL)
    dec->class->destroy(dec);
}

bool decoder_decode(struct decoder *dec, struct span frame, struct change *change, struct error *err) {
  if (dec->broken)
    return error_set(err, ERROR_FATAL, "the %s decoder refused an earlier frame and cannot go on", dec->class->plugin);
  if (dec->class->decode(dec, frame, change, err))
    return true;
  dec->broken = true;
  return false;
}
