/* The partitions of a consumer: rebalances, starting and ending, pausing. See consumer.h. */
#include <stdlib.h>
#include <string.h>

#include "bridge/base/memory.h"
#include "bridge/kafka/consumer_state.h"

struct consumer_topic *consumer_find_topic(const struct consumer *c, const char *name) {
  for (int i = 0; i < c->topic_count; i++)
    if (strcmp(c->topics[i].name, name) == 0)
      return &c->topics[i];
  return NULL;
}

struct consumer_reading *consumer_find(const struct consumer *c, const char *topic, int32_t partition) {
  const struct consumer_topic *t = consumer_find_topic(c, topic);
  if (t == NULL || partition < 0 || partition >= t->partition_count || !t->partitions[partition].reading)
    return NULL;
  return &t->partitions[partition];
}

static void start_reading(struct consumer *c, const char *name, int32_t partition, int64_t offset) {
  struct consumer_topic *topic = consumer_find_topic(c, name);
  if (topic == NULL)
    return;
  if (partition >= topic->partition_count) {
    topic->partitions = memory_resize(topic->partitions, (size_t)(partition + 1) * sizeof *topic->partitions);
    memset(&topic->partitions[topic->partition_count], 0,
           (size_t)(partition + 1 - topic->partition_count) * sizeof *topic->partitions);
    topic->partition_count = partition + 1;
  }
  topic->partitions[partition] = (struct consumer_reading){.next_offset = offset, .reading = true};
  c->reading_count++;
}

static void end_reading(struct consumer *c, const char *topic, int32_t partition) {
  struct consumer_reading *reading = consumer_find(c, topic, partition);
  if (reading == NULL)
    return;
  reading->reading = false;
  c->reading_count--;
}

static void note_rebalance(struct consumer *c, enum consumer_rebalance rebalance,
                           const rd_kafka_topic_partition_list_t *partitions) {
  c->rebalance = rebalance;
  c->told = false;
  c->partition_count = 0;
  c->partitions = memory_resize(c->partitions, (size_t)(partitions->cnt + 1) * sizeof *c->partitions);
  for (int i = 0; i < partitions->cnt; i++) {
    const struct consumer_topic *topic = consumer_find_topic(c, partitions->elems[i].topic);
    if (topic != NULL)
      c->partitions[c->partition_count++] =
          (struct consumer_partition){.topic = topic->name, .partition = partitions->elems[i].partition};
  }
}

/* No second one comes before the first is answered: librdkafka waits for its *assign call. */
void consumer_on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *partitions,
                           void *opaque) {
  const struct kafka_link *link = opaque;
  struct consumer *c = link->owner;
  if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
    c->assigned = true;
    note_rebalance(c, REBALANCE_ASSIGN, partitions);
  } else {
    note_rebalance(c, rd_kafka_assignment_lost(rk) ? REBALANCE_LOSE : REBALANCE_REVOKE, partitions);
  }
  if (c->leaving)
    consumer_answer_for_leaving(c);
  else
    rd_kafka_yield(rk); /* the poll under way returns at once */
}

static bool failed(const struct consumer *c, rd_kafka_error_t *error, const char *doing, struct error *err) {
  if (error == NULL)
    return true;
  error_set(err, ERROR_START_OVER, "group %s: %s: %s", c->group, doing, rd_kafka_error_string(error));
  rd_kafka_error_destroy(error);
  return false;
}

static bool pausing(const struct consumer *c, const struct consumer_reading *reading) {
  return reading->held || c->full;
}

static void tell_pause(struct consumer *c, const char *topic, int32_t partition, struct consumer_reading *reading) {
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
  rd_kafka_topic_partition_list_add(list, topic, partition);
  if (reading->paused)
    rd_kafka_pause_partitions(c->rk, list);
  else
    rd_kafka_resume_partitions(c->rk, list);
  rd_kafka_topic_partition_list_destroy(list);
}

/* Not before something has come of it: librdkafka 2.0 may lose the start of a partition that is paused meanwhile. */
void consumer_apply_pause(struct consumer *c, const char *topic, int32_t partition, struct consumer_reading *reading) {
  bool paused = pausing(c, reading);
  if (!reading->flowing || reading->paused == paused)
    return;
  reading->paused = paused;
  reading->unsettled = true;
  tell_pause(c, topic, partition, reading);
}

