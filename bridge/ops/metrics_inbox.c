/* See metrics.h: what the inbox tells. */
#include "bridge/ops/metrics.h"

#include <inttypes.h>
#include <stdio.h>

static void write_state(const struct metrics *m, const struct inbox_snapshot *s) {
  metrics_family(m, "walferry_inbox_state", "gauge", "1 for the state that the inbox is in, 0 for the others.");
  for (enum inbox_state state = INBOX_STARTING; state <= INBOX_STATES; state++) {
    metrics_sample(m, "walferry_inbox_state", METRICS_LABELS({"state", inbox_state_name(state)}));
    metrics_number(m, s->state == state);
  }
}

/* The label `type`; empty for events that no handler is for. */
static const char *type_of(const struct inbox_handler_counts *h) {
  return h->type == NULL ? "" : h->type;
}

static void write_events(const struct metrics *m, const struct inbox_snapshot *s) {
  metrics_family(m, "walferry_inbox_events_total", "counter",
                 "Events that are done with, by the type that their handler is for and by what became of them.");
  for (size_t i = 0; i < s->handler_count; i++)
    for (enum inbox_outcome outcome = INBOX_PROCESSED; outcome <= INBOX_OUTCOMES; outcome++) {
      metrics_sample(m, "walferry_inbox_events_total",
                     METRICS_LABELS({"type", type_of(&s->handlers[i])}, {"outcome", inbox_outcome_name(outcome)}));
      metrics_number(m, (int64_t)s->handlers[i].outcomes[outcome]);
    }
  metrics_family(m, "walferry_inbox_retries_total", "counter", "Attempts that failed and were made again.");
  for (size_t i = 0; i < s->handler_count; i++) {
    metrics_sample(m, "walferry_inbox_retries_total", METRICS_LABELS({"type", type_of(&s->handlers[i])}));
    metrics_number(m, (int64_t)s->handlers[i].retries);
  }
  metrics_family(m, "walferry_inbox_dead_letters_total", "counter", "Dead letters by what was wrong.");
  for (int i = 0; i < s->dead_letter_codes; i++) {
    metrics_sample(m, "walferry_inbox_dead_letters_total", METRICS_LABELS({"code", s->dead_letters[i].code}));
    metrics_number(m, (int64_t)s->dead_letters[i].count);
  }
}

static void write_times(const struct metrics *m, const struct inbox_snapshot *s) {
  metrics_family(m, "walferry_inbox_handler_seconds", "histogram", "How long the server took over one call.");
  for (size_t i = 0; i < s->handler_count; i++)
    metrics_buckets(m, "walferry_inbox_handler_seconds", METRICS_LABELS({"type", type_of(&s->handlers[i])}),
                    &s->handlers[i].time);
  metrics_histogram(m, "walferry_inbox_batch_seconds",
                    "Duration of a transaction with calls that was committed; its count is that of the batches.",
                    &s->batch_time);
  metrics_counter(m, "walferry_inbox_batch_messages_total", "Messages in them.", s->messages);
}

struct partition_labels {
  char number[16];
  struct metrics_label list[3];
};

static const struct metrics_label *labels_of(const struct inbox_partition_view *p, struct partition_labels *labels) {
  snprintf(labels->number, sizeof labels->number, "%" PRId32, p->partition);
  labels->list[0] = (struct metrics_label){"topic", p->topic};
  labels->list[1] = (struct metrics_label){"partition", labels->number};
  labels->list[2] = (struct metrics_label){NULL, NULL};
  return labels->list;
}

static void write_partition_states(const struct metrics *m, const struct inbox_snapshot *s) {
  static const enum inbox_partition_state states[] = {INBOX_PARTITION_READING, INBOX_PARTITION_BACKING_OFF,
                                                      INBOX_PARTITION_STOPPED};
  metrics_family(m, "walferry_inbox_partition_state", "gauge",
                 "1 for the state that a partition of ours is in, 0 for the others.");
  for (size_t i = 0; i < s->partition_count; i++)
    for (size_t state = 0; state < sizeof states / sizeof *states; state++) {
      struct partition_labels labels;
      const struct metrics_label *own = labels_of(&s->partitions[i], &labels);
      metrics_sample(m, "walferry_inbox_partition_state",
                     METRICS_LABELS(own[0], own[1], {"state", inbox_partition_state_name(states[state])}));
      metrics_number(m, s->partitions[i].state == states[state]);
    }
}

static void write_partitions(const struct metrics *m, const struct inbox_snapshot *s) {
  struct partition_labels labels;
  write_partition_states(m, s);
  metrics_family(m, "walferry_inbox_next_offset", "gauge", "Up to here a partition is done with.");
  for (size_t i = 0; i < s->partition_count; i++)
    if (s->partitions[i].next_offset >= 0) {
      metrics_sample(m, "walferry_inbox_next_offset", labels_of(&s->partitions[i], &labels));
      metrics_number(m, s->partitions[i].next_offset);
    }
  metrics_family(m, "walferry_inbox_lag_messages", "gauge", "Offsets from there to the end of the partition's log.");
  for (size_t i = 0; i < s->partition_count; i++)
    if (s->partitions[i].lag >= 0) {
      metrics_sample(m, "walferry_inbox_lag_messages", labels_of(&s->partitions[i], &labels));
      metrics_number(m, s->partitions[i].lag);
    }
  metrics_family(m, "walferry_inbox_lag_seconds", "gauge",
                 "Age of the oldest message of a partition that is not done with.");
  for (size_t i = 0; i < s->partition_count; i++)
    if (s->partitions[i].lag >= 0 || s->partitions[i].behind_ms > 0) {
      metrics_sample(m, "walferry_inbox_lag_seconds", labels_of(&s->partitions[i], &labels));
      metrics_seconds(m, s->partitions[i].behind_ms * 1000);
    }
}

void metrics_inbox(const struct metrics *m, const struct inbox_snapshot *s) {
  write_state(m, s);
  write_events(m, s);
  write_times(m, s);
  write_partitions(m, s);
}
