/* See frame.h. */
#include "bridge/postgres/frame.h"

enum { DATA_HEADER_SIZE = 1 + 8 + 8 + 8, KEEPALIVE_SIZE = 1 + 8 + 8 + 1 };

static uint64_t read_u64(const char *at) {
  uint64_t value = 0;
  for (int i = 0; i < 8; i++)
    value = value << 8 | (uint8_t)at[i];
  return value;
}

static char *write_u64(char *at, uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8)
    *at++ = (char)(uint8_t)(value >> shift);
  return at;
}

static bool parse_data(struct span bytes, struct frame *frame, struct error *err) {
  if (bytes.len < DATA_HEADER_SIZE)
    return error_set(err, ERROR_FATAL, "short data frame in the replication stream: %zu bytes, at least %d expected",
                     bytes.len, DATA_HEADER_SIZE);
  *frame = (struct frame){.kind = FRAME_DATA,
                          .wal_start = read_u64(bytes.data + 1),
                          .wal_end = read_u64(bytes.data + 9),
                          .bytes = {.data = bytes.data + DATA_HEADER_SIZE, .len = bytes.len - DATA_HEADER_SIZE}};
  return true;
}

static bool parse_keepalive(struct span bytes, struct frame *frame, struct error *err) {
  if (bytes.len != KEEPALIVE_SIZE)
    return error_set(err, ERROR_FATAL, "malformed keepalive in the replication stream: %zu bytes, %d expected",
                     bytes.len, KEEPALIVE_SIZE);
  *frame = (struct frame){
      .kind = FRAME_KEEPALIVE, .wal_end = read_u64(bytes.data + 1), .reply_now = bytes.data[KEEPALIVE_SIZE - 1] != 0};
  return true;
}

bool frame_parse(struct span bytes, struct frame *frame, struct error *err) {
  if (bytes.len == 0)
    return error_set(err, ERROR_FATAL, "empty frame in the replication stream");
  switch (bytes.data[0]) {
  case 'w':
    return parse_data(bytes, frame, err);
  case 'k':
    return parse_keepalive(bytes, frame, err);
  default:
    return error_set(err, ERROR_FATAL, "unknown frame kind 0x%02x in the replication stream", (uint8_t)bytes.data[0]);
  }
}

void frame_write_status(char out[FRAME_STATUS_SIZE], lsn_t write, lsn_t flush, int64_t sent_at_us, bool reply_now) {
  char *at = out;
  *at++ = 'r';
  at = write_u64(at, write);
  at = write_u64(at, flush);
  at = write_u64(at, flush); /* apply; a logical slot does not look at it */
  at = write_u64(at, (uint64_t)sent_at_us);
  *at = reply_now ? 1 : 0;
}
