/* A Kafka record as it stands in a row of the inbox (inbox_dead_letters, inbox_parked), and back. Pure: no I/O. */
#ifndef WALFERRY_INBOX_STORED_H
#define WALFERRY_INBOX_STORED_H

#include "bridge/base/buffer.h"
#include "bridge/event/header_json.h"
#include "bridge/event/received.h"

/* The columns as text; NULL is SQL NULL. key and value as `\x00ff` (bytea_output = hex), headers as header_json.h has
 * them. */
struct stored_row {
  const char *topic;
  const char *partition, *offset, *timestamp_ms;
  const char *key, *headers, *value;
};

/* The memory of a record that was read. Starts as zeros. */
struct stored {
  struct buffer key, value;
  struct header_json headers;
};
void stored_free(struct stored *stored);

/* The record, borrowed from the row and from *stored, until its next use. false: the row was not written by an inbox,
 * and *problem is headers_invalid or payload_not_json; what cannot be read is then absent. */
bool stored_read(struct stored *stored, const struct stored_row *row, struct received_record *record,
                 struct problem *problem);

#endif
