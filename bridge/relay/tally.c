/* See tally.h. */
#include "bridge/relay/tally.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "bridge/base/buffer.h"
#include "bridge/base/memory.h"

struct entry {
  char *key; /* topic, NUL, type: key_len bytes; and a NUL behind them */
  size_t key_len;
  uint64_t records;
  UT_hash_handle hh;
};

struct tally {
  struct entry *entries;
  struct entry *last; /* most often the next one too */
  struct buffer key;
};

struct tally *tally_new(void) {
  struct tally *tally = memory_alloc(sizeof *tally);
  buffer_init(&tally->key, BUFFER_MAX_ROW);
  return tally;
}

void tally_free(struct tally *tally) {
  if (tally == NULL)
    return;
  struct entry *entry, *next;
  HASH_ITER(hh, tally->entries, entry, next) {
    HASH_DEL(tally->entries, entry);
    free(entry->key);
    free(entry);
  }
  buffer_free(&tally->key);
  free(tally);
}

static void write_key(struct buffer *key, const char *topic, struct slice type) {
  buffer_clear(key);
  buffer_append(key, topic, strlen(topic) + 1);
  buffer_append_slice(key, type);
}

static struct entry *find_entry(struct tally *tally) {
  struct entry *entry = NULL;
  HASH_FIND(hh, tally->entries, tally->key.data, tally->key.len, entry);
  return entry;
}

static struct entry *take_entry(struct tally *tally) {
  struct entry *entry = find_entry(tally);
  if (entry == NULL && HASH_COUNT(tally->entries) >= TALLY_ENTRIES_MAX) {
    write_key(&tally->key, TALLY_OTHERS, slice_of(TALLY_OTHERS));
    entry = find_entry(tally);
  }
  if (entry != NULL)
    return entry;
  entry = memory_alloc(sizeof *entry);
  entry->key = memory_copy(tally->key.data, tally->key.len);
  entry->key_len = tally->key.len;
  HASH_ADD_KEYPTR(hh, tally->entries, entry->key, entry->key_len, entry);
  return entry;
}

void tally_note(struct tally *tally, const struct record *record) {
  write_key(&tally->key, record->topic, record_header_value(record, "type"));
  struct entry *last = tally->last;
  if (last == NULL || last->key_len != tally->key.len || memcmp(last->key, tally->key.data, last->key_len) != 0)
    tally->last = take_entry(tally);
  tally->last->records++;
}

static int compare(const void *a, const void *b) {
  const struct tally_entry *left = a, *right = b;
  int topics = strcmp(left->topic, right->topic);
  return topics != 0 ? topics : strcmp(left->type, right->type);
}

struct tally_entry *tally_list(const struct tally *tally, int *count) {
  int n = 0;
  struct tally_entry *list = memory_alloc((size_t)HASH_COUNT(tally->entries) * sizeof *list);
  for (const struct entry *entry = tally->entries; entry != NULL; entry = entry->hh.next)
    list[n++] = (struct tally_entry){
        .topic = entry->key, .type = entry->key + strlen(entry->key) + 1, .records = entry->records};
  if (n > 0)
    qsort(list, (size_t)n, sizeof *list, compare);
  *count = n;
  return list;
}
