/* What arrives inside the COPY stream of START_REPLICATION. Pure: bytes in, fields out.
 * Source: PostgreSQL docs, "Streaming Replication Protocol". */
#ifndef WALFERRY_POSTGRES_FRAME_H
#define WALFERRY_POSTGRES_FRAME_H

#include "bridge/base/error.h"
#include "bridge/base/lsn.h"

enum frame_kind { FRAME_NONE = 1, FRAME_DATA, FRAME_KEEPALIVE };

struct frame {
  enum frame_kind kind;
  lsn_t wal_start;   /* data */
  lsn_t wal_end;     /* data and keepalive */
  bool reply_now;    /* keepalive */
  struct span bytes; /* data: the plugin's message; borrowed from what was parsed */
};

/* XLogData:          'w', wal_start u64, wal_end u64, sent_at i64, the plugin's message to the end
 * Primary keepalive: 'k', wal_end u64, sent_at i64, reply_now u8
 * Big-endian; times in microseconds since 2000-01-01. ERROR_FATAL for any other kind, a short frame, or a keepalive
 * with bytes left over; *frame is then untouched. */
bool frame_parse(struct span bytes, struct frame *frame, struct error *err);

/* Standby status update: 'r', write u64, flush u64, apply u64, sent_at i64, reply_now u8. */
#define FRAME_STATUS_SIZE 34
void frame_write_status(char out[FRAME_STATUS_SIZE], lsn_t write, lsn_t flush, int64_t sent_at_us, bool reply_now);

#endif
