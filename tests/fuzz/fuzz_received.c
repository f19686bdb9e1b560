/* A consumed record is whatever anybody may write to the topic: it has to yield an event or a problem. The event's
 * envelope is JSON, and an event of the same content.
 *
 * Input: parts with a NUL byte between: who wrote it ("w": walferry; all else is foreign), value, key, and the values
 * of the headers below in their order. A part that is missing is absent, as is the value if it is "-". */
#include <stdlib.h>

#include "bridge/base/jsontext.h"
#include "bridge/event/headers.h"
#include "bridge/event/received.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static const char *const names[] = {"id",          "type",      "eventType", "source",       "correlation_id",
                                    "traceparent", "tenant_id", "trace_id",  "causation_id", HEADER_CONTENT_TYPE};
#define NAME_COUNT (sizeof names / sizeof *names)

static struct slice next_part(struct slice *rest) {
  if (!slice_present(*rest))
    return SLICE_ABSENT;
  const char *nul = rest->len == 0 ? NULL : memchr(rest->data, '\0', rest->len);
  struct slice part = slice_from(rest->data, nul == NULL ? rest->len : (size_t)(nul - rest->data));
  *rest = nul == NULL ? SLICE_ABSENT : slice_from(nul + 1, rest->len - part.len - 1);
  return part;
}

static void check_text(struct slice text) {
  if (!utf8_valid(text) || (text.len > 0 && memchr(text.data, '\0', text.len) != NULL))
    abort();
}

static void check_event(const struct received *event) {
  check_text(event->id);
  check_text(event->type);
  check_text(event->source);
  check_text(event->correlation_id);
  check_text(event->causation_id);
  check_text(event->trace_id);
  check_text(event->traceparent);
  check_text(event->tenant_id);
  if (event->id.len == 0 || event->identity_source.len == 0)
    abort();
}

/* As walferry's own record, which the envelope is. Blanks around a bare payload are within the envelope, and no part of
 * its payload when it is read again: so it settles with the second time. */
static void read_again(const struct received *event, bool settled) {
  if (!jsontext_check(event->envelope, NULL))
    abort();
  if (!slice_present(event->type))
    return;
  static const struct record_header lsn = {.name = HEADER_LSN, .value = {.data = "0/1", .len = 3}};
  struct received_record record = {
      .topic = "other", .key = SLICE_ABSENT, .value = event->envelope, .headers = &lsn, .header_count = 1};
  struct received_reader *reader = received_reader_new();
  struct received again;
  struct problem problem;
  if (!received_read(reader, &record, &again, &problem) || again.layout != RECEIVED_STANDARD ||
      !slice_equal(again.id, event->id) || !slice_equal(again.type, event->type) ||
      !slice_equal(again.source, event->source) || (settled && !slice_equal(again.envelope, event->envelope)))
    abort();
  if (!settled)
    read_again(&again, true);
  received_reader_free(reader);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
  struct slice rest = slice_from((const char *)data, size);
  struct record_header headers[NAME_COUNT + 1];
  int count = 0;
  if (slice_is(next_part(&rest), "w"))
    headers[count++] = (struct record_header){.name = HEADER_LSN, .value = slice_of("0/1")};
  struct received_record record = {.topic = "t", .offset = 7, .timestamp_ms = 1795248118123, .headers = headers};
  record.value = next_part(&rest);
  if (slice_is(record.value, "-"))
    record.value = SLICE_ABSENT;
  record.key = next_part(&rest);
  for (size_t i = 0; i < NAME_COUNT && slice_present(rest); i++)
    headers[count++] = (struct record_header){.name = names[i], .value = next_part(&rest)};
  record.header_count = count;

  struct received_reader *reader = received_reader_new();
  struct received event;
  struct problem problem;
  bool ok = received_read(reader, &record, &event, &problem);
  if (ok != (problem.code == NULL) || ok != slice_present(event.envelope))
    abort();
  check_event(&event);
  if (ok)
    read_again(&event, false);
  received_reader_free(reader);
  return 0;
}
