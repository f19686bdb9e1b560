/* See watch.h. */
#include "bridge/relay/watch.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bridge/base/clock.h"
#include "bridge/base/memory.h"

#define LATE_MS 1000 /* a server that is well has answered by then */
#define SLICE_MS 100 /* a wait for a look hears a request to stop */

struct watch {
  const struct relay_settings *settings;
  const struct stop *stop;
  struct connection *conn; /* the thread's */
  int socket;              /* the same socket once more, to cut it from outside */
  pthread_t thread;
  bool started;

  pthread_mutex_t lock; /* of all below */
  pthread_cond_t wanted;
  pthread_cond_t looked;
  bool stopping;
  int64_t begun, ended; /* looks */
  int64_t asked;        /* the number of the look that somebody waits for */
  int64_t begun_ms;
  struct facts seen; /* by the last look; only publication and slot are used */
  bool untaken;      /* and nobody has taken it yet */
  bool failed;
  struct error why;
};

/* Called with the lock held. False when it is time to stop. */
static bool wait_for_turn(struct watch *w) {
  struct timespec due = clock_deadline(WATCH_INTERVAL_MS);
  while (!w->stopping && w->asked <= w->begun && pthread_cond_timedwait(&w->wanted, &w->lock, &due) == 0)
    ;
  return !w->stopping;
}

static void *run(void *arg) {
  struct watch *w = arg;
  pthread_mutex_lock(&w->lock);
  while (!w->failed && wait_for_turn(w)) {
    w->begun++;
    w->begun_ms = clock_monotonic_ms();
    pthread_mutex_unlock(&w->lock);
    struct facts seen = {.publication = {.exists = false}};
    struct error err = {.kind = ERROR_NONE};
    bool ok = facts_publication(&seen, w->conn, w->settings, &err) &&
              catalog_slot(w->conn, w->settings->slot, &seen.admit.slot, &err);
    pthread_mutex_lock(&w->lock);
    facts_free(&w->seen);
    w->seen = seen;
    w->untaken = ok;
    w->failed = !ok;
    w->why = err;
    w->ended = w->begun;
    pthread_cond_broadcast(&w->looked);
  }
  pthread_mutex_unlock(&w->lock);
  return NULL;
}

struct watch *watch_start(const struct relay_settings *settings, const struct stop *stop, struct connection *conn) {
  struct watch *w = memory_alloc(sizeof *w);
  w->settings = settings;
  w->stop = stop;
  w->conn = conn;
  w->socket = dup(connection_socket(conn));
  pthread_mutex_init(&w->lock, NULL);
  clock_condition_init(&w->wanted);
  clock_condition_init(&w->looked);
  w->started = w->socket >= 0 && pthread_create(&w->thread, NULL, run, w) == 0;
  if (!w->started) {
    w->failed = true;
    error_set(&w->why, ERROR_RETRY, "no thread or file descriptor is left for the watch over the publication");
  }
  return w;
}

void watch_stop(struct watch *w) {
  if (w == NULL)
    return;
  pthread_mutex_lock(&w->lock);
  w->stopping = true;
  pthread_cond_signal(&w->wanted);
  if (w->ended < w->begun)
    shutdown(w->socket, SHUT_RDWR);
  pthread_mutex_unlock(&w->lock);
  if (w->started)
    pthread_join(w->thread, NULL);
  if (w->socket >= 0)
    close(w->socket);
  connection_close(w->conn);
  facts_free(&w->seen);
  pthread_cond_destroy(&w->looked);
  pthread_cond_destroy(&w->wanted);
  pthread_mutex_destroy(&w->lock);
  free(w);
}

bool watch_ready(struct watch *w) {
  pthread_mutex_lock(&w->lock);
  bool late = w->ended < w->begun && clock_monotonic_ms() - w->begun_ms >= LATE_MS;
  bool ready = w->untaken || w->failed || late;
  pthread_mutex_unlock(&w->lock);
  return ready;
}

bool watch_take(struct watch *w, bool fresh, struct facts *facts, struct error *err) {
  pthread_mutex_lock(&w->lock);
  int64_t number = fresh ? w->begun + 1 : w->begun;
  if (number > w->asked)
    w->asked = number;
  pthread_cond_signal(&w->wanted);
  bool stopped = false;
  while (!stopped && !w->failed && (fresh || !w->untaken) && w->ended < number) {
    struct timespec slice = clock_deadline(SLICE_MS);
    stopped = pthread_cond_timedwait(&w->looked, &w->lock, &slice) != 0 && w->stop->requested;
  }
  bool ok = !w->failed && !stopped;
  if (stopped) {
    error_set(err, ERROR_STOPPED, "stopped");
  } else if (!ok) {
    *err = w->why;
  } else if (w->untaken) {
    facts_free(facts);
    facts->publication = w->seen.publication;
    facts->admit.slot = w->seen.admit.slot;
    w->seen.publication = (struct catalog_publication){.exists = false};
    w->untaken = false;
  }
  pthread_mutex_unlock(&w->lock);
  return ok;
}
