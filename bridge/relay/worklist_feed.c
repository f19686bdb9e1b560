/* See worklist_feed.h. */
#include "bridge/relay/worklist_feed.h"

/* What one Kafka transaction takes. A quarter of what the stream's takes: there is no queue behind it that fills up
 * meanwhile, and memory is bounded all the same. */
#define BATCH_BYTES (3 << 20)
#define BATCH_ROWS 10000

/* Moves *next behind the rows of the batch. The list is the caller's, also on failure. */
static bool read_batch(const struct worklist_feed *feed, struct intake *intake, uint64_t *next, uint64_t rows,
                       struct segment **batch, struct error *err) {
  struct segment **end = batch;
  size_t bytes = 0;
  int64_t records = 0, most = feed->records_max > 0 ? feed->records_max : INT64_MAX;
  for (int looked = 0; looked < BATCH_ROWS && records < most && bytes < BATCH_BYTES && *next < rows; looked++) {
    struct change change;
    if (!worklist_read(feed->list, *next, &change, err) || !intake_change(intake, &change, err))
      return false;
    worklist_forget(feed->list);
    ++*next;
    while ((*end = intake_next_segment(intake)) != NULL) {
      bytes += (*end)->bytes;
      records += (*end)->count;
      end = &(*end)->next;
    }
  }
  intake_cut(intake);
  *end = intake_next_segment(intake);
  return feed->wait.go_on(feed->wait.ctx, err);
}

bool worklist_feed_run(const struct worklist_feed *feed, uint64_t next, uint64_t end, struct error *err) {
  struct intake *intake = intake_new(feed->rules, feed->position, false);
  struct change begin = {.kind = CHANGE_BEGIN,
                         .begin = {.commit_lsn = feed->lsn, .commit_time_us = feed->taken_us, .first_index = next}};
  bool ok = intake_change(intake, &begin, err);
  while (ok && next < end) {
    struct segment *batch = NULL;
    ok = read_batch(feed, intake, &next, end, &batch, err) && feed->take(feed->ctx, batch, next, err);
    segment_free_list(batch);
  }
  intake_free(intake);
  return ok;
}
