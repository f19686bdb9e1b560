/* The source thread: owns the replication connection. Reads COPY data, decodes it, has segments built and queues them;
 * sends feedback on its own timer, never blocked by Kafka: while the queue is full it stops reading, not answering. */
#ifndef WALFERRY_RELAY_SOURCE_H
#define WALFERRY_RELAY_SOURCE_H

#include "bridge/postgres/replication.h"
#include "bridge/relay/handover.h"
#include "bridge/relay/intake.h"
#include "bridge/relay/progress.h"
#include "decoders/decoder.h"

struct source;

/* The code of the error with which it ended because of Kafka and not of its server. */
extern const char SOURCE_KAFKA_STALLED[];

/* Starts the thread, which takes over the replication connection (START_REPLICATION has been sent) and holds: it
 * answers with flush 0 and reads nothing until source_go. until: 0, or the LSN behind which progress is reported at
 * once. progress is borrowed. */
struct source *source_start(struct replication *rep, lsn_t until, struct progress *progress);

/* Lets it stream with this decoder and intake, both now the source's. */
void source_go(struct source *source, struct decoder *decoder, struct intake *intake);

/* Instead of source_go, once the slot is no longer ours: reads what was sent and drops it, up to the error with which
 * the server ended the stream, and ends with that. */
void source_pass_over(struct source *source);

/* Any thread, one at a time: what may be acknowledged, only rising within a generation. */
void source_ack(struct source *source, lsn_t safe);
/* Publisher thread: a Kafka transaction begins or ended; one that takes long is a Kafka that cannot take more now. */
void source_set_publishing(struct source *source, bool publishing);
struct handover *source_handover(struct source *source);
/* The flush LSN last sent to the server. */
lsn_t source_sent_flush(const struct source *source);

/* Ends the thread (a last feedback, if all is well) and closes the connection, which releases the slot. NULL is fine.
 */
void source_stop(struct source *source);

#endif
