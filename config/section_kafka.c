/* The `kafka` section. */
#include <stdlib.h>
#include <string.h>

#include "bridge/base/memory.h"
#include "bridge/base/number.h"
#include "config/expand.h"
#include "config/kafka_properties.h"
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

bool section_kafka(const struct loading *loading, const struct raw_kafka *raw, struct config *config) {
  return load_brokers(loading, raw->brokers, &config->kafka.brokers) &&
         load_properties(loading, raw, &config->kafka.properties) &&
         add_password(loading, raw->password_file, &config->kafka.properties) &&
         loading_bool(loading, "kafka.topics.create", raw->topics.create, true, &config->kafka.topics.create) &&
         loading_number(loading, "kafka.topics.partitions", raw->topics.partitions, 3, 1, 100000,
                        &config->kafka.topics.partitions) &&
         loading_number(loading, "kafka.topics.replication", raw->topics.replication, 1, 1, 100,
                        &config->kafka.topics.replication);
}
