/* What a publisher has published, counted since the start of the process, and only what is committed. */
#ifndef WALFERRY_RELAY_TOTALS_H
#define WALFERRY_RELAY_TOTALS_H

#include "bridge/base/histogram.h"
#include "bridge/relay/segment.h"

#define TOTALS_CODES_MAX 32

struct totals {
  uint64_t records; /* quarantine records too */
  uint64_t bytes;   /* their keys and values */
  uint64_t quarantined;
  struct totals_code { /* the same by code; code_count of them, the last for what is beyond */
    char code[32];
    uint64_t count;
  } codes[TOTALS_CODES_MAX];
  int code_count;
  uint64_t transactions;       /* Postgres transactions that ended with these records */
  uint64_t kafka_transactions; /* those that hold a position alone too */
  uint64_t producers_renewed;
  struct histogram commit;     /* duration of the Kafka commit */
  struct histogram end_to_end; /* from the Postgres commit until the Kafka commit returned, once a Postgres
                                  transaction; of two clocks, where the servers are not on one machine */
};

/* A Kafka transaction with these records was committed, which took so long. */
void totals_add_commit(struct totals *totals, const struct record *const *records, int count, int64_t commit_us);
/* And these are the Postgres transactions, or parts of them, that it holds. */
void totals_add_transactions(struct totals *totals, const struct segment *batch);

#endif
