/* Any text as a config file: it loads or is refused with a place, without a crash, a leak or an error that has neither
 * message nor remedy. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct error err = {.kind = ERROR_NONE};
  struct config *config = config_parse("fuzz.yaml", (const char *)data, size, &err);
  bool refused_well = err.kind == ERROR_CONFIG && strncmp(err.message, "fuzz.yaml:", 10) == 0 && err.remedy[0] != '\0';
  if (config == NULL ? !refused_well : err.kind != ERROR_NONE)
    abort();
  config_free(config);
  return 0;
}
