/* A stream of wal2json frames, one a line, fed to one decoder until it refuses one. What it yields is read to the end,
 * so that a slice beyond its frame or the decoder's scratch is found. */
#include <assert.h>
#include <stdlib.h>

#include "bridge/base/memory.h"
#include "decoders/decoder.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

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

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
  struct decoder *dec = decoder_new(decoder_class_find("wal2json"));
  const char *at = (const char *)data, *end = at + size;
  bool ok = true;
  while (ok && at < end) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    struct slice frame = slice_from(at, (size_t)((newline == NULL ? end : newline) - at));
    at = newline == NULL ? end : newline + 1;
    char *copy = memory_resize(NULL, frame.len); /* its own block: a read behind its end is seen */
    memcpy(copy, frame.data, frame.len);
    struct change change;
    struct error err = {.kind = ERROR_NONE};
    ok = decoder_decode(dec, slice_from(copy, frame.len), &change, &err);
    if (ok)
      read_change(&change);
    else
      assert(err.kind == ERROR_FATAL && err.message[0] != '\0');
    free(copy);
  }
  decoder_free(dec);
  return 0;
}
