/* See metrics.h. */
#include "bridge/ops/metrics.h"

#include <inttypes.h>
#include <stdio.h>

void metrics_family(const struct metrics *m, const char *metric, const char *type, const char *help) {
  buffer_printf(m->out, "# HELP %s %s\n# TYPE %s %s\n", metric, help, metric, type);
}

static void append_value(struct buffer *out, const char *value) {
  buffer_append_char(out, '"');
  for (const char *c = value; *c != '\0'; c++) {
    if (*c == '\\' || *c == '"' || *c == '\n')
      buffer_append_char(out, '\\');
    buffer_append_char(out, *c == '\n' ? 'n' : *c);
  }
  buffer_append_char(out, '"');
}

static void append_labels(const struct metrics *m, const struct metrics_label *labels) {
  buffer_printf(m->out, "{name=\"%s\"", m->name);
  for (; labels != NULL && labels->name != NULL; labels++) {
    buffer_printf(m->out, ",%s=", labels->name);
    append_value(m->out, labels->value);
  }
}

void metrics_sample(const struct metrics *m, const char *metric, const struct metrics_label *labels) {
  buffer_append_text(m->out, metric);
  append_labels(m, labels);
  buffer_append_text(m->out, "} ");
}

void metrics_number(const struct metrics *m, int64_t value) {
  buffer_printf(m->out, "%" PRId64 "\n", value);
}

void metrics_seconds(const struct metrics *m, int64_t us) {
  buffer_printf(m->out, "%" PRId64 ".%06" PRId64 "\n", us / 1000000, us % 1000000);
}

static void append_bucket(const struct metrics *m, const char *metric, const struct metrics_label *labels,
                          const char *bound, uint64_t count) {
  buffer_printf(m->out, "%s_bucket", metric);
  append_labels(m, labels);
  buffer_printf(m->out, ",le=\"%s\"} %" PRIu64 "\n", bound, count);
}

void metrics_buckets(const struct metrics *m, const char *metric, const struct metrics_label *labels,
                     const struct histogram *h) {
  uint64_t count = 0;
  for (int i = 0; i < HISTOGRAM_BOUNDS; i++) {
    char bound[32];
    snprintf(bound, sizeof bound, "%g", (double)histogram_bounds_us[i] / 1e6);
    count += h->buckets[i];
    append_bucket(m, metric, labels, bound, count);
  }
  append_bucket(m, metric, labels, "+Inf", h->count);
  buffer_printf(m->out, "%s_sum", metric);
  metrics_sample(m, "", labels);
  metrics_seconds(m, h->sum_us);
  buffer_printf(m->out, "%s_count", metric);
  metrics_sample(m, "", labels);
  metrics_number(m, (int64_t)h->count);
}

void metrics_counter(const struct metrics *m, const char *metric, const char *help, uint64_t value) {
  metrics_family(m, metric, "counter", help);
  metrics_sample(m, metric, NULL);
  metrics_number(m, (int64_t)value);
}

void metrics_gauge(const struct metrics *m, const char *metric, const char *help, int64_t value) {
  metrics_family(m, metric, "gauge", help);
  metrics_sample(m, metric, NULL);
  metrics_number(m, value);
}

void metrics_gauge_seconds(const struct metrics *m, const char *metric, const char *help, int64_t us) {
  metrics_family(m, metric, "gauge", help);
  metrics_sample(m, metric, NULL);
  metrics_seconds(m, us);
}

void metrics_histogram(const struct metrics *m, const char *metric, const char *help, const struct histogram *h) {
  metrics_family(m, metric, "histogram", help);
  metrics_buckets(m, metric, NULL, h);
}

void metrics_process(const struct metrics *m, const struct metrics_process *process) {
  metrics_family(m, "walferry_build_info", "gauge",
                 "Always 1; version of walferry and of the librdkafka it runs with.");
  metrics_sample(m, "walferry_build_info",
                 METRICS_LABELS({"version", process->version}, {"librdkafka", process->librdkafka}));
  metrics_number(m, 1);
  metrics_gauge_seconds(m, "process_start_time_seconds", "When the process was started, since the Unix epoch.",
                        process->started_us);
  if (process->resident_bytes >= 0)
    metrics_gauge(m, "process_resident_memory_bytes", "Memory of the process that is in RAM.", process->resident_bytes);
}

void metrics_vitals(const struct metrics *m, const struct vitals *vitals) {
  metrics_gauge(m, "walferry_ready", "1 while events flow or would, as /readyz says.", vitals->ready);
  metrics_family(m, "walferry_recoveries_total", "counter", "Attempts that ended with an error, by its kind.");
  for (size_t i = 0; i < sizeof vitals->recoveries / sizeof *vitals->recoveries; i++) {
    metrics_sample(m, "walferry_recoveries_total",
                   METRICS_LABELS({"kind", error_kind_name(vitals->recoveries[i].kind)}));
    metrics_number(m, (int64_t)vitals->recoveries[i].count);
  }
  if (vitals->failed_us == 0)
    return;
  metrics_family(m, "walferry_last_error_timestamp_seconds", "gauge", "When the last attempt failed, and how.");
  metrics_sample(m, "walferry_last_error_timestamp_seconds",
                 METRICS_LABELS({"kind", error_kind_name(vitals->failed_kind)},
                                {"code", vitals->failed_code == NULL ? "" : vitals->failed_code}));
  metrics_seconds(m, vitals->failed_us);
}
