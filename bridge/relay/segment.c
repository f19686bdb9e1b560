/* See segment.h. */
#include "bridge/relay/segment.h"

#include <inttypes.h>
#include <stdlib.h>

#include "bridge/base/memory.h"

/* What librdkafka 2.0 allocates for a message while it has it, and for each of its headers. */
#define MESSAGE_BYTES 256
#define HEADER_BYTES 80

struct segment *segment_new(void) {
  struct segment *segment = memory_alloc(sizeof *segment);
  segment->bytes = sizeof *segment;
  return segment;
}

void segment_append(struct segment *segment, struct record *record) {
  record->next = NULL;
  if (segment->last == NULL)
    segment->first = record;
  else
    segment->last->next = record;
  segment->last = record;
  segment->count++;
  segment->message_bytes += MESSAGE_BYTES + (size_t)record->header_count * HEADER_BYTES;
  segment->bytes = sizeof *segment + segment->memory.bytes + segment->message_bytes;
}

void segment_free(struct segment *segment) {
  if (segment == NULL)
    return;
  blocks_free(&segment->memory);
  free(segment);
}

void segment_free_list(struct segment *first) {
  while (first != NULL) {
    struct segment *next = first->next;
    segment_free(first);
    first = next;
  }
}

bool segment_refuse_row(const char *origin, struct slice id, lsn_t commit_lsn, uint32_t xid, uint64_t index,
                        const struct problem *problem, struct error *err) {
  error_refuse(err, "row_invalid", "%s id %.*s at %s (xid %" PRIu32 ", change %" PRIu64 "): %s: %s", origin,
               SLICE_ARG(slice_present(id) ? id : slice_of("(none)")), lsn_format(commit_lsn).text, xid, index,
               problem->code, problem->message);
  return error_remedy(
      err,
      "with `on_invalid: quarantine` such rows go to the quarantine topic and the relay goes on. `walferry explain %s` "
      "has what else may be done",
      problem->code);
}
