/* See retain.h. The thread's life and its rounds. */
#include "bridge/relay/retain.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bridge/base/clock.h"
#include "bridge/base/failpoint.h"
#include "bridge/base/log.h"
#include "bridge/base/memory.h"
#include "bridge/postgres/slot.h"
#include "bridge/relay/history.h"
#include "bridge/relay/minutes.h"
#include "bridge/relay/progress.h"
#include "bridge/relay/relay.h"
#include "bridge/relay/retain_pin.h"

#define LOOK_MS 500                      /* has a new minute begun? */
#define KAFKA_TIMEOUT_MS 5000            /* stopping waits no longer than that */
#define ADVANCE_TIMEOUT_MS 600000        /* of one step */
#define ADVANCE_STEP (UINT64_C(1) << 28) /* bytes of WAL: what is interrupted has to be decoded again */
#define TIGHTEN_MAX 3                    /* the start of what is kept follows the position with a lag */
#define REMIND_US (60 * MINUTES_US)      /* what is wrong is logged again */

struct retain {
  const struct relay_settings *settings;
  const struct stop *stop;
  struct progress *progress;
  pthread_t thread;
  bool started;

  pthread_mutex_t lock; /* of these */
  pthread_cond_t woken;
  bool stopping;
  lsn_t committed; /* 0: the relay does not stream */
  char system_id[24];
  int socket; /* of conn, to cut it from outside; -1: none */

  /* The thread's own. */
  struct connection *conn; /* NULL between failures */
  char database[64];
  char sampled_system_id[24]; /* "": the history was not read yet */
  struct retain_sample *samples;
  int sample_count, sample_room;
  struct retain_pin pin;
  struct minutes_clock clock;
  int64_t minute_us; /* of the last round */
  struct error told; /* what was wrong in the last round */
  int64_t told_us;
};

/* A new minute, and a relay that streams; false when it is time to stop. */
static bool wait_for_turn(struct retain *r) {
  for (;;) {
    struct timespec due = clock_deadline(LOOK_MS);
    if (!r->stopping)
      pthread_cond_timedwait(&r->woken, &r->lock, &due);
    if (r->stopping)
      return false;
    int64_t now_us = FAILPOINT_CLOCK(clock_wall_us());
    if (r->committed == 0 || now_us - now_us % MINUTES_US == r->minute_us)
      continue;
    r->minute_us = now_us - now_us % MINUTES_US;
    return true;
  }
}

static void disconnect(struct retain *r) {
  pthread_mutex_lock(&r->lock);
  if (r->socket >= 0)
    close(r->socket);
  r->socket = -1;
  pthread_mutex_unlock(&r->lock);
  connection_close(r->conn);
  r->conn = NULL;
}

static bool connect_once(struct retain *r, struct error *err) {
  if (r->conn != NULL)
    return true;
  r->conn = connection_open(r->settings->conninfo, r->settings->name, err);
  struct catalog_server server;
  if (r->conn == NULL || !connection_set_timeout(r->conn, ADVANCE_TIMEOUT_MS, err) ||
      !catalog_server(r->conn, &server, err))
    return false;
  memcpy(r->database, server.database, sizeof r->database);
  pthread_mutex_lock(&r->lock);
  r->socket = dup(connection_socket(r->conn));
  pthread_mutex_unlock(&r->lock);
  return true;
}

static void add_sample(struct retain *r, int64_t at_us, lsn_t lsn) {
  retain_clip(r->samples, r->sample_count, lsn);
  if (r->sample_count == r->sample_room) {
    r->sample_room = r->sample_room == 0 ? 64 : 2 * r->sample_room;
    r->samples = memory_resize(r->samples, (size_t)r->sample_room * sizeof *r->samples);
  }
  r->samples[r->sample_count++] = (struct retain_sample){.at_us = at_us, .lsn = lsn};
}

