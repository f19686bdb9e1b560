/* Values that several sections have. See sections.h. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bridge/base/log.h"
#include "bridge/base/memory.h"
#include "config/file.h"
#include "config/sections.h"

#define SECRET_MAX 4096

bool section_name(const struct loading *loading, const char *key, const char *raw, const char *fallback,
                  const char *(*check)(const char *text), const char *remedy, char **out) {
  char *text;
  if (!loading_text(loading, key, raw, fallback, &text))
    return false;
  const char *wrong = text == NULL ? NULL : check(text);
  if (wrong != NULL) {
    if (raw == NULL)
      loading_fail(loading, key, "`%s` defaults to \"%s\", which %s", key, text, wrong);
    else
      loading_fail(loading, key, "`%s`: \"%s\" %s", key, text, wrong);
    free(text);
    return loading_remedy(loading, "%s", remedy);
  }
  *out = text;
  return true;
}

bool section_strings(const struct loading *loading, const char *key, char *const *raw, unsigned count,
                     const char *(*check)(const char *text), const char *remedy, struct config_strings *out) {
  out->items = memory_alloc(count * sizeof *out->items);
  for (unsigned i = 0; i < count; i++) {
    struct loading_key item = loading_key("%s[%u]", key, i);
    char *text;
    if (!section_name(loading, item.text, raw[i], NULL, check, remedy, &text))
      return false;
    out->items[out->count++] = text;
    for (unsigned j = 0; j < i; j++) {
      if (strcmp(out->items[j], text) != 0)
        continue;
      loading_fail(loading, item.text, "`%s`: \"%s\" is there twice", key, text);
      return loading_remedy(loading, "keep one of the two");
    }
  }
  return true;
}

/* A relative path is the config file's neighbour. */
static char *beside(const char *config_path, const char *path) {
  const char *slash = strrchr(config_path, '/');
  if (path[0] == '/' || slash == NULL)
    return memory_string(path);
  return memory_format("%.*s/%s", (int)(slash - config_path), config_path, path);
}

/* No more than a warning: secrets that an orchestrator mounts are often readable by all in their container. */
static void warn_if_open(const char *path) {
  struct stat st;
  if (stat(path, &st) == 0 && (st.st_mode & S_IROTH) != 0)
    log_warn("config.secret_readable", log_string("file", path),
             log_string("error", "every user of this machine may read it"), log_string("remedy", "chmod o-r"));
}

/* The file's text without the line end that editors add. */
bool section_secret(const struct loading *loading, const char *key, const char *raw, char **out) {
  char *name;
  if (!loading_text(loading, key, raw, NULL, &name))
    return false;
  if (name == NULL) {
    *out = NULL;
    return true;
  }
  char *path = beside(loading->path, name);
  size_t len = 0;
  char *secret = file_read(path, SECRET_MAX, false, &len, loading->err);
  if (secret != NULL)
    warn_if_open(path);
  free(path);
  free(name);
  if (secret == NULL) {
    loading_place(loading, key);
    return loading_remedy(loading, "name a file that walferry may read and that holds the password alone");
  }
  while (len > 0 && (secret[len - 1] == '\n' || secret[len - 1] == '\r'))
    secret[--len] = '\0';
  if (len > 0 && strcspn(secret, "\r\n") == len) { /* also false with a NUL in it */
    *out = secret;
    return true;
  }
  loading_fail(loading, key, "`%s`: %s", key, len == 0 ? "the file is empty" : "the file has more than one line");
  free(secret);
  return loading_remedy(loading, "put the password, one line of text, into the file");
}
