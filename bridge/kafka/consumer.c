/* See consumer.h. The life of a consumer, its events and messages; assignment.c has its partitions, leave.c its end. */
#include "bridge/kafka/consumer.h"

#include <stdlib.h>
#include <string.h>

#include "bridge/base/clock.h"
#include "bridge/base/memory.h"
#include "bridge/kafka/consumer_state.h"
#include "bridge/kafka/message_copy.h"

static bool subscribe(struct consumer *c, struct error *err) {
  rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(c->topic_count);
  for (int i = 0; i < c->topic_count; i++)
    rd_kafka_topic_partition_list_add(topics, c->topics[i].name, RD_KAFKA_PARTITION_UA);
  rd_kafka_resp_err_t code = rd_kafka_subscribe(c->rk, topics);
  rd_kafka_topic_partition_list_destroy(topics);
  return code == RD_KAFKA_RESP_ERR_NO_ERROR ||
         error_set(err, ERROR_CONFIG, "group %s: cannot subscribe to its topics: %s", c->group, rd_kafka_err2str(code));
}

/* librdkafka takes a name that begins with ^ for a pattern. */
static bool take_topics(struct consumer *c, const struct consumer_settings *settings, struct error *err) {
  c->topics = memory_alloc((size_t)settings->topic_count * sizeof *c->topics + 1);
  for (int i = 0; i < settings->topic_count; i++) {
    const char *name = settings->topics[i];
    if (name[0] == '\0' || name[0] == '^')
      return error_set(err, ERROR_CONFIG, "\"%s\" is no name for a topic", name);
    c->topics[c->topic_count++].name = memory_string(name);
  }
  return true;
}

/* Whoever is busy with a message is not gone. */
static bool allow_handling(rd_kafka_conf_t *conf, int handling_max_ms, struct error *err) {
  static const char name[] = "max.poll.interval.ms";
  int64_t needed_ms = (int64_t)handling_max_ms + 60000;
  return kafka_conf_get_int(conf, name, 0) >= needed_ms || kafka_conf_set_int(conf, name, needed_ms, err);
}

struct consumer *consumer_new(const struct consumer_settings *settings, struct error *err) {
  struct consumer *c = memory_alloc(sizeof *c);
  kafka_link_init(&c->link, KAFKA_ROLE_MEMBER);
  c->link.owner = c;
  c->group = memory_string(settings->group);
  c->held_bytes_max = settings->held_bytes_max;
  rd_kafka_conf_t *conf = take_topics(c, settings, err) ? kafka_conf_new(settings->kafka, &c->link, err) : NULL;
  if (conf == NULL)
    goto fail;
  rd_kafka_conf_set_rebalance_cb(conf, consumer_on_rebalance);
  if (!kafka_conf_set(conf, "group.id", c->group, err) || !allow_handling(conf, settings->handling_max_ms, err)) {
    rd_kafka_conf_destroy(conf);
    goto fail;
  }
  c->rk = kafka_handle_new(conf, &c->link, err);
  if (c->rk == NULL)
    goto fail;
  if (subscribe(c, err))
    return c;
fail:
  consumer_free(c, 1000);
  return NULL;
}

void consumer_discard(struct consumer *c) {
  for (int i = 0; i < c->topic_count; i++) {
    free(c->topics[i].name);
    free(c->topics[i].partitions);
  }
  free(c->topics);
  free(c->partitions);
  free(c->group);
  free(c);
}

void consumer_message_free(struct consumer *c, struct consumer_message *message) {
  if (message == NULL)
    return;
  c->held_bytes -= message->held_bytes;
  free(message);
}

