/* See suspects.h. */
#include "bridge/relay/suspects.h"

#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

#include "bridge/base/memory.h"

struct suspect_key {
  lsn_t commit_lsn;
  uint64_t index;
};

struct suspect {
  struct suspect_key key;
  char reason[64]; /* empty: not tried alone yet */
  UT_hash_handle hh;
};

struct suspects {
  struct suspect *table;
};

struct suspects *suspects_new(void) {
  return memory_alloc(sizeof(struct suspects));
}

void suspects_free(struct suspects *s) {
  struct suspect *one, *next;
  HASH_ITER(hh, s->table, one, next) {
    HASH_DEL(s->table, one);
    free(one);
  }
  free(s);
}

static struct suspect *find(const struct suspects *s, lsn_t commit_lsn, uint64_t index) {
  struct suspect_key key = {.commit_lsn = commit_lsn, .index = index};
  struct suspect *found;
  HASH_FIND(hh, s->table, &key, sizeof key, found);
  return found;
}

void suspects_add(struct suspects *s, lsn_t commit_lsn, uint64_t index) {
  if (find(s, commit_lsn, index) != NULL)
    return;
  struct suspect *one = memory_alloc(sizeof *one);
  one->key = (struct suspect_key){.commit_lsn = commit_lsn, .index = index};
  HASH_ADD(hh, s->table, key, sizeof one->key, one);
}

bool suspects_empty(const struct suspects *s) {
  return s->table == NULL;
}

bool suspects_has(const struct suspects *s, lsn_t commit_lsn, uint64_t index) {
  return find(s, commit_lsn, index) != NULL;
}

void suspects_refuse(struct suspects *s, lsn_t commit_lsn, uint64_t index, const char *reason) {
  struct suspect *one = find(s, commit_lsn, index);
  if (one != NULL)
    snprintf(one->reason, sizeof one->reason, "%s", reason);
}

const char *suspects_refusal(const struct suspects *s, lsn_t commit_lsn, uint64_t index) {
  const struct suspect *one = find(s, commit_lsn, index);
  return one == NULL || one->reason[0] == '\0' ? NULL : one->reason;
}

void suspects_settle(struct suspects *s, lsn_t commit_lsn, uint64_t index) {
  struct suspect *one = find(s, commit_lsn, index);
  if (one == NULL)
    return;
  HASH_DEL(s->table, one);
  free(one);
}
