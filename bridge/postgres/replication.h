/* The replication connection: commands, COPY framing and feedback.
 * Source: PostgreSQL docs, "Streaming Replication Protocol". Owned by one thread at a time. */
#ifndef WALFERRY_POSTGRES_REPLICATION_H
#define WALFERRY_POSTGRES_REPLICATION_H

#include <stdint.h>

#include "bridge/base/error.h"
#include "bridge/base/lsn.h"
#include "bridge/postgres/frame.h"

struct replication;

struct replication_identity { /* IDENTIFY_SYSTEM */
  char system_id[24];         /* decimal */
  uint32_t timeline;
  lsn_t flush_lsn; /* the server's WAL flush position */
};

/* Connects with replication=database, TCP keepalives and tcp_user_timeout 30 s unless the conninfo sets them.
 * ERROR_CONFIG for refused credentials, ERROR_RETRY for all else. */
struct replication *replication_open(const char *conninfo, const char *name, struct error *err);
void replication_close(struct replication *rep); /* accepts NULL; releases the slot */
int replication_backend_pid(const struct replication *rep);
int replication_socket(const struct replication *rep);                /* for poll(2) */
int64_t replication_sender_timeout_ms(const struct replication *rep); /* wal_sender_timeout; 0 is off */

bool replication_identify(struct replication *rep, struct replication_identity *identity, struct error *err);

/* Where a timeline ended, from TIMELINE_HISTORY of the current one. *found is false when `timeline` is not among the
 * ancestors of `current`. */
bool replication_timeline_end(struct replication *rep, uint32_t current, uint32_t timeline, bool *found, lsn_t *end,
                              struct error *err);

struct replication_snapshot { /* what was committed at a slot's consistent point, for SET TRANSACTION SNAPSHOT */
  char name[64];
};

/* A logical slot, not temporary; failover: one that standbys synchronise (Postgres 17). *exists instead of an error if
 * the name is taken. *consistent_point: from where it streams. snapshot: NULL, or to be exported; it lasts until the
 * connection's next command or end. */
bool replication_create_slot(struct replication *rep, const char *slot, const char *plugin, bool failover, bool *exists,
                             lsn_t *consistent_point, struct replication_snapshot *snapshot, struct error *err);
/* Makes a slot that nobody reads one that standbys synchronise. ERROR_RETRY if somebody does meanwhile: the server
 * would wait for that one's end. */
bool replication_set_failover(struct replication *rep, const char *slot, struct error *err);

/* A copy of a logical slot that stands where it does, also while another connection holds the slot, which stays as it
 * is. The copy is temporary: it ends with this connection. *exists instead of an error if its name is taken. A missing
 * slot is ERROR_REFUSED "slot_missing". */
bool replication_copy_slot(struct replication *rep, const char *slot, const char *copy, bool *exists,
                           struct error *err);

/* START_REPLICATION SLOT ... LOGICAL from (options). from: the first transaction sent is the first whose commit record
 * starts there or behind it, but never before where the slot stands; 0: there. option_count pairs name, value. *busy
 * instead of an error if another connection holds the slot (55006). A missing slot is ERROR_REFUSED "slot_missing"; a
 * plugin that the server does not allow is ERROR_REFUSED "plugin_not_allowed". */
bool replication_start(struct replication *rep, const char *slot, lsn_t from, int option_count,
                       const char *const *options, bool *busy, struct error *err);

/* Never blocks: FRAME_NONE when no whole frame is there (poll the socket, then call again). Errors: the server ended
 * the stream or the connection broke: ERROR_RETRY. SQLSTATE 54000 or XX000 in the stream (a row that the server cannot
 * decode): ERROR_RETRY with code "decode_failed". A malformed frame: ERROR_FATAL. */
bool replication_read(struct replication *rep, struct frame *frame, struct error *err);
/* Gives up the bytes of the frame read last, which may be a large row's; the next read does, too. */
void replication_forget(struct replication *rep);

/* Standby status update. flush is what the slot may forget; 0 leaves the slot where it is. Blocks at most for the
 * socket's buffer to take 34 bytes (bounded by 10 s). */
bool replication_feedback(struct replication *rep, lsn_t write, lsn_t flush, bool request_reply, struct error *err);

#endif