/* False where it is none that the caller is to see: of a partition that was given up, or seen before. */
static bool take_message(struct consumer *c, const rd_kafka_message_t *m, struct consumer_event *event) {
  const struct consumer_topic *topic = consumer_find_topic(c, rd_kafka_topic_name(m->rkt));
  struct consumer_reading *reading = topic == NULL ? NULL : consumer_find(c, topic->name, m->partition);
  if (reading == NULL || m->offset < reading->next_offset)
    return false;
  reading->next_offset = m->offset + 1;
  reading->flowing = true;
  event->kind = CONSUMER_MESSAGE;
  event->message = consumer_message_copy(m, topic->name);
  c->held_bytes += event->message->held_bytes;
  consumer_apply_pause(c, topic->name, m->partition, reading);
  return true;
}

/* An event about the partition that the error is about; false where it is not being read. */
static bool take_partition(struct consumer *c, const rd_kafka_message_t *m, enum consumer_event_kind kind,
                           struct consumer_event *event) {
  const struct consumer_topic *topic = consumer_find_topic(c, rd_kafka_topic_name(m->rkt));
  struct consumer_reading *reading = topic == NULL ? NULL : consumer_find(c, topic->name, m->partition);
  if (reading == NULL)
    return false;
  c->at = (struct consumer_partition){.topic = topic->name, .partition = m->partition};
  *event = (struct consumer_event){.kind = kind, .partitions = &c->at, .partition_count = 1, .offset = m->offset};
  if (kind == CONSUMER_OUT_OF_RANGE) {
    event->offset = reading->next_offset;
    return true;
  }
  reading->flowing = true;
  consumer_apply_pause(c, topic->name, m->partition, reading);
  return true;
}

/* What ends this handle. */
static bool fatal(const struct consumer *c, struct error *err) {
  char text[512];
  rd_kafka_resp_err_t code = rd_kafka_fatal_error(c->rk, text, sizeof text);
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
    return false;
  if (code != RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID) {
    error_set(err, ERROR_START_OVER, "group %s: %s", c->group, text);
    return true;
  }
  error_set(err, ERROR_FENCED, "group %s: another member has the same group.instance.id: %s", c->group, text);
  error_remedy(err, "give each instance a group.instance.id of its own in kafka.properties, or none");
  return true;
}

static bool topic_failed(const struct consumer *c, rd_kafka_resp_err_t code, const char *topic, int32_t partition,
                         const char *text, struct error *err) {
  if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) {
    error_set(err, ERROR_RETRY, "topic %s: not authorised to read it", topic);
    return error_remedy(err, "grant Read and Describe on topic %s to the user of walferry", topic);
  }
  if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
      code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION) {
    error_set(err, ERROR_RETRY, "topic %s: does not exist, or not yet", topic);
    return error_remedy(err, "create topic %s, or take it out of inbox.topics", topic);
  }
  return partition < 0 ? error_set(err, ERROR_RETRY, "group %s: topic %s: %s", c->group, topic, text)
                       : error_set(err, ERROR_RETRY, "group %s: topic %s partition %d: %s", c->group, topic,
                                   (int)partition, text);
}

static bool member_failed(const struct consumer *c, rd_kafka_resp_err_t code, const char *text, struct error *err) {
  if (code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED) {
    error_set(err, ERROR_RETRY, "group %s: not authorised to be a member", c->group);
    return error_remedy(err, "grant Read on group %s to the user of walferry", c->group);
  }
  if (code == RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL) {
    error_set(err, ERROR_RETRY,
              "group %s: has members of another kind, which do not assign partitions as walferry does", c->group);
    return error_remedy(err, "stop the members of group %s that are not walferry, or name another group", c->group);
  }
  if (code == RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT) {
    error_set(err, ERROR_CONFIG, "group %s: %s", c->group, text);
    return error_remedy(err, "set session.timeout.ms in kafka.properties between group.min.session.timeout.ms and "
                             "group.max.session.timeout.ms of the brokers");
  }
  return error_set(err, ERROR_RETRY, "group %s: %s%s", c->group, text, kafka_link_hint(c->rk, &c->link).text);
}

