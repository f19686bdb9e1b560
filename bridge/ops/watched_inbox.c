/* See watched_inbox.h. */
#include "bridge/ops/watched_inbox.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/jsonobject.h"
#include "bridge/base/memory.h"
#include "bridge/ops/metrics.h"

static void *look(void *source) {
  const struct watched_inbox *inbox = source;
  struct inbox_snapshot *s = memory_alloc(sizeof *s);
  inbox_report_look(inbox->report, s);
  return s;
}

static void forget(void *moment) {
  inbox_snapshot_free(moment);
  free(moment);
}

static bool start_is_over(const struct inbox_snapshot *s) {
  switch (s->state) {
  case INBOX_STARTING:
  case INBOX_STOPPING:
    return false;
  case INBOX_STREAMING:
  case INBOX_RECOVERING:
    return true;
  }
  return false;
}

static size_t count_partitions(const struct inbox_snapshot *s, enum inbox_partition_state state) {
  size_t count = 0;
  for (size_t i = 0; i < s->partition_count; i++)
    count += s->partitions[i].state == state;
  return count;
}

/* Whatever became of them. */
static uint64_t count_events(const struct inbox_snapshot *s) {
  uint64_t count = 0;
  for (size_t i = 0; i < s->handler_count; i++)
    for (enum inbox_outcome outcome = INBOX_PROCESSED; outcome <= INBOX_OUTCOMES; outcome++)
      count += s->handlers[i].outcomes[outcome];
  return count;
}

static void sum_up_stream(const struct inbox_snapshot *s, const struct inbox_readiness *readiness, struct vitals *out) {
  size_t stopped = count_partitions(s, INBOX_PARTITION_STOPPED);
  size_t backing_off = count_partitions(s, INBOX_PARTITION_BACKING_OFF);
  int len =
      snprintf(out->summary, sizeof out->summary, "%s, %zu partition%s, %" PRIu64 " events handled",
               inbox_state_name(s->state), s->partition_count, s->partition_count == 1 ? "" : "s", count_events(s));
  if (backing_off > 0)
    len += snprintf(out->summary + len, sizeof out->summary - (size_t)len, ", %zu backing off", backing_off);
  if (stopped > 0)
    len += snprintf(out->summary + len, sizeof out->summary - (size_t)len, ", %zu stopped", stopped);
  if (!readiness->ready)
    snprintf(out->summary + len, sizeof out->summary - (size_t)len, ": %s", readiness->details);
}

static void sum_up(const struct inbox_snapshot *s, const struct inbox_readiness *readiness, struct vitals *out) {
  switch (s->state) {
  case INBOX_STARTING:
  case INBOX_STOPPING:
    snprintf(out->summary, sizeof out->summary, "%s", inbox_state_name(s->state));
    break;
  case INBOX_STREAMING:
    sum_up_stream(s, readiness, out);
    break;
  case INBOX_RECOVERING:
    snprintf(out->summary, sizeof out->summary, "%s: %s", inbox_state_name(s->state), s->failed_message);
    break;
  }
}

static void judge(const void *moment, struct vitals *out) {
  const struct inbox_snapshot *s = moment;
  struct inbox_readiness readiness;
  inbox_readiness(s, &readiness);
  *out = (struct vitals){.ready = readiness.ready,
                         .reason = readiness.reason,
                         .state = inbox_state_name(s->state),
                         .state_ms = s->state_ms,
                         .attempt = (int64_t)(s->recoveries_retry + s->recoveries_start_over + s->recoveries_fatal),
                         .started = start_is_over(s),
                         .stopping = s->state == INBOX_STOPPING,
                         .alive = inbox_alive(s),
                         .waiting = s->peer != INBOX_NOBODY,
                         .turned_ago_ms = s->turned_ago_ms,
                         .recoveries = {{ERROR_RETRY, s->recoveries_retry},
                                        {ERROR_START_OVER, s->recoveries_start_over},
                                        {ERROR_FATAL, s->recoveries_fatal}},
                         .failed_us = s->failed_us,
                         .failed_kind = s->failed_kind,
                         .failed_code = s->failed_code};
  memcpy(out->details, readiness.details, sizeof out->details);
  memcpy(out->failed_message, s->failed_message, sizeof out->failed_message);
  sum_up(s, &readiness, out);
}

static void write_steps(const void *moment, struct buffer *out) {
  const struct inbox_snapshot *s = moment;
  jsonobject_integer(out, "inbox_thread_step_seconds_ago", s->turned_ago_ms / 1000);
}

static void open_list(struct buffer *out, const char *name) {
  jsonobject_key(out, name);
  buffer_append_char(out, '[');
}

