/* See failpoint.h. */
#include "bridge/base/failpoint.h"

#ifdef WALFERRY_FAILPOINTS

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bridge/base/clock.h"
#include "bridge/base/log.h"
#include "bridge/base/memory.h"
#include "bridge/base/number.h"

#define MAX_COUNTED 32

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
  char name[64];
  int64_t hits;
} counted[MAX_COUNTED];

static int64_t count_hit(const char *name) {
  int64_t hits = 0;
  pthread_mutex_lock(&lock);
  for (int i = 0; i < MAX_COUNTED; i++) {
    if (counted[i].name[0] == '\0')
      strncpy(counted[i].name, name, sizeof counted[i].name - 1);
    if (strcmp(counted[i].name, name) == 0) {
      hits = ++counted[i].hits;
      break;
    }
  }
  pthread_mutex_unlock(&lock);
  return hits;
}

static void act(const char *name, char *action) {
  int64_t wanted = 1;
  char *at = strrchr(action, '@');
  if (at != NULL) {
    *at = '\0';
    number_parse(slice_of(at + 1), 1, INT64_MAX, &wanted);
  }
  if (count_hit(name) != wanted)
    return;
  log_warn("failpoint.hit", log_string("name", name), log_string("action", action));
  if (strcmp(action, "kill") == 0) {
    raise(SIGKILL);
  } else if (strncmp(action, "pause:", 6) == 0) {
    int fd = open(action + 6, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (fd >= 0)
      close(fd);
    while (access(action + 6, F_OK) == 0)
      clock_sleep_ms(10);
    log_warn("failpoint.released", log_string("name", name));
  }
}

void failpoint_hit(const char *name) {
  const char *setting = getenv("WALFERRY_FAILPOINT");
  if (setting == NULL)
    return;
  char *copy = memory_string(setting);
  char *rest = copy;
  char *entry;
  while ((entry = strsep(&rest, ",")) != NULL) {
    char *action = strchr(entry, '=');
    if (action == NULL)
      continue;
    *action++ = '\0';
    if (strcmp(entry, name) == 0)
      act(name, action);
  }
  free(copy);
}

/* Counted from 2026 on, so that all processes and runs have the same. */
int64_t failpoint_clock(int64_t unix_us) {
  static const int64_t zero_us = INT64_C(1767225600000000);
  const char *setting = getenv("WALFERRY_FAILPOINT");
  const char *speed = setting == NULL ? NULL : strstr(setting, "clock=x");
  int64_t factor = 1;
  if (speed != NULL)
    number_parse(slice_from(speed + 7, strspn(speed + 7, "0123456789")), 1, 10000, &factor);
  return zero_us + (unix_us - zero_us) * factor;
}

#else
typedef int failpoint_is_absent; /* ISO C wants a declaration in every file */
#endif
