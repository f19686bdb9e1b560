/* See instance.h. */
#include "bridge/ops/instance.h"

#include <string.h>

#include "bridge/base/memory.h"
#include "bridge/postgres/conninfo.h"

#define APPLICATION_NAME_MAX 63 /* bytes that Postgres keeps (NAMEDATALEN - 1) */

char *instance_application_name(const struct relay_settings *settings) {
  char *own = conninfo_value(settings->conninfo, "application_name");
  char *name = own != NULL ? own : memory_format("walferry/%s", settings->name);
  if (strlen(name) > APPLICATION_NAME_MAX)
    name[APPLICATION_NAME_MAX] = '\0';
  return name;
}

char *instance_command_name(const struct relay_settings *settings, const char *command) {
  return memory_format("%s %s", settings->name, command);
}
