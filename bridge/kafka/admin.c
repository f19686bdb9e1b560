/* See admin.h. The handle is a consumer without a group: librdkafka's metadata requests of such a one never create
 * topics. */
#include "bridge/kafka/admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/clock.h"
#include "bridge/base/memory.h"
#include "bridge/base/number.h"
#include "bridge/kafka/conf.h"

#define RETRY_MS 50
#define FIRST_SLICE_MS 500

struct kafka_admin {
  struct kafka_link link;
  rd_kafka_t *rk;
  rd_kafka_queue_t *queue; /* results of admin calls */
};

struct kafka_admin *kafka_admin_new(const struct kafka_settings *settings, struct error *err) {
  struct kafka_admin *admin = memory_alloc(sizeof *admin);
  kafka_link_init(&admin->link, KAFKA_ROLE_ADMIN);
  rd_kafka_conf_t *conf = kafka_conf_new(settings, &admin->link, err);
  admin->rk = conf == NULL ? NULL : kafka_handle_new(conf, &admin->link, err);
  if (admin->rk == NULL) {
    kafka_admin_free(admin);
    return NULL;
  }
  admin->queue = rd_kafka_queue_new(admin->rk);
  return admin;
}

void kafka_admin_free(struct kafka_admin *admin) {
  if (admin == NULL)
    return;
  if (admin->queue != NULL)
    rd_kafka_queue_destroy(admin->queue);
  if (admin->rk != NULL)
    rd_kafka_destroy(admin->rk);
  free(admin);
}

static int left_ms(int64_t deadline) {
  int64_t left = deadline - clock_monotonic_ms();
  return left > 1 ? (int)left : 1;
}

static bool away(struct kafka_admin *admin, const char *doing, const char *text, struct error *err) {
  error_set(err, ERROR_RETRY, "%s: no answer from the brokers: %s%s", doing, text,
            kafka_link_hint(admin->rk, &admin->link).text);
  return kafka_refusals_remedy(&admin->link.refusals, err);
}

static bool unauthorised(const char *topic, const char *operation, const char *grant, struct error *err) {
  error_set(err, ERROR_RETRY, "topic %s: not authorised (needs %s)", topic, operation);
  return error_remedy(err, "grant %s on topic %s to the user of walferry", grant, topic);
}

/* Waits in slices, since librdkafka goes on trying whatever it is told; each slice is longer than the one before, so
 * that a slow answer still comes in time. A call that ends before its slice does has failed for good. */
bool kafka_admin_reachable(struct kafka_admin *admin, int timeout_ms, struct error *err) {
  int64_t deadline = clock_monotonic_ms() + timeout_ms;
  int slice = FIRST_SLICE_MS;
  for (;;) {
    const struct rd_kafka_metadata *metadata = NULL;
    int64_t asked_ms = clock_monotonic_ms();
    if (slice > left_ms(deadline))
      slice = left_ms(deadline);
    rd_kafka_resp_err_t code = rd_kafka_metadata(admin->rk, 0, NULL, &metadata, slice);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
      rd_kafka_metadata_destroy(metadata);
      return true;
    }
    int64_t now_ms = clock_monotonic_ms();
    rd_kafka_poll(admin->rk, 0);
    if (!kafka_refusals_check(&admin->link.refusals, admin->link.last_error, err))
      return false;
    bool early = now_ms - asked_ms < slice / 2;
    if (early || now_ms + 1 >= deadline || kafka_refusals_known(&admin->link.refusals))
      return away(admin, "brokers", rd_kafka_err2str(code), err);
    slice *= 2;
  }
}

/* What one metadata answer says of a topic. */
struct topic_view {
  rd_kafka_resp_err_t code;
  int32_t partitions;
  int32_t replication; /* the fewest replicas of any partition */
  bool led;            /* each partition has a leader */
};

