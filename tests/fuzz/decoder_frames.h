/* What the fuzz targets of the decoders share: a frame in a block of its own, decoded, and all that it yields read to
 * the end, so that a slice beyond the frame or the decoder's scratch is found. */
#ifndef WALFERRY_FUZZ_DECODER_FRAMES_H
#define WALFERRY_FUZZ_DECODER_FRAMES_H

#include <assert.h>
#include <stdlib.h>

#include "bridge/base/memory.h"
#include "decoders/decoder.h"

static volatile unsigned sink;

static void read_through(struct slice s) {
  unsigned sum = 0;
  for (size_t i = 0; i < s.len; i++)
    sum += (unsigned char)s.data[i];
  sink = sum;
}

static void read_insert(const struct relation *relation, const struct value *values) {
  read_through(slice_of(relation->schema));
  read_through(slice_of(relation->table));
  for (int i = 0; i < relation->column_count; i++) {
    read_through(slice_of(relation->columns[i].name));
    assert(slice_present(values[i].text) == (values[i].kind == VALUE_TEXT));
    read_through(values[i].text);
  }
}

static void read_change(const struct change *change) {
  switch (change->kind) {
  case CHANGE_NONE:
  case CHANGE_COMMIT:
    break;
  case CHANGE_BEGIN:
    assert(change->begin.commit_lsn != 0);
    break;
  case CHANGE_INSERT:
    read_insert(change->insert.relation, change->insert.values);
    break;
  case CHANGE_MESSAGE:
    read_through(change->message.prefix);
    read_through(change->message.content);
    break;
  }
}

/* false: the decoder refused the frame, as it should refuse one: fatally, and with a reason. */
static bool decode_and_read(struct decoder *dec, struct slice frame) {
  char *copy = memory_resize(NULL, frame.len);
  memcpy(copy, frame.data, frame.len);
  struct change change;
  struct error err = {.kind = ERROR_NONE};
  bool ok = decoder_decode(dec, (struct span){.data = copy, .len = frame.len}, &change, &err);
  if (ok)
    read_change(&change);
  else
    assert(err.kind == ERROR_FATAL && err.message[0] != '\0');
  free(copy);
  return ok;
}

#endif
