/* Records that a broker refused in the company of others, by (commit LSN, index): remembered across recoveries until
 * it is known of each whether it was at fault. */
#ifndef WALFERRY_RELAY_SUSPECTS_H
#define WALFERRY_RELAY_SUSPECTS_H

#include <stdbool.h>
#include <stdint.h>

#include "bridge/base/lsn.h"

struct suspects;
struct suspects *suspects_new(void);
void suspects_free(struct suspects *s);
void suspects_add(struct suspects *s, lsn_t commit_lsn, uint64_t index);
bool suspects_empty(const struct suspects *s);
bool suspects_has(const struct suspects *s, lsn_t commit_lsn, uint64_t index);
/* Tried alone, and refused again: it need not be tried any more. No matter where it is no suspect. */
void suspects_refuse(struct suspects *s, lsn_t commit_lsn, uint64_t index, const char *reason);
/* Why it was refused alone, borrowed until it is settled; NULL where it was not. */
const char *suspects_refusal(const struct suspects *s, lsn_t commit_lsn, uint64_t index);
/* Decided: forgotten. */
void suspects_settle(struct suspects *s, lsn_t commit_lsn, uint64_t index);

#endif
