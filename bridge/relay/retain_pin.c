/* See retain_pin.h. */
#include "bridge/relay/retain_pin.h"

#include <stdlib.h>

#include "bridge/base/memory.h"
#include "bridge/kafka/position_log.h"

struct retain_run {
  char *key;
  lsn_t needs; /* 0: nothing any more */
  int64_t written_us;
};

static struct retain_run *have_run(struct retain_pin *pin, struct slice key) {
  for (int i = 0; i < pin->count; i++)
    if (slice_is(key, pin->runs[i].key))
      return &pin->runs[i];
  pin->runs = memory_resize(pin->runs, (size_t)(pin->count + 1) * sizeof *pin->runs);
  pin->runs[pin->count] = (struct retain_run){.key = memory_copy(key.data, key.len)};
  return &pin->runs[pin->count++];
}

static bool take(void *to, const struct position_log_record *record, struct error *err) {
  if (!slice_present(record->key))
    return true;
  struct retain_run *run = have_run(to, record->key);
  run->needs = 0;
  if (!slice_present(record->value))
    return true;
  struct position p;
  position_init(&p);
  if (!position_decode(record->value, &p, err))
    return error_wrap(err, "replay %s", run->key);
  /* The transaction published last is streamed again, to be compared; rows of a work list need nothing. */
  if (p.run.id[0] != '\0' && p.run.list == 0 && !p.run.finished)
    run->needs = p.commit_lsn != 0 ? p.commit_lsn : p.run.from;
  run->written_us = p.written_us;
  position_clear(&p);
  return true;
}

void retain_pin_free(struct retain_pin *pin) {
  for (int i = 0; i < pin->count; i++)
    free(pin->runs[i].key);
  free(pin->runs);
  *pin = (struct retain_pin){.count = 0};
}

static bool read_topic(struct retain_pin *pin, struct kafka_admin *admin, const struct kafka_settings *settings,
                       const char *topic, int timeout_ms, const _Atomic(bool) *stop, struct error *err) {
  struct kafka_topic_facts facts;
  if (!kafka_admin_topic(admin, topic, timeout_ms, &facts, NULL, err))
    return false;
  int64_t low, end;
  if (facts.exists && !kafka_admin_log(admin, topic, 0, timeout_ms, &low, &end, err))
    return false;
  if (!facts.exists || end < pin->read_to) /* it was deleted, and what it told is no more */
    retain_pin_free(pin);
  if (!facts.exists)
    return true;
  if (end == pin->read_to)
    return true;
  if (!position_log_scan(admin, settings, topic, pin->read_to, timeout_ms, stop, take, pin, err))
    return false;
  pin->read_to = end;
  return true;
}

bool retain_pin_read(struct retain_pin *pin, const struct kafka_settings *settings, int64_t since_us, int timeout_ms,
                     const _Atomic(bool) *stop, lsn_t *pinned, struct error *err) {
  char *instance = memory_format("%s.replay", settings->instance);
  char *topic = kafka_position_topic(instance);
  struct kafka_admin *admin = kafka_admin_new(settings, err);
  bool ok = admin != NULL && read_topic(pin, admin, settings, topic, timeout_ms, stop, err);
  kafka_admin_free(admin);
  free(topic);
  free(instance);
  if (!ok)
    return error_wrap(err, "looking for unfinished replays");
  *pinned = 0;
  for (int i = 0; i < pin->count; i++) {
    const struct retain_run *run = &pin->runs[i];
    if (run->needs != 0 && run->written_us >= since_us && (*pinned == 0 || run->needs < *pinned))
      *pinned = run->needs;
  }
  return true;
}
