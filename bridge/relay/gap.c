/* See gap.h. The source thread, the intake and the queue are those of a real run. */
#include "bridge/relay/gap.h"

#include <stdio.h>

#include "bridge/base/failpoint.h"
#include "bridge/relay/source.h"

#define TAKE_SLICE_MS 100

struct gap {
  const struct gap_question *q;
  const struct stop *stop;
  struct replication *rep;   /* until the source takes it */
  struct progress *progress; /* the source's; nobody looks */
  struct source *source;
  struct partitions *partitions; /* NULL with a plugin that tells of rows by the root */
  struct position zero;
  lsn_t seen_to;
  bool seen_last;
  struct gap_counts counts;
};

/* The copy is read on the connection that made it, and ends with it. */
static bool start(struct gap *g, const struct facts *facts, struct connection *conn, struct error *err) {
  const struct relay_settings *s = g->q->relay;
  g->rep = replication_open(s->conninfo, s->name, err);
  if (g->rep == NULL)
    return false;
  char copy[64];
  snprintf(copy, sizeof copy, "walferry_count_%d", replication_backend_pid(g->rep));
  bool busy = false, taken = false;
  FAILPOINT("gap.before_copy");
  if (!replication_copy_slot(g->rep, g->q->slot, copy, &taken, err))
    return false;
  struct catalog_slot held = {.exists = false};
  if (!taken && !catalog_slot(conn, copy, &held, err))
    return false;
  if (held.confirmed_flush_lsn > g->q->from) /* what lies before is not sent, and would look rewritten */
    return error_set(err, ERROR_RETRY, "slot %s has moved on to %s since it was looked at; run the command again",
                     g->q->slot, lsn_format(held.confirmed_flush_lsn).text);
  if (!taken && !relay_start_streaming(s, g->rep, copy, g->q->from, &busy, err))
    return false;
  if (taken || busy)
    return error_set(err, ERROR_RETRY, "the temporary slot %s is not ours", copy);
  int64_t sender_timeout_ms = replication_sender_timeout_ms(g->rep);
  g->source = source_start(g->rep, g->q->to, g->progress);
  g->rep = NULL;
  struct intake *intake = intake_new(&s->intake, &g->zero, false);
  if (!relay_resolve_partitions(s, &facts->publication, conn, sender_timeout_ms, intake, &g->partitions, err)) {
    intake_free(intake);
    return false;
  }
  source_go(g->source, decoder_new(decoder_class_find(s->plugin)), intake);
  source_ack(g->source, g->q->from);
  return true;
}

static bool is_published(const struct position *before, const struct record *record) {
  if (before->state != POSITION_SET)
    return false;
  bool half = record->commit_lsn == before->commit_lsn && !before->complete && record->index < before->next_index;
  return half || position_covers(before, record->commit_lsn);
}

static bool is_last(const struct position *before, const struct segment *segment) {
  return segment->commit_lsn == before->commit_lsn && segment->xid == before->xid &&
         segment->commit_time_us == before->commit_time_us;
}

/* *over: all of it was seen. */
static void count_batch(struct gap *g, const struct segment *batch, bool *over) {
  for (; batch != NULL && !*over; batch = batch->next) {
    *over = batch->commit_lsn >= g->q->to;
    if (*over)
      break;
    g->seen_last = g->seen_last || is_last(g->q->before, batch);
    for (const struct record *r = batch->first; r != NULL; r = r->next) {
      bool published = is_published(g->q->before, r);
      g->counts.skipped += r->commit_lsn < g->q->target && !published;
      g->counts.repeated += r->commit_lsn >= g->q->target && published;
    }
    if (batch->end_lsn > g->seen_to)
      g->seen_to = batch->end_lsn;
  }
  *over = *over || g->seen_to >= g->q->to;
}

static bool stream(struct gap *g, struct error *err) {
  struct handover *queue = source_handover(g->source);
  for (bool over = g->q->from >= g->q->to; !over;) {
    if (atomic_load(&g->stop->requested))
      return error_set(err, ERROR_STOPPED, "stopped");
    struct segment *batch = NULL;
    switch (handover_take(queue, TAKE_SLICE_MS, &batch, err)) {
    case HANDOVER_EMPTY:
      break;
    case HANDOVER_CLOSED:
      return false;
    case HANDOVER_BATCH:
      count_batch(g, batch, &over);
      segment_free_list(batch);
      source_ack(g->source, g->seen_to);
    }
  }
  return true;
}

bool gap_count(const struct gap_question *question, const struct facts *facts, struct connection *conn,
               const struct stop *stop, struct gap_counts *out, struct error *err) {
  struct gap g = {.q = question, .stop = stop, .progress = progress_new()};
  position_init(&g.zero);
  const struct position *before = question->before;
  bool ok = start(&g, facts, conn, err) && stream(&g, err);
  bool expected = before->state == POSITION_SET && before->commit_lsn != 0 && question->from <= before->commit_lsn &&
                  before->commit_lsn < question->to;
  g.counts.rewritten = expected && !g.seen_last;
  if (ok)
    *out = g.counts;
  source_stop(g.source);
  progress_free(g.progress);
  partitions_free(g.partitions);
  replication_close(g.rep);
  return ok;
}
