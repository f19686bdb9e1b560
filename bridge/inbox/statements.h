/* Every SQL statement of the inbox, with what it guarantees. Pure: texts; who runs them is bridge/inbox/store.
 * The tables are made by bridge/ops/init_inbox.c. Levels: READ COMMITTED; each is prepared once a session.
 *
 * A batch is one transaction, and all of it can be sent in one go:
 *   BEGIN; INBOX_MARKS_LOCK; for each partition INBOX_OFFSET_SWAP; for each message INBOX_HANDLE's statement; COMMIT.
 *
 * Why one effect for each (consumer, source, message id), whoever else handles the same id at the same time:
 * - A mark is a row of inbox_processed_messages. Its partitions are generations; the newest that is opened takes all
 *   marks, and is unique on (message id, source, consumer). A second transaction that marks the same waits there until
 *   the first has ended, and then finds the conflict (committed) or marks itself (rolled back).
 * - The other generations are closed: all their marks are committed and seen by every later statement. For only
 *   walferry.inbox_maintain opens the next, while it holds a lock on the table that excludes each batch's own
 *   (INBOX_MARKS_LOCK), which a batch takes before it looks which generation is open.
 * What else was measured, and why a clock cannot tell generations apart: docs/architecture.md, "Marks of the inbox". */
#ifndef WALFERRY_INBOX_STATEMENTS_H
#define WALFERRY_INBOX_STATEMENTS_H

#include "bridge/base/buffer.h"

/* The version of the tables that these statements are for. */
#define INBOX_LAYOUT 1

enum inbox_statement {
  /* -> version. Other than INBOX_LAYOUT, or an error (42P01, no such table): `walferry init` has to be run. */
  INBOX_LAYOUT_READ,

  /* $1 schema.function -> returns_set, volatile, executable; no row: there is no such function that takes one jsonb; of
   * two the one that the call would choose. A handler returns no set, and is volatile: another might be called while
   * the statement is planned. */
  INBOX_HANDLER_LOOK,

  /* $1 consumer, $2 topic, $3 partition -> next_offset, claim, died_after, cluster_id, record_offset,
   * record_timestamp, record_id; no row: never consumed. died_after: how far whoever had it last got with it, and did
   * not end in good order, so that a message from next_offset on may be what it died of; else NULL. */
  INBOX_OFFSET_READ,
  /* $1 to $3, $4 next_offset, $5 cluster_id. The row of a partition that is consumed for the first time; where another
   * was faster, its row stays. */
  INBOX_OFFSET_ENTER,
  /* $1 to $3, $4 the claim that was read, $5 cluster_id -> claim. From here on the partition is ours and dirty, and no
   * holder of an earlier claim can commit anything. No row: another claimed it since it was read. Commit it by itself,
   * before the first batch. 55P03 (lock_not_available): for two seconds another session had the row locked. */
  INBOX_OFFSET_CLAIM,
  /* $1 to $3. Ends that session, if it is named like ours and waits for its client: a process that hangs in the middle
   * of a batch would keep its locks until it goes on. (No time-out of the server's ends such a session: for it a client
   * that has not sent all of a pipeline is not idle.) */
  INBOX_OFFSET_EVICT,
  /* $1 to $3, $4 our claim. After the last batch: not dirty any more. Where another has claimed it, nothing happens. */
  INBOX_OFFSET_RELEASE,

  /* Before anything else in a transaction that marks: the open generation stays open until its end. */
  INBOX_MARKS_LOCK,
  /* $1 to $3, $4 our claim, $5 the offset it stands at, $6 the next offset, $7 to $9 offset, timestamp (ms) and id of
   * the last record before it. Moves it exactly from $5, or raises 22012 (division_by_zero), so that a COMMIT which was
   * sent behind it commits nothing: the partition was claimed by another, or stands elsewhere. Whoever holds the row
   * locked (a batch under way in a process that hangs) is waited for. */
  INBOX_OFFSET_SWAP,

