/* The transactions of the inbox: a batch of messages, or one message by itself, and what follows where one fails. Each
 * call makes at most one step with the partitions it is given and leaves them in order, whatever happens. */
#ifndef WALFERRY_INBOX_HANDLE_H
#define WALFERRY_INBOX_HANDLE_H

#include "bridge/inbox/inbox.h"
#include "bridge/inbox/partition.h"

struct handling;

/* All borrowed but what it makes for itself. */
struct handling *handling_new(const struct inbox_settings *settings, struct inbox_report *report);
void handling_free(struct handling *h); /* accepts NULL */

/* What is to be done with a message; it becomes the result's. */
struct partition_message *handling_decide(struct handling *h, struct consumer_message *message);

/* What the transactions run on. A new store first counts back the attempt that the last one could not. */
bool handling_connect(struct handling *h, struct store *store, struct consumer *consumer, struct error *err);

/* The next messages of the partitions that have some which may run together, in turns; nothing where none has. false:
 * the store is of no use any more (or the consumer; ERROR_START_OVER). */
bool handling_batch(struct handling *h, struct partition *const *partitions, int count, struct error *err);
/* Whether the first message of a partition has to run by itself, and can now. */
bool handling_runs_alone(const struct partition *p);
/* That message. */
bool handling_alone(struct handling *h, struct partition *p, struct error *err);

#endif
