/* See watched_relay.h. */
#include "bridge/ops/watched_relay.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "bridge/base/jsonobject.h"
#include "bridge/base/memory.h"
#include "bridge/ops/metrics.h"

static void *look(void *source) {
  const struct watched_relay *relay = source;
  struct progress_snapshot *s = memory_alloc(sizeof *s);
  progress_look(relay->progress, s);
  return s;
}

/* Progress also enters PROGRESS_RECOVERING with the error that ends the run. */
static bool retries(enum error_kind kind) {
  return kind == ERROR_RETRY || kind == ERROR_START_OVER || kind == ERROR_FENCED;
}

static bool start_is_over(const struct progress_snapshot *s) {
  switch (s->state) {
  case PROGRESS_STARTING:
  case PROGRESS_STOPPING:
    return false;
  case PROGRESS_STANDBY:
  case PROGRESS_SNAPSHOT:
  case PROGRESS_STREAMING:
    return true;
  case PROGRESS_RECOVERING:
    return retries(s->failed_kind);
  }
  return false;
}

static void sum_up(const struct progress_snapshot *s, struct vitals *out) {
  const char *state = progress_state_name(s->state);
  switch (s->state) {
  case PROGRESS_STARTING:
  case PROGRESS_STOPPING:
    snprintf(out->summary, sizeof out->summary, "%s", state);
    break;
  case PROGRESS_STANDBY:
    snprintf(out->summary, sizeof out->summary, "%s: another instance holds the slot", state);
    break;
  case PROGRESS_SNAPSHOT:
    snprintf(out->summary, sizeof out->summary, "%s, %" PRIu64 " of %" PRIu64 " rows published", state, s->rows.next,
             s->rows.rows);
    break;
  case PROGRESS_STREAMING:
    snprintf(out->summary, sizeof out->summary, "%s, published up to %s", state, lsn_format(s->position_ack_lsn).text);
    break;
  case PROGRESS_RECOVERING:
    snprintf(out->summary, sizeof out->summary, "%s: %s", state, s->failed_message);
    break;
  }
}

static void judge(const void *moment, struct vitals *out) {
  const struct progress_snapshot *s = moment;
  struct progress_readiness readiness;
  progress_readiness(s, &readiness);
  *out = (struct vitals){.ready = readiness.ready,
                         .reason = readiness.reason,
                         .state = progress_state_name(s->state),
                         .state_ms = s->state_ms,
                         .attempt = s->generation,
                         .started = start_is_over(s),
                         .stopping = s->state == PROGRESS_STOPPING,
                         .alive = progress_alive(s),
                         .turned_ago_ms = s->turned_ago_ms,
                         .recoveries = {{ERROR_RETRY, s->recoveries_retry},
                                        {ERROR_START_OVER, s->recoveries_start_over},
                                        {ERROR_FENCED, s->recoveries_fenced}},
                         .failed_us = s->failed_us,
                         .failed_kind = s->failed_kind,
                         .failed_code = s->failed_code};
  snprintf(out->details, sizeof out->details, "%s", readiness.details);
  snprintf(out->failed_message, sizeof out->failed_message, "%s", s->failed_message);
  sum_up(s, out);
}

static void write_steps(const void *moment, struct buffer *out) {
  const struct progress_snapshot *s = moment;
  jsonobject_integer(out, "relay_thread_step_seconds_ago", s->turned_ago_ms / 1000);
  if (s->source_turned_ago_ms >= 0)
    jsonobject_integer(out, "source_thread_step_seconds_ago", s->source_turned_ago_ms / 1000);
}

static void write_position(const struct progress_snapshot *s, struct buffer *out) {
  if (s->position_ack_lsn == 0) {
    jsonobject_text(out, "position", NULL);
    return;
  }
  jsonobject_open(out, "position");
  jsonobject_lsn(out, "commit_lsn", s->position_commit_lsn);
  jsonobject_lsn(out, "end_lsn", s->position_ack_lsn);
  jsonobject_moment(out, "commit_time", s->position_commit_time_us);
  jsonobject_bool(out, "complete", s->position_complete);
  jsonobject_close(out);
}