/* Where earlier runs stood is in Kafka; read once, since from then on we see for ourselves. */
static bool read_samples(struct retain *r, const char *system_id, struct error *err) {
  if (strcmp(r->sampled_system_id, system_id) == 0)
    return true;
  const struct kafka_settings *kafka = &r->settings->publisher.kafka;
  char *topic = kafka_position_topic(kafka->instance);
  struct kafka_admin *admin = kafka_admin_new(kafka, err);
  struct history history;
  bool ok = admin != NULL && history_read(admin, kafka, topic, KAFKA_TIMEOUT_MS, &r->stop->requested, &history, err);
  kafka_admin_free(admin);
  free(topic);
  if (!ok)
    return error_wrap(err, "reading the position's history");
  r->sample_count = 0;
  for (int i = 0; i < history.count; i++)
    if (strcmp(history.entries[i].system_id, system_id) == 0)
      add_sample(r, history.entries[i].at_us, history.entries[i].lsn);
  history_free(&history);
  snprintf(r->sampled_system_id, sizeof r->sampled_system_id, "%s", system_id);
  return true;
}

/* Those older than the one that the window begins with. */
static void forget_samples(struct retain *r, int64_t window_us) {
  int old = 0;
  while (old + 1 < r->sample_count && r->samples[old + 1].at_us <= window_us)
    old++;
  r->sample_count -= old;
  memmove(r->samples, r->samples + old, (size_t)r->sample_count * sizeof *r->samples);
}

static bool stopping(struct retain *r) {
  pthread_mutex_lock(&r->lock);
  bool stop = r->stopping;
  pthread_mutex_unlock(&r->lock);
  return stop;
}

static bool read_slot(struct retain *r, struct catalog_slot *slot, struct error *err) {
  return catalog_slot(r->conn, r->settings->retain.slot, slot, err);
}

/* In steps, so that what was decoded is not lost with an interruption. */
static bool advance(struct retain *r, lsn_t to, struct catalog_slot *slot, struct error *err) {
  while (slot->confirmed_flush_lsn < to) {
    if (stopping(r))
      return error_set(err, ERROR_STOPPED, "stopped");
    lsn_t before = slot->confirmed_flush_lsn;
    lsn_t next = to - before > ADVANCE_STEP ? before + ADVANCE_STEP : to;
    if (!slot_advance(r->conn, r->settings->retain.slot, next, err) || !read_slot(r, slot, err))
      return false;
    if (slot->confirmed_flush_lsn <= before) /* no record ends in between */
      return true;
  }
  return true;
}

/* The WAL that is kept for the relay's slot anyway: while a transaction is open, or the relay cannot publish, moving
 * ours would free nothing. */
static bool read_needed(struct retain *r, lsn_t *needed_lsn, struct error *err) {
  struct catalog_slot relay;
  if (!catalog_slot(r->conn, r->settings->slot, &relay, err))
    return false;
  *needed_lsn = relay.restart_lsn;
  return true;
}

/* Moves it to where it has to stand. The WAL that is kept begins before that, so that it may take more than one go. */
static bool move_up(struct retain *r, lsn_t committed, lsn_t pinned, struct catalog_slot *slot, struct error *err) {
  const struct retain_settings *s = &r->settings->retain;
  struct retain_view view = {.samples = r->samples,
                             .sample_count = r->sample_count,
                             .now_us = r->clock.window_us,
                             .keep_us = s->keep_ms * 1000,
                             .keep_bytes = s->keep_bytes,
                             .committed = committed,
                             .pinned = pinned};
  if (!read_needed(r, &view.needed_lsn, err))
    return false;
  for (int i = 0; i < TIGHTEN_MAX; i++) {
    view.restart_lsn = slot->restart_lsn;
    lsn_t target = retain_target(&view);
    if (target <= slot->confirmed_flush_lsn)
      return true;
    if (!advance(r, target, slot, err))
      return false;
    int64_t excess = (int64_t)(view.needed_lsn - slot->restart_lsn) - s->keep_bytes;
    if (excess <= 0 || slot->restart_lsn == view.restart_lsn) /* what holds it is a transaction behind the target */
      return true;
    view.keep_bytes -= excess < view.keep_bytes ? excess : view.keep_bytes;
  }
  return true;
}

static void tell_slot(struct retain *r, const struct catalog_slot *slot) {
  progress_retained(r->progress, slot, retain_since(r->samples, r->sample_count, slot->confirmed_flush_lsn));
}

/* What Kafka tells of earlier runs and of replays. While it does not, the slot may be needed where it stands: it stays
 * there, but for the limit in bytes. */
static bool read_kafka(struct retain *r, const char *system_id, int64_t now_us, lsn_t *pinned, struct error *err) {
  return read_samples(r, system_id, err) &&
         retain_pin_read(&r->pin, &r->settings->publisher.kafka, now_us - r->settings->retain.keep_ms * 1000,
                         KAFKA_TIMEOUT_MS, &r->stop->requested, pinned, err);
}