static bool view_topic(struct kafka_admin *admin, const char *topic, int64_t deadline, struct topic_view *view,
                       struct error *err) {
  rd_kafka_topic_t *rkt = rd_kafka_topic_new(admin->rk, topic, NULL);
  if (rkt == NULL)
    return error_set(err, ERROR_CONFIG, "\"%s\" is no name for a topic", topic);
  const struct rd_kafka_metadata *metadata = NULL;
  rd_kafka_resp_err_t code = rd_kafka_metadata(admin->rk, 0, rkt, &metadata, left_ms(deadline));
  rd_kafka_topic_destroy(rkt);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
    away(admin, "metadata", rd_kafka_err2str(code), err);
    return error_wrap(err, "topic %s", topic);
  }
  *view = (struct topic_view){.code = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART};
  for (int i = 0; i < metadata->topic_cnt; i++) {
    const rd_kafka_metadata_topic_t *t = &metadata->topics[i];
    if (strcmp(t->topic, topic) != 0)
      continue;
    view->code = t->err;
    view->partitions = t->partition_cnt;
    view->led = t->partition_cnt > 0;
    for (int j = 0; j < t->partition_cnt; j++) {
      view->led = view->led && t->partitions[j].leader >= 0;
      if (j == 0 || t->partitions[j].replica_cnt < view->replication)
        view->replication = t->partitions[j].replica_cnt;
    }
  }
  rd_kafka_metadata_destroy(metadata);
  if (view->code == RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION)
    return error_set(err, ERROR_CONFIG, "\"%s\" is no name for a topic", topic);
  if (kafka_error_is_authorization(view->code))
    return unauthorised(topic, "Describe", "Write and Describe", err);
  return true;
}

/* Waits for the answer to the one admin call that is out; NULL when none comes. */
static rd_kafka_event_t *poll_result(struct kafka_admin *admin, rd_kafka_event_type_t type, int64_t deadline) {
  for (;;) {
    rd_kafka_event_t *event = rd_kafka_queue_poll(admin->queue, left_ms(deadline));
    if (event != NULL && rd_kafka_event_type(event) == type)
      return event;
    /* An earlier call that nobody waits for any more may still answer. */
    rd_kafka_event_destroy(event);
    if (event == NULL && clock_monotonic_ms() >= deadline)
      return NULL;
  }
}

/* NULL, with `err` set, when there is no answer, or an error for the call as a whole. */
static rd_kafka_event_t *await_result(struct kafka_admin *admin, rd_kafka_event_type_t type, const char *doing,
                                      int64_t deadline, struct error *err) {
  rd_kafka_event_t *event = poll_result(admin, type, deadline);
  if (event != NULL && rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR_NO_ERROR)
    return event;
  away(admin, doing, event == NULL ? "timed out" : rd_kafka_event_error_string(event), err);
  rd_kafka_event_destroy(event);
  return NULL;
}

static rd_kafka_AdminOptions_t *options_new(struct kafka_admin *admin, rd_kafka_admin_op_t op, int64_t deadline) {
  char text[8];
  rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(admin->rk, op);
  rd_kafka_AdminOptions_set_request_timeout(options, left_ms(deadline), text, sizeof text);
  return options;
}

static void take_topic_config(void *to, const char *name, const char *value) {
  struct kafka_topic_facts *facts = to;
  struct slice text = slice_of(value);
  if (strcmp(name, "cleanup.policy") == 0) {
    facts->compacted_only = strcmp(value, "compact") == 0;
    facts->compacted = strstr(value, "compact") != NULL;
  } else if (strcmp(name, "unclean.leader.election.enable") == 0) {
    facts->unclean_election = strcmp(value, "true") == 0;
  } else if (strcmp(name, "max.message.bytes") == 0) {
    number_parse(text, 0, INT64_MAX, &facts->message_max);
  } else if (strcmp(name, "retention.ms") == 0) {
    number_parse(text, -1, INT64_MAX, &facts->retention_ms);
  } else if (strcmp(name, "min.insync.replicas") == 0) {
    int64_t number = 0;
    if (number_parse(text, 0, INT32_MAX, &number))
      facts->min_insync = (int32_t)number;
  }
}

