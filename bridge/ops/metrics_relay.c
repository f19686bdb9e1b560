/* See metrics.h: what the relay tells. */
#include "bridge/ops/metrics.h"

#include <string.h>

static void write_state(const struct metrics *m, const struct progress_snapshot *s) {
  metrics_family(m, "walferry_relay_state", "gauge", "1 for the state that the relay is in, 0 for the others.");
  for (enum progress_state state = PROGRESS_STARTING; state <= PROGRESS_STATES; state++) {
    metrics_sample(m, "walferry_relay_state", METRICS_LABELS({"state", progress_state_name(state)}));
    metrics_number(m, s->state == state);
  }
  metrics_counter(m, "walferry_generations_total", "Attempts begun: 1 and one more for each recovery.",
                  (uint64_t)s->generation);
}

static void write_published(const struct metrics *m, const struct totals *p) {
  metrics_counter(m, "walferry_events_published_total", "Records committed in Kafka, quarantine records included.",
                  p->records);
  metrics_counter(m, "walferry_events_quarantined_total", "Those of them that went to the quarantine topic.",
                  p->quarantined);
  metrics_family(m, "walferry_quarantined_by_code_total", "counter", "The quarantined ones by what was wrong.");
  for (int i = 0; i < p->code_count; i++) {
    metrics_sample(m, "walferry_quarantined_by_code_total", METRICS_LABELS({"code", p->codes[i].code}));
    metrics_number(m, (int64_t)p->codes[i].count);
  }
  metrics_counter(m, "walferry_published_bytes_total", "Keys and values of the records committed.", p->bytes);
  metrics_counter(m, "walferry_transactions_published_total", "Postgres transactions committed in Kafka whole.",
                  p->transactions);
  metrics_counter(m, "walferry_kafka_transactions_total",
                  "Kafka transactions committed, those without records included.", p->kafka_transactions);
  metrics_counter(m, "walferry_producer_renewals_total", "Producers replaced without giving up the slot.",
                  p->producers_renewed);
  metrics_histogram(m, "walferry_kafka_commit_seconds", "Duration of the commit of a Kafka transaction.", &p->commit);
  metrics_histogram(m, "walferry_end_to_end_seconds",
                    "From the commit in Postgres until Kafka had committed it, once for each Postgres transaction.",
                    &p->end_to_end);
}

static void write_rows(const struct metrics *m, const struct position_snapshot *rows) {
  if (rows->state == POSITION_SNAPSHOT_NONE)
    return;
  metrics_gauge(m, "walferry_snapshot_rows", "Rows of the snapshot that this process publishes, or has published.",
                (int64_t)rows->rows);
  metrics_gauge(m, "walferry_snapshot_published_rows", "Those of them that are committed in Kafka.",
                (int64_t)rows->next);
}

static void write_tidy(const struct metrics *m, const struct progress_tidy *t) {
  if (!t->wanted)
    return;
  metrics_counter(m, "walferry_tidy_rows_total", "Rows marked or deleted behind their publishing.", t->rows);
  metrics_gauge(m, "walferry_tidy_backlog_rows", "Rows published and not marked or deleted yet.", t->backlog);
  metrics_gauge(m, "walferry_tidy_failing", "1 while marking or deleting is tried in vain.", t->failing_ms > 0);
  metrics_gauge(m, "walferry_tidy_blocks_publishing", "1 while publishing waits for it.", t->waiting_ms > 0);
}

/* What only the holder of the slot knows. */
static void write_stream(const struct metrics *m, const struct progress_snapshot *s) {
  if (s->state != PROGRESS_STREAMING)
    return;
  metrics_gauge(m, "walferry_queue_bytes",
                "Bytes of records between the two threads, with what sending them will need.", s->queue_bytes);
  metrics_gauge(m, "walferry_queue_limit_bytes", "Their limit.", s->queue_bytes_max);
  if (s->received != 0)
    metrics_gauge(m, "walferry_received_lsn", "Highest WAL position received.", (int64_t)s->received);
  metrics_gauge(m, "walferry_unpublished_events", "Records made and not yet committed in Kafka.",
                s->unpublished_events);
  metrics_gauge_seconds(
      m, "walferry_lag_seconds",
      "Age of the oldest transaction that was received and is not committed in Kafka; without one, the time "
      "since the server has had WAL that it has not sent.",
      s->lag_us);
  if (s->position_ack_lsn != 0)
    metrics_gauge(m, "walferry_position_lsn", "Up to here everything is committed in Kafka.",
                  (int64_t)s->position_ack_lsn);
  if (s->position_commit_lsn == 0)
    return;
  metrics_gauge(m, "walferry_position_commit_lsn", "Commit LSN of the transaction published last.",
                (int64_t)s->position_commit_lsn);
  metrics_gauge_seconds(m, "walferry_position_commit_timestamp_seconds",
                        "Commit time of the transaction published last, since the Unix epoch.",
                        s->position_commit_time_us);
}

