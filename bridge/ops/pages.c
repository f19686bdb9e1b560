/* See pages.h. */
#include "bridge/ops/pages.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bridge/base/clock.h"
#include "bridge/base/jsonobject.h"
#include "bridge/base/number.h"
#include "bridge/kafka/client.h"
#include "bridge/ops/metrics.h"

#define JSON_CONTENT_TYPE "application/json"

static void moment(struct buffer *out, const char *name, int64_t unix_us) {
  jsonobject_text(out, name, unix_us == 0 ? NULL : clock_rfc3339(unix_us).text);
}

/* Returns whether it is ready. */
static bool write_readiness(const struct progress_snapshot *s, struct buffer *out) {
  struct progress_readiness readiness;
  progress_readiness(s, &readiness);
  jsonobject_bool(out, "ready", readiness.ready);
  jsonobject_text(out, "reason", readiness.reason);
  jsonobject_text(out, "error", readiness.details[0] == '\0' ? NULL : readiness.details);
  jsonobject_text(out, "state", progress_state_name(s->state));
  jsonobject_integer(out, "state_seconds", s->state_ms / 1000);
  return readiness.ready;
}

static int write_readyz(const struct progress_snapshot *s, const struct pages_subject *subject, struct buffer *out) {
  jsonobject_open(out, NULL);
  jsonobject_text(out, "name", subject->name);
  bool ready = write_readiness(s, out);
  jsonobject_close(out);
  buffer_append_char(out, '\n');
  return ready ? 200 : 503;
}

static int write_healthz(const struct progress_snapshot *s, const struct pages_subject *subject, struct buffer *out) {
  bool alive = progress_alive(s);
  jsonobject_open(out, NULL);
  jsonobject_text(out, "name", subject->name);
  jsonobject_bool(out, "alive", alive);
  jsonobject_integer(out, "relay_thread_step_seconds_ago", s->turned_ago_ms / 1000);
  if (s->source_turned_ago_ms >= 0)
    jsonobject_integer(out, "source_thread_step_seconds_ago", s->source_turned_ago_ms / 1000);
  jsonobject_close(out);
  buffer_append_char(out, '\n');
  return alive ? 200 : 503;
}

static void write_position(const struct progress_snapshot *s, struct buffer *out) {
  if (s->position_ack_lsn == 0) {
    jsonobject_text(out, "position", NULL);
    return;
  }
  jsonobject_open(out, "position");
  jsonobject_lsn(out, "commit_lsn", s->position_commit_lsn);
  jsonobject_lsn(out, "end_lsn", s->position_ack_lsn);
  moment(out, "commit_time", s->position_commit_time_us);
  jsonobject_bool(out, "complete", s->position_complete);
  jsonobject_close(out);
}

static void write_slot(const struct progress_snapshot *s, const struct pages_subject *subject, struct buffer *out) {
  const struct catalog_slot *slot = &s->slot;
  jsonobject_open(out, "slot");
  jsonobject_text(out, "name", subject->slot);
  moment(out, "read_at", s->slot_read_us);
  if (s->slot_read_us != 0)
    jsonobject_bool(out, "exists", slot->exists);
  if (s->slot_read_us != 0 && slot->exists) {
    jsonobject_bool(out, "active", slot->active);
    jsonobject_text(out, "wal_status", slot->wal_status[0] == '\0' ? NULL : slot->wal_status);
    jsonobject_lsn(out, "confirmed_flush_lsn", slot->confirmed_flush_lsn);
    jsonobject_lsn(out, "restart_lsn", slot->restart_lsn);
    jsonobject_lsn(out, "server_wal_lsn", slot->wal_lsn);
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

static void write_last_error(const struct progress_snapshot *s, struct buffer *out) {
  if (s->failed_us == 0) {
    jsonobject_text(out, "last_error", NULL);
    return;
  }
  jsonobject_open(out, "last_error");
  moment(out, "at", s->failed_us);
  jsonobject_text(out, "kind", error_kind_name(s->failed_kind));
  jsonobject_text(out, "code", s->failed_code);
  jsonobject_text(out, "error", s->failed_message);
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

static int write_status(const struct progress_snapshot *s, const struct pages_subject *subject, struct buffer *out) {
  jsonobject_open(out, NULL);
  jsonobject_text(out, "name", subject->name);
  write_readiness(s, out);
  jsonobject_integer(out, "generation", s->generation);
  moment(out, "started", subject->started_us);
  write_position(s, out);
  write_slot(s, subject, out);
  jsonobject_text(out, "publication", subject->publication);
  write_lag(s, out);
  write_published(&s->published, out);
  write_last_error(s, out);
  jsonobject_open(out, "versions");
  jsonobject_text(out, "walferry", WALFERRY_VERSION);
  jsonobject_text(out, "librdkafka", kafka_library_version());
  jsonobject_close(out);
  jsonobject_close(out);
  buffer_append_char(out, '\n');
  return 200;
}

/* The second number of /proc/self/statm, in pages (proc(5)); -1 when it cannot be read. */
static int64_t resident_bytes(void) {
  char line[128] = "";
  FILE *file = fopen("/proc/self/statm", "re");
  if (file == NULL)
    return -1;
  size_t len = fread(line, 1, sizeof line - 1, file);
  fclose(file);
  const char *second = memchr(line, ' ', len);
  int64_t pages;
  if (second == NULL || !number_parse(slice_from(second + 1, strcspn(second + 1, " ")), 0, INT64_MAX / 65536, &pages))
    return -1;
  return pages * sysconf(_SC_PAGESIZE);
}

static int write_metrics(const struct progress_snapshot *s, const struct pages_subject *subject, struct buffer *out) {
  struct metrics_process process = {.name = subject->name,
                                    .version = WALFERRY_VERSION,
                                    .librdkafka = kafka_library_version(),
                                    .started_us = subject->started_us,
                                    .resident_bytes = resident_bytes()};
  metrics_write(s, &process, out);
  return 200;
}

static int write_index(const struct progress_snapshot *s, const struct pages_subject *subject, struct buffer *out);

static const struct page pages[] = {
    {"/", "text/plain; charset=utf-8", "this list", write_index},
    {"/metrics", METRICS_CONTENT_TYPE, "for Prometheus", write_metrics},
    {"/healthz", JSON_CONTENT_TYPE, "200 while the process is alive, 503 when only a restart would help",
     write_healthz},
    {"/readyz", JSON_CONTENT_TYPE, "200 while events flow or would, else 503 and why", write_readyz},
    {"/status", JSON_CONTENT_TYPE, "state, position, slot, lag, last error", write_status},
};

static int write_index(const struct progress_snapshot *s, const struct pages_subject *subject, struct buffer *out) {
  (void)s;
  buffer_printf(out, "walferry %s, instance %s\n\n", WALFERRY_VERSION, subject->name);
  for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
    buffer_printf(out, "%-10s %s\n", pages[i].path, pages[i].summary);
  return 200;
}

const struct page *page_find(const char *path) {
  for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
    if (strcmp(path, pages[i].path) == 0)
      return &pages[i];
  return NULL;
}
