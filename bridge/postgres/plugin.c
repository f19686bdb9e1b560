/* See plugin.h. */
#include "bridge/postgres/plugin.h"

#include <string.h>

bool plugin_remedy_list(struct error *err) {
  return error_remedy(err, "as a superuser, with the list unquoted: ALTER SYSTEM SET output_plugin_libraries = "
                           "pgoutput, test_decoding, wal2json; then SELECT pg_reload_conf()");
}

bool plugin_is_refused(const char *sqlstate, struct error *err) {
  /* 42501 is also a missing REPLICATION attribute. The name of the setting stands in the hint in every language. */
  if (strcmp(sqlstate, "42501") == 0 && strstr(err->message, "output_plugin_libraries") != NULL) {
    err->kind = ERROR_REFUSED;
    err->code = "plugin_not_allowed";
    plugin_remedy_list(err);
    return true;
  }
  if (strcmp(sqlstate, "58P01") == 0) {
    err->kind = ERROR_CONFIG;
    error_remedy(err, "install the output plugin on the database server, or set postgres.decoder: pgoutput");
    return true;
  }
  return false;
}
