/* The event of a transactional logical message; see event.h. The content is checked and taken apart in one go, in
 * place: only strings with escapes are copied. */
#include "bridge/base/timestamp.h"
#include "bridge/event/event.h"

/* What a member is taken for. The two nested objects are no roles of their own. */
enum { MEMBER_ACTOR = FIELD_COUNT, MEMBER_METADATA, MEMBER_PARTITION_KEY, MEMBER_COUNT };

struct member_role {
  const char *name;
  int role;
};

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

/* The values of one object by role; absent where the member is missing or null. */
struct members {
  struct slice values[MEMBER_COUNT];
};

/* Checks the object as it goes, and takes its members of interest. false: it is none, or one of these stands there
 * twice, so that it is not known which is meant. */
static bool collect(struct jsontext_scratch *scratch, struct slice object, const struct member_role *roles,
                    struct members *found) {
  *found = (struct members){0};
  uint64_t seen = 0;
  bool twice = false;
  struct jsontext_reader reader = jsontext_checking_reader_over(object);
  struct slice raw_name, value;
  if (!jsontext_read_open(&reader, JSONTEXT_OBJECT))
    return false;
  while (jsontext_read_member(&reader, &raw_name) && jsontext_read_value(&reader, &value)) {
    struct slice name = jsontext_scratch_text(scratch, raw_name);
    const struct member_role *r = roles;
    while (r->name != NULL && !slice_is(name, r->name))
      r++;
    if (r->name == NULL)
      continue;
    if (seen >> r->role & 1) {
      twice = true;
      continue;
    }
    seen |= UINT64_C(1) << r->role;
    if (jsontext_kind_of(value) != JSONTEXT_NULL)
      found->values[r->role] = value;
  }
  if (jsontext_read_end(&reader))
    return !twice;
  *found = (struct members){0}; /* what is no JSON has no members */
  return false;
}

/* Writes the value's text; an object or array is not one, and false. */
static bool take_text(struct jsontext_scratch *scratch, struct slice value, struct slice *text) {
  if (!slice_present(value))
    return true;
  switch (jsontext_kind_of(value)) {
  case JSONTEXT_STRING:
    *text = jsontext_scratch_text(scratch, jsontext_string_body(value));
    return true;
  case JSONTEXT_NUMBER:
  case JSONTEXT_BOOL:
    *text = value;
    return true;
  case JSONTEXT_OBJECT:
  case JSONTEXT_ARRAY:
  case JSONTEXT_NULL:
    break;
  }
  return false;
}

static bool take_nested(struct jsontext_scratch *scratch, struct slice object, const struct member_role *roles,
                        struct members *found) {
  *found = (struct members){0};
  if (!slice_present(object))
    return true;
  return jsontext_kind_of(object) == JSONTEXT_OBJECT && collect(scratch, object, roles, found);
}

static bool fill(struct jsontext_scratch *scratch, struct slice content, struct event *event) {
  struct members top, actor, metadata;
  bool ok = collect(scratch, content, top_members, &top);
  for (int f = 0; f < FIELD_COUNT; f++) {
    if (f == FIELD_PAYLOAD || f == FIELD_HEADERS)
      event->fields[f] = top.values[f];
    else
      ok &= take_text(scratch, top.values[f], &event->fields[f]);
  }
  ok &= take_nested(scratch, top.values[MEMBER_ACTOR], actor_members, &actor);
  ok &= take_text(scratch, actor.values[FIELD_ACTOR_ID], &event->fields[FIELD_ACTOR_ID]);
  ok &= take_text(scratch, actor.values[FIELD_ACTOR_TYPE], &event->fields[FIELD_ACTOR_TYPE]);
  ok &= take_nested(scratch, top.values[MEMBER_METADATA], metadata_members, &metadata);
  if (!slice_present(event->fields[FIELD_KEY]))
    ok &= take_text(scratch, metadata.values[MEMBER_PARTITION_KEY], &event->fields[FIELD_KEY]);
  if (!slice_present(event->fields[FIELD_TENANT_ID]))
    ok &= take_text(scratch, metadata.values[FIELD_TENANT_ID], &event->fields[FIELD_TENANT_ID]);
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
