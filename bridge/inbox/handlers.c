/* See handlers.h. */
#include "bridge/inbox/handlers.h"

#include <stdlib.h>
#include <string.h>

#include "bridge/base/memory.h"
#include "bridge/inbox/statements.h"
#include "bridge/postgres/quote.h"

#define QUOTED_BYTES_MAX 4096

enum look_column { RETURNS_SET, VOLATILE, EXECUTABLE }; /* of INBOX_HANDLER_LOOK */

/* "schema"."function" of a call, to be freed: an unquoted name would be looked for in lower case. */
static char *quoted(const char *call) {
  struct buffer sql;
  buffer_init(&sql, QUOTED_BYTES_MAX);
  char *schema = memory_copy(call, strcspn(call, "."));
  quote_table(&sql, schema, call + strlen(schema) + 1);
  char *text = memory_copy(sql.data, sql.len);
  buffer_free(&sql);
  free(schema);
  return text;
}

static bool fail_missing(const struct handler_spec *spec, struct error *err) {
  char *function = quoted(spec->call);
  error_refuse(err, "handler_missing", "there is no function %s(jsonb) for events of type \"%s\"", spec->call,
               spec->type);
  error_remedy(err,
               "CREATE FUNCTION %s(event jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN ... END $$; or correct the "
               "`call` in inbox.handlers",
               function);
  free(function);
  return false;
}

static bool fail_set(const char *call, struct error *err) {
  char *function = quoted(call);
  error_refuse(err, "handler_returns_set", "the function %s returns a set, which a handler must not", call);
  error_remedy(err, "DROP FUNCTION %s(jsonb); and create it with RETURNS void, or name another function", function);
  free(function);
  return false;
}

/* The function as GRANT and ALTER FUNCTION name it, and our role: as statements that a person runs. */
static const char DESCRIBE[] =
    "SELECT format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)), "
    "quote_ident(n.nspname), quote_ident(current_user)\n"
    "FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace\n"
    "WHERE n.nspname || '.' || p.proname = $1::text AND p.prokind = 'f'\n"
    "  AND p.pronargs - p.pronargdefaults <= 1 AND p.proargtypes[0] = 'jsonb'::regtype\n"
    "ORDER BY p.pronargs LIMIT 1";

static bool fail_described(struct connection *conn, const struct handler_spec *spec, bool executable,
                           struct error *err) {
  struct rows *rows = connection_query(conn, DESCRIBE, 1, &spec->call, err);
  if (rows == NULL)
    return false;
  if (rows_count(rows) == 0) { /* since it was looked for */
    rows_free(rows);
    return fail_missing(spec, err);
  }
  const char *function = rows_text(rows, 0, 0), *schema = rows_text(rows, 0, 1), *role = rows_text(rows, 0, 2);
  if (!executable) {
    error_set(err, ERROR_CONFIG, "role %s may not call the handler %s", role, spec->call);
    err->code = "handler_not_executable";
    error_remedy(err, "GRANT USAGE ON SCHEMA %s TO %s; GRANT EXECUTE ON FUNCTION %s TO %s;", schema, role, function,
                 role);
  } else {
    error_refuse(err, "handler_not_volatile",
                 "the handler %s is STABLE or IMMUTABLE: it may be called while the statement is planned, and may not "
                 "write",
                 spec->call);
    error_remedy(err, "ALTER FUNCTION %s VOLATILE;", function);
  }
  rows_free(rows);
  return false;
}

bool handler_check(struct connection *conn, const struct handler_spec *spec, struct error *err) {
  if (spec->call == NULL)
    return true;
  struct rows *rows = connection_query(conn, inbox_statements[INBOX_HANDLER_LOOK].sql, 1, &spec->call, err);
  if (rows == NULL)
    return error_wrap(err, "looking for the handler %s", spec->call);
  bool there = rows_count(rows) > 0;
  bool set = there && rows_bool(rows, 0, RETURNS_SET), is_volatile = there && rows_bool(rows, 0, VOLATILE);
  bool executable = there && rows_bool(rows, 0, EXECUTABLE);
  rows_free(rows);
  if (!there)
    return fail_missing(spec, err);
  if (set)
    return fail_set(spec->call, err);
  return (executable && is_volatile) || fail_described(conn, spec, executable, err);
}

bool handlers_check(struct connection *conn, const struct handler_spec *specs, size_t count, struct error *err) {
  for (size_t i = 0; i < count; i++)
    if (!handler_check(conn, &specs[i], err))
      return false;
  return true;
}
