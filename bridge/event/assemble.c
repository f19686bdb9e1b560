/* See assemble.h. Layout: struct record, its headers, then bytes without alignment. */
#include "bridge/event/assemble.h"

#include <stdlib.h>

#include "bridge/base/memory.h"

static struct slice put(char **at, struct slice s) {
  if (!slice_present(s))
    return SLICE_ABSENT;
  struct slice copy = slice_from(*at, s.len);
  if (s.len > 0)
    memcpy(*at, s.data, s.len);
  *at += s.len;
  return copy;
}

static const char *put_string(char **at, struct slice s) {
  const char *copy = *at;
  if (s.len > 0)
    memcpy(*at, s.data, s.len);
  (*at)[s.len] = '\0';
  *at += s.len + 1;
  return copy;
}

static size_t size_of(const struct record_draft *d) {
  size_t size = sizeof(struct record) + (size_t)d->header_count * sizeof(struct record_header);
  size += d->topic.len + 1 + strlen(d->origin) + 1 + d->id.len + d->key.len;
  for (int i = 0; i < d->header_count; i++) {
    size += d->headers[i].value.len;
    if (i >= d->static_names)
      size += strlen(d->headers[i].name) + 1;
  }
  for (int i = 0; i < DRAFT_VALUE_PARTS; i++)
    size += d->value[i].len;
  return size;
}

struct record *record_assemble(struct blocks *memory, const struct record_draft *d) {
  size_t size = size_of(d);
  /* Neither is zeroed: a payload may be large, and all is written below. */
  struct record *record = memory == NULL ? memory_resize(NULL, size) : blocks_take(memory, size);
  struct record_header *headers = (struct record_header *)(record + 1);
  char *at = (char *)(headers + d->header_count);
  *record = (struct record){.headers = headers,
                            .header_count = d->header_count,
                            .timestamp_ms = d->timestamp_ms,
                            .partition = d->partition,
                            .quarantined = d->quarantined,
                            .substitute = d->substitute,
                            .bare = d->bare,
                            .trace_dropped = d->trace_dropped,
                            .commit_lsn = d->commit_lsn,
                            .xid = d->xid,
                            .index = d->index};
  record->topic = put_string(&at, d->topic);
  record->origin = put_string(&at, slice_of(d->origin));
  record->id = put(&at, d->id);
  record->key = put(&at, d->key);
  for (int i = 0; i < d->header_count; i++) {
    const struct record_header *from = &d->headers[i];
    headers[i].name = i < d->static_names ? from->name : put_string(&at, slice_of(from->name));
    headers[i].value = put(&at, from->value);
  }
  if (!d->tombstone) {
    record->value = slice_from(at, 0);
    for (int i = 0; i < DRAFT_VALUE_PARTS; i++)
      record->value.len += put(&at, d->value[i]).len;
  }
  return record;
}

void record_free(struct record *record) {
  free(record);
}