static void take_broker_config(void *to, const char *name, const char *value) {
  struct kafka_broker_facts *facts = to;
  struct slice text = slice_of(value);
  if (strcmp(name, "transaction.max.timeout.ms") == 0)
    number_parse(text, 0, INT64_MAX, &facts->transaction_timeout_max_ms);
  else if (strcmp(name, "transaction.state.log.replication.factor") == 0)
    number_parse(text, 0, INT32_MAX, &facts->transaction_log_replication);
  else if (strcmp(name, "transaction.state.log.min.isr") == 0)
    number_parse(text, 0, INT32_MAX, &facts->transaction_log_min_insync);
  else if (strcmp(name, "authorizer.class.name") == 0)
    facts->authorizer = text.len > 0;
}

/* DescribeConfigs; take is called for every entry that has a value. *known is false where it is not allowed. */
static bool describe(struct kafka_admin *admin, rd_kafka_ResourceType_t type, const char *name, int64_t deadline,
                     void (*take)(void *to, const char *name, const char *value), void *to, bool *known,
                     struct error *err) {
  rd_kafka_ConfigResource_t *resource = rd_kafka_ConfigResource_new(type, name);
  rd_kafka_AdminOptions_t *options = options_new(admin, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, deadline);
  rd_kafka_DescribeConfigs(admin->rk, &resource, 1, options, admin->queue);
  rd_kafka_AdminOptions_destroy(options);
  rd_kafka_ConfigResource_destroy(resource);
  const char *kind = type == RD_KAFKA_RESOURCE_BROKER ? "broker" : "topic";
  rd_kafka_event_t *event =
      await_result(admin, RD_KAFKA_EVENT_DESCRIBECONFIGS_RESULT, "describing its configs", deadline, err);
  if (event == NULL)
    return error_wrap(err, "%s %s", kind, name);

  size_t count = 0, entries = 0;
  const rd_kafka_ConfigResource_t **resources =
      rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(event), &count);
  bool ok = true;
  rd_kafka_resp_err_t code = count == 1 ? rd_kafka_ConfigResource_error(resources[0]) : RD_KAFKA_RESP_ERR__BAD_MSG;
  *known = code == RD_KAFKA_RESP_ERR_NO_ERROR;
  if (*known) {
    const rd_kafka_ConfigEntry_t **list = rd_kafka_ConfigResource_configs(resources[0], &entries);
    for (size_t i = 0; i < entries; i++) {
      const char *value = rd_kafka_ConfigEntry_value(list[i]);
      if (value != NULL)
        take(to, rd_kafka_ConfigEntry_name(list[i]), value);
    }
  } else if (!kafka_error_is_authorization(code)) {
    ok = error_set(err, ERROR_RETRY, "%s %s: describing its configs: %s", kind, name, rd_kafka_err2str(code));
  }
  rd_kafka_event_destroy(event);
  return ok;
}

bool kafka_admin_cluster(struct kafka_admin *admin, int timeout_ms, struct kafka_cluster_facts *facts,
                         struct error *err) {
  const struct rd_kafka_metadata *metadata = NULL;
  rd_kafka_resp_err_t code = rd_kafka_metadata(admin->rk, 0, NULL, &metadata, timeout_ms);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
    return away(admin, "metadata", rd_kafka_err2str(code), err);
  *facts = (struct kafka_cluster_facts){.brokers = metadata->broker_cnt,
                                        .a_broker = metadata->broker_cnt > 0 ? metadata->brokers[0].id : -1,
                                        .controller = rd_kafka_controllerid(admin->rk, 0)};
  rd_kafka_metadata_destroy(metadata);
  return true;
}

bool kafka_admin_cluster_id(struct kafka_admin *admin, int timeout_ms, char **id, struct error *err) {
  char *found = rd_kafka_clusterid(admin->rk, timeout_ms);
  if (found == NULL)
    return away(admin, "cluster id", "timed out", err);
  *id = memory_string(found);
  rd_kafka_mem_free(admin->rk, found);
  return true;
}

