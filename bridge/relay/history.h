/* The position's history: at the first commit of each minute a copy of it is stored under `at/<minute>`, in the same
 * Kafka transaction, and what an operator set also under `set/<time>`. Here it is read back; which copies a commit has
 * to write is minutes.h. */
#ifndef WALFERRY_RELAY_HISTORY_H
#define WALFERRY_RELAY_HISTORY_H

#include "bridge/kafka/admin.h"
#include "bridge/relay/position.h"

struct history_entry {
  int64_t at_us; /* when it was stored, by walferry's clock, Unix microseconds */
  lsn_t lsn;     /* position_ack_lsn: what was committed before is published */
  lsn_t floor;   /* 0: none */
  char system_id[24];
  uint32_t timeline;
  /* The transaction published last; commit_lsn 0: none yet. */
  lsn_t commit_lsn;
  uint32_t xid;
  int64_t commit_time_us;
  bool complete;
  struct position_word *word; /* of an operator who set this one; NULL: a minute's copy; owned */
};

struct history { /* the oldest first */
  struct history_entry *entries;
  int count;
  bool gaps; /* entries of a version that this one cannot read are left out, which the log is told */
};

/* Reads the newest committed value of each key of the history; those that were tombstoned are gone. Memory is bounded
 * by the number of entries (a minute each, and what operators set), the time by the log's length: it is read from its
 * beginning. timeout_ms: so long no broker may be silent. Fences nobody, and may be read while a relay runs. An empty
 * history, or no topic, is no error. ERROR_RETRY when the brokers do not answer;
 * ERROR_STOPPED once *stop (NULL: nothing stops it). */
bool history_read(struct kafka_admin *admin, const struct kafka_settings *settings, const char *topic, int timeout_ms,
                  const _Atomic(bool) *stop, struct history *out, struct error *err);
void history_free(struct history *history);

#define HISTORY_SLACK_US INT64_C(60000000) /* so far apart two commits may stand in the WAL against their times */

/* An LSN behind which lies all that this cluster committed, by its own clock, at time_us or later; 0: none is known. */
lsn_t history_start(const struct history *history, int64_t time_us, const char *system_id);

#endif
