/* A record as a line of JSON, for people and for jq. Pure. */
#ifndef WALFERRY_EVENT_PRINT_H
#define WALFERRY_EVENT_PRINT_H

#include "bridge/base/buffer.h"
#include "bridge/event/record.h"

/* A control character takes six bytes: no line of a row that Postgres can hold is longer. */
#define PRINT_LINE_MAX (8 * BUFFER_MAX_ROW)

/* Appends {"topic","partition" (null: by key),"key","headers" (an object),"timestamp" (Unix ms),"value","lsn" (of the
 * commit),"xid","index"} and a newline. A quarantine record also has "quarantined": true.
 * value: the record's own JSON, in which only line breaks between tokens became blanks. What is no JSON is in
 * "value_text" instead, and what is no UTF-8 either in "value_base64"; likewise "key" and "key_base64". A tombstone's
 * value is null, with "tombstone": true. */
void record_print(const struct record *record, struct buffer *line);

#endif
