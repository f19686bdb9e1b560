/* The end of a consumer: leaving the group without being held up by it. See consumer.h.
 *
 * librdkafka 2.0.2 has two traps here. An assignment that comes while it closes is never answered, and it waits for
 * ever (confluentinc/librdkafka#4527): so the subscription is ended, and what comes by that is answered, before it is
 * closed. And a member that has joined but was not assigned anything yet, not even nothing, ends in an assertion
 * (#4312): such a one waits for its assignment first. */
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "bridge/base/clock.h"
#include "bridge/base/log.h"
#include "bridge/kafka/consumer_state.h"

#define SERVE_MS 20

/* Answers rebalances, drops the rest. */
static void serve(struct consumer *c, int timeout_ms) {
  rd_kafka_poll(c->rk, 0);
  rd_kafka_message_t *message = rd_kafka_consumer_poll(c->rk, timeout_ms);
  if (message != NULL)
    rd_kafka_message_destroy(message);
}

/* Joined: librdkafka knows the protocol of the group, and would assert that the assignor has a state. */
static bool waits_for_assignment(const struct consumer *c) {
  const char *protocol = rd_kafka_rebalance_protocol(c->rk);
  return !c->assigned && protocol != NULL && strcmp(protocol, "NONE") != 0;
}

static void unsubscribe(struct consumer *c) {
  for (;;) {
    while (waits_for_assignment(c) && rd_kafka_fatal_error(c->rk, NULL, 0) == RD_KAFKA_RESP_ERR_NO_ERROR)
      serve(c, SERVE_MS);
    rd_kafka_topic_partition_list_t *topics = NULL;
    rd_kafka_subscription(c->rk, &topics);
    rd_kafka_unsubscribe(c->rk);
    bool joined_meanwhile = waits_for_assignment(c) && topics != NULL && topics->cnt > 0;
    if (joined_meanwhile)
      rd_kafka_subscribe(c->rk, topics);
    if (topics != NULL)
      rd_kafka_topic_partition_list_destroy(topics);
    if (!joined_meanwhile)
      return;
  }
}

static void *leave(void *arg) {
  struct consumer *c = arg;
  c->leaving = true;
  if (c->rebalance != REBALANCE_NONE)
    consumer_answer_for_leaving(c);
  unsubscribe(c);
  while (c->reading_count > 0 && rd_kafka_fatal_error(c->rk, NULL, 0) == RD_KAFKA_RESP_ERR_NO_ERROR)
    serve(c, SERVE_MS);
  serve(c, SERVE_MS); /* an assignment may follow what was taken away */
  rd_kafka_consumer_close(c->rk);
  rd_kafka_destroy(c->rk);
  consumer_discard(c);
  return NULL;
}

void consumer_free(struct consumer *c, int timeout_ms) {
  if (c == NULL)
    return;
  if (c->rk == NULL) {
    consumer_discard(c);
    return;
  }
  atomic_store(&c->link.quiet, true); /* librdkafka complains about what is dropped on purpose */
  pthread_t thread;
  if (pthread_create(&thread, NULL, leave, c) != 0) {
    leave(c);
    return;
  }
  struct timespec until; /* by the wall clock, as ThreadSanitizer knows no other join with a bound */
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += timeout_ms / 1000;
  until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
  if (until.tv_nsec >= 1000000000) {
    until.tv_sec++;
    until.tv_nsec -= 1000000000;
  }
  if (pthread_timedjoin_np(thread, NULL, &until) == 0)
    return;
  log_warn("kafka.leave_late", log_int("timeout_ms", timeout_ms));
  pthread_detach(thread);
}
