/* See metrics.h. */
#include "bridge/ops/metrics.h"

#include <inttypes.h>
#include <string.h>

struct writer {
  struct buffer *out;
  const char *name;
};

static void family(const struct writer *w, const char *metric, const char *type, const char *help) {
  buffer_printf(w->out, "# HELP %s %s\n# TYPE %s %s\n", metric, help, metric, type);
}

/* metric{name="shop"} or, with a label, metric{name="shop",label="value"}; the value follows. Label values are our own
 * words, versions and codes: nothing in them needs escaping. */
static void sample(const struct writer *w, const char *metric, const char *label, const char *value) {
  buffer_printf(w->out, "%s{name=\"%s\"", metric, w->name);
  if (label != NULL)
    buffer_printf(w->out, ",%s=\"%s\"", label, value);
  buffer_append_text(w->out, "} ");
}

static void number(const struct writer *w, int64_t value) {
  buffer_printf(w->out, "%" PRId64 "\n", value);
}

/* Microseconds as seconds, exactly. */
static void seconds(const struct writer *w, int64_t us) {
  buffer_printf(w->out, "%" PRId64 ".%06" PRId64 "\n", us / 1000000, us % 1000000);
}

static void counter(const struct writer *w, const char *metric, const char *help, uint64_t value) {
  family(w, metric, "counter", help);
  sample(w, metric, NULL, NULL);
  number(w, (int64_t)value);
}

static void gauge(const struct writer *w, const char *metric, const char *help, int64_t value) {
  family(w, metric, "gauge", help);
  sample(w, metric, NULL, NULL);
  number(w, value);
}

static void gauge_seconds(const struct writer *w, const char *metric, const char *help, int64_t us) {
  family(w, metric, "gauge", help);
  sample(w, metric, NULL, NULL);
  seconds(w, us);
}

/* Buckets are cumulated, bounds in seconds. */
static void histogram(const struct writer *w, const char *metric, const char *help, const struct histogram *h) {
  family(w, metric, "histogram", help);
  uint64_t sum = 0;
  for (int i = 0; i < HISTOGRAM_BOUNDS; i++) {
    sum += h->buckets[i];
    buffer_printf(w->out, "%s_bucket{name=\"%s\",le=\"%g\"} %" PRIu64 "\n", metric, w->name,
                  (double)histogram_bounds_us[i] / 1e6, sum);
  }
  buffer_printf(w->out, "%s_bucket{name=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", metric, w->name, h->count);
  buffer_printf(w->out, "%s_sum{name=\"%s\"} ", metric, w->name);
  seconds(w, h->sum_us);
  buffer_printf(w->out, "%s_count{name=\"%s\"} %" PRIu64 "\n", metric, w->name, h->count);
}

static void write_process(const struct writer *w, const struct metrics_process *process) {
  family(w, "walferry_build_info", "gauge", "Always 1; version of walferry and of the librdkafka it runs with.");
  buffer_printf(w->out, "walferry_build_info{name=\"%s\",version=\"%s\",librdkafka=\"%s\"} 1\n", w->name,
                process->version, process->librdkafka);
  gauge_seconds(w, "process_start_time_seconds", "When the process was started, since the Unix epoch.",
                process->started_us);
  if (process->resident_bytes >= 0)
    gauge(w, "process_resident_memory_bytes", "Memory of the process that is in RAM.", process->resident_bytes);
}

static void write_state(const struct writer *w, const struct progress_snapshot *s) {
  struct progress_readiness readiness;
  progress_readiness(s, &readiness);
  gauge(w, "walferry_ready", "1 while events flow or would, as /readyz says.", readiness.ready);
  family(w, "walferry_relay_state", "gauge", "1 for the state that the relay is in, 0 for the others.");
  for (enum progress_state state = PROGRESS_STARTING; state <= PROGRESS_STATES; state++) {
    sample(w, "walferry_relay_state", "state", progress_state_name(state));
    number(w, s->state == state);
  }
  counter(w, "walferry_generations_total", "Attempts begun: 1 and one more for each recovery.",
          (uint64_t)s->generation);
  family(w, "walferry_recoveries_total", "counter", "Attempts that ended with an error, by its kind.");
  const struct {
    enum error_kind kind;
    uint64_t count;
  } recoveries[] = {{ERROR_RETRY, s->recoveries_retry},
                    {ERROR_START_OVER, s->recoveries_start_over},
                    {ERROR_FENCED, s->recoveries_fenced}};
  for (size_t i = 0; i < sizeof recoveries / sizeof *recoveries; i++) {
    sample(w, "walferry_recoveries_total", "kind", error_kind_name(recoveries[i].kind));
    number(w, (int64_t)recoveries[i].count);
  }
  if (s->failed_us == 0)
    return;
  family(w, "walferry_last_error_timestamp_seconds", "gauge", "When the last attempt failed, and how.");
  buffer_printf(w->out, "walferry_last_error_timestamp_seconds{name=\"%s\",kind=\"%s\",code=\"%s\"} ", w->name,
                error_kind_name(s->failed_kind), s->failed_code == NULL ? "" : s->failed_code);
  seconds(w, s->failed_us);
}

