/* How many records there were of each type and topic. */
#ifndef WALFERRY_RELAY_TALLY_H
#define WALFERRY_RELAY_TALLY_H

#include "bridge/event/record.h"

#define TALLY_ENTRIES_MAX 1000 /* types and topics may come from rows */
#define TALLY_OTHERS "(others)"

struct tally_entry {
  const char *type; /* as in the record's header; "" where it has none */
  const char *topic;
  uint64_t records;
};

struct tally;
struct tally *tally_new(void);
void tally_free(struct tally *tally); /* accepts NULL */

/* What comes when there are TALLY_ENTRIES_MAX entries is counted under TALLY_OTHERS, type and topic. */
void tally_note(struct tally *tally, const struct record *record);
/* By topic, then by type. An array of *count, the caller's; what the entries point to is the tally's. */
struct tally_entry *tally_list(const struct tally *tally, int *count);

#endif
