/* See file.h. */
#include "config/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bridge/base/memory.h"

static char *read_all(int fd, const char *path, size_t max, size_t *len, struct error *err) {
  size_t capacity = 4096, used = 0;
  char *text = memory_alloc(capacity + 1);
  for (;;) {
    ssize_t got = read(fd, text + used, capacity - used);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0) {
      error_set(err, ERROR_CONFIG, "%s cannot be read: %s", path, strerror(errno));
      break;
    }
    if (got == 0) {
      text[used] = '\0';
      *len = used;
      return text;
    }
    used += (size_t)got;
    if (used > max) {
      error_set(err, ERROR_CONFIG, "%s is larger than %zu bytes", path, max);
      break;
    }
    if (used == capacity) {
      capacity *= 2;
      text = memory_resize(text, capacity + 1);
    }
  }
  free(text);
  return NULL;
}

char *file_read(const char *path, size_t max, bool any_kind, size_t *len, struct error *err) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | (any_kind ? 0 : O_NONBLOCK));
  if (fd < 0) {
    error_set(err, ERROR_CONFIG, "%s cannot be opened: %s", path, strerror(errno));
    return NULL;
  }
  struct stat st;
  char *text = NULL;
  if (!any_kind && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)))
    error_set(err, ERROR_CONFIG, "%s is not a regular file", path);
  else
    text = read_all(fd, path, max, len, err);
  close(fd);
  return text;
}