static void close_list(struct buffer *out) {
  buffer_append_char(out, ']');
}

static void known(struct buffer *out, const char *name, int64_t value) {
  if (value >= 0)
    jsonobject_integer(out, name, value);
  else
    jsonobject_text(out, name, NULL);
}

static void seconds(struct buffer *out, const char *name, double value) {
  jsonobject_key(out, name);
  buffer_printf(out, "%.3f", value);
}

static void write_partition(const struct inbox_partition_view *p, struct buffer *out) {
  jsonobject_open(out, NULL);
  jsonobject_text(out, "topic", p->topic);
  jsonobject_integer(out, "partition", p->partition);
  jsonobject_text(out, "state", inbox_partition_state_name(p->state));
  known(out, "next_offset", p->next_offset);
  known(out, "lag", p->lag);
  seconds(out, "lag_seconds", (double)p->behind_ms / 1e3);
  jsonobject_integer(out, "attempts", p->attempts);
  jsonobject_text(out, "code", p->code);
  jsonobject_text(out, "error", p->code == NULL ? NULL : p->message);
  jsonobject_close(out);
}

/* Those that do not go on by themselves, or not at once. */
static void write_readiness(const void *moment, struct buffer *out) {
  const struct inbox_snapshot *s = moment;
  open_list(out, "held_up");
  for (size_t i = 0; i < s->partition_count; i++)
    if (s->partitions[i].state != INBOX_PARTITION_READING)
      write_partition(&s->partitions[i], out);
  close_list(out);
}

static void write_time(const struct histogram *h, struct buffer *out) {
  jsonobject_integer(out, "count", (int64_t)h->count);
  seconds(out, "seconds", (double)h->sum_us / 1e6);
}

static void write_handler(const struct inbox_handler_counts *h, struct buffer *out) {
  jsonobject_open(out, NULL);
  jsonobject_text(out, "type", h->type);
  for (enum inbox_outcome outcome = INBOX_PROCESSED; outcome <= INBOX_OUTCOMES; outcome++)
    jsonobject_integer(out, inbox_outcome_name(outcome), (int64_t)h->outcomes[outcome]);
  jsonobject_integer(out, "retries", (int64_t)h->retries);
  jsonobject_open(out, "calls");
  write_time(&h->time, out);
  jsonobject_close(out);
  jsonobject_close(out);
}

/* The sum of what is known, and the worst. */
static void write_lag(const struct inbox_snapshot *s, struct buffer *out) {
  int64_t messages = 0, behind_ms = 0;
  for (size_t i = 0; i < s->partition_count; i++) {
    messages += s->partitions[i].lag > 0 ? s->partitions[i].lag : 0;
    behind_ms = s->partitions[i].behind_ms > behind_ms ? s->partitions[i].behind_ms : behind_ms;
  }
  jsonobject_open(out, "lag");
  jsonobject_integer(out, "messages", messages);
  seconds(out, "seconds", (double)behind_ms / 1e3);
  jsonobject_close(out);
}

static void write_status(const void *source, const void *moment, struct buffer *out) {
  const struct watched_inbox *inbox = source;
  const struct inbox_snapshot *s = moment;
  jsonobject_text(out, "group", inbox->group);
  jsonobject_integer(out, "events", (int64_t)count_events(s));
  write_lag(s, out);
  open_list(out, "partitions");
  for (size_t i = 0; i < s->partition_count; i++)
    write_partition(&s->partitions[i], out);
  close_list(out);
  open_list(out, "handlers");
  for (size_t i = 0; i < s->handler_count; i++)
    write_handler(&s->handlers[i], out);
  close_list(out);
  jsonobject_open(out, "batches");
  write_time(&s->batch_time, out);
  jsonobject_integer(out, "messages", (int64_t)s->messages);
  jsonobject_close(out);
  jsonobject_open(out, "dead_letters");
  for (int i = 0; i < s->dead_letter_codes; i++)
    jsonobject_integer(out, s->dead_letters[i].code, (int64_t)s->dead_letters[i].count);
  jsonobject_close(out);
}

static void write_metrics(const void *moment, const struct metrics *metrics) {
  metrics_inbox(metrics, moment);
}

const struct watched_class watched_inbox_class = {
    .process = "inbox",
    .summary_of_status = "state, partitions, lag, counts by handler, dead letters, last error",
    .look = look,
    .forget = forget,
    .judge = judge,
    .write_steps = write_steps,
    .write_readiness = write_readiness,
    .write_status = write_status,
    .write_metrics = write_metrics,
};
