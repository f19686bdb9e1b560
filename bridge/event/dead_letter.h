/* Dead letters of the inbox on their way to Kafka: as the text of a logical message, which commits or is rolled back
 * with the rest of the inbox's transaction, and from there as the record that the relay publishes. Pure: no I/O.
 *
 * The record (README, "Dead letters"): topic = the original's and the suffix; key = the original's bytes; headers = all
 * of the original's, byte for byte and in their order, then four of our own: RECORD_HEADER_ERROR_CODE, _ERROR_MESSAGE,
 * RECORD_HEADER_ORIGIN ("<topic>/<partition>/<offset>") and DEAD_LETTER_HEADER_CONSUMER. Timestamp: that of the commit,
 * since a topic that keeps its records by age would give up an old event's letter at once.
 *
 * Its value is a JSON object:
 *   original_topic, original_partition, original_offset
 *   original_timestamp: Unix ms; left out where the record had none
 *   original_key: text, repaired where it is no UTF-8; null
 *   original_header_count: how many of the headers, from the first, are the original's
 *   consumer; id and type as the inbox read them, type null where there is none
 *   the original's value as one of
 *     envelope: byte for byte, JSON in one of the layouts that have an envelope
 *     payload: the same for any other JSON; null: there was no value, a tombstone
 *     payload_base64: its bytes. All else, and JSON that would not come back byte for byte: null itself, with blanks
 *       around it, or nested as deep as JSON may be
 *   error {code, message, details (an object)}, attempts, first_failure, last_failure
 *
 * So the original can be sent again byte for byte: its key is the record's, its headers are the first so many, and its
 * value is what stands from the first to the last byte of the member's value, decoded where it is payload_base64. */
#ifndef WALFERRY_EVENT_DEAD_LETTER_H
#define WALFERRY_EVENT_DEAD_LETTER_H

#include "bridge/event/received.h"

#define DEAD_LETTER_HEADER_CONSUMER "wf_consumer"

/* All borrowed. */
struct dead_letter {
  const struct received_record *record;
  const struct received *received; /* what was read of it; without an envelope where there was a problem */
  const char *code;
  struct slice message;
  struct slice details; /* a JSON object; absent: none */
  int attempts;
  struct slice first_failure, last_failure; /* RFC 3339; absent: not known */
  const char *topic_suffix;
  const char *consumer;
};

/* Appends the message's text: ASCII, and so the same in each encoding that a database may have. *out overflows where
 * it is more than Postgres can hold.
 *   {"topic":T,"id":B,"key":B|null,"headers":[B,B|null,...],"value":B}
 * T the record's topic, B base64, the headers as name and value in turn. */
void dead_letter_write(struct buffer *out, const struct dead_letter *letter);

/* The record of such a text, which is the event's payload; event->dead_letter is set, and what says where the message
 * stood. NULL: the text is not exactly of this form, and *problem says so ("message_not_json"): somebody else wrote it.
 * Memory as for record_build. */
struct record *dead_letter_record(struct record_builder *builder, const struct event *event, struct blocks *memory,
                                  struct problem *problem);

/* What such a record says, and the original in it. All slices are borrowed from the record and the reader, until its
 * next use. */
struct dead_letter_copy {
  struct received_record original; /* timestamp_ms is -1 where it had none */
  struct slice type, code;         /* type absent: none */
  bool has_first_failure;
  int64_t first_failure_us; /* Unix */
};

/* Keeps scratch memory between records; one per thread. */
struct dead_letter_reader;
struct dead_letter_reader *dead_letter_reader_new(void);
void dead_letter_reader_free(struct dead_letter_reader *reader); /* accepts NULL */

/* false: the record is not of the form above, and *why, a literal, says what of it is missing. */
bool dead_letter_read(struct dead_letter_reader *reader, const struct received_record *record,
                      struct dead_letter_copy *copy, const char **why);

#endif