static void write_slot(const struct progress_snapshot *s, const struct watched_relay *relay, struct buffer *out) {
  const struct catalog_slot *slot = &s->slot;
  jsonobject_open(out, "slot");
  jsonobject_text(out, "name", relay->slot);
  jsonobject_moment(out, "read_at", s->slot_read_us);
  if (s->slot_read_us != 0)
    jsonobject_bool(out, "exists", slot->exists);
  if (s->slot_read_us != 0 && slot->exists) {
    jsonobject_bool(out, "active", slot->active);
    jsonobject_text(out, "wal_status", slot->wal_status[0] == '\0' ? NULL : slot->wal_status);
    jsonobject_lsn(out, "confirmed_flush_lsn", slot->confirmed_flush_lsn);
    jsonobject_lsn(out, "restart_lsn", slot->restart_lsn);
    jsonobject_lsn(out, "server_wal_lsn", slot->wal_lsn);
    jsonobject_integer(out, "retained_bytes", catalog_wal_retained(slot));
    if (slot->safe_wal_known)
      jsonobject_integer(out, "safe_wal_bytes", slot->safe_wal_bytes);
    jsonobject_text(out, "invalidation_reason",
                    slot->invalidation_reason[0] == '\0' ? NULL : slot->invalidation_reason);
    jsonobject_moment(out, "inactive_since", slot->inactive_since_us);
    jsonobject_bool(out, "failover", slot->failover);
  }
  jsonobject_close(out);
}

static void write_held_back(const struct progress_snapshot *s, struct buffer *out) {
  const struct catalog_slot *slot = &s->retained;
  if (s->retained_read_us == 0 && s->retained_trouble[0] == '\0') {
    jsonobject_text(out, "held_back", NULL);
    return;
  }
  jsonobject_open(out, "held_back");
  jsonobject_moment(out, "read_at", s->retained_read_us);
  jsonobject_text(out, "trouble", s->retained_trouble[0] == '\0' ? NULL : s->retained_trouble);
  jsonobject_bool(out, "exists", slot->exists);
  if (slot->exists) {
    jsonobject_text(out, "wal_status", slot->wal_status[0] == '\0' ? NULL : slot->wal_status);
    jsonobject_lsn(out, "lsn", slot->confirmed_flush_lsn);
    jsonobject_moment(out, "since", s->retained_since_us);
    jsonobject_integer(out, "retained_bytes", catalog_wal_retained(slot));
  }
  jsonobject_close(out);
}

static void write_lag(const struct progress_snapshot *s, struct buffer *out) {
  jsonobject_open(out, "lag");
  if (s->slot_read_us != 0 && s->slot.confirmed_flush_lsn != 0)
    jsonobject_integer(out, "bytes", catalog_wal_since(&s->slot, s->slot.confirmed_flush_lsn));
  if (s->state == PROGRESS_STREAMING) {
    jsonobject_key(out, "seconds");
    buffer_printf(out, "%.3f", (double)s->lag_us / 1e6);
    jsonobject_integer(out, "unpublished_events", s->unpublished_events);
  }
  jsonobject_close(out);
}

static void write_published(const struct totals *p, struct buffer *out) {
  jsonobject_open(out, "published");
  jsonobject_integer(out, "events", (int64_t)p->records);
  jsonobject_integer(out, "transactions", (int64_t)p->transactions);
  jsonobject_integer(out, "bytes", (int64_t)p->bytes);
  jsonobject_close(out);
  jsonobject_open(out, "quarantined");
  for (int i = 0; i < p->code_count; i++)
    jsonobject_integer(out, p->codes[i].code, (int64_t)p->codes[i].count);
  jsonobject_close(out);
}

static void write_rows(const struct position_snapshot *rows, struct buffer *out) {
  if (rows->state == POSITION_SNAPSHOT_NONE)
    return;
  jsonobject_open(out, "snapshot");
  jsonobject_text(out, "state", position_snapshot_name(rows->state));
  jsonobject_integer(out, "published", (int64_t)rows->next);
  jsonobject_integer(out, "rows", (int64_t)rows->rows);
  jsonobject_close(out);
}

static void write_tidy(const struct progress_tidy *t, struct buffer *out) {
  if (!t->wanted)
    return;
  jsonobject_open(out, "after_publish");
  jsonobject_integer(out, "rows", (int64_t)t->rows);
  jsonobject_integer(out, "backlog_rows", t->backlog);
  jsonobject_bool(out, "publishing_waits", t->waiting_ms > 0);
  jsonobject_text(out, "error", t->error[0] == '\0' ? NULL : t->error);
  jsonobject_close(out);
}

static void write_status(const void *source, const void *moment, struct buffer *out) {
  const struct watched_relay *relay = source;
  const struct progress_snapshot *s = moment;
  jsonobject_integer(out, "generation", s->generation);
  write_position(s, out);
  write_rows(&s->rows, out);
  write_slot(s, relay, out);
  write_held_back(s, out);
  jsonobject_text(out, "publication", relay->publication);
  write_lag(s, out);
  write_published(&s->published, out);
  write_tidy(&s->tidy, out);
}

static void write_metrics(const void *moment, const struct metrics *metrics) {
  metrics_relay(metrics, moment);
}

const struct watched_class watched_relay_class = {
    .process = "relay",
    .summary_of_status = "state, position, slot, lag, last error",
    .look = look,
    .forget = free,
    .judge = judge,
    .write_steps = write_steps,
    .write_status = write_status,
    .write_metrics = write_metrics,
};
