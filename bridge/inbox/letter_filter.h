/* Which dead letters are meant. Pure: no I/O. */
#ifndef WALFERRY_INBOX_LETTER_FILTER_H
#define WALFERRY_INBOX_LETTER_FILTER_H

#include <stdbool.h>
#include <stdint.h>

#include "bridge/base/slice.h"
#include "bridge/base/timestamp.h"

enum letter_state { LETTER_OPEN = 1, LETTER_REPLAYED, LETTER_DISCARDED, LETTER_ANY };
const char *letter_state_name(enum letter_state state);

struct letter_filter {
  int64_t id;                /* 0: any */
  const char *type;          /* exact, or with `*` for any run of characters; NULL: any. No type counts as "" */
  const char *code;          /* NULL: any */
  bool has_since, has_until; /* Unix us: first failed at since or later, and before until */
  int64_t since_us, until_us;
  enum letter_state state;
};

/* Whether it leaves out anything but by state. */
bool letter_filter_narrows(const struct letter_filter *filter);

/* The filter as a condition on the columns of walferry.inbox_dead_letters l, with $1 consumer and $2 to $7 as below. */
extern const char letter_filter_sql[];
#define LETTER_FILTER_PARAMS 7
struct letter_filter_params {
  const char *values[LETTER_FILTER_PARAMS]; /* borrowed from consumer, filter and this struct */
  char id[24], since[TIMESTAMP_TEXT_SIZE], until[TIMESTAMP_TEXT_SIZE];
  char *type; /* owned */
};
void letter_filter_params(const struct letter_filter *filter, const char *consumer,
                          struct letter_filter_params *params);
void letter_filter_params_free(struct letter_filter_params *params);

/* The same of a letter that is no row: whether it matches in type, code and time. first_failure_us: NULL where it is
 * not known, which is neither before nor after any time. */
bool letter_filter_matches(const struct letter_filter *filter, struct slice type, struct slice code,
                           const int64_t *first_failure_us);

#endif
