/* See record.h: the record of an event that is as it should be. */
#include "bridge/event/record.h"

#include <stdlib.h>

#include "bridge/base/memory.h"
#include "bridge/base/number.h"
#include "bridge/base/timestamp.h"
#include "bridge/base/topic_name.h"
#include "bridge/event/assemble.h"
#include "bridge/event/builder.h"
#include "bridge/event/traceparent.h"

#define TOPIC_SCRATCH_MAX 4096 /* above Kafka's 249, so that what overflows is illegal anyway */

struct record_builder *record_builder_new(const struct record_rules *rules) {
  struct record_builder *builder = memory_alloc(sizeof *builder);
  builder->rules = rules;
  builder->envelope = envelope_new(rules->layout);
  header_list_init(&builder->headers);
  buffer_init(&builder->topic, TOPIC_SCRATCH_MAX);
  buffer_init(&builder->type, BUFFER_MAX_ROW);
  buffer_init(&builder->text, BUFFER_MAX_ROW);
  buffer_init(&builder->bytes, BUFFER_MAX_ROW);
  buffer_init(&builder->source, BUFFER_MAX_ROW);
  return builder;
}

void record_builder_free(struct record_builder *builder) {
  if (builder == NULL)
    return;
  envelope_free(builder->envelope);
  header_list_free(&builder->headers);
  buffer_free(&builder->topic);
  buffer_free(&builder->type);
  buffer_free(&builder->text);
  buffer_free(&builder->bytes);
  buffer_free(&builder->source);
  free(builder->source_origin);
  free(builder);
}

struct slice builder_source(struct record_builder *builder, const char *origin) {
  if (builder->source_origin == NULL || strcmp(builder->source_origin, origin) != 0) {
    free(builder->source_origin);
    builder->source_origin = memory_string(origin);
    buffer_clear(&builder->source);
    buffer_append_text(&builder->source, builder->rules->instance);
    buffer_append_char(&builder->source, '.');
    buffer_append_text(&builder->source, origin);
  }
  return buffer_slice(&builder->source);
}

/* The fields that every record needs, and those that have to be of a form. */
static bool check_fields(const struct event *event, int32_t *partition, struct problem *problem) {
  if (event->fields[FIELD_ID].len == 0)
    problem_set(problem, "missing_id", "the id is NULL or empty");
  else if (event->fields[FIELD_TYPE].len == 0)
    problem_set(problem, "missing_type", "the type is NULL or empty");
  else if (!slice_present(event->fields[FIELD_KEY]))
    problem_set(problem, "missing_key", "the key is NULL");
  else if (event->occurred_at_invalid)
    problem_set(problem, "occurred_at_invalid",
                "occurred_at is not a timestamp of the years 1 to 9999 in ISO form or RFC 3339");
  struct slice text = event->fields[FIELD_PARTITION];
  int64_t number = RECORD_PARTITION_BY_KEY;
  if (problem->code == NULL && slice_present(text) && !number_parse(text, 0, INT32_MAX, &number))
    problem_set(problem, "partition_invalid", "partition is not a number from 0 to %d", INT32_MAX);
  *partition = (int32_t)number;
  return problem->code == NULL;
}

static bool find_topic(struct record_builder *builder, const struct event *event, struct slice source,
                       int32_t *partition, struct problem *problem) {
  char why[200];
  bool round_robin;
  buffer_clear(&builder->topic);
  if (!router_topic(builder->rules->router, event, source, &builder->topic, &round_robin, why, sizeof why)) {
    problem_set(problem, "unroutable", "%s", why);
    return false;
  }
  if (builder->rules->topic != NULL) {
    buffer_clear(&builder->topic);
    buffer_append_text(&builder->topic, builder->rules->topic);
  }
  if (builder->rules->topic_suffix != NULL)
    buffer_append_text(&builder->topic, builder->rules->topic_suffix);
  /* A row must not reach where positions are kept, its own instance's or another's, nor Kafka's own topics. */
  struct slice name = buffer_slice(&builder->topic);
  if (topic_name_reserved(name)) {
    problem_set(problem, "topic_illegal", "topics of walferry's positions and of Kafka itself are not for events");
    return false;
  }
  if (builder->topic.overflow || !topic_name_legal(name)) {
    problem_set(problem, "topic_illegal",
                "the topic's name is not 1 to 249 letters, digits, dots, underscores and hyphens");
    return false;
  }
  if (round_robin && *partition == RECORD_PARTITION_BY_KEY)
    *partition = RECORD_PARTITION_ROUND_ROBIN;
  return true;
}

/* "<type>.v<version>", unless it ends so already or there is no version. */
static struct slice versioned_type(struct record_builder *builder, const struct event *event) {
  struct slice type = event->fields[FIELD_TYPE], version = event->fields[FIELD_VERSION];
  struct buffer *out = &builder->type;
  if (version.len == 0)
    return type;
  buffer_reuse(out);
  buffer_append_slice(out, type);
  buffer_append_text(out, ".v");
  buffer_append_slice(out, version);
  size_t suffix = version.len + 2;
  if (type.len >= suffix && memcmp(type.data + type.len - suffix, out->data + type.len, suffix) == 0)
    return type;
  return buffer_slice(out);
}

/* What envelope and headers are to show of an event; false: its traceparent was none and is gone. */
static bool settle_fields(struct record_builder *builder, const struct event *event, struct event *shown) {
  *shown = *event;
  if (builder->rules->versioned_types)
    shown->fields[FIELD_TYPE] = versioned_type(builder, event);
  struct slice traceparent = event->fields[FIELD_TRACEPARENT], trace_id;
  if (!slice_present(traceparent))
    return true;
  bool valid = traceparent_parse(traceparent, &trace_id);
  if (!valid)
    shown->fields[FIELD_TRACEPARENT] = SLICE_ABSENT;
  else if (!slice_present(event->fields[FIELD_TRACE_ID]))
    shown->fields[FIELD_TRACE_ID] = trace_id;
  return valid;
}

struct record *record_build(struct record_builder *builder, const struct event *event, struct blocks *memory,
                            struct problem *problem) {
  problem->code = NULL;
  problem->message[0] = '\0';
  int32_t partition;
  struct envelope_text value;
  struct event shown;
  struct slice source = builder_source(builder, event->origin);
  bool trace_kept = settle_fields(builder, event, &shown);
  struct header_defaults defaults = {
      .source = source, .content_type = envelope_content_type(builder->envelope, event), .mark = builder->rules->mark};
  struct record *record = NULL;
  if (check_fields(event, &partition, problem) && find_topic(builder, event, source, &partition, problem) &&
      header_list_collect(&builder->headers, &shown, &defaults, problem) &&
      envelope_write(builder->envelope, &shown, source, &value, problem)) {
    struct record_draft draft = {
        .topic = buffer_slice(&builder->topic),
        .key = event->fields[FIELD_KEY],
        .tombstone = value.tombstone,
        .value = {value.head, value.payload, value.tail},
        .headers = builder->headers.items,
        .header_count = builder->headers.count,
        .static_names = builder->headers.own,
        .timestamp_ms = timestamp_floor_ms(event->occurred_at_us),
        .partition = partition,
        .bare = builder->rules->layout == ENVELOPE_PAYLOAD,
        .trace_dropped = !trace_kept,
        .origin = event->origin,
        .id = event->fields[FIELD_ID],
        .commit_lsn = event->commit_lsn,
        .xid = event->xid,
        .index = event->index,
    };
    record = record_assemble(memory, &draft);
  }
  envelope_reuse(builder->envelope);
  return record;
}
