/* The page for Prometheus: text format 0.0.4, what every process tells, and the families of relay and inbox. Pure.
 * Source: https://prometheus.io/docs/instrumenting/exposition_formats/ */
#ifndef WALFERRY_OPS_METRICS_H
#define WALFERRY_OPS_METRICS_H

#include <stdint.h>

#include "bridge/base/buffer.h"
#include "bridge/base/histogram.h"
#include "bridge/inbox/report.h"
#include "bridge/ops/watched.h"
#include "bridge/relay/progress.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct metrics {
  struct buffer *out;
  const char *name; /* of the instance: the label `name` of every sample */
};

/* A label besides `name`. */
struct metrics_label {
  const char *name;
  const char *value; /* any text */
};
#define METRICS_LABELS(...)                                                                                            \
  (const struct metrics_label[]) {                                                                                     \
    __VA_ARGS__, {                                                                                                     \
      .name = NULL                                                                                                     \
    }                                                                                                                  \
  }

/* The head of a metric, before its samples. type: "counter", "gauge" or "histogram". */
void metrics_family(const struct metrics *m, const char *metric, const char *type, const char *help);
/* metric{name="shop",label="value"}; the value follows. labels end with one without a name; NULL: none. */
void metrics_sample(const struct metrics *m, const char *metric, const struct metrics_label *labels);
void metrics_number(const struct metrics *m, int64_t value);
void metrics_seconds(const struct metrics *m, int64_t us); /* microseconds as seconds, exactly */
/* All series of one histogram: buckets cumulated, bounds in seconds. */
void metrics_buckets(const struct metrics *m, const char *metric, const struct metrics_label *labels,
                     const struct histogram *h);

/* Metrics of one sample each. */
void metrics_counter(const struct metrics *m, const char *metric, const char *help, uint64_t value);
void metrics_gauge(const struct metrics *m, const char *metric, const char *help, int64_t value);
void metrics_gauge_seconds(const struct metrics *m, const char *metric, const char *help, int64_t us);
void metrics_histogram(const struct metrics *m, const char *metric, const char *help, const struct histogram *h);

/* Of the process, besides what relay or inbox report. */
struct metrics_process {
  const char *version;
  const char *librdkafka;
  int64_t started_us;     /* Unix */
  int64_t resident_bytes; /* -1: unknown */
};
void metrics_process(const struct metrics *m, const struct metrics_process *process);
void metrics_vitals(const struct metrics *m, const struct vitals *vitals);

/* Values that are not known now (of the slot, of the position, of the queue) are left out, not told stale. */
void metrics_relay(const struct metrics *m, const struct progress_snapshot *s);
void metrics_inbox(const struct metrics *m, const struct inbox_snapshot *s);

#endif
