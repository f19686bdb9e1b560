/* See preview.h. The source thread, the intake and the queue are those of a real run. What is printed is acknowledged
 * to the copy, so that a run that follows for long makes the server keep no WAL. */
#include "bridge/relay/preview.h"

#include <stdio.h>

#include "bridge/base/clock.h"
#include "bridge/base/log.h"
#include "bridge/relay/facts.h"
#include "bridge/relay/printer.h"
#include "bridge/relay/source.h"
#include "bridge/relay/watch.h"

#define TAKE_SLICE_MS 100

struct preview {
  const struct preview_settings *settings;
  const struct stop *stop;
  struct connection *conn;
  struct replication *rep;   /* until the source takes it */
  struct progress *progress; /* the source's; nobody looks */
  struct source *source;
  struct partitions *partitions; /* NULL with a plugin that tells of rows by the root */
  struct facts facts;
  struct position from; /* where the slot stands */
  struct printer printer;
  lsn_t until; /* 0: none */
  lsn_t printed_to;
  int64_t events;
  int64_t quarantined;
  int64_t watched_ms;
};

/* The slot as it is, judged as a start would judge it; its position is what a relay would make of it at first. */
static bool look(struct preview *p, struct error *err) {
  const struct relay_settings *s = p->settings->relay;
  p->conn = connection_open(s->conninfo, s->name, err);
  if (p->conn == NULL || !facts_server(&p->facts, p->conn, s, err) || !facts_publication(&p->facts, p->conn, s, err) ||
      !catalog_slot(p->conn, s->slot, &p->facts.admit.slot, err) || !facts_check_primary(&p->facts, err))
    return false;
  if (!p->facts.admit.slot.exists) {
    error_refuse(err, "slot_missing", "slot %s does not exist", s->slot);
    return error_remedy(err, "run `walferry init CONFIG`: what is committed from then on can be printed");
  }
  return admit_slot(&p->facts.admit, err) && facts_check_publication(&p->facts, s, err);
}

/* The copy is read on the connection that made it, and ends with it. The backend's pid makes its name unique. */
static bool start_copy(struct preview *p, struct error *err) {
  const struct relay_settings *s = p->settings->relay;
  p->rep = replication_open(s->conninfo, s->name, err);
  if (p->rep == NULL || !replication_identify(p->rep, &p->facts.admit.identity, err))
    return false;
  p->until = s->until == RELAY_UNTIL_LSN ? s->until_lsn : 0;
  if (s->until == RELAY_UNTIL_NOW && !catalog_now(p->conn, p->facts.admit.identity.flush_lsn, &p->until, err))
    return false;
  char copy[64];
  snprintf(copy, sizeof copy, "walferry_preview_%d", replication_backend_pid(p->rep));
  struct catalog_slot *slot = &p->facts.admit.slot;
  bool busy = false, taken = false;
  if (!replication_copy_slot(p->rep, s->slot, copy, &taken, err) || !catalog_slot(p->conn, copy, slot, err) ||
      !relay_start_streaming(s, p->rep, copy, 0, &busy, err))
    return false;
  if (busy || taken || !slot->exists)
    return error_set(err, ERROR_RETRY, "the temporary slot %s is not ours", copy);
  p->printed_to = slot->confirmed_flush_lsn;
  log_info("preview.streaming", log_string("slot", s->slot), log_string("copy", copy),
           log_lsn("from", slot->confirmed_flush_lsn));
  return true;
}

static bool start(struct preview *p, struct error *err) {
  const struct relay_settings *s = p->settings->relay;
  if (!look(p, err) || !start_copy(p, err))
    return false;
  int64_t sender_timeout_ms = replication_sender_timeout_ms(p->rep);
  p->source = source_start(p->rep, p->until, p->progress);
  p->rep = NULL;
  struct intake *intake = intake_new(&s->intake, &p->from, false);
  if (!relay_resolve_partitions(s, &p->facts.publication, p->conn, sender_timeout_ms, intake, &p->partitions, err)) {
    intake_free(intake);
    return false;
  }
  source_go(p->source, decoder_new(decoder_class_find(s->plugin)), intake);
  source_ack(p->source, p->printed_to);
  return true;
}

/* The server may go on without a word when its publication is gone. */
static bool watch(struct preview *p, struct error *err) {
  p->watched_ms = clock_monotonic_ms();
  return facts_publication(&p->facts, p->conn, p->settings->relay, err) &&
         facts_check_publication(&p->facts, p->settings->relay, err);
}

static bool enough(const struct preview *p) {
  return p->settings->events_max > 0 && p->events >= p->settings->events_max;
}

static bool print_batch(struct preview *p, const struct segment *batch, bool *over, struct error *err) {
  for (; batch != NULL && !*over; batch = batch->next) {
    if (p->until != 0 && batch->commit_lsn >= p->until) { /* all before it is printed */
      *over = true;
      break;
    }
    for (const struct record *r = batch->first; r != NULL && !*over && !enough(p); r = r->next) {
      if (!printer_record(&p->printer, r, over, err))
        return false;
      p->events += !*over;
      p->quarantined += !*over && r->quarantined;
    }
    *over = *over || enough(p);
    if (!*over && batch->end_lsn > p->printed_to)
      p->printed_to = batch->end_lsn;
  }
  return true;
}

static bool stream(struct preview *p, struct error *err) {
  struct handover *queue = source_handover(p->source);
  for (bool over = false; !over;) {
    if (atomic_load(&p->stop->requested) || printer_hung_up(&p->printer) ||
        (p->until != 0 && p->printed_to >= p->until))
      return true;
    if (clock_monotonic_ms() - p->watched_ms >= WATCH_INTERVAL_MS && !watch(p, err))
      return false;
    struct segment *batch = NULL;
    bool ok = true;
    switch (handover_take(queue, TAKE_SLICE_MS, &batch, err)) {
    case HANDOVER_EMPTY:
      break;
    case HANDOVER_CLOSED:
      return false;
    case HANDOVER_BATCH:
      ok = print_batch(p, batch, &over, err);
      segment_free_list(batch);
      source_ack(p->source, p->printed_to);
    }
    if (!ok)
      return false;
  }
  return true;
}

bool preview_run(const struct preview_settings *settings, const struct stop *stop, struct error *err) {
  struct preview p = {
      .settings = settings, .stop = stop, .progress = progress_new(), .watched_ms = clock_monotonic_ms()};
  position_init(&p.from);
  printer_init(&p.printer, settings->out_fd, stop);
  bool started = start(&p, err);
  bool ok = started && stream(&p, err);
  if (started)
    log_info("preview.done", log_int("events", p.events), log_int("quarantined", p.quarantined),
             log_lsn("to", p.printed_to));
  source_stop(p.source);
  progress_free(p.progress);
  partitions_free(p.partitions);
  replication_close(p.rep);
  connection_close(p.conn);
  facts_free(&p.facts);
  printer_free(&p.printer);
  return ok;
}
