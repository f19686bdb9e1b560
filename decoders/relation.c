/* See relation.h. */
#include "decoders/relation.h"

#include <stdlib.h>

#include "bridge/base/memory.h"

#define uthash_malloc(size) memory_alloc(size)
#include <uthash.h>

struct entry {
  struct relation *relation;
  char *key;
  size_t key_len;
  UT_hash_handle hh;
};

struct relation_cache {
  struct entry *entries;
  struct entry *last; /* found last: rows come in runs of one table */
  uint64_t last_serial;
};

struct relation *relation_new(uint32_t oid, struct slice schema, struct slice table, int column_count) {
  struct relation *relation = memory_alloc(sizeof *relation);
  *relation = (struct relation){
      .oid = oid,
      .schema = memory_copy(schema.data, schema.len),
      .table = memory_copy(table.data, table.len),
      .column_count = column_count,
      .columns = memory_alloc((size_t)column_count * sizeof(struct column)),
  };
  return relation;
}

void relation_set_column(struct relation *relation, int index, struct slice name, uint32_t type_oid) {
  struct column *column = &relation->columns[index];
  free(column->name);
  *column = (struct column){.name = memory_copy(name.data, name.len), .type_oid = type_oid};
}

void relation_set_written(struct relation *relation, int index, struct slice text) {
  if (relation->written == NULL)
    relation->written = memory_alloc((size_t)relation->column_count * sizeof *relation->written);
  struct written *written = &relation->written[index];
  free(written->text);
  *written = (struct written){.text = memory_copy(text.data, text.len), .len = text.len};
}

void relation_free(struct relation *relation) {
  if (relation == NULL)
    return;
  for (int i = 0; i < relation->column_count; i++)
    free(relation->columns[i].name);
  for (int i = 0; relation->written != NULL && i < relation->column_count; i++)
    free(relation->written[i].text);
  free(relation->columns);
  free(relation->written);
  free(relation->schema);
  free(relation->table);
  free(relation);
}

struct relation_cache *relation_cache_new(void) {
  return memory_alloc(sizeof(struct relation_cache));
}

void relation_cache_clear(struct relation_cache *cache) {
  struct entry *entry, *next;
  HASH_ITER(hh, cache->entries, entry, next) {
    HASH_DEL(cache->entries, entry);
    relation_free(entry->relation);
    free(entry->key);
    free(entry);
  }
  cache->last = NULL;
}

void relation_cache_free(struct relation_cache *cache) {
  if (cache == NULL)
    return;
  relation_cache_clear(cache);
  free(cache);
}

int relation_cache_count(const struct relation_cache *cache) {
  return (int)HASH_COUNT(cache->entries);
}

static struct entry *find_entry(struct relation_cache *cache, struct slice key) {
  if (cache->last != NULL && slice_equal(slice_from(cache->last->key, cache->last->key_len), key))
    return cache->last;
  struct entry *entry;
  HASH_FIND(hh, cache->entries, key.data, key.len, entry);
  if (entry != NULL)
    cache->last = entry;
  return entry;
}

void relation_cache_replace(struct relation_cache *cache, struct slice key, struct relation *relation) {
  struct entry *entry = find_entry(cache, key);
  if (entry == NULL) {
    entry = memory_alloc(sizeof *entry);
    entry->key = memory_copy(key.data, key.len);
    entry->key_len = key.len;
    HASH_ADD_KEYPTR(hh, cache->entries, entry->key, entry->key_len, entry);
  }
  relation_free(entry->relation);
  relation->serial = ++cache->last_serial;
  entry->relation = relation;
}

const struct relation *relation_cache_find(struct relation_cache *cache, struct slice key) {
  struct entry *entry = find_entry(cache, key);
  return entry == NULL ? NULL : entry->relation;
}
