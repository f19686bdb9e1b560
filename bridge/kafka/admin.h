/* Topics: what they are, making and deleting them. Each call is bounded by timeout_ms and owns no thread afterwards.
 * Errors: a broker that is away is ERROR_RETRY; not authorised is ERROR_RETRY too and says so by name (an operator may
 * grant it meanwhile). */
#ifndef WALFERRY_KAFKA_ADMIN_H
#define WALFERRY_KAFKA_ADMIN_H

#include "bridge/kafka/client.h"
#include "bridge/kafka/topic_plan.h"
#include <stdbool.h>

struct kafka_admin;
struct kafka_admin *kafka_admin_new(const struct kafka_settings *settings, struct error *err);
void kafka_admin_free(struct kafka_admin *admin); /* accepts NULL */

/* true when any broker answers a metadata request in time. ERROR_CONFIG as soon as it is plain that none ever will with
 * this config: credentials or a certificate are refused, theirs or ours. (They may also have been good until now: that
 * the caller knows.) */
bool kafka_admin_reachable(struct kafka_admin *admin, int timeout_ms, struct error *err);

struct kafka_cluster_facts {
  int32_t brokers;
  int32_t a_broker;   /* the id of one of them */
  int32_t controller; /* broker id; -1 unknown */
};
bool kafka_admin_cluster(struct kafka_admin *admin, int timeout_ms, struct kafka_cluster_facts *facts,
                         struct error *err);
/* cluster.id, malloc'ed: another one is another set of topics, whatever they are named. */
bool kafka_admin_cluster_id(struct kafka_admin *admin, int timeout_ms, char **id, struct error *err);

/* Settings of one broker. */
struct kafka_broker_facts {
  int64_t transaction_timeout_max_ms;  /* transaction.max.timeout.ms */
  int64_t transaction_log_replication; /* transaction.state.log.replication.factor */
  int64_t transaction_log_min_insync;  /* transaction.state.log.min.isr */
  bool authorizer;                     /* it asks ACLs or the like what a user may do */
};
/* *known is false where they may not be read (DescribeConfigs on the cluster). */
bool kafka_admin_broker(struct kafka_admin *admin, int32_t broker, int timeout_ms, struct kafka_broker_facts *facts,
                        bool *known, struct error *err);

struct kafka_topic_facts {
  bool exists;
  int32_t partitions;
  int32_t replication;
  bool compacted_only;   /* cleanup.policy is exactly "compact" */
  bool compacted;        /* cleanup.policy contains "compact" */
  bool unclean_election; /* unclean.leader.election.enable */
  int64_t message_max;   /* max.message.bytes */
  int32_t min_insync;    /* min.insync.replicas */
  int64_t retention_ms;  /* retention.ms; -1: without limit, also where it is not known */
};
/* Metadata and DescribeConfigs. When the configs may not be read (not authorised), message_max is 0 (unknown), the
 * booleans keep their harmless value, and configs_known is false. */
bool kafka_admin_topic(struct kafka_admin *admin, const char *topic, int timeout_ms, struct kafka_topic_facts *facts,
                       bool *configs_known, struct error *err);

struct kafka_group_facts {
  char state[32]; /* "Stable", "Empty", "PreparingRebalance", "Dead" (there is no such group yet) */
  int members;
};
/* A consumer group as its coordinator has it. Not authorised (Describe) is ERROR_RETRY, like a coordinator that is
 * away. */
bool kafka_admin_group(struct kafka_admin *admin, const char *group, int timeout_ms, struct kafka_group_facts *facts,
                       struct error *err);

/* The log of a partition as it is, whatever transactions are open in it: its first offset, and the one that the next
 * record will have. */
bool kafka_admin_log(struct kafka_admin *admin, const char *topic, int32_t partition, int timeout_ms, int64_t *low,
                     int64_t *end, struct error *err);

/* An existing topic is success, and is left as it is. Returns after the topic is visible in metadata. */
bool kafka_admin_create_topic(struct kafka_admin *admin, const char *topic, const struct topic_shape *shape,
                              int timeout_ms, struct error *err);

/* A topic that does not exist is success. Returns after it is gone from the metadata. ERROR_CONFIG where the brokers
 * delete no topics (delete.topic.enable). */
bool kafka_admin_delete_topic(struct kafka_admin *admin, const char *topic, int timeout_ms, struct error *err);

#endif
