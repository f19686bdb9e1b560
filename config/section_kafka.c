/* The `kafka` section. */
#include <stdlib.h>
#include <string.h>

#include "bridge/base/memory.h"
#include "bridge/base/number.h"
#include "config/expand.h"
#include "config/kafka_properties.h"
#include "config/names.h"
#include "config/sections.h"

/* One of "host", "host:port", "[v6]:port", perhaps with a "SECURITY_PROTOCOL://" in front, as librdkafka takes them. */
static bool good_broker(struct slice broker) {
  const char *scheme = memmem(broker.data, broker.len, "://", 3);
  if (scheme != NULL)
    broker = slice_from(scheme + 3, broker.len - (size_t)(scheme + 3 - broker.data));
  for (size_t i = 0; i < broker.len; i++) {
    if ((unsigned char)broker.data[i] <= ' ' || broker.data[i] == '/')
      return false;
  }
  if (broker.len == 0 || broker.data[0] == ':')
    return false;
  const char *colon = memrchr(broker.data, ':', broker.len);
  if (colon == NULL || broker.data[broker.len - 1] == ']')
    return true;
  uint64_t port;
  size_t before = (size_t)(colon - broker.data) + 1;
  return number_parse_u64(slice_from(colon + 1, broker.len - before), 65535, &port) && port > 0;
}

static bool load_brokers(const struct loading *loading, const char *raw, char **out) {
  static const char key[] = "kafka.brokers";
  char *text;
  if (!loading_text(loading, key, raw, NULL, &text))
    return false;
  bool ok = true;
  for (const char *at = text; ok; at++) {
    size_t len = strcspn(at, ",");
    size_t blanks = strspn(at, " ");
    blanks = blanks < len ? blanks : len;
    ok = good_broker(slice_from(at + blanks, len - blanks));
    at += len;
    if (*at == '\0')
      break;
  }
  if (!ok) {
    loading_fail(loading, key, "`%s`: \"%s\" is not a list of brokers", key, text);
    free(text);
    return loading_remedy(loading, "write host:port, several with commas between: kafka1:9092,kafka2:9092");
  }
  *out = text;
  return true;
}

/* "name=value", malloc'ed; NULL on failure. The name stands in the file as it is; only the value is expanded. */
static char *load_property(const struct loading *loading, const char *key, const char *raw) {
  size_t name_len = strspn(raw, "abcdefghijklmnopqrstuvwxyz0123456789._");
  if (name_len == 0 || raw[name_len] != '=') {
    loading_fail(loading, key, "`%s` is not of the form name=value", key);
    loading_remedy(loading, "write librdkafka's name of the property, =, and the value, without blanks around the =: "
                            "\"compression.codec=lz4\"");
    return NULL;
  }
  char *value = expand_environment(raw + name_len + 1, loading->err);
  if (value == NULL) {
    loading_place(loading, key);
    return NULL;
  }
  char *name = memory_copy(raw, name_len);
  char *property = NULL;
  if (kafka_property_check(name, value, loading->err))
    property = memory_format("%s=%s", name, value);
  else
    loading_place(loading, key);
  free(name);
  free(value);
  return property;
}

static bool same_property(const char *a, const char *b) {
  size_t len = strcspn(a, "=");
  return strcspn(b, "=") == len && memcmp(a, b, len) == 0;
}

static bool load_properties(const struct loading *loading, const struct raw_kafka *raw, struct config_strings *out) {
  out->items = memory_alloc((raw->properties_count + 1) * sizeof *out->items); /* and the password's */
  for (unsigned i = 0; i < raw->properties_count; i++) {
    struct loading_key key = loading_key("kafka.properties[%u]", i);
    char *property = load_property(loading, key.text, raw->properties[i]);
    if (property == NULL)
      return false;
    out->items[out->count++] = property;
    for (unsigned j = 0; j < i; j++) {
      if (!same_property(out->items[j], property))
        continue;
      loading_fail(loading, key.text, "the property %.*s is there twice", (int)strcspn(property, "="), property);
      return loading_remedy(loading, "keep one of the two");
    }
  }
  return true;
}

/* The password of password_file is the property sasl.password. */
static bool add_password(const struct loading *loading, const char *raw, struct config_strings *properties) {
  static const char key[] = "kafka.password_file";
  for (unsigned i = 0; raw != NULL && i < properties->count; i++) {
    if (!same_property(properties->items[i], "sasl.password="))
      continue;
    loading_fail(loading, key, "`kafka.properties` has a sasl.password already");
    return loading_remedy(loading, "keep the password in one place: remove sasl.password=... or `password_file`");
  }
  char *password;
  if (!section_secret(loading, key, raw, &password))
    return false;
  if (password != NULL)
    properties->items[properties->count++] = memory_format("sasl.password=%s", password);
  free(password);
  return true;
}

