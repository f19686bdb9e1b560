/* See replay_run.h. */
#include "bridge/relay/replay_run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/clock.h"
#include "bridge/base/fnv1a.h"
#include "bridge/base/memory.h"
#include "bridge/base/moment.h"
#include "bridge/base/number.h"

bool replay_point_parse(const char *text, int64_t now_us, struct replay_point *point) {
  *point = (struct replay_point){.lsn = 0};
  if (lsn_parse(slice_of(text), &point->lsn))
    return point->lsn != 0;
  int64_t later_us;
  if (!moment_parse(text, now_us, &point->us) || !moment_parse(text, now_us + 1, &later_us))
    return false;
  point->relative = later_us != point->us ? text : NULL;
  return true;
}

static uint64_t hash_text(uint64_t hash, const char *text) {
  hash = fnv1a(hash, text == NULL ? "-" : "+", 1);
  return text == NULL ? hash : fnv1a(hash, text, strlen(text) + 1);
}

static uint64_t hash_point(uint64_t hash, const struct replay_point *point) {
  char text[64];
  snprintf(text, sizeof text, "%s %" PRId64, lsn_format(point->lsn).text, point->relative == NULL ? point->us : 0);
  return hash_text(hash_text(hash, text), point->relative);
}

static int compare_texts(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void replay_run_key(const struct replay_request *request, const char *instance, const char *slot,
                    char key[REPLAY_KEY_SIZE]) {
  uint64_t hash = hash_text(hash_text(FNV1A_START, instance), slot);
  hash = hash_point(hash_point(hash, &request->from), &request->to);
  hash = hash_text(hash_text(hash, request->topic), request->topic_suffix);
  if (request->type_count > 0) {
    size_t count = (size_t)request->type_count;
    const char **sorted = memory_copy(request->types, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare_texts);
    for (size_t i = 0; i < count; i++)
      hash = hash_text(hash, sorted[i]);
    free(sorted);
  }
  snprintf(key, REPLAY_KEY_SIZE, "%016" PRIx64, hash);
}

lsn_t replay_published(const struct position *relay) {
  if (relay->commit_lsn == 0) /* since it was set; nothing came behind it */
    return position_ack_lsn(relay) - 1;
  return relay->complete ? relay->commit_lsn : relay->commit_lsn - 1;
}

struct oldest_text {
  char text[96];
};
/* "0/16B3748 (from 2026-11-22T01:08:00Z on)" */
static struct oldest_text oldest(const struct replay_window *window) {
  struct oldest_text out;
  struct clock_text time = clock_rfc3339(window->retained_us);
  bool known = window->retained_us != 0;
  snprintf(out.text, sizeof out.text, "%s (%s%s%s)", lsn_format(window->retained).text, known ? "from " : "",
           known ? time.text : "its time is not known", known ? " on" : "");
  return out;
}

static const char in_the_outbox[] =
    "what is older may still be in the outbox as rows: `walferry replay CONFIG --source table`";

static bool refuse_too_old(const struct replay_window *window, const char *asked, struct error *err) {
  error_refuse(err, "replay_too_old", "%s is no longer retained: the oldest that the replay slot has is %s", asked,
               oldest(window).text);
  return error_remedy(err,
                      "replay what there is: `walferry replay CONFIG --from %s`; %s. postgres.replay.keep and "
                      "keep_bytes say how much is retained",
                      lsn_format(window->retained).text, in_the_outbox);
}

static bool check_bounds(const struct replay_request *request, const struct replay_window *window,
                         const struct position_run *run, struct error *err) {
  if (request->from.lsn != 0 && request->from.lsn < window->retained)
    return refuse_too_old(window, lsn_format(request->from.lsn).text, err);
  if (run->from <= run->to)
    return true;
  error_set(err, ERROR_CONFIG, "there is nothing to replay: it would begin at %s and end at %s",
            lsn_format(run->from).text, lsn_format(run->to).text);
  return error_remedy(err, run->to < window->published
                               ? "give a --to that is not before --from, and not before what is retained"
                               : "the relay has published nothing from there on yet");
}

/* The key, and from the second run on its number. */
static void next_id(const char *key, const struct position_run *previous, char *id, size_t size) {
  int64_t number = 0;
  if (previous->id[0] != '\0' && (strlen(previous->id) <= REPLAY_KEY_SIZE ||
                                  !number_parse(slice_of(previous->id + REPLAY_KEY_SIZE), 2, INT32_MAX, &number)))
    number = 1;
  number += previous->id[0] == '\0' || previous->finished || previous->records > 0 ? 1 : 0;
  snprintf(id, size, number == 1 ? "%s" : "%s-%" PRId64, key, number);
}

bool replay_run_begin(const struct replay_request *request, const struct replay_window *window, const char *key,
                      const struct position_run *previous, struct position_run *run, bool *unproven,
                      struct error *err) {
  *run = (struct position_run){.from = request->from.lsn != 0 ? request->from.lsn
                                       : window->start != 0   ? window->start
                                                              : window->retained,
                               .to = window->published,
                               .from_us = request->from.us,
                               .to_us = request->to.us};
  if (request->to.lsn != 0 && request->to.lsn < run->to)
    run->to = request->to.lsn;
  next_id(key, previous, run->id, sizeof run->id);
  *unproven = run->from_us != 0 && window->start == 0;
  return check_bounds(request, window, run, err);
}

void replay_run_begin_table(const struct replay_request *request, const char *key, const struct position_run *previous,
                            uint64_t list, lsn_t lsn, struct position_run *run) {
  *run =
      (struct position_run){.list = list, .from = lsn, .to = lsn, .from_us = request->from.us, .to_us = request->to.us};
  next_id(key, previous, run->id, sizeof run->id);
}

lsn_t replay_run_start(const struct position *at) {
  return at->commit_lsn != 0 ? at->commit_lsn : at->run.from;
}

bool replay_run_resume(const struct position *at, const struct replay_window *window, struct error *err) {
  lsn_t start = replay_run_start(at);
  if (start >= window->retained)
    return true;
  error_refuse(err, "replay_too_old",
               "run %s was interrupted at %s, which is no longer retained: the oldest that the replay slot has is %s",
               at->run.id, lsn_format(start).text, oldest(window).text);
  return error_remedy(err,
                      "it has published %" PRIu64
                      " records, up to that commit. Replay the rest: `walferry replay CONFIG --from %s`; %s",
                      at->run.records, lsn_format(window->retained).text, in_the_outbox);
}

bool replay_run_refuse_unproven(const struct position_run *run, int64_t commit_time_us, struct error *err) {
  struct clock_text from = clock_rfc3339(run->from_us);
  if (commit_time_us == 0)
    error_refuse(err, "replay_too_old",
                 "what is retained from %s on is not known, and no transaction of before it came", from.text);
  else
    error_refuse(err, "replay_too_old",
                 "%s may no longer be retained: the first transaction that the replay slot has was committed at %s",
                 from.text, clock_rfc3339(commit_time_us).text);
  return error_remedy(err, "to replay all that is retained: `walferry replay CONFIG --from %s`; %s",
                      lsn_format(run->from).text, in_the_outbox);
}