bool kafka_admin_broker(struct kafka_admin *admin, int32_t broker, int timeout_ms, struct kafka_broker_facts *facts,
                        bool *known, struct error *err) {
  char id[16];
  snprintf(id, sizeof id, "%d", (int)broker);
  *facts = (struct kafka_broker_facts){.transaction_timeout_max_ms = 0};
  return describe(admin, RD_KAFKA_RESOURCE_BROKER, id, clock_monotonic_ms() + timeout_ms, take_broker_config, facts,
                  known, err);
}

bool kafka_admin_topic(struct kafka_admin *admin, const char *topic, int timeout_ms, struct kafka_topic_facts *facts,
                       bool *configs_known, struct error *err) {
  int64_t deadline = clock_monotonic_ms() + timeout_ms;
  struct topic_view view;
  for (;;) {
    if (!view_topic(admin, topic, deadline, &view, err))
      return false;
    if (view.code == RD_KAFKA_RESP_ERR_NO_ERROR || view.code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
      break;
    if (clock_monotonic_ms() + RETRY_MS >= deadline)
      return error_set(err, ERROR_RETRY, "topic %s: %s", topic, rd_kafka_err2str(view.code));
    clock_sleep_ms(RETRY_MS);
  }
  struct kafka_topic_facts found = {.exists = view.code == RD_KAFKA_RESP_ERR_NO_ERROR, .retention_ms = -1};
  bool known = false;
  if (found.exists) {
    found.partitions = view.partitions;
    found.replication = view.replication;
    if (!describe(admin, RD_KAFKA_RESOURCE_TOPIC, topic, deadline, take_topic_config, &found, &known, err))
      return false;
  }
  *facts = found;
  if (configs_known != NULL)
    *configs_known = known;
  return true;
}

static bool fail_group(struct kafka_admin *admin, const char *group, rd_kafka_resp_err_t code, struct error *err) {
  if (kafka_error_is_authorization(code)) {
    error_set(err, ERROR_RETRY, "group %s: not authorised (needs Read and Describe)", group);
    return error_remedy(err, "grant Read and Describe on group %s to the user of walferry", group);
  }
  away(admin, "asking its coordinator", rd_kafka_err2str(code), err);
  return error_wrap(err, "group %s", group);
}

static void take_group(const rd_kafka_ConsumerGroupDescription_t *group, struct kafka_group_facts *facts) {
  *facts = (struct kafka_group_facts){.members = (int)rd_kafka_ConsumerGroupDescription_member_count(group)};
  snprintf(facts->state, sizeof facts->state, "%s",
           rd_kafka_consumer_group_state_name(rd_kafka_ConsumerGroupDescription_state(group)));
}

/* false only without an answer; *code is the coordinator's. */
static bool describe_group(struct kafka_admin *admin, const char *group, int64_t deadline,
                           struct kafka_group_facts *facts, rd_kafka_resp_err_t *code, struct error *err) {
  rd_kafka_AdminOptions_t *options = options_new(admin, RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, deadline);
  rd_kafka_DescribeConsumerGroups(admin->rk, &group, 1, options, admin->queue);
  rd_kafka_AdminOptions_destroy(options);
  rd_kafka_event_t *event =
      await_result(admin, RD_KAFKA_EVENT_DESCRIBECONSUMERGROUPS_RESULT, "asking its coordinator", deadline, err);
  if (event == NULL)
    return error_wrap(err, "group %s", group);
  size_t count = 0;
  const rd_kafka_ConsumerGroupDescription_t **groups =
      rd_kafka_DescribeConsumerGroups_result_groups(rd_kafka_event_DescribeConsumerGroups_result(event), &count);
  *code =
      count == 1 ? rd_kafka_error_code(rd_kafka_ConsumerGroupDescription_error(groups[0])) : RD_KAFKA_RESP_ERR__BAD_MSG;
  if (*code == RD_KAFKA_RESP_ERR_NO_ERROR)
    take_group(groups[0], facts);
  rd_kafka_event_destroy(event);
  return true;
}

/* A coordinator may have to be found and to load first. */
bool kafka_admin_group(struct kafka_admin *admin, const char *group, int timeout_ms, struct kafka_group_facts *facts,
                       struct error *err) {
  int64_t deadline = clock_monotonic_ms() + timeout_ms;
  for (;; clock_sleep_ms(RETRY_MS)) {
    rd_kafka_resp_err_t code;
    if (!describe_group(admin, group, deadline, facts, &code, err))
      return false;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
      return true;
    bool passes = code == RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS ||
                  code == RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE || code == RD_KAFKA_RESP_ERR_NOT_COORDINATOR;
    if (!passes || clock_monotonic_ms() + RETRY_MS >= deadline)
      return fail_group(admin, group, code, err);
  }
}

bool kafka_admin_log(struct kafka_admin *admin, const char *topic, int32_t partition, int timeout_ms, int64_t *low,
                     int64_t *end, struct error *err) {
  int64_t deadline = clock_monotonic_ms() + timeout_ms;
  for (;;) {
    struct topic_view view; /* who leads it now: what the handle remembers may be older than an election */
    if (!view_topic(admin, topic, deadline, &view, err))
      return false;
    rd_kafka_resp_err_t code =
        rd_kafka_query_watermark_offsets(admin->rk, topic, partition, low, end, left_ms(deadline));
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
      return true;
    if (kafka_error_is_authorization(code))
      return unauthorised(topic, "Describe", "Read and Describe", err);
    if (clock_monotonic_ms() >= deadline) {
      away(admin, "reading its offsets", rd_kafka_err2str(code), err);
      return error_wrap(err, "topic %s", topic);
    }
    clock_sleep_ms(RETRY_MS); /* a leader that is being elected, a topic just made */
  }
}

static bool created(const char *topic, rd_kafka_resp_err_t code, const char *text, struct error *err) {
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
    return true;
  if (kafka_error_is_authorization(code))
    return unauthorised(topic, "Create", "Create", err);
  /* About the name, which may come from a row. What the brokers have against partitions, replicas or settings is no
   * row's fault; a policy may be about either, and would send all rows to the quarantine if it were taken for theirs.
   */
  error_set(err, code == RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION ? ERROR_CONFIG : ERROR_RETRY,
            "topic %s: cannot be created: %s", topic, text != NULL ? text : rd_kafka_err2str(code));
  if (code == RD_KAFKA_RESP_ERR_POLICY_VIOLATION)
    error_remedy(err, "a policy of the brokers refuses it: change kafka.topics, or create the topic by hand");
  return false;
}

static bool request_creation(struct kafka_admin *admin, rd_kafka_NewTopic_t *new_topic, const char *topic,
                             int64_t deadline, struct error *err) {
  rd_kafka_AdminOptions_t *options = options_new(admin, RD_KAFKA_ADMIN_OP_CREATETOPICS, deadline);
  rd_kafka_CreateTopics(admin->rk, &new_topic, 1, options, admin->queue);
  rd_kafka_AdminOptions_destroy(options);
  rd_kafka_event_t *event =
      await_result(admin, RD_KAFKA_EVENT_CREATETOPICS_RESULT, "creating the topic", deadline, err);
  if (event == NULL)
    return error_wrap(err, "topic %s", topic);
  size_t count = 0;
  const rd_kafka_topic_result_t **results =
      rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
  bool ok = count == 1 ? created(topic, rd_kafka_topic_result_error(results[0]),
                                 rd_kafka_topic_result_error_string(results[0]), err)
                       : created(topic, RD_KAFKA_RESP_ERR__BAD_MSG, NULL, err);
  rd_kafka_event_destroy(event);
  return ok;
}

bool kafka_admin_create_topic(struct kafka_admin *admin, const char *topic, const struct topic_shape *shape,
                              int timeout_ms, struct error *err) {
  int64_t deadline = clock_monotonic_ms() + timeout_ms;
  char text[256] = "";
  rd_kafka_NewTopic_t *new_topic =
      rd_kafka_NewTopic_new(topic, shape->partitions, shape->replication, text, sizeof text);
  if (new_topic == NULL)
    return error_set(err, ERROR_CONFIG, "topic %s: cannot be created: %s", topic, text);
  struct topic_config configs[TOPIC_CONFIGS_MAX];
  int config_count = topic_shape_configs(shape, configs);
  for (int i = 0; i < config_count; i++)
    rd_kafka_NewTopic_set_config(new_topic, configs[i].name, configs[i].value);
  bool ok = request_creation(admin, new_topic, topic, deadline, err);
  rd_kafka_NewTopic_destroy(new_topic);
  if (!ok)
    return false;
  for (;;) {
    struct topic_view view;
    if (!view_topic(admin, topic, deadline, &view, err))
      return false;
    if (view.code == RD_KAFKA_RESP_ERR_NO_ERROR && view.led)
      return true;
    if (clock_monotonic_ms() + RETRY_MS >= deadline)
      return error_set(err, ERROR_RETRY, "topic %s: created, but it has no leader yet", topic);
    clock_sleep_ms(RETRY_MS);
  }
}

static bool deleted(const char *topic, rd_kafka_resp_err_t code, const char *text, struct error *err) {
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
    return true;
  if (kafka_error_is_authorization(code))
    return unauthorised(topic, "Delete", "Delete", err);
  error_set(err, code == RD_KAFKA_RESP_ERR_TOPIC_DELETION_DISABLED ? ERROR_CONFIG : ERROR_RETRY,
            "topic %s: cannot be deleted: %s", topic, text != NULL ? text : rd_kafka_err2str(code));
  return code == RD_KAFKA_RESP_ERR_TOPIC_DELETION_DISABLED
             ? error_remedy(err, "set delete.topic.enable=true on the brokers, then run the same command again")
             : false;
}

static bool request_deletion(struct kafka_admin *admin, const char *topic, int64_t deadline, struct error *err) {
  rd_kafka_AdminOptions_t *options = options_new(admin, RD_KAFKA_ADMIN_OP_DELETETOPICS, deadline);
  rd_kafka_DeleteTopic_t *target = rd_kafka_DeleteTopic_new(topic);
  rd_kafka_DeleteTopics(admin->rk, &target, 1, options, admin->queue);
  rd_kafka_DeleteTopic_destroy(target);
  rd_kafka_AdminOptions_destroy(options);
  rd_kafka_event_t *event =
      await_result(admin, RD_KAFKA_EVENT_DELETETOPICS_RESULT, "deleting the topic", deadline, err);
  if (event == NULL)
    return error_wrap(err, "topic %s", topic);
  size_t count = 0;
  const rd_kafka_topic_result_t **results =
      rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &count);
  bool ok = count == 1 ? deleted(topic, rd_kafka_topic_result_error(results[0]),
                                 rd_kafka_topic_result_error_string(results[0]), err)
                       : deleted(topic, RD_KAFKA_RESP_ERR__BAD_MSG, NULL, err);
  rd_kafka_event_destroy(event);
  return ok;
}

bool kafka_admin_delete_topic(struct kafka_admin *admin, const char *topic, int timeout_ms, struct error *err) {
  int64_t deadline = clock_monotonic_ms() + timeout_ms;
  if (!request_deletion(admin, topic, deadline, err))
    return false;
  for (;;) {
    struct topic_view view;
    if (!view_topic(admin, topic, deadline, &view, err))
      return false;
    if (view.code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
      return true;
    if (clock_monotonic_ms() + RETRY_MS >= deadline)
      return error_set(err, ERROR_RETRY, "topic %s: its deletion was accepted, but it is still there", topic);
    clock_sleep_ms(RETRY_MS);
  }
}
