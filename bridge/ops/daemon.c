/* See daemon.h. */
#include "bridge/ops/daemon.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/clock.h"
#include "bridge/base/memory.h"

#ifdef WALFERRY_SYSTEMD
#include <systemd/sd-daemon.h>
#else /* the one place where a build without libsystemd differs */
static int sd_notify(int unset_environment, const char *state) {
  (void)unset_environment, (void)state;
  return 0;
}
static int sd_watchdog_enabled(int unset_environment, uint64_t *usec) {
  (void)unset_environment, (void)usec;
  return 0;
}
#endif

#define STATUS_INTERVAL_MS 2000
#define LOOK_INTERVAL_MS 200
#define WATCHDOG_INTERVAL_MS 10000 /* or half of what systemd asks for, if that is less */

struct daemon {
  struct watched watched;
  const struct stop *stop;
  int64_t watchdog_every_ms;
  int64_t look_every_ms;
  struct daemon_told told;
  pthread_t thread;
  pthread_mutex_t lock; /* guards ended */
  pthread_cond_t wake;
  bool ended;
};

static void add_line(struct daemon_message *m, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A line break inside a value, as texts of errors have them, would begin a line of the protocol. */
static void add_line(struct daemon_message *m, const char *format, ...) {
  size_t len = strlen(m->text);
  if (len > 0 && len + 1 < sizeof m->text)
    m->text[len++] = '\n';
  va_list args;
  va_start(args, format);
  vsnprintf(m->text + len, sizeof m->text - len, format, args);
  va_end(args);
  for (char *c = m->text + len; *c != '\0'; c++)
    if (*c == '\n' || *c == '\r')
      *c = ' ';
}

static bool status_is_due(const struct daemon_told *told, const struct vitals *vitals, int64_t now_ms) {
  if (told->state == NULL || strcmp(told->state, vitals->state) != 0 || told->attempt != vitals->attempt)
    return true;
  return strcmp(told->summary, vitals->summary) != 0 && now_ms - told->status_ms >= STATUS_INTERVAL_MS;
}

static bool watchdog_is_due(const struct daemon_told *told, const struct vitals *vitals, int64_t every_ms,
                            int64_t now_ms) {
  int64_t since_ms = now_ms - told->watchdog_ms;
  return every_ms > 0 && since_ms >= every_ms && vitals->alive && (vitals->waiting || vitals->turned_ago_ms < since_ms);
}

void daemon_message(struct daemon_told *told, const struct vitals *vitals, bool stopping, int64_t watchdog_every_ms,
                    int64_t now_ms, struct daemon_message *out) {
  out->text[0] = '\0';
  if (!told->ready && vitals->started) {
    told->ready = true;
    add_line(out, "READY=1");
  }
  if ((stopping || vitals->stopping) && !told->stopping) {
    told->stopping = true;
    add_line(out, "STOPPING=1");
    add_line(out, "STATUS=stopping");
  } else if (!told->stopping && status_is_due(told, vitals, now_ms)) {
    told->state = vitals->state;
    told->attempt = vitals->attempt;
    memcpy(told->summary, vitals->summary, sizeof told->summary);
    told->status_ms = now_ms;
    add_line(out, "STATUS=%s", vitals->summary);
  }
  if (watchdog_is_due(told, vitals, watchdog_every_ms, now_ms)) {
    told->watchdog_ms = now_ms;
    add_line(out, "WATCHDOG=1");
  }
}

static void look_and_tell(struct daemon *d) {
  struct vitals vitals;
  struct daemon_message message;
  void *moment = d->watched.class->look(d->watched.source);
  d->watched.class->judge(moment, &vitals);
  d->watched.class->forget(moment);
  daemon_message(&d->told, &vitals, atomic_load(&d->stop->requested), d->watchdog_every_ms, clock_monotonic_ms(),
                 &message);
  if (message.text[0] != '\0')
    sd_notify(0, message.text); /* of a failure there is nobody to tell */
}

/* False once the run has ended. */
static bool wait_for_next_look(struct daemon *d) {
  struct timespec until = clock_deadline(d->look_every_ms);
  pthread_mutex_lock(&d->lock);
  while (!d->ended && pthread_cond_timedwait(&d->wake, &d->lock, &until) == 0)
    ;
  bool ended = d->ended;
  pthread_mutex_unlock(&d->lock);
  return !ended;
}

static void *run(void *arg) {
  struct daemon *d = arg;
  do
    look_and_tell(d);
  while (wait_for_next_look(d));
  return NULL;
}

static int64_t lesser(int64_t a, int64_t b) {
  return a < b ? a : b;
}

struct daemon *daemon_start(const struct watched *watched, const struct stop *stop) {
  if (getenv("NOTIFY_SOCKET") == NULL)
    return NULL;
  struct daemon *d = memory_alloc(sizeof *d);
  d->watched = *watched;
  d->stop = stop;
  d->look_every_ms = LOOK_INTERVAL_MS;
  uint64_t usec = 0;
  if (sd_watchdog_enabled(0, &usec) > 0) {
    d->watchdog_every_ms = lesser((int64_t)(usec / 2000) + 1, WATCHDOG_INTERVAL_MS);
    d->look_every_ms = lesser(d->watchdog_every_ms / 4 + 1, LOOK_INTERVAL_MS);
  }
  pthread_mutex_init(&d->lock, NULL);
  clock_condition_init(&d->wake);
  pthread_create(&d->thread, NULL, run, d);
  return d;
}

void daemon_end(struct daemon *d, const struct error *why) {
  if (d == NULL)
    return;
  pthread_mutex_lock(&d->lock);
  d->ended = true;
  pthread_cond_signal(&d->wake);
  pthread_mutex_unlock(&d->lock);
  pthread_join(d->thread, NULL);
  struct daemon_message message = {.text = "STOPPING=1"};
  if (why == NULL)
    add_line(&message, "STATUS=done");
  else
    add_line(&message, "STATUS=%s%s%s: %s", error_kind_name(why->kind), why->code == NULL ? "" : ", ",
             why->code == NULL ? "" : why->code, why->message);
  sd_notify(0, message.text);
  pthread_cond_destroy(&d->wake);
  pthread_mutex_destroy(&d->lock);
  free(d);
}
