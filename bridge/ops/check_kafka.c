/* The brokers, the position topic, targets and quarantine. See check_parts.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/memory.h"
#include "bridge/kafka/admin.h"
#include "bridge/ops/check_parts.h"
#include "bridge/ops/topics.h"
#include "bridge/relay/admit_topic.h"
#include "bridge/relay/replay.h"

#define GOOD_REPLICATION 3
#define GOOD_MIN_INSYNC 2

static void check_library(struct check *c) {
  if (kafka_library_warning() != NULL)
    check_warn(&c->report, "librdkafka", "install another version of librdkafka", "%s %s", kafka_library_version(),
               kafka_library_warning());
  else
    check_ok(&c->report, "librdkafka", "%s", kafka_library_version());
}

static void check_timeout(struct check *c, const struct kafka_broker_facts *broker) {
  static const char name[] = "transaction timeout";
  int64_t ours;
  struct error err;
  if (!kafka_transaction_timeout(&c->settings->publisher.kafka, &ours, &err)) {
    check_fail(&c->report, name, &err);
  } else if (broker->transaction_timeout_max_ms > 0 && ours > broker->transaction_timeout_max_ms) {
    error_set(&err, ERROR_CONFIG, "transaction.timeout.ms is %" PRId64 ", and the brokers allow %" PRId64, ours,
              broker->transaction_timeout_max_ms);
    error_remedy(&err,
                 "lower transaction.timeout.ms in kafka.properties, or raise the brokers' transaction.max.timeout.ms");
    check_fail(&c->report, name, &err);
  } else {
    check_ok(&c->report, name, "%" PRId64 " ms, of %" PRId64 " that the brokers allow", ours,
             broker->transaction_timeout_max_ms);
  }
}

static void check_transaction_log(struct check *c, const struct kafka_broker_facts *broker) {
  if (broker->transaction_log_replication < GOOD_REPLICATION || broker->transaction_log_min_insync < GOOD_MIN_INSYNC)
    check_warn(&c->report, "transaction log",
               "set transaction.state.log.replication.factor=3 and transaction.state.log.min.isr=2 on the brokers",
               "replication %" PRId64 ", min.isr %" PRId64 ": one lost disk can take back a commit",
               broker->transaction_log_replication, broker->transaction_log_min_insync);
  else
    check_ok(&c->report, "transaction log", "replication %" PRId64 ", min.isr %" PRId64,
             broker->transaction_log_replication, broker->transaction_log_min_insync);
}

/* Reading is tried for real. Writing cannot be: on the transactional id it would fence a running relay. */
static void check_rights(struct check *c, bool known, bool authorizer) {
  if (known && !authorizer)
    check_ok(&c->report, "rights", "the brokers let everybody do everything: no authorizer");
  else
    check_skip(&c->report, "rights",
               "not checked: trying them would fence a running relay. Needed: Write and Describe on TransactionalId "
               "walferry.%s and on all topics, and Read on the position topic",
               c->settings->name);
}

static void check_broker(struct check *c, int32_t id) {
  struct kafka_broker_facts broker;
  bool known;
  struct error err;
  if (!kafka_admin_broker(c->kafka, id, CHECK_KAFKA_TIMEOUT_MS, &broker, &known, &err)) {
    check_fail(&c->report, "broker settings", &err);
    return;
  }
  check_rights(c, known, broker.authorizer);
  if (!known) {
    check_skip(&c->report, "transaction timeout", "not checked: takes DescribeConfigs on the cluster");
    check_skip(&c->report, "transaction log", "not checked: takes DescribeConfigs on the cluster");
  } else {
    check_timeout(c, &broker);
    check_transaction_log(c, &broker);
  }
}

static bool check_brokers(struct check *c) {
  struct error err;
  struct kafka_cluster_facts cluster;
  c->kafka = kafka_admin_new(c->brokers, &err);
  if (c->kafka == NULL || !kafka_admin_reachable(c->kafka, CHECK_KAFKA_TIMEOUT_MS, &err) ||
      !kafka_admin_cluster(c->kafka, CHECK_KAFKA_TIMEOUT_MS, &cluster, &err)) {
    kafka_admin_free(c->kafka);
    c->kafka = NULL;
    if (err.remedy[0] == '\0')
      error_remedy(&err, "do the brokers run, and are kafka.brokers and the security properties right?");
    check_fail(&c->report, "brokers", &err);
    return false;
  }
  if (cluster.controller >= 0)
    check_ok(&c->report, "brokers", "%d, controller %d", (int)cluster.brokers, (int)cluster.controller);
  else
    check_warn(&c->report, "brokers", "see the brokers' logs: without a controller no topic can be made",
               "%d, and no controller", (int)cluster.brokers);
  if (c->settings != NULL)
    check_broker(c, cluster.a_broker);
  return true;
}

static void check_replicas(struct check *c, const char *name, const struct kafka_topic_facts *facts, const char *rest) {
  if (facts->replication < GOOD_REPLICATION || facts->min_insync < GOOD_MIN_INSYNC)
    check_warn(&c->report, name, "give it 3 replicas and min.insync.replicas=2",
               "replication %" PRId32 ", min.insync.replicas %" PRId32 "%s: one lost disk can lose what was committed",
               facts->replication, facts->min_insync, rest);
  else
    check_ok(&c->report, name, "replication %" PRId32 ", min.insync.replicas %" PRId32 "%s", facts->replication,
             facts->min_insync, rest);
}

