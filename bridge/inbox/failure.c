/* See failure.h. */
#include "bridge/inbox/failure.h"

#include <stddef.h>
#include <string.h>

#include "bridge/base/jsonobject.h"

#define TEXT_MAX ((size_t)16 * 1024)

const char CODE_UNMATCHED_TYPE[] = "unmatched_type";

static const struct {
  const char *prefix; /* of the SQLSTATE */
  enum failure_class failure;
} classes[] = {
    {"57P01", FAILURE_NOT_COUNTED}, /* admin_shutdown, or pg_terminate_backend */
    {"57P03", FAILURE_NOT_COUNTED}, /* cannot_connect_now */
    {"57P04", FAILURE_NOT_COUNTED}, /* database_dropped */
    {"57P05", FAILURE_NOT_COUNTED}, /* idle_session_timeout */
    {"25006", FAILURE_NOT_COUNTED}, /* read_only_sql_transaction: a standby */
    {"25P03", FAILURE_NOT_COUNTED}, /* idle_in_transaction_session_timeout: it was us who hung */
    {"57P02", FAILURE_LOST},        /* crash_shutdown: another backend died, and all went down */
    {"08", FAILURE_LOST},           {"40", FAILURE_TRANSIENT}, /* serialization_failure, deadlock_detected */
    {"53", FAILURE_TRANSIENT},                                 /* insufficient resources */
    {"55P03", FAILURE_TRANSIENT},                              /* lock_not_available */
    {"55006", FAILURE_TRANSIENT},                              /* object_in_use */
    {"57014", FAILURE_TRANSIENT},                              /* query_canceled: mostly our own statement_timeout */
    {"58", FAILURE_TRANSIENT},                                 /* system errors: disk, files */
    {"25P02", FAILURE_TRANSIENT}, /* in_failed_sql_transaction: an earlier statement failed */
};

enum failure_class failure_classify(const char *sqlstate) {
  for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
    if (strncmp(sqlstate, classes[i].prefix, strlen(classes[i].prefix)) == 0)
      return classes[i].failure;
  return FAILURE_POISON;
}

const char *failure_code(enum failure_class failure, const char *sqlstate) {
  switch (failure) {
  case FAILURE_POISON:
    return "handler_failed";
  case FAILURE_LOST:
    return "handler_crashed";
  case FAILURE_TRANSIENT:
  case FAILURE_NOT_COUNTED:
    break;
  }
  return strcmp(sqlstate, "57014") == 0 ? "handler_timeout" : "retries_exhausted";
}

static struct slice shortened(const char *text) {
  size_t len = strnlen(text, TEXT_MAX + 1);
  if (len > TEXT_MAX)
    for (len = TEXT_MAX; len > 0 && ((unsigned char)text[len] & 0xC0) == 0x80;)
      len--;
  return slice_from(text, len);
}

static void put_known(struct buffer *json, const char *name, const char *text) {
  if (text == NULL)
    return;
  jsonobject_key(json, name);
  buffer_append_json(json, shortened(text));
}

void failure_details(struct buffer *json, const struct pipeline_failure *failure) {
  jsonobject_open(json, NULL);
  put_known(json, "sqlstate", failure->sqlstate);
  put_known(json, "message", failure->message);
  put_known(json, "detail", failure->detail);
  put_known(json, "hint", failure->hint);
  put_known(json, "context", failure->context);
  jsonobject_close(json);
}

struct slice failure_message(const struct pipeline_failure *failure) {
  return shortened(failure->message);
}
