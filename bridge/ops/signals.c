/* See signals.h. */
#include "bridge/ops/signals.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "bridge/base/clock.h"
#include "bridge/base/log.h"
#include "bridge/base/memory.h"

#define GIVE_UP_MS 4000
#define LEAVE_MS 9000

static sigset_t handled_signals(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  return set;
}

/* Waits for the next signal until a deadline; 0 when it passed. */
static int next_signal(const sigset_t *set, int64_t until_ms) {
  int64_t left = until_ms - clock_monotonic_ms();
  if (left <= 0)
    return 0;
  struct timespec wait = {.tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000};
  int signal = sigtimedwait(set, NULL, &wait);
  return signal < 0 ? 0 : signal;
}

struct signals { /* the thread's own */
  struct stop *stop;
  int left_exit_code;
};

static void *run(void *arg) {
  struct signals signals = *(struct signals *)arg;
  free(arg);
  sigset_t set = handled_signals();
  for (;;) {
    int signal;
    if (sigwait(&set, &signal) != 0)
      continue;
    if (signal != SIGHUP)
      break;
    log_warn("config.restart_needed", log_string("error", "this version reloads nothing: restart to apply changes"));
  }
  log_info("process.stopping");
  atomic_store(&signals.stop->requested, true);
  int64_t began = clock_monotonic_ms();
  for (;;) {
    int64_t gone = clock_monotonic_ms() - began;
    if (gone >= GIVE_UP_MS)
      atomic_store(&signals.stop->now, true);
    if (gone >= LEAVE_MS)
      break;
    int signal = next_signal(&set, began + (gone < GIVE_UP_MS ? GIVE_UP_MS : LEAVE_MS));
    if (signal == SIGTERM || signal == SIGINT)
      break;
  }
  log_warn("process.left_at_once");
  _exit(signals.left_exit_code);
}

void signals_start(struct stop *stop, int left_exit_code) {
  sigset_t set = handled_signals();
  pthread_sigmask(SIG_BLOCK, &set, NULL);
  signal(SIGPIPE, SIG_IGN);
  pthread_t thread;
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  struct signals *signals = memory_alloc(sizeof *signals);
  *signals = (struct signals){.stop = stop, .left_exit_code = left_exit_code};
  pthread_create(&thread, &attr, run, signals);
  pthread_attr_destroy(&attr);
}