static void write_slot(const struct metrics *m, const struct progress_snapshot *s) {
  const struct catalog_slot *slot = &s->slot;
  if (s->slot_read_us == 0)
    return;
  metrics_gauge_seconds(m, "walferry_slot_read_timestamp_seconds",
                        "When the row in pg_replication_slots was read that the following are from.", s->slot_read_us);
  metrics_gauge(m, "walferry_slot_exists", "1 if there is such a row.", slot->exists);
  if (!slot->exists)
    return;
  metrics_gauge(m, "walferry_server_wal_lsn", "How far the server has written WAL.", (int64_t)slot->wal_lsn);
  if (slot->confirmed_flush_lsn != 0) {
    metrics_gauge(m, "walferry_slot_confirmed_flush_lsn", "Up to here the server knows it as published.",
                  (int64_t)slot->confirmed_flush_lsn);
    metrics_gauge(m, "walferry_lag_bytes", "WAL behind that, of all databases and tables.",
                  catalog_wal_since(slot, slot->confirmed_flush_lsn));
  }
  if (slot->restart_lsn != 0) {
    metrics_gauge(m, "walferry_slot_restart_lsn", "From here on the server keeps WAL for the slot.",
                  (int64_t)slot->restart_lsn);
    metrics_gauge(m, "walferry_slot_retained_bytes", "WAL kept for the slot.", catalog_wal_retained(slot));
  }
  if (slot->wal_keep_bytes_max >= 0)
    metrics_gauge(m, "walferry_slot_wal_keep_limit_bytes", "max_slot_wal_keep_size; absent where there is no limit.",
                  slot->wal_keep_bytes_max);
  if (slot->safe_wal_known)
    metrics_gauge(m, "walferry_slot_safe_wal_bytes", "WAL that can be written before the slot may be lost.",
                  slot->safe_wal_bytes);
  if (slot->inactive_since_us != 0)
    metrics_gauge_seconds(m, "walferry_slot_inactive_since_timestamp_seconds",
                          "Since when nobody reads the slot (Postgres 17 and newer); absent while it is read.",
                          slot->inactive_since_us);
  metrics_family(m, "walferry_slot_invalidated", "gauge", "1 with the reason for which the server gave up the slot.");
  metrics_sample(m, "walferry_slot_invalidated", METRICS_LABELS({"reason", slot->invalidation_reason}));
  metrics_number(m, slot->invalidation_reason[0] != '\0');
  if (slot->wal_status[0] == '\0')
    return;
  static const char *const statuses[] = {"reserved", "extended", "unreserved", "lost"};
  metrics_family(m, "walferry_slot_wal_status", "gauge", "1 for the slot's wal_status, 0 for the others.");
  for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
    metrics_sample(m, "walferry_slot_wal_status", METRICS_LABELS({"status", statuses[i]}));
    metrics_number(m, strcmp(slot->wal_status, statuses[i]) == 0);
  }
}

static void write_held_back(const struct metrics *m, const struct progress_snapshot *s) {
  const struct catalog_slot *slot = &s->retained;
  if (s->retained_read_us == 0)
    return;
  metrics_gauge(m, "walferry_replay_slot_trouble", "1 if something is wrong with the held-back slot (see /status).",
                s->retained_trouble[0] != '\0');
  metrics_gauge(m, "walferry_replay_slot_keep_seconds", "postgres.replay.keep.", s->retained_keep_ms / 1000);
  metrics_gauge(m, "walferry_replay_slot_keep_limit_bytes", "postgres.replay.keep_bytes.", s->retained_keep_bytes);
  metrics_gauge(m, "walferry_replay_slot_exists", "1 if the held-back slot is there.", slot->exists);
  if (!slot->exists)
    return;
  if (slot->confirmed_flush_lsn != 0)
    metrics_gauge(m, "walferry_replay_slot_lsn", "The oldest position that can be replayed.",
                  (int64_t)slot->confirmed_flush_lsn);
  if (s->retained_since_us != 0)
    metrics_gauge_seconds(m, "walferry_replay_slot_since_timestamp_seconds",
                          "When the relay stood there, since the Unix epoch.", s->retained_since_us);
  if (slot->restart_lsn != 0)
    metrics_gauge(m, "walferry_replay_slot_retained_bytes", "WAL kept for the held-back slot.",
                  catalog_wal_retained(slot));
  if (slot->wal_status[0] == '\0')
    return;
  metrics_family(m, "walferry_replay_slot_wal_status", "gauge", "1 for the held-back slot's wal_status.");
  metrics_sample(m, "walferry_replay_slot_wal_status", METRICS_LABELS({"status", slot->wal_status}));
  metrics_number(m, 1);
}

void metrics_relay(const struct metrics *m, const struct progress_snapshot *s) {
  write_state(m, s);
  write_published(m, &s->published);
  write_rows(m, &s->rows);
  write_tidy(m, &s->tidy);
  write_stream(m, s);
  write_slot(m, s);
  write_held_back(m, s);
}
