/* See decoder.h. Finds the class and forwards to it; knows no wire format. */
#include "decoders/decoder.h"

#include "decoders/plugin.h"

const struct decoder_class *decoder_class_find(const char *plugin) {
  static const struct decoder_class *const classes[] = {&pgoutput_class};
  for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
    if (strcmp(classes[i]->plugin, plugin) == 0)
      return classes[i];
  }
  return NULL;
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

bool decoder_decode(struct decoder *dec, struct slice frame, struct change *change, struct error *err) {
  if (dec->broken)
    return error_set(err, ERROR_FATAL, "the %s decoder refused an earlier frame and cannot go on", dec->class->plugin);
  if (dec->class->decode(dec, frame, change, err))
    return true;
  dec->broken = true;
  return false;
}