/* Each key that stands at `at`; what is not there is as in fallback. */
static bool load_shape(const struct loading *loading, const char *at, const struct raw_shape *raw,
                       const struct config_topic_shape *fallback, struct config_topic_shape *out) {
  struct loading_key partitions = loading_key("%s.partitions", at), replication = loading_key("%s.replication", at),
                     retention = loading_key("%s.retention_ms", at), insync = loading_key("%s.min_insync_replicas", at);
  if (!loading_number(loading, partitions.text, raw->partitions, fallback->partitions, 1, 100000, &out->partitions) ||
      !loading_number(loading, replication.text, raw->replication, fallback->replication, 1, 100, &out->replication) ||
      !loading_number64(loading, retention.text, raw->retention_ms, fallback->retention_ms, -1, INT64_MAX,
                        &out->retention_ms) ||
      !loading_number(loading, insync.text, raw->min_insync_replicas, fallback->min_insync_replicas, 1, 100,
                      &out->min_insync_replicas))
    return false;
  if (raw->retention_ms != NULL && out->retention_ms == 0) {
    loading_fail(loading, retention.text, "`%s`: 0 would keep nothing", retention.text);
    return loading_remedy(loading, "write milliseconds, or -1 for ever; without the key it is the broker's setting");
  }
  if (out->min_insync_replicas > out->replication) {
    const char *key = raw->min_insync_replicas != NULL ? insync.text : replication.text;
    loading_fail(loading, key, "`%s`: %d replicas are to be in sync, but a topic has only %d: nothing could be written",
                 key, (int)out->min_insync_replicas, (int)out->replication);
    return loading_remedy(loading, "with 3 replicas, 2 in sync are usual");
  }
  return true;
}

static bool load_cleanup(const struct loading *loading, const char *at, const char *raw, enum config_cleanup *out) {
  static const char *const names[] = {"delete", "compact", "compact,delete"};
  static const enum config_cleanup values[] = {CONFIG_CLEANUP_DELETE, CONFIG_CLEANUP_COMPACT,
                                               CONFIG_CLEANUP_COMPACT_DELETE};
  struct loading_key key = loading_key("%s.cleanup", at);
  size_t chosen;
  if (raw == NULL)
    return true;
  if (!loading_choice(loading, key.text, raw, names, 3, 0, &chosen))
    return false;
  *out = values[chosen];
  return true;
}

static bool load_overrides(const struct loading *loading, const struct raw_topics *raw, struct config *config) {
  config->kafka.topics.overrides = memory_alloc(raw->overrides_count * sizeof *config->kafka.topics.overrides);
  for (unsigned i = 0; i < raw->overrides_count; i++) {
    struct loading_key item = loading_key("kafka.topics.overrides[%u]", i);
    struct loading_key topic = loading_key("%s.topic", item.text);
    struct config_topic_override *one = &config->kafka.topics.overrides[config->kafka.topics.override_count++];
    if (!section_name(loading, topic.text, raw->overrides[i].topic, NULL, names_check_topic_pattern,
                      SECTION_TOPIC_REMEDY ", and * for any run of them", &one->topic) ||
        !load_shape(loading, item.text, &raw->overrides[i].shape, &config->kafka.topics.shape, &one->shape) ||
        !load_cleanup(loading, item.text, raw->overrides[i].cleanup, &one->cleanup))
      return false;
    for (unsigned j = 0; j < i; j++) {
      if (strcmp(config->kafka.topics.overrides[j].topic, one->topic) != 0)
        continue;
      loading_fail(loading, topic.text, "`%s`: \"%s\" is there twice", topic.text, one->topic);
      return loading_remedy(loading, "keep one of the two: the first match wins");
    }
  }
  return true;
}

bool section_kafka(const struct loading *loading, const struct raw_kafka *raw, struct config *config) {
  static const struct config_topic_shape defaults = {.partitions = 3, .replication = 1};
  return load_brokers(loading, raw->brokers, &config->kafka.brokers) &&
         load_properties(loading, raw, &config->kafka.properties) &&
         add_password(loading, raw->password_file, &config->kafka.properties) &&
         loading_bool(loading, "kafka.topics.create", raw->topics.create, true, &config->kafka.topics.create) &&
         load_shape(loading, "kafka.topics", &raw->topics.shape, &defaults, &config->kafka.topics.shape) &&
         load_overrides(loading, &raw->topics, config);
}
