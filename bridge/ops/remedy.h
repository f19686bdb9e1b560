/* A remedy as it is to be typed. Those who write remedies know neither the config's path nor the instance's name, and
 * say CONFIG and NAME as the usage texts do. */
#ifndef WALFERRY_OPS_REMEDY_H
#define WALFERRY_OPS_REMEDY_H

#include "bridge/base/error.h"

/* In the text's commands, "CONFIG" becomes the path, quoted where a shell needs it, and "--confirm NAME" names the
 * instance. The caller frees what is returned. */
char *remedy_typed(const char *text, const char *config_path, const char *instance);

/* Both texts of an error; what becomes too long for them stays as it is. */
void remedy_complete(struct error *err, const char *config_path, const char *instance);

#endif
