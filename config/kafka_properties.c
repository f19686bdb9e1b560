/* See kafka_properties.h. Names and aliases are librdkafka's (CONFIGURATION.md). */
#include "config/kafka_properties.h"

#include <stddef.h>
#include <string.h>

#include "bridge/base/number.h"

/* Refused whatever the value. */
struct owned {
  const char *name;
  const char *reason;
  const char *remedy;
};

#define REMOVE "remove it"
#define FROM_NAME "walferry derives it from `name`, so that a second instance is fenced"
#define ALWAYS_ON "exactly-once needs the idempotent producer, which walferry always turns on"
#define ALL_REPLICAS "exactly-once needs acks=all, which walferry always sets"
#define NO_TIMEOUT "a record that times out on its own would tear a hole into its Kafka transaction"
#define ROUTED_BY_KEY "walferry places records as Java clients do (murmur2_random)"
#define OWN_OFFSETS "walferry keeps offsets itself, in the transaction with the effects"

static const struct owned owned[] = {
    {"transactional.id", FROM_NAME, "remove it; set `name` instead"},
    {"enable.idempotence", ALWAYS_ON, REMOVE},
    {"acks", ALL_REPLICAS, REMOVE},
    {"request.required.acks", ALL_REPLICAS, REMOVE},
    {"isolation.level", "walferry reads committed records, and the position's end uncommitted; it sets both", REMOVE},
    {"message.timeout.ms", NO_TIMEOUT, "remove it; transaction.timeout.ms bounds the whole transaction"},
    {"delivery.timeout.ms", NO_TIMEOUT, "remove it; transaction.timeout.ms bounds the whole transaction"},
    {"bootstrap.servers", "the brokers have a key of their own", "use `kafka.brokers`"},
    {"metadata.broker.list", "the brokers have a key of their own", "use `kafka.brokers`"},
    {"partitioner", ROUTED_BY_KEY, REMOVE},
    {"group.id", "consumer groups are walferry's", "remove it; `inbox.group` names the inbox's group"},
    {"enable.auto.commit", OWN_OFFSETS, REMOVE},
    {"auto.commit.enable", OWN_OFFSETS, REMOVE},
    {"auto.commit.interval.ms", OWN_OFFSETS, REMOVE},
    {"enable.auto.offset.store", OWN_OFFSETS, REMOVE},
    {"auto.offset.reset", OWN_OFFSETS, REMOVE},
    {"enable.partition.eof", "walferry finds the end of its position topic by it", REMOVE},
    {"test.mock.num.brokers", "librdkafka's mock brokers keep nothing: every event would be lost", REMOVE},
};

/* Refused outside a range. */
struct ranged {
  const char *name;
  int64_t min, max;
  const char *reason;
};

static const struct ranged ranged[] = {
    {"max.in.flight.requests.per.connection", 1, 5, "the idempotent producer keeps order with at most 5"},
    {"max.in.flight", 1, 5, "the idempotent producer keeps order with at most 5"},
    {"transaction.timeout.ms", 1000, 900000, "librdkafka and the broker's default allow this much"},
    {"retries", 1, INT32_MAX, "without retries the first lost request would end the transaction"},
    {"message.send.max.retries", 1, INT32_MAX, "without retries the first lost request would end the transaction"},
};

/* Only one value does. */
struct fixed {
  const char *name;
  const char *value;
  const char *reason;
};

static const struct fixed fixed[] = {
    {"enable.gapless.guarantee", "false",
     "a record that the broker refuses would stop the producer, not be quarantined"},
    {"queuing.strategy", "fifo", "records of one key would change their order"},
    {"delivery.report.only.error", "false", "walferry counts every delivery"},
};

static bool check_owned(const char *name, struct error *err) {
  for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) {
    if (strcmp(name, owned[i].name) != 0)
      continue;
    error_set(err, ERROR_CONFIG, "the property %s cannot be set: %s", name, owned[i].reason);
    return error_remedy(err, "%s", owned[i].remedy);
  }
  return true;
}

static bool check_range(const char *name, const char *value, struct error *err) {
  for (size_t i = 0; i < sizeof ranged / sizeof ranged[0]; i++) {
    const struct ranged *range = &ranged[i];
    int64_t number;
    if (strcmp(name, range->name) != 0 ||
        number_parse(slice_from(value, strlen(value)), range->min, range->max, &number))
      continue;
    error_set(err, ERROR_CONFIG, "the property %s cannot be \"%.64s\": %s", name, value, range->reason);
    return error_remedy(err, "write a whole number from %lld to %lld, or remove it", (long long)range->min,
                        (long long)range->max);
  }
  return true;
}

static bool check_fixed(const char *name, const char *value, struct error *err) {
  for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
    if (strcmp(name, fixed[i].name) != 0 || strcasecmp(value, fixed[i].value) == 0)
      continue;
    error_set(err, ERROR_CONFIG, "the property %s cannot be \"%.64s\": %s", name, value, fixed[i].reason);
    return error_remedy(err, "write %s, or remove it", fixed[i].value);
  }
  return true;
}

bool kafka_property_check(const char *name, const char *value, struct error *err) {
  return check_owned(name, err) && check_range(name, value, err) && check_fixed(name, value, err);
}
