/* See init_acl.h. */
#include "bridge/ops/init_acl.h"

#include <stdlib.h>
#include <string.h>

#include "bridge/base/memory.h"
#include "bridge/relay/replay.h"

#define TEMPLATES_MAX 64
#define USERNAME "sasl.username="

static const char POSITION_OPERATIONS[] = "Read,Write,Describe,DescribeConfigs,Create";
static const char TARGET_OPERATIONS[] = "Write,Describe,DescribeConfigs,Create";
static const char FOREIGN_OPERATIONS[] = "Write,Describe,DescribeConfigs"; /* of topics that somebody else makes */
static const char TRANSACTION_OPERATIONS[] = "Write,Describe";
static const char GROUP_OPERATIONS[] = "Read,Describe";
static const char SOURCE_OPERATIONS[] = "Read,Describe,DescribeConfigs"; /* of topics that the inbox reads */

/* A word for a shell: as it is where that is safe, else in single quotes. */
static void append_word(struct buffer *out, const char *text) {
  static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:,/@=";
  if (text[0] != '\0' && text[strspn(text, plain)] == '\0') {
    buffer_append_text(out, text);
    return;
  }
  buffer_append_char(out, '\'');
  for (; *text != '\0'; text++) {
    if (*text == '\'')
      buffer_append_text(out, "'\\''");
    else if ((unsigned char)*text >= ' ') /* a line end would end the comment */
      buffer_append_char(out, *text);
  }
  buffer_append_char(out, '\'');
}

/* NULL where the config names no user. */
static const char *sasl_username(const struct kafka_settings *kafka) {
  for (int i = 0; i < kafka->property_count; i++)
    if (strncmp(kafka->properties[i], USERNAME, strlen(USERNAME)) == 0)
      return kafka->properties[i] + strlen(USERNAME);
  return NULL;
}

static void append_operations(struct buffer *out, const char *operations) {
  for (const char *at = operations; *at != '\0'; at += *at == ',') {
    size_t len = strcspn(at, ",");
    buffer_printf(out, " --operation %.*s", (int)len, at);
    at += len;
  }
}

/* option: "--topic", "--group" or "--transactional-id". */
static void append_command(struct buffer *out, const struct kafka_settings *kafka, const char *operations,
                           const char *option, const char *name, bool prefixed) {
  const char *user = sasl_username(kafka);
  char *principal = memory_format("User:%s", user == NULL ? "walferry" : user);
  buffer_append_text(out, "-- kafka-acls.sh --bootstrap-server ");
  append_word(out, kafka->brokers);
  buffer_append_text(out, " --add --allow-principal ");
  append_word(out, principal);
  append_operations(out, operations);
  buffer_printf(out, " %s ", option);
  append_word(out, name);
  buffer_append_text(out, prefixed ? " --resource-pattern-type prefixed\n" : "\n");
  free(principal);
}

/* A topic whose name is made of the event is known by its beginning alone, if it has a fixed one. */
static void append_templates(struct buffer *out, const struct relay_settings *relay, const char *operations) {
  struct slice prefixes[TEMPLATES_MAX];
  int count = router_template_prefixes(relay->intake.record.router, prefixes, TEMPLATES_MAX);
  for (int i = 0; i < count; i++) {
    if (prefixes[i].len == 0)
      buffer_append_text(out,
                         "-- A route's topic begins with a field of the event, so it may be any topic; with a fixed "
                         "beginning the next would be narrower.\n");
    char *prefix = memory_copy(prefixes[i].data, prefixes[i].len);
    append_command(out, &relay->publisher.kafka, operations, "--topic", prefixes[i].len == 0 ? "*" : prefix,
                   prefixes[i].len > 0);
    free(prefix);
  }
}

static void append_topics(struct buffer *out, const struct relay_settings *relay) {
  const char *operations = relay->publisher.create_topics ? TARGET_OPERATIONS : FOREIGN_OPERATIONS;
  const char *topics[TEMPLATES_MAX];
  int count = router_literal_topics(relay->intake.record.router, topics, TEMPLATES_MAX);
  for (int i = 0; i < count; i++)
    append_command(out, &relay->publisher.kafka, operations, "--topic", topics[i], false);
  append_templates(out, relay, operations);
  for (int i = 0; i < relay->publisher.dead_letter_topic_count; i++)
    append_command(out, &relay->publisher.kafka, operations, "--topic", relay->publisher.dead_letter_topics[i], false);
  append_command(out, &relay->publisher.kafka, operations, "--topic", relay->publisher.quarantine_topic, false);
  buffer_append_text(out, "-- The relay does without the next: `walferry status` counts what is in quarantine.\n");
  append_command(out, &relay->publisher.kafka, "Read", "--topic", relay->publisher.quarantine_topic, false);
}

static void append_replay(struct buffer *out, const struct relay_settings *relay) {
  char *instance = replay_instance(relay->name);
  char *transactional_id = kafka_transactional_id(instance);
  char *position_topic = kafka_position_topic(instance);
  buffer_append_text(out,
                     "-- The next two are for `walferry replay`; with --topic or --topic-suffix it writes to topics "
                     "that are not named here.\n");
  append_command(out, &relay->publisher.kafka, TRANSACTION_OPERATIONS, "--transactional-id", transactional_id, false);
  append_command(out, &relay->publisher.kafka, POSITION_OPERATIONS, "--topic", position_topic, false);
  free(position_topic);
  free(transactional_id);
  free(instance);
}

static void append_relay(struct buffer *out, const struct relay_settings *relay) {
  char *transactional_id = kafka_transactional_id(relay->name);
  char *position_topic = kafka_position_topic(relay->name);
  append_command(out, &relay->publisher.kafka, TRANSACTION_OPERATIONS, "--transactional-id", transactional_id, false);
  append_command(out, &relay->publisher.kafka, POSITION_OPERATIONS, "--topic", position_topic, false);
  append_topics(out, relay);
  if (relay->retain.slot != NULL)
    append_replay(out, relay);
  free(position_topic);
  free(transactional_id);
}

static void append_inbox(struct buffer *out, const struct inbox_settings *inbox) {
  append_command(out, &inbox->kafka, GROUP_OPERATIONS, "--group", inbox->group, false);
  for (int i = 0; i < inbox->topic_count; i++)
    append_command(out, &inbox->kafka, SOURCE_OPERATIONS, "--topic", inbox->topics[i], false);
}

void init_acls(struct buffer *out, const struct relay_settings *relay, const struct inbox_settings *inbox) {
  buffer_append_text(out, "-- ACLs, where the brokers have an authorizer; an administrator's --command-config is to be "
                          "added\n");
  if (sasl_username(relay != NULL ? &relay->publisher.kafka : &inbox->kafka) == NULL)
    buffer_append_text(out, "-- (the config has no sasl.username: put walferry's principal in the place of "
                            "User:walferry, for a client certificate its subject)\n");
  if (relay != NULL)
    append_relay(out, relay);
  if (inbox != NULL)
    append_inbox(out, inbox);
}
