/* A message's content is written by whoever may call pg_logical_emit_message: any bytes must yield a record or a
 * quarantine record, both valid JSON. The first pass also compares jsontext_check with jansson. */
#include <jansson.h>
#include <stdlib.h>

#include "bridge/base/jsontext.h"
#include "bridge/event/record.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

/* jansson 2.14 refuses numbers that a double cannot hold and passes over stray NUL bytes; else the two agree. */
static void compare(struct slice text, bool accepted) {
  if (text.len == 0 || memchr(text.data, 0, text.len) != NULL)
    return;
  json_error_t why;
  json_t *tree = json_loadb(text.data, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
  bool expected = tree != NULL;
  json_decref(tree);
  if (!expected &&
      (json_error_code(&why) == json_error_numeric_overflow || json_error_code(&why) == json_error_stack_overflow))
    return;
  if (accepted != expected)
    abort();
}

/* A bare NULL payload is a tombstone; all else is JSON, as a message's payload is. */
static void check_record(struct record *record) {
  if (record == NULL || (slice_present(record->value) ? !jsontext_check(record->value, NULL) : !record->bare))
    abort();
  record_free(record);
}

static void build_record(struct event *event, const char *found, const struct record_rules *rules) {
  struct record_builder *builder = record_builder_new(rules);
  struct problem problem = {.code = found};
  struct record *record = problem.code == NULL ? record_build(builder, event, NULL, &problem) : NULL;
  if (record == NULL) {
    check_record(record_build_quarantine(builder, event, NULL, &problem));
  } else {
    problem.code = "record_refused";
    check_record(record_quarantine(record, "quarantine", &problem));
    check_record(record);
  }
  record_builder_free(builder);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
  struct slice content = slice_from((const char *)data, size);
  compare(content, jsontext_check(content, NULL));

  struct route_spec route = {.type = "*", .topic = "${aggregate}.events"};
  struct router *router = router_new(&route, 1, NULL);
  struct jsontext_scratch scratch = {.data = NULL};
  struct event event = {.commit_lsn = 1, .xid = 2, .commit_time_us = 3};
  const char *problem = NULL;
  event_from_message(&scratch, "walferry", content, &event, &problem);
  static const enum envelope_layout layouts[] = {ENVELOPE_STANDARD, ENVELOPE_CONTRACT, ENVELOPE_ACTOR,
                                                 ENVELOPE_CLOUDEVENTS, ENVELOPE_PAYLOAD};
  for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
    struct record_rules rules = {.instance = "fuzz",
                                 .layout = layouts[i],
                                 .versioned_types = i % 2 == 1,
                                 .router = router,
                                 .quarantine_topic = "quarantine"};
    build_record(&event, problem, &rules);
  }
  jsontext_scratch_free(&scratch);
  router_free(router);
  return 0;
}
