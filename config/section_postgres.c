/* The `postgres` section. */
#include <stdlib.h>
#include <string.h>

#include "bridge/base/buffer.h"
#include "bridge/base/memory.h"
#include "bridge/postgres/conninfo.h"
#include "config/expand.h"
#include "config/names.h"
#include "config/sections.h"

#define KEEP_MS INT64_C(86400000) /* a day */
#define KEEP_MIN_MS INT64_C(60000)
#define KEEP_MAX_MS (30 * KEEP_MS)
#define KEEP_BYTES (INT64_C(10) << 30)
#define KEEP_BYTES_MIN (INT64_C(1) << 20)
#define KEEP_BYTES_MAX (INT64_C(1000) << 40)
#define URI_MAX ((size_t)1 << 20) /* bytes; no text in a file is longer than the file may be */

static char *expand_value(void *ctx, const char *value, struct error *err) {
  (void)ctx;
  return expand_environment(value, err);
}

/* A URI's own marks, the colon of ${NAME:-default} say, must not be taken apart by libpq: each reference goes in
 * percent-encoded, and comes out of the split as it was. Other texts are copied. */
static char *shield_references(const char *text) {
  struct buffer out;
  buffer_init(&out, 4 * URI_MAX);
  bool uri = strncmp(text, "postgres://", 11) == 0 || strncmp(text, "postgresql://", 13) == 0;
  bool inside = false;
  for (const char *c = text; *c != '\0'; c++) {
    inside = inside || (uri && c[0] == '$' && c[1] == '{');
    if (inside)
      buffer_printf(&out, "%%%02X", (unsigned char)*c);
    else
      buffer_append_char(&out, *c);
    inside = inside && *c != '}';
  }
  buffer_append_char(&out, '\0');
  return out.data;
}

static bool split_and_expand(const struct loading *loading, const char *raw, char **out) {
  char *text = shield_references(raw);
  bool ok = conninfo_expand(text, expand_value, NULL, out, loading->err);
  free(text);
  return ok;
}

/* The text is split before its values are expanded, so that an empty password does not swallow the next word. A text
 * that is one reference as a whole, ${DATABASE_URL}, has nothing to split before. */
static bool load_conninfo(const struct loading *loading, const char *raw, char **out) {
  static const char key[] = "postgres.conninfo";
  if (!expand_is_reference(raw))
    return split_and_expand(loading, raw, out) || loading_place(loading, key);
  char *text;
  if (!loading_text(loading, key, raw, NULL, &text))
    return false;
  bool ok = conninfo_expand(text, NULL, NULL, out, loading->err);
  free(text);
  return ok || loading_place(loading, key);
}

static bool check_conninfo(const struct loading *loading, const char *conninfo) {
  if (!conninfo_has(conninfo, "replication"))
    return true;
  loading_fail(loading, "postgres.conninfo", "`postgres.conninfo` sets replication, which is walferry's to set");
  return loading_remedy(loading, "remove replication=... from it");
}

static bool add_password(const struct loading *loading, const char *raw, char **conninfo) {
  static const char key[] = "postgres.password_file";
  if (raw != NULL && conninfo_has(*conninfo, "password")) {
    loading_fail(loading, key, "`postgres.conninfo` has a password already");
    return loading_remedy(loading, "keep the password in one place: remove password=... or `password_file`");
  }
  char *password;
  if (!section_secret(loading, key, raw, &password))
    return false;
  if (password == NULL)
    return true;
  char *with = conninfo_with(*conninfo, "password", password);
  free(password);
  free(*conninfo);
  *conninfo = with;
  return true;
}

/* "walferry_<name>", with the - that slots do not take as _. */
static char *default_slot(const char *name) {
  char *slot = memory_format("walferry_%s", name);
  for (char *c = slot; *c != '\0'; c++) {
    if (*c == '-')
      *c = '_';
  }
  return slot;
}

static bool load_names(const struct loading *loading, const struct raw_postgres *raw, struct config *config) {
  char *fallback = default_slot(config->name);
  bool ok =
      section_name(loading, "postgres.slot", raw->slot, fallback, names_check_slot,
                   "set `postgres.slot`: 1 to 63 of a-z, 0-9 and _", &config->postgres.slot) &&
      section_name(loading, "postgres.publication", raw->publication, fallback, names_check_identifier,
                   "set `postgres.publication`: a name of 1 to 63 bytes without quotes", &config->postgres.publication);
  free(fallback);
  return ok;
}

static bool load_decoder(const struct loading *loading, const char *raw, enum config_decoder *out) {
  static const char *const names[] = {"pgoutput", "wal2json"};
  size_t chosen;
  if (!loading_choice(loading, "postgres.decoder", raw, names, 2, 0, &chosen))
    return false;
  *out = chosen == 1 ? CONFIG_DECODER_WAL2JSON : CONFIG_DECODER_PGOUTPUT;
  return true;
}

/* The held-back slot, where the file has the section. */
static bool load_replay(const struct loading *loading, const struct raw_replay *raw, struct config *config) {
  config->postgres.has_replay = raw != NULL;
  if (raw == NULL)
    return true;
  char *fallback = memory_format("%s_replay", config->postgres.slot);
  bool ok = section_name(loading, "postgres.replay.slot", raw->slot, fallback, names_check_slot,
                         "set `postgres.replay.slot`: 1 to 63 of a-z, 0-9 and _", &config->postgres.replay.slot);
  free(fallback);
  if (ok && strcmp(config->postgres.replay.slot, config->postgres.slot) == 0) {
    loading_fail(loading, "postgres.replay.slot", "`postgres.replay.slot` is the relay's own slot");
    return loading_remedy(loading, "name another one; the default is %s_replay", config->postgres.slot);
  }
  return ok &&
         loading_duration(loading, "postgres.replay.keep", raw->keep, KEEP_MS, KEEP_MIN_MS, KEEP_MAX_MS,
                          &config->postgres.replay.keep_ms) &&
         loading_size(loading, "postgres.replay.keep_bytes", raw->keep_bytes, KEEP_BYTES, KEEP_BYTES_MIN,
                      KEEP_BYTES_MAX, &config->postgres.replay.keep_bytes);
}

bool section_postgres(const struct loading *loading, const struct raw_postgres *raw, struct config *config) {
  return load_conninfo(loading, raw->conninfo, &config->postgres.conninfo) &&
         check_conninfo(loading, config->postgres.conninfo) &&
         add_password(loading, raw->password_file, &config->postgres.conninfo) && load_names(loading, raw, config) &&
         load_decoder(loading, raw->decoder, &config->postgres.decoder) &&
         loading_bool(loading, "postgres.create", raw->create, false, &config->postgres.create) &&
         loading_bool(loading, "postgres.failover", raw->failover, false, &config->postgres.failover) &&
         load_replay(loading, raw->replay, config);
}
