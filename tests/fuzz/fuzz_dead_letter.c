/* Whoever may call pg_logical_emit_message may write what claims to be a dead letter: any bytes must yield a record
 * whose value is JSON, or a quarantine record. */
#include <stdlib.h>

#include "bridge/base/jsontext.h"
#include "bridge/base/topic_name.h"
#include "bridge/event/dead_letter.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static void check_and_free(struct record *record) {
  if (!topic_name_legal(slice_of(record->topic)) || !jsontext_check(record->value, NULL) ||
      (slice_present(record->id) && !utf8_valid(record->id)))
    abort();
  record_free(record);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
  struct route_spec route = {.type = "*", .topic = "all"};
  struct router *router = router_new(&route, 1, NULL);
  struct record_rules rules = {
      .instance = "fuzz", .layout = ENVELOPE_STANDARD, .router = router, .quarantine_topic = "quarantine"};
  struct record_builder *builder = record_builder_new(&rules);
  struct event event = {.origin = "walferry.dead_letter", .dead_letter = true, .payload_form = PAYLOAD_TEXT};
  event.fields[FIELD_PAYLOAD] = slice_from((const char *)data, size);
  struct problem problem = {.code = NULL};
  struct record *record = dead_letter_record(builder, &event, NULL, &problem);
  if ((record == NULL) != (problem.code != NULL))
    abort();
  if (record == NULL) {
    record = record_build_quarantine(builder, &event, NULL, &problem);
  } else {
    problem.code = "record_refused";
    check_and_free(record_quarantine(record, "quarantine", &problem));
  }
  check_and_free(record);
  record_builder_free(builder);
  router_free(router);
  return 0;
}
