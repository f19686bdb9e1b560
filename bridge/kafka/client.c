/* See client.h. */
#include "bridge/kafka/client.h"

#include "bridge/base/log.h"
#include "bridge/base/memory.h"
#include "bridge/base/topic_name.h"
#include "bridge/kafka/conf.h"

/* Versions as rd_kafka_version() gives them: 0xMMmmrrpp. */
#define VERSION(major, minor, revision) (((major) << 24) | ((minor) << 16) | ((revision) << 8))

/* Known bugs of the idempotent producer, and asserts that fire. */
static bool check_library(struct error *err) {
  int version = rd_kafka_version() & ~0xff; /* without the pre-release number */
  if (version < VERSION(2, 0, 2) || version == VERSION(2, 5, 0) || version == VERSION(2, 10, 0)) {
    error_set(err, ERROR_CONFIG, "librdkafka %s cannot be used with transactions safely", rd_kafka_version_str());
    return error_remedy(err, "install another version of librdkafka, 2.0.2 or newer, other than 2.5.0 and 2.10.0");
  }
  if (kafka_library_warning() != NULL)
    log_warn("kafka.library", log_string("version", rd_kafka_version_str()),
             log_string("text", kafka_library_warning()));
  return true;
}

const char *kafka_library_warning(void) {
  int version = rd_kafka_version();
  bool doubtful = version >= VERSION(2, 2, 0) && version < VERSION(2, 5, 0);
  return doubtful ? "has known bugs of the idempotent producer; another version is better" : NULL;
}

bool kafka_settings_check(const struct kafka_settings *settings, struct error *err) {
  if (!check_library(err))
    return false;
  /* Handles without brokers: they connect to nothing, but librdkafka checks what goes together. */
  struct kafka_settings offline = *settings;
  offline.brokers = NULL;
  static const enum kafka_role roles[] = {KAFKA_ROLE_PRODUCER, KAFKA_ROLE_READER, KAFKA_ROLE_MEMBER};
  for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
    struct kafka_link link;
    kafka_link_init(&link, roles[i]);
    link.quiet = true;
    rd_kafka_conf_t *conf = kafka_conf_new(&offline, &link, err);
    rd_kafka_t *rk = conf == NULL ? NULL : kafka_handle_new(conf, &link, err);
    if (rk == NULL)
      return false;
    rd_kafka_destroy(rk);
  }
  return true;
}

bool kafka_transaction_timeout(const struct kafka_settings *settings, int64_t *timeout_ms, struct error *err) {
  struct kafka_link link;
  kafka_link_init(&link, KAFKA_ROLE_PRODUCER);
  rd_kafka_conf_t *conf = kafka_conf_new(settings, &link, err);
  if (conf == NULL)
    return false;
  *timeout_ms = kafka_conf_get_int(conf, "transaction.timeout.ms", 0);
  rd_kafka_conf_destroy(conf);
  return true;
}

char *kafka_position_topic(const char *instance) {
  return memory_format(TOPIC_NAME_POSITIONS "%s", instance);
}

char *kafka_transactional_id(const char *instance) {
  return memory_format("walferry.%s", instance);
}

const char *kafka_library_version(void) {
  return rd_kafka_version_str();
}
