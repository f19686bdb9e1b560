/* See segment.h. */
#include "bridge/relay/segment.h"

#include <stdlib.h>

#include "bridge/base/memory.h"

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
  segment->bytes += record->size;
}

void segment_free(struct segment *segment) {
  if (segment == NULL)
    return;
  for (struct record *record = segment->first; record != NULL;) {
    struct record *next = record->next;
    record_free(record);
    record = next;
  }
  free(segment);
}

void segment_free_list(struct segment *first) {
  while (first != NULL) {
    struct segment *next = first->next;
    segment_free(first);
    first = next;
  }
}