static bool run_round(struct retain *r, lsn_t committed, const char *system_id, struct error *err) {
  const struct relay_settings *s = r->settings;
  struct catalog_slot slot = {.exists = false};
  bool made = false;
  if (!connect_once(r, err) || !read_slot(r, &slot, err))
    return false;
  tell_slot(r, &slot);
  if (s->create ? !retain_establish(s, r->conn, r->database, &made, err)
                : !retain_usable(s->retain.slot, &slot, s->plugin, r->database, err))
    return false;
  if (made)
    log_info("retain.slot_created", log_string("slot", s->retain.slot));
  int64_t now_us = FAILPOINT_CLOCK(clock_wall_us());
  int64_t window_us = minutes_clock(&r->clock, now_us, FAILPOINT_CLOCK(clock_monotonic_us()));
  lsn_t pinned = slot.confirmed_flush_lsn;
  bool known = read_kafka(r, system_id, window_us, &pinned, err);
  if (!known && err->kind == ERROR_STOPPED)
    return false;
  add_sample(r, now_us, committed);
  forget_samples(r, window_us - s->retain.keep_ms * 1000);
  struct error trouble;
  if (!read_slot(r, &slot, &trouble) || !move_up(r, committed, pinned, &slot, &trouble)) {
    *err = trouble;
    return false;
  }
  tell_slot(r, &slot);
  return known;
}

/* Once, and then every hour while it stays so. */
static void tell(struct retain *r, const struct error *err) {
  bool same = err->kind == r->told.kind && strcmp(err->message, r->told.message) == 0;
  if (err->kind == ERROR_STOPPED || (same && r->minute_us - r->told_us < REMIND_US))
    return;
  r->told = *err;
  r->told_us = r->minute_us;
  if (err->kind != ERROR_NONE)
    log_error_event(LOG_WARN, "retain.trouble", err);
}

static void *run(void *arg) {
  struct retain *r = arg;
  pthread_mutex_lock(&r->lock);
  while (wait_for_turn(r)) {
    lsn_t committed = r->committed;
    char system_id[sizeof r->system_id];
    memcpy(system_id, r->system_id, sizeof system_id);
    pthread_mutex_unlock(&r->lock);
    struct error err = {.kind = ERROR_NONE};
    if (!run_round(r, committed, system_id, &err))
      disconnect(r);
    progress_retain_trouble(r->progress, &err);
    tell(r, &err);
    pthread_mutex_lock(&r->lock);
  }
  pthread_mutex_unlock(&r->lock);
  return NULL;
}

struct retain *retain_start(const struct relay_settings *settings, const struct stop *stop, struct progress *progress) {
  if (settings->retain.slot == NULL)
    return NULL;
  struct retain *r = memory_alloc(sizeof *r);
  r->settings = settings;
  r->stop = stop;
  r->progress = progress;
  progress_retain_limits(progress, settings->retain.keep_ms, settings->retain.keep_bytes);
  r->socket = -1;
  pthread_mutex_init(&r->lock, NULL);
  clock_condition_init(&r->woken);
  r->started = pthread_create(&r->thread, NULL, run, r) == 0;
  if (!r->started) {
    struct error err;
    error_set(&err, ERROR_RETRY, "no thread is left to move up the held-back slot");
    log_error_event(LOG_WARN, "retain.trouble", &err);
  }
  return r;
}

void retain_stop(struct retain *r) {
  if (r == NULL)
    return;
  pthread_mutex_lock(&r->lock);
  r->stopping = true;
  pthread_cond_signal(&r->woken);
  if (r->socket >= 0)
    shutdown(r->socket, SHUT_RDWR);
  pthread_mutex_unlock(&r->lock);
  if (r->started)
    pthread_join(r->thread, NULL);
  disconnect(r);
  free(r->samples);
  retain_pin_free(&r->pin);
  pthread_cond_destroy(&r->woken);
  pthread_mutex_destroy(&r->lock);
  free(r);
}

void retain_committed(struct retain *r, const struct position *position) {
  if (r == NULL)
    return;
  pthread_mutex_lock(&r->lock);
  r->committed = position == NULL ? 0 : position_ack_lsn(position);
  if (position != NULL)
    memcpy(r->system_id, position->system_id, sizeof r->system_id);
  pthread_mutex_unlock(&r->lock);
}
