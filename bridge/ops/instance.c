/* See instance.h. */
#include "bridge/ops/instance.h"

#include "bridge/base/memory.h"
#include "bridge/postgres/conninfo.h"

char *instance_application_name(const struct relay_settings *settings) {
  char *own = conninfo_value(settings->conninfo, "application_name");
  return own != NULL ? own : memory_format("walferry/%s", settings->name);
}

char *instance_command_name(const struct relay_settings *settings, const char *command) {
  return memory_format("%s %s", settings->name, command);
}
