/* See history.h. */
#include "bridge/relay/history.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "bridge/base/log.h"
#include "bridge/base/memory.h"
#include "bridge/kafka/position_log.h"
#include "bridge/relay/minutes.h"

/* A key that has a value so far. */
struct cell {
  char *key;
  struct history_entry entry;
  UT_hash_handle hh;
};

struct reading {
  struct cell *cells;
  int64_t unreadable;
};

static void entry_clear(struct history_entry *entry) {
  free(entry->word);
  entry->word = NULL;
}

static struct cell *find_cell(struct cell *cells, struct slice key) {
  struct cell *cell;
  HASH_FIND(hh, cells, key.data, key.len, cell);
  return cell;
}

static struct cell *have_cell(struct cell **cells, struct slice key) {
  struct cell *cell = find_cell(*cells, key);
  if (cell != NULL)
    return cell;
  cell = memory_alloc(sizeof *cell);
  cell->key = memory_copy(key.data, key.len);
  HASH_ADD_KEYPTR(hh, *cells, cell->key, key.len, cell);
  return cell;
}

static void drop_cell(struct cell **cells, struct slice key) {
  struct cell *cell = find_cell(*cells, key);
  if (cell == NULL)
    return;
  HASH_DEL(*cells, cell);
  free(cell->key);
  entry_clear(&cell->entry);
  free(cell);
}

static struct history_entry entry_of(const struct position *p, bool word) {
  struct history_entry entry = {.at_us = word ? p->word.at_us : p->written_us,
                                .lsn = position_ack_lsn(p),
                                .floor = p->floor,
                                .timeline = p->timeline,
                                .commit_lsn = p->commit_lsn,
                                .xid = p->xid,
                                .commit_time_us = p->commit_time_us,
                                .complete = p->complete};
  memcpy(entry.system_id, p->system_id, sizeof entry.system_id);
  if (word)
    entry.word = memory_copy((const char *)&p->word, sizeof p->word);
  return entry;
}

static bool take(void *to, const struct position_log_record *record, struct error *err) {
  struct reading *reading = to;
  bool word = slice_present(record->key) && minutes_is_word_key(record->key);
  if (!word && !(slice_present(record->key) && minutes_is_key(record->key)))
    return true;
  if (!slice_present(record->value)) {
    drop_cell(&reading->cells, record->key);
    return true;
  }
  struct position position;
  position_init(&position);
  if (!position_decode(record->value, &position, err)) { /* a newer version's, which was given up */
    error_clear(err);
    reading->unreadable++;
    drop_cell(&reading->cells, record->key);
    return true;
  }
  struct cell *cell = have_cell(&reading->cells, record->key);
  entry_clear(&cell->entry);
  cell->entry = entry_of(&position, word);
  position_clear(&position);
  return true;
}

static int compare(const void *a, const void *b) {
  const struct history_entry *left = a, *right = b;
  if (left->at_us != right->at_us)
    return left->at_us < right->at_us ? -1 : 1;
  return (left->lsn > right->lsn) - (left->lsn < right->lsn);
}

/* The entries go over into *out, or are freed. */
static void collect(struct cell **cells, bool wanted, struct history *out) {
  struct history history = {.entries = memory_alloc(HASH_COUNT(*cells) * sizeof *history.entries)};
  struct cell *cell, *next;
  HASH_ITER(hh, *cells, cell, next) {
    history.entries[history.count++] = cell->entry;
    HASH_DEL(*cells, cell);
    free(cell->key);
    free(cell);
  }
  if (history.count > 0)
    qsort(history.entries, (size_t)history.count, sizeof *history.entries, compare);
  if (wanted)
    *out = history;
  else
    history_free(&history);
}

bool history_read(struct kafka_admin *admin, const struct kafka_settings *settings, const char *topic, int timeout_ms,
                  const _Atomic(bool) *stop, struct history *out, struct error *err) {
  struct reading reading = {.cells = NULL};
  struct kafka_topic_facts facts;
  bool ok = kafka_admin_topic(admin, topic, timeout_ms, &facts, NULL, err) &&
            (!facts.exists || position_log_scan(admin, settings, topic, 0, timeout_ms, stop, take, &reading, err));
  if (ok && reading.unreadable > 0)
    log_warn("position.history_unreadable", log_int("records", reading.unreadable),
             log_string("meaning", "another version of walferry wrote them: they are passed over"));
  collect(&reading.cells, ok, out);
  if (ok)
    out->gaps = reading.unreadable > 0;
  return ok;
}

void history_free(struct history *history) {
  for (int i = 0; i < history->count; i++)
    entry_clear(&history->entries[i]);
  free(history->entries);
  *history = (struct history){.entries = NULL};
}

/* Commits are compared by the server's clock alone. Ours counts only where nothing was ever published before. */
static bool is_before(const struct history_entry *entry, int64_t time_us) {
  if (entry->commit_lsn == 0)
    return entry->floor == 0 && entry->at_us <= time_us;
  return entry->commit_time_us < time_us - HISTORY_SLACK_US;
}

lsn_t history_start(const struct history *history, int64_t time_us, const char *system_id) {
  lsn_t lowest = 0; /* a later entry has a lower LSN where the server went back in time */
  for (int i = history->count; i > 0; i--) {
    const struct history_entry *entry = &history->entries[i - 1];
    if (strcmp(system_id, entry->system_id) != 0)
      continue;
    if (lowest == 0 || entry->lsn < lowest)
      lowest = entry->lsn;
    if (is_before(entry, time_us))
      return lowest;
  }
  return 0;
}