static void for_each_reading(struct consumer *c, void (*act)(struct consumer *c, const char *topic, int32_t partition,
                                                             struct consumer_reading *reading)) {
  for (int i = 0; i < c->topic_count; i++)
    for (int32_t partition = 0; partition < c->topics[i].partition_count; partition++)
      if (c->topics[i].partitions[partition].reading)
        act(c, c->topics[i].name, partition, &c->topics[i].partitions[partition]);
}

void consumer_apply_bound(struct consumer *c) {
  bool full = c->full ? c->held_bytes > c->held_bytes_max / 2 : c->held_bytes >= c->held_bytes_max;
  if (full == c->full)
    return;
  c->full = full;
  for_each_reading(c, consumer_apply_pause);
}

/* librdkafka pauses for a rebalance on a thread of its own, and drops a pause or resume of ours that overlaps with it
 * (confluentinc/librdkafka#5591). So what it was told since the last one is said again; what comes twice by that is
 * left out (next_offset). */
static void settle(struct consumer *c, const char *topic, int32_t partition, struct consumer_reading *reading) {
  if (!reading->unsettled)
    return;
  reading->unsettled = false;
  tell_pause(c, topic, partition, reading);
}

static void answered(struct consumer *c) {
  c->rebalance = REBALANCE_NONE;
  c->partition_count = 0;
  for_each_reading(c, settle);
}

static bool check_starts(const struct consumer *c, const struct consumer_start *starts, int count, struct error *err) {
  for (int i = 0; i < count; i++)
    if (consumer_find_topic(c, starts[i].topic) == NULL || starts[i].partition < 0 || starts[i].offset < 0)
      return error_set(err, ERROR_FATAL, "group %s: topic %s partition %d cannot be started at offset %lld", c->group,
                       starts[i].topic, (int)starts[i].partition, (long long)starts[i].offset);
  return true;
}

bool consumer_assign(struct consumer *c, const struct consumer_start *starts, int count, struct error *err) {
  if (!check_starts(c, starts, count, err))
    return false;
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
  for (int i = 0; i < count; i++)
    rd_kafka_topic_partition_list_add(list, starts[i].topic, starts[i].partition)->offset = starts[i].offset;
  bool ok = failed(c, rd_kafka_incremental_assign(c->rk, list), "starting its partitions", err);
  rd_kafka_topic_partition_list_destroy(list);
  if (!ok)
    return false;
  for (int i = 0; i < count; i++)
    start_reading(c, starts[i].topic, starts[i].partition, starts[i].offset);
  if (c->rebalance == REBALANCE_ASSIGN)
    answered(c);
  return true;
}

/* Of the partitions given those that are being read: librdkafka refuses to end what it does not read. */
static bool unassign(struct consumer *c, const struct consumer_partition *partitions, int count, struct error *err) {
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
  for (int i = 0; i < count; i++)
    if (consumer_find(c, partitions[i].topic, partitions[i].partition) != NULL)
      rd_kafka_topic_partition_list_add(list, partitions[i].topic, partitions[i].partition);
  bool ok = failed(c, rd_kafka_incremental_unassign(c->rk, list), "giving up partitions", err);
  for (int i = 0; ok && i < list->cnt; i++)
    end_reading(c, list->elems[i].topic, list->elems[i].partition);
  rd_kafka_topic_partition_list_destroy(list);
  return ok;
}

bool consumer_release(struct consumer *c, struct error *err) {
  if (c->rebalance != REBALANCE_REVOKE && c->rebalance != REBALANCE_LOSE)
    return true;
  if (!unassign(c, c->partitions, c->partition_count, err))
    return false;
  answered(c);
  return true;
}

bool consumer_stop(struct consumer *c, const struct consumer_partition *partition, struct error *err) {
  return consumer_find(c, partition->topic, partition->partition) == NULL || unassign(c, partition, 1, err);
}

void consumer_answer_for_leaving(struct consumer *c) {
  struct error err; /* which librdkafka has logged, too: the handle is going away */
  if (c->rebalance == REBALANCE_ASSIGN)
    consumer_assign(c, NULL, 0, &err);
  else
    consumer_release(c, &err);
}

static void set_held(struct consumer *c, const struct consumer_partition *partition, bool held) {
  struct consumer_reading *reading = consumer_find(c, partition->topic, partition->partition);
  if (reading == NULL)
    return;
  reading->held = held;
  consumer_apply_pause(c, partition->topic, partition->partition, reading);
}

void consumer_pause(struct consumer *c, const struct consumer_partition *partition) {
  set_held(c, partition, true);
}

void consumer_resume(struct consumer *c, const struct consumer_partition *partition) {
  set_held(c, partition, false);
}
