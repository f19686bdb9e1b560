/* See totals.h. */
#include "bridge/relay/totals.h"

#include <stdio.h>

#include "bridge/base/clock.h"

static void count_quarantined(struct totals *totals, struct slice code) {
  totals->quarantined++;
  int i = 0;
  while (i < totals->code_count && !slice_is(code, totals->codes[i].code))
    i++;
  if (i == TOTALS_CODES_MAX)
    i--;
  struct totals_code *entry = &totals->codes[i];
  if (i == totals->code_count) {
    snprintf(entry->code, sizeof entry->code, "%.*s", SLICE_ARG(code));
    totals->code_count++;
  }
  entry->count++;
}

void totals_add_commit(struct totals *totals, const struct record *const *records, int count, int64_t commit_us) {
  totals->kafka_transactions++;
  histogram_add(&totals->commit, commit_us);
  totals->records += (uint64_t)count;
  for (int i = 0; i < count; i++) {
    totals->bytes += records[i]->key.len + records[i]->value.len;
    if (records[i]->quarantined)
      count_quarantined(totals, record_header_value(records[i], RECORD_HEADER_ERROR_CODE));
  }
}

void totals_add_transactions(struct totals *totals, const struct segment *batch) {
  int64_t now_us = clock_wall_us();
  for (const struct segment *s = batch; s != NULL; s = s->next) {
    if (!s->ends)
      continue;
    totals->transactions++;
    histogram_add(&totals->end_to_end, now_us - s->commit_time_us);
  }
}
