/* The `inbox` section. */
#include <string.h>

#include "bridge/base/memory.h"
#include "bridge/base/topic_name.h"
#include "config/names.h"
#include "config/sections.h"

#define HOUR_MS (60 * 60 * 1000)
#define RETENTION_DAYS_MAX 3650

static bool check_not_empty(const struct loading *loading, const char *key, unsigned count) {
  if (count > 0)
    return true;
  loading_fail(loading, key, "`%s` is an empty list", key);
  return loading_remedy(loading, "name at least one");
}

static const char *check_group(const char *name) {
  return strlen(name) > 255 ? "is longer than 255 bytes" : NULL;
}

/* One of the two, and not both: who calls nothing has to say so. */
static bool load_call(const struct loading *loading, unsigned i, const struct raw_handler *raw,
                      struct config_handler *handler) {
  struct loading_key call = loading_key("inbox.handlers[%u].call", i);
  struct loading_key ignore = loading_key("inbox.handlers[%u].ignore", i);
  bool ignored;
  if (!loading_bool(loading, ignore.text, raw->ignore, false, &ignored) ||
      !section_name(loading, call.text, raw->call, NULL, names_check_function,
                    "write schema.function, the SQL function to call, without parentheses", &handler->call))
    return false;
  if (ignored && handler->call != NULL) {
    loading_fail(loading, ignore.text, "the type \"%s\" is to be ignored and has a `call`", handler->type);
    return loading_remedy(loading, "keep one of the two");
  }
  if (!ignored && handler->call == NULL) {
    struct loading_key item = loading_key("inbox.handlers[%u]", i);
    loading_fail(loading, item.text, "the handler of \"%s\" has no `call`", handler->type);
    return loading_remedy(loading, "add `call: schema.function`, or `ignore: true` to pass over events of this type");
  }
  return true;
}

static bool load_unmatched(const struct loading *loading, const char *raw, enum config_unmatched *out) {
  static const char *const names[] = {"dead_letter", "skip"};
  size_t chosen;
  if (!loading_choice(loading, "inbox.unmatched", raw, names, 2, 0, &chosen))
    return false;
  *out = chosen == 0 ? CONFIG_UNMATCHED_DEAD_LETTER : CONFIG_UNMATCHED_SKIP;
  return true;
}

static bool load_handlers(const struct loading *loading, const struct raw_inbox *raw, struct config *config) {
  config->inbox.handlers = memory_alloc(raw->handlers_count * sizeof *config->inbox.handlers);
  for (unsigned i = 0; i < raw->handlers_count; i++) {
    struct config_handler *handler = &config->inbox.handlers[config->inbox.handler_count++];
    struct loading_key type = loading_key("inbox.handlers[%u].type", i);
    if (!loading_text(loading, type.text, raw->handlers[i].type, NULL, &handler->type) ||
        !load_call(loading, i, &raw->handlers[i], handler))
      return false;
    for (const struct config_handler *other = config->inbox.handlers; other < handler; other++) {
      if (strcmp(other->type, handler->type) != 0)
        continue;
      loading_fail(loading, type.text, "the type \"%s\" has two handlers", handler->type);
      return loading_remedy(loading, "keep one of the two; one event is handled once");
    }
  }
  return true;
}

static bool load_retry(const struct loading *loading, const struct raw_retry *raw, struct config *config) {
  int32_t backoff_ms;
  if (!loading_number(loading, "inbox.retry.max_attempts", raw->max_attempts, 5, 1, 1000,
                      &config->inbox.retry.max_attempts) ||
      !loading_number(loading, "inbox.retry.backoff_ms", raw->backoff_ms, 200, 1, HOUR_MS, &backoff_ms))
    return false;
  int32_t backoff_max_ms = backoff_ms > 30000 ? backoff_ms : 30000;
  if (!loading_number(loading, "inbox.retry.backoff_max_ms", raw->backoff_max_ms, backoff_max_ms, 1, 24 * HOUR_MS,
                      &backoff_max_ms))
    return false;
  if (backoff_max_ms < backoff_ms) {
    loading_fail(loading, "inbox.retry.backoff_max_ms", "`inbox.retry.backoff_max_ms`: %d is less than backoff_ms, %d",
                 (int)backoff_max_ms, (int)backoff_ms);
    return loading_remedy(loading, "write at least %d", (int)backoff_ms);
  }
  config->inbox.retry.backoff_ms = backoff_ms;
  config->inbox.retry.backoff_max_ms = backoff_max_ms;
  return true;
}

static bool load_dead_letter(const struct loading *loading, const struct raw_dead_letter *raw, struct config *config) {
  static const char key[] = "inbox.dead_letter.suffix";
  if (!section_name(loading, key, raw->suffix, ".dlq", names_check_topic, SECTION_TOPIC_REMEDY,
                    &config->inbox.dead_letter.suffix))
    return false;
  size_t suffix = strlen(config->inbox.dead_letter.suffix);
  for (unsigned i = 0; i < config->inbox.topics.count; i++) {
    const char *topic = config->inbox.topics.items[i];
    if (strlen(topic) + suffix <= TOPIC_NAME_MAX)
      continue;
    loading_fail(loading, key, "the dead-letter topic of \"%s\" is longer than %d characters", topic, TOPIC_NAME_MAX);
    return loading_remedy(loading, "shorten the suffix");
  }
  return loading_bool(loading, "inbox.dead_letter.hold_key", raw->hold_key, false, &config->inbox.dead_letter.hold_key);
}

bool section_inbox(const struct loading *loading, const struct raw_inbox *raw, struct config *config) {
  config->has_inbox = raw != NULL;
  return raw == NULL ||
         (section_name(loading, "inbox.group", raw->group, NULL, check_group, "write at most 255 bytes",
                       &config->inbox.group) &&
          check_not_empty(loading, "inbox.topics", raw->topics_count) &&
          section_strings(loading, "inbox.topics", raw->topics, raw->topics_count, names_check_topic,
                          SECTION_TOPIC_REMEDY, &config->inbox.topics) &&
          check_not_empty(loading, "inbox.handlers", raw->handlers_count) && load_handlers(loading, raw, config) &&
          load_unmatched(loading, raw->unmatched, &config->inbox.unmatched) &&
          load_retry(loading, &raw->retry, config) &&
          loading_number(loading, "inbox.timeout_ms", raw->timeout_ms, 30000, 1, HOUR_MS, &config->inbox.timeout_ms) &&
          loading_number(loading, "inbox.retention_days", raw->retention_days, 7, 1, RETENTION_DAYS_MAX,
                         &config->inbox.retention_days) &&
          load_dead_letter(loading, &raw->dead_letter, config));
}
