/* See pages.h. */
#include "bridge/ops/pages.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bridge/base/jsonobject.h"
#include "bridge/base/number.h"
#include "bridge/kafka/client.h"
#include "bridge/ops/metrics.h"

#define TEXT_CONTENT_TYPE "text/plain; charset=utf-8"
#define JSON_CONTENT_TYPE "application/json"

static void end(struct buffer *out) {
  jsonobject_close(out);
  buffer_append_char(out, '\n');
}

static void write_readiness(const struct watched *w, const void *moment, const struct vitals *v, struct buffer *out) {
  jsonobject_text(out, "name", w->name);
  jsonobject_bool(out, "ready", v->ready);
  jsonobject_text(out, "reason", v->reason);
  jsonobject_text(out, "error", v->details[0] == '\0' ? NULL : v->details);
  jsonobject_text(out, "state", v->state);
  jsonobject_integer(out, "state_seconds", v->state_ms / 1000);
  if (w->class->write_readiness != NULL)
    w->class->write_readiness(moment, out);
}

static int write_readyz(const struct watched *w, const void *moment, struct buffer *out) {
  struct vitals v;
  w->class->judge(moment, &v);
  jsonobject_open(out, NULL);
  write_readiness(w, moment, &v, out);
  end(out);
  return v.ready ? 200 : 503;
}

static int write_healthz(const struct watched *w, const void *moment, struct buffer *out) {
  struct vitals v;
  w->class->judge(moment, &v);
  jsonobject_open(out, NULL);
  jsonobject_text(out, "name", w->name);
  jsonobject_bool(out, "alive", v.alive);
  w->class->write_steps(moment, out);
  end(out);
  return v.alive ? 200 : 503;
}

static void write_last_error(const struct vitals *v, struct buffer *out) {
  if (v->failed_us == 0) {
    jsonobject_text(out, "last_error", NULL);
    return;
  }
  jsonobject_open(out, "last_error");
  jsonobject_moment(out, "at", v->failed_us);
  jsonobject_text(out, "kind", error_kind_name(v->failed_kind));
  jsonobject_text(out, "code", v->failed_code);
  jsonobject_text(out, "error", v->failed_message);
  jsonobject_close(out);
}

static int write_status(const struct watched *w, const void *moment, struct buffer *out) {
  struct vitals v;
  w->class->judge(moment, &v);
  jsonobject_open(out, NULL);
  write_readiness(w, moment, &v, out);
  jsonobject_moment(out, "started", w->started_us);
  w->class->write_status(w->source, moment, out);
  write_last_error(&v, out);
  jsonobject_open(out, "versions");
  jsonobject_text(out, "walferry", WALFERRY_VERSION);
  jsonobject_text(out, "librdkafka", kafka_library_version());
  jsonobject_close(out);
  end(out);
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

static int write_metrics(const struct watched *w, const void *moment, struct buffer *out) {
  const struct metrics metrics = {.out = out, .name = w->name};
  const struct metrics_process process = {.version = WALFERRY_VERSION,
                                          .librdkafka = kafka_library_version(),
                                          .started_us = w->started_us,
                                          .resident_bytes = resident_bytes()};
  struct vitals v;
  w->class->judge(moment, &v);
  metrics_process(&metrics, &process);
  metrics_vitals(&metrics, &v);
  w->class->write_metrics(moment, &metrics);
  return 200;
}

static int write_index(const struct watched *w, const void *moment, struct buffer *out);

static const struct {
  struct page page;
  const char *summary; /* NULL: the class has it */
} pages[] = {
    {{"/", TEXT_CONTENT_TYPE, write_index}, "this list"},
    {{"/metrics", METRICS_CONTENT_TYPE, write_metrics}, "for Prometheus"},
    {{"/healthz", JSON_CONTENT_TYPE, write_healthz},
     "200 while the process is alive, 503 when only a restart would help"},
    {{"/readyz", JSON_CONTENT_TYPE, write_readyz}, "200 while events flow or would, else 503 and why"},
    {{"/status", JSON_CONTENT_TYPE, write_status}, NULL},
};

static int write_index(const struct watched *w, const void *moment, struct buffer *out) {
  (void)moment;
  buffer_printf(out, "walferry %s, %s of instance %s\n\n", WALFERRY_VERSION, w->class->process, w->name);
  for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
    buffer_printf(out, "%-10s %s\n", pages[i].page.path,
                  pages[i].summary == NULL ? w->class->summary_of_status : pages[i].summary);
  return 200;
}

const struct page *page_find(const char *path) {
  for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
    if (strcmp(path, pages[i].page.path) == 0)
      return &pages[i].page;
  return NULL;
}