/* maker: who makes it where it is missing. *missing: it is known not to be there. */
static bool check_log(struct check *c, const char *topic, const char *maker, bool *missing) {
  char *name = memory_format("position topic %s", topic);
  struct kafka_topic_facts facts = {.exists = false};
  bool known = false;
  *missing = false;
  struct error err;
  if (!kafka_admin_topic(c->kafka, topic, CHECK_KAFKA_TIMEOUT_MS, &facts, &known, &err)) {
    check_fail(&c->report, name, &err);
  } else if (!facts.exists) {
    *missing = true;
    check_ok(&c->report, name, "does not exist yet; %s makes it, replication %" PRId32, maker,
             publisher_position_shape(&c->settings->publisher).replication);
  } else if (!admit_position_topic(topic, &facts, known, &err)) {
    check_fail(&c->report, name, &err);
  } else if (!known) {
    check_warn(&c->report, name, "grant DescribeConfigs on it", "its settings may not be read");
  } else {
    check_replicas(c, name, &facts, ", one compacted partition");
  }
  free(name);
  return facts.exists;
}

static void check_position_topic(struct check *c) {
  char *topic = kafka_position_topic(c->settings->name);
  bool exists = check_log(c, topic, "the relay", &c->position_known);
  free(topic);
  if (exists) {
    struct error err;
    struct publisher *publisher = publisher_new(&c->settings->publisher, c->stop);
    c->position_known = publisher_peek(publisher, &c->position, &err);
    if (!c->position_known)
      check_fail(&c->report, "stored position", &err);
    publisher_free(publisher);
  }
}

static void check_replay_topic(struct check *c) {
  char *instance = replay_instance(c->settings->name);
  char *topic = kafka_position_topic(instance);
  bool ignored;
  check_log(c, topic, "the first replay", &ignored);
  free(topic);
  free(instance);
}

void check_kafka(struct check *c) {
  c->report.group = "kafka";
  check_library(c);
  bool reached = check_brokers(c);
  if (c->settings == NULL)
    return;
  if (reached && c->settings->retain.slot != NULL)
    check_replay_topic(c);
  if (reached)
    check_position_topic(c);
  else
    check_skip(&c->report, "position topic", "skipped: no connection to Kafka");
}

static void fail_unclean(struct check *c, const char *topic, const char *name) {
  struct error err;
  error_refuse(&err, "unclean_election", "topic %s allows unclean leader election: committed records may be lost",
               topic);
  error_remedy(
      &err,
      "kafka-configs.sh --bootstrap-server $KAFKA_BROKERS --alter --entity-type topics --entity-name %s --add-config "
      "unclean.leader.election.enable=false",
      topic);
  check_fail(&c->report, name, &err);
}

/* Below this, a quarantine record may not fit: it holds the whole row. */
static void check_limit(struct check *c, const char *topic, const struct kafka_topic_facts *facts) {
  if (c->payload_max == 0 || facts->message_max == 0 || facts->message_max >= c->payload_max)
    return;
  char *name = memory_format("size limit of %s", topic);
  check_warn(&c->report, name,
             "raise max.message.bytes of the topic, or lower the CHECK: larger rows go to quarantine "
             "(record_too_large)",
             "max.message.bytes is %" PRId64 ", the outbox takes payloads of up to %" PRId64 " bytes",
             facts->message_max, c->payload_max);
  free(name);
}

static const char *role_name(enum topic_role role) {
  switch (role) {
  case TOPIC_OF_EVENTS:
    break;
  case TOPIC_OF_QUARANTINE:
    return "quarantine";
  case TOPIC_OF_DEAD_LETTERS:
    return "dead letters";
  }
  return "topic";
}

static void check_target(struct check *c, const struct topic_use *use) {
  char *name = memory_format("%s %s", role_name(use->role), use->name);
  const struct publisher_settings *settings = &c->settings->publisher;
  int32_t pinned = position_partitions(&c->position, use->name);
  struct kafka_topic_facts facts = {.exists = false};
  bool known = false;
  struct error err;
  if (!kafka_admin_topic(c->kafka, use->name, CHECK_KAFKA_TIMEOUT_MS, &facts, &known, &err) ||
      !admit_target_topic(use->name, &facts, settings->create_topics, pinned, &err)) {
    check_fail(&c->report, name, &err);
  } else if (!facts.exists) {
    check_ok(&c->report, name, "does not exist yet; made when it is first needed");
  } else if (!known) {
    check_warn(&c->report, name, "grant DescribeConfigs on it",
               "%" PRId32 " partitions; its settings may not be read, so rows too large for it are found late",
               facts.partitions);
  } else if (facts.unclean_election) {
    fail_unclean(c, use->name, name);
  } else if (use->role != TOPIC_OF_EVENTS && facts.compacted) {
    check_warn(&c->report, name, "set cleanup.policy=delete",
               "compacted: of records with the same key, only the last stays, and those without a key are refused");
  } else if (pinned != 0 && pinned < facts.partitions) {
    check_warn(&c->report, name, "nothing, unless the new partitions are wanted",
               "%" PRId32 " partitions, of which %" PRId32 " are used: keys stay where they are", facts.partitions,
               pinned);
  } else {
    char rest[40];
    snprintf(rest, sizeof rest, ", %" PRId32 " partitions", facts.partitions);
    check_replicas(c, name, &facts, rest);
  }
  if (facts.exists && known && use->role != TOPIC_OF_DEAD_LETTERS)
    check_limit(c, use->name, &facts);
  free(name);
}

void check_topics(struct check *c) {
  c->report.group = "topics";
  if (c->kafka == NULL) {
    check_skip(&c->report, "topics", "skipped: no connection to Kafka");
    return;
  }
  struct topic_use topics[TOPICS_MAX];
  int count = topics_known(c->settings, &c->position, topics);
  for (int i = 0; i < count; i++)
    check_target(c, &topics[i]);
}
