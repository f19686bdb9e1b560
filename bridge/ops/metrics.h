/* The page for Prometheus: text format 0.0.4. Pure: a snapshot in, text out.
 * Source: https://prometheus.io/docs/instrumenting/exposition_formats/ */
#ifndef WALFERRY_OPS_METRICS_H
#define WALFERRY_OPS_METRICS_H

#include "bridge/base/buffer.h"
#include "bridge/relay/progress.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Of the process, besides what the relay reports. */
struct metrics_process {
  const char *name; /* of the instance: the label `name` of every sample */
  const char *version;
  const char *librdkafka;
  int64_t started_us;     /* Unix */
  int64_t resident_bytes; /* -1: unknown */
};

/* Values that are not known now (of the slot, of the position, of the queue) are left out, not told stale. */
void metrics_write(const struct progress_snapshot *s, const struct metrics_process *process, struct buffer *out);

#endif