static bool failed(const struct consumer *c, const rd_kafka_message_t *m, struct error *err) {
  if (fatal(c, err))
    return false;
  if (m->rkt != NULL)
    return topic_failed(c, m->err, rd_kafka_topic_name(m->rkt), m->partition, rd_kafka_message_errstr(m), err);
  return member_failed(c, m->err, rd_kafka_message_errstr(m), err);
}

static void tell_rebalance(struct consumer *c, struct consumer_event *event) {
  c->told = true;
  event->partitions = c->partitions;
  event->partition_count = c->partition_count;
  switch (c->rebalance) {
  case REBALANCE_NONE:
    break;
  case REBALANCE_ASSIGN:
    event->kind = CONSUMER_ASSIGNED;
    break;
  case REBALANCE_REVOKE:
    event->kind = CONSUMER_REVOKED;
    break;
  case REBALANCE_LOSE:
    event->kind = CONSUMER_LOST;
    break;
  }
}

enum taken { TAKEN_EVENT = 1, TAKEN_NOTHING, TAKEN_FAILURE };

static enum taken take(struct consumer *c, const rd_kafka_message_t *m, struct consumer_event *event,
                       struct error *err) {
  bool event_made = false;
  if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR)
    event_made = take_message(c, m, event);
  else if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
    event_made = take_partition(c, m, CONSUMER_END, event);
  else if (m->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET)
    event_made = take_partition(c, m, CONSUMER_OUT_OF_RANGE, event);
  else {
    failed(c, m, err);
    return TAKEN_FAILURE;
  }
  return event_made ? TAKEN_EVENT : TAKEN_NOTHING;
}

/* As long as it has read nothing, credentials and certificates may be why. Later they were good once, and librdkafka
 * goes on trying. */
static bool let_in(const struct consumer *c, struct error *err) {
  return c->assigned || kafka_refusals_check(&c->link.refusals, c->link.last_error, err);
}

bool consumer_poll(struct consumer *c, int timeout_ms, struct consumer_event *event, struct error *err) {
  int64_t deadline = clock_monotonic_ms() + timeout_ms;
  *event = (struct consumer_event){.kind = CONSUMER_NOTHING};
  consumer_apply_bound(c);
  for (;;) {
    int64_t left = deadline - clock_monotonic_ms();
    rd_kafka_poll(c->rk, 0); /* the error callback */
    rd_kafka_message_t *m = rd_kafka_consumer_poll(c->rk, left > 0 ? (int)left : 0);
    if (m != NULL) {
      enum taken taken = take(c, m, event, err);
      rd_kafka_message_destroy(m);
      if (taken != TAKEN_NOTHING)
        return taken == TAKEN_EVENT;
    } else if (c->rebalance != REBALANCE_NONE && !c->told) {
      tell_rebalance(c, event);
      return true;
    } else if (fatal(c, err) || !let_in(c, err)) {
      return false;
    }
    if (clock_monotonic_ms() >= deadline)
      return true;
  }
}

void consumer_commit(struct consumer *c, const struct consumer_start *positions, int count) {
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
  for (int i = 0; i < count; i++)
    rd_kafka_topic_partition_list_add(list, positions[i].topic, positions[i].partition)->offset = positions[i].offset;
  rd_kafka_commit(c->rk, list, 1 /* asynchronously */);
  rd_kafka_topic_partition_list_destroy(list);
}

/* librdkafka keeps the end that came with a fetch. */
int64_t consumer_lag(const struct consumer *c, const struct consumer_partition *partition, int64_t next_offset) {
  int64_t low = 0, end = RD_KAFKA_OFFSET_INVALID;
  if (consumer_find(c, partition->topic, partition->partition) == NULL ||
      rd_kafka_get_watermark_offsets(c->rk, partition->topic, partition->partition, &low, &end) !=
          RD_KAFKA_RESP_ERR_NO_ERROR ||
      end < 0)
    return -1;
  return end > next_offset ? end - next_offset : 0;
}