  /* $1 consumer, $2 topic, $3 partition, $4 offset, $5 our claim -> attempts, this one included. Committed by itself
   * before a message is called alone, so that it is counted even if process or server die of it. No row: another has
   * claimed the partition, and may have settled the message. */
  INBOX_ATTEMPT_BEGIN,
  /* $1 to $4, $5 error as JSON. What the attempt failed with. */
  INBOX_ATTEMPT_FAILED,
  /* $1 to $4. The attempt does not count: the server was shut down, or we were stopped. */
  INBOX_ATTEMPT_UNCOUNT,
  /* $1 to $4. In the transaction that settles the message. */
  INBOX_ATTEMPT_FORGET,

  /* $1 consumer, $2 topic, $3 partition, $4 offset, $5 timestamp (ms), $6 key, $7 headers (JSON), $8 value, $9 source,
   * $10 message id, $11 type, $12 code, $13 message, $14 details (JSON), $15 hold -> id, attempts, first_failure,
   * last_failure (RFC 3339). Takes over and forgets the attempts. With hold, and where there is a key, later messages
   * of the key are parked from this transaction on. In the transaction that moves the offset past it. It makes no mark:
   * a replay calls the handler. */
  INBOX_DEAD_LETTER,
  /* $1 the dead letter as dead_letter_write puts it. The relay publishes it once the transaction has committed. */
  INBOX_DEAD_LETTER_EMIT,
  /* $1 consumer, $2 topic, $3 partition, $4 offset, $5 timestamp (ms), $6 key, $7 headers (JSON), $8 value -> 'parked',
   * as INBOX_HANDLE's statement has it; no row: the key is not held. For a message that no handler is called for: it
   * would be a dead letter, but not before those of its key that wait. */
  INBOX_PARK,
  /* $1 id, $2 'replayed' or 'discarded'. 0 rows: it is not open (any more). */
  INBOX_DEAD_LETTER_RESOLVE,

  /* $1 consumer, $2 topic, $3 key -> dead_letter. Until the end of the transaction nothing is parked behind the key,
   * and all that was parked is committed. No row: it is not held. */
  INBOX_HOLD_LOCK,
  /* $1 to $3, $4 how many -> id, partition, record_offset, record_timestamp, key, headers, value; in the order in which
   * they were parked. Behind INBOX_HOLD_LOCK. */
  INBOX_PARKED_NEXT,
  /* $1 id. In the transaction that handles it (by INBOX_REPLAY's statement) or makes a dead letter of it. */
  INBOX_PARKED_REMOVE,
  /* $1 to $3. Lets go of the key if nothing is parked behind it any more (1 row). Behind INBOX_HOLD_LOCK. */
  INBOX_HOLD_RELEASE,

  /* $1 retention of the marks, as an interval -> whether all that was due is done. By itself; every minute or so. */
  INBOX_MAINTAIN,

  INBOX_STATEMENT_COUNT
};

struct inbox_statement_text {
  const char *name; /* to prepare it under */
  const char *sql;
};
/* By enum inbox_statement. */
extern const struct inbox_statement_text inbox_statements[INBOX_STATEMENT_COUNT];

/* How the statement of a handler treats a message whose key is held. */
enum inbox_calling {
  INBOX_HANDLE = 1, /* parks it */
  INBOX_REPLAY      /* calls all the same: it is what was held, behind INBOX_HOLD_LOCK */
};

/* The statement that handles one message with the function `handler` ("schema.function", plain identifiers as the
 * config lets in; it takes a jsonb), behind INBOX_MARKS_LOCK. $1 consumer, $2 source, $3 message id, $4 correlation_id,
 * $5 causation_id, $6 trace_id, $7 traceparent, $8 tenant_id, $9 the event as jsonb; INBOX_HANDLE also: $10 topic, $11
 * partition, $12 offset, $13 timestamp (ms), $14 key, $15 headers (JSON), $16 value.
 * -> outcome 'called': the mark was new, and was made before the handler was called; for the handler the settings
 *    walferry.correlation_id to walferry.tenant_id ('' for NULL) hold, as walferry.emit reads them. Third column: how
 *    long mark and handler took, in microseconds.
 * -> outcome 'parked': the key is held; there is no mark.
 * -> no row: the mark was there (made by another, committed transaction, or earlier in this one); nothing was called.
 * One of the three always, and decided in one statement, so that a hold which comes or goes meanwhile loses nothing. */
void inbox_statement_call(struct buffer *sql, const char *handler, enum inbox_calling calling);

#endif