static void write_published(const struct writer *w, const struct totals *p) {
  counter(w, "walferry_events_published_total", "Records committed in Kafka, quarantine records included.", p->records);
  counter(w, "walferry_events_quarantined_total", "Those of them that went to the quarantine topic.", p->quarantined);
  family(w, "walferry_quarantined_by_code_total", "counter", "The quarantined ones by what was wrong.");
  for (int i = 0; i < p->code_count; i++) {
    sample(w, "walferry_quarantined_by_code_total", "code", p->codes[i].code);
    number(w, (int64_t)p->codes[i].count);
  }
  counter(w, "walferry_published_bytes_total", "Keys and values of the records committed.", p->bytes);
  counter(w, "walferry_transactions_published_total", "Postgres transactions committed in Kafka whole.",
          p->transactions);
  counter(w, "walferry_kafka_transactions_total", "Kafka transactions committed, those without records included.",
          p->kafka_transactions);
  counter(w, "walferry_producer_renewals_total", "Producers replaced without giving up the slot.",
          p->producers_renewed);
  histogram(w, "walferry_kafka_commit_seconds", "Duration of the commit of a Kafka transaction.", &p->commit);
  histogram(w, "walferry_end_to_end_seconds",
            "From the commit in Postgres until Kafka had committed it, once for each Postgres transaction.",
            &p->end_to_end);
}

/* What only the holder of the slot knows. */
static void write_stream(const struct writer *w, const struct progress_snapshot *s) {
  if (s->state != PROGRESS_STREAMING)
    return;
  gauge(w, "walferry_queue_bytes", "Bytes of records between the two threads, with what sending them will need.",
        s->queue_bytes);
  gauge(w, "walferry_queue_limit_bytes", "Their limit.", s->queue_bytes_max);
  if (s->received != 0)
    gauge(w, "walferry_received_lsn", "Highest WAL position received.", (int64_t)s->received);
  gauge(w, "walferry_unpublished_events", "Records made and not yet committed in Kafka.", s->unpublished_events);
  gauge_seconds(w, "walferry_lag_seconds",
                "Age of the oldest transaction that was received and is not committed in Kafka; without one, the time "
                "since the server has had WAL that it has not sent.",
                s->lag_us);
  if (s->position_ack_lsn != 0)
    gauge(w, "walferry_position_lsn", "Up to here everything is committed in Kafka.", (int64_t)s->position_ack_lsn);
  if (s->position_commit_lsn == 0)
    return;
  gauge(w, "walferry_position_commit_lsn", "Commit LSN of the transaction published last.",
        (int64_t)s->position_commit_lsn);
  gauge_seconds(w, "walferry_position_commit_timestamp_seconds",
                "Commit time of the transaction published last, since the Unix epoch.", s->position_commit_time_us);
}

static void write_slot(const struct writer *w, const struct progress_snapshot *s) {
  const struct catalog_slot *slot = &s->slot;
  if (s->slot_read_us == 0)
    return;
  gauge_seconds(w, "walferry_slot_read_timestamp_seconds",
                "When the row in pg_replication_slots was read that the following are from.", s->slot_read_us);
  gauge(w, "walferry_slot_exists", "1 if there is such a row.", slot->exists);
  if (!slot->exists)
    return;
  gauge(w, "walferry_server_wal_lsn", "How far the server has written WAL.", (int64_t)slot->wal_lsn);
  if (slot->confirmed_flush_lsn != 0) {
    gauge(w, "walferry_slot_confirmed_flush_lsn", "Up to here the server knows it as published.",
          (int64_t)slot->confirmed_flush_lsn);
    gauge(w, "walferry_lag_bytes", "WAL behind that, of all databases and tables.",
          catalog_wal_since(slot, slot->confirmed_flush_lsn));
  }
  if (slot->restart_lsn != 0) {
    gauge(w, "walferry_slot_restart_lsn", "From here on the server keeps WAL for the slot.",
          (int64_t)slot->restart_lsn);
    gauge(w, "walferry_slot_retained_bytes", "WAL kept for the slot.", catalog_wal_retained(slot));
  }
  if (slot->wal_keep_bytes_max >= 0)
    gauge(w, "walferry_slot_wal_keep_limit_bytes", "max_slot_wal_keep_size; absent where there is no limit.",
          slot->wal_keep_bytes_max);
  if (slot->safe_wal_known)
    gauge(w, "walferry_slot_safe_wal_bytes", "WAL that can be written before the slot may be lost.",
          slot->safe_wal_bytes);
  if (slot->wal_status[0] == '\0')
    return;
  static const char *const statuses[] = {"reserved", "extended", "unreserved", "lost"};
  family(w, "walferry_slot_wal_status", "gauge", "1 for the slot's wal_status, 0 for the others.");
  for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
    sample(w, "walferry_slot_wal_status", "status", statuses[i]);
    number(w, strcmp(slot->wal_status, statuses[i]) == 0);
  }
}

void metrics_write(const struct progress_snapshot *s, const struct metrics_process *process, struct buffer *out) {
  struct writer w = {.out = out, .name = process->name};
  write_process(&w, process);
  write_state(&w, s);
  write_published(&w, &s->published);
  write_stream(&w, s);
  write_slot(&w, s);
}
