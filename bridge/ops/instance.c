/* See instance.h. */
#include "bridge/ops/instance.h"

#include <string.h>

#include "bridge/base/memory.h"
#include "bridge/postgres/conninfo.h"

#define APPLICATION_NAME_MAX 63 /* bytes that Postgres keeps (NAMEDATALEN - 1) */

char *instance_application_name(const char *conninfo, const char *name) {
  char *own = conninfo_value(conninfo, "application_name");
  char *full = own != NULL ? own : memory_format("walferry/%s", name);
  if (strlen(full) > APPLICATION_NAME_MAX)
    full[APPLICATION_NAME_MAX] = '\0';
  return full;
}

char *instance_command_name(const char *name, const char *command) {
  return memory_format("%s %s", name, command);
}
