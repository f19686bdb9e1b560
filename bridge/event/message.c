/* The event of a transactional logical message; see event.h. The content is checked and taken apart in one go, in
 * place: only strings with escapes are copied. */
#include "bridge/base/timestamp.h"
#include "bridge/event/event.h"
#include "bridge/event/members.h"

/* What a member is taken for. The two nested objects are no roles of their own. */
enum { MEMBER_ACTOR = FIELD_COUNT, MEMBER_METADATA, MEMBER_PARTITION_KEY };

static const struct member_role top_members[] = {{"id", FIELD_ID},
                                                 {"type", FIELD_TYPE},
                                                 {"version", FIELD_VERSION},
                                                 {"occurred_at", FIELD_OCCURRED_AT},
                                                 {"source", FIELD_SOURCE},
                                                 {"correlation_id", FIELD_CORRELATION_ID},
                                                 {"causation_id", FIELD_CAUSATION_ID},
                                                 {"trace_id", FIELD_TRACE_ID},
                                                 {"traceparent", FIELD_TRACEPARENT},
                                                 {"actor", MEMBER_ACTOR},
                                                 {"payload", FIELD_PAYLOAD},
                                                 {"metadata", MEMBER_METADATA},
                                                 {"aggregate", FIELD_AGGREGATE},
                                                 {"key", FIELD_KEY},
                                                 {"topic", FIELD_TOPIC},
                                                 {"partition", FIELD_PARTITION},
                                                 {"headers", FIELD_HEADERS},
                                                 {"tenant_id", FIELD_TENANT_ID},
                                                 {"content_type", FIELD_CONTENT_TYPE},
                                                 {NULL, 0}};
static const struct member_role actor_members[] = {{"id", FIELD_ACTOR_ID}, {"type", FIELD_ACTOR_TYPE}, {NULL, 0}};
static const struct member_role metadata_members[] = {
    {"partition_key", MEMBER_PARTITION_KEY}, {"tenant_id", FIELD_TENANT_ID}, {NULL, 0}};

static bool fill(struct jsontext_scratch *scratch, struct slice content, struct event *event) {
  struct members top, actor, metadata;
  bool ok = members_collect(scratch, content, top_members, &top) && !top.twice;
  for (int f = 0; f < FIELD_COUNT; f++) {
    if (f == FIELD_PAYLOAD || f == FIELD_HEADERS)
      event->fields[f] = top.values[f];
    else
      ok &= members_text(scratch, top.values[f], &event->fields[f]);
  }
  ok &= members_nested(scratch, top.values[MEMBER_ACTOR], actor_members, &actor);
  ok &= members_text(scratch, actor.values[FIELD_ACTOR_ID], &event->fields[FIELD_ACTOR_ID]);
  ok &= members_text(scratch, actor.values[FIELD_ACTOR_TYPE], &event->fields[FIELD_ACTOR_TYPE]);
  ok &= members_nested(scratch, top.values[MEMBER_METADATA], metadata_members, &metadata);
  if (!slice_present(event->fields[FIELD_KEY]))
    ok &= members_text(scratch, metadata.values[MEMBER_PARTITION_KEY], &event->fields[FIELD_KEY]);
  if (!slice_present(event->fields[FIELD_TENANT_ID]))
    ok &= members_text(scratch, metadata.values[FIELD_TENANT_ID], &event->fields[FIELD_TENANT_ID]);
  return ok;
}

void event_from_message(struct jsontext_scratch *scratch, const char *prefix, struct slice content, struct event *event,
                        const char **problem) {
  event->origin = prefix;
  event->payload_form = PAYLOAD_JSON;
  event->occurred_at_us = event->commit_time_us;
  event->occurred_at_invalid = false;
  event->column_headers = NULL;
  event->column_header_count = 0;
  for (int f = 0; f < FIELD_COUNT; f++)
    event->fields[f] = SLICE_ABSENT;
  jsontext_scratch_reset(scratch, content.len);
  *problem = NULL;
  if (!fill(scratch, content, event)) {
    *problem = "message_not_json";
    event->fields[FIELD_PAYLOAD] = content;
    event->payload_form = PAYLOAD_TEXT;
  }
  struct slice occurred_at = event->fields[FIELD_OCCURRED_AT];
  if (slice_present(occurred_at))
    event->occurred_at_invalid = !timestamp_parse(occurred_at, &event->occurred_at_us);
}
