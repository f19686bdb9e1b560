/* From a Kafka record to the event that a handler sees: the way back from record.h. It reads each layout that the relay
 * writes, and the outbox records of Debezium's event router. Pure: no I/O. */
#ifndef WALFERRY_EVENT_RECEIVED_H
#define WALFERRY_EVENT_RECEIVED_H

#include "bridge/base/record_header.h"
#include "bridge/event/record.h"

/* As it came; all borrowed. */
struct received_record {
  const char *topic;
  int32_t partition;
  int64_t offset;
  struct slice key;   /* absent: no key */
  struct slice value; /* absent: a tombstone */
  const struct record_header
      *headers; /* a value may be absent; the last of a name counts, as for Kafka's own clients */
  int header_count;
  int64_t timestamp_ms; /* Unix */
};

/* What the record was taken for. */
enum received_layout {
  RECEIVED_STANDARD = 1,
  RECEIVED_CONTRACT,
  RECEIVED_ACTOR,
  RECEIVED_CLOUDEVENTS, /* 1.0, structured mode */
  RECEIVED_PAYLOAD,     /* the value is the payload; what else is known stands in headers */
  RECEIVED_DEBEZIUM /* the same, in one of the forms that Debezium's event router and Connect's converters give it */
};

struct received {
  enum received_layout layout;
  bool tombstone; /* no value: an event whose payload is null */

  /* Absent where unknown, else UTF-8 without NUL; id is always there. None is empty but those of which an empty text
   * was sent: correlation, causation, trace and tenant. */
  struct slice id; /* the event's, or "<topic>/<partition>/<offset>" where it has none */
  bool id_is_place;
  struct slice type;
  struct slice source;
  struct slice correlation_id;
  struct slice causation_id;
  struct slice trace_id;
  struct slice traceparent; /* well-formed, else left out */
  struct slice tenant_id;

  /* With id: which message this is, for whoever remembers what was processed. The source; without one the topic, as two
   * outboxes may both count from 1. */
  struct slice identity_source;

  /* The event in the layout `standard`, whatever it came in: JSON, not NUL-terminated, the payload byte for byte.
   * Members that this layout does not have are left out. occurred_at is the record's timestamp where the event says
   * none. A payload that is said to be of another type than JSON is a string: its text, or base64 where it is no UTF-8
   * or a CloudEvent's data_base64. Absent where there was a problem. */
  struct slice envelope;

  /* A header that says something else than the value does ("type"; the value counts), or NULL. Literal. */
  const char *contradicted;
};

/* Keeps scratch memory between records; one per thread. */
struct received_reader;
struct received_reader *received_reader_new(void);
void received_reader_free(struct received_reader *reader); /* accepts NULL */

/* All slices of *event are borrowed from the record and the reader, until its next use.
 *
 * The value is an envelope if it has what the relay writes into each: id, type, payload and a time (occurred_at:
 * standard, timestamp: actor, ts: contract), or CloudEvents' specversion, id, source and type. Without a header `type`
 * less will do: payload, and type or eventType. Else it is the payload. What an envelope lacks is taken from the
 * headers of the same name and from the key.
 *
 * A record without the header wf_lsn but with a header `id` is Debezium's: its payload may be a string that holds
 * JSON, its value, key and headers may be JSON, also as {"schema": ..., "payload": ...}, and the type may stand in
 * eventType. Without a type anywhere, type is absent.
 *
 * false: a handler cannot be given this, and *problem says why: payload_not_json, headers_invalid, occurred_at_invalid,
 * record_too_large, envelope_invalid (a member twice, or not of the kind that it has to be). What is known of the event
 * stands in *event all the same. */
bool received_read(struct received_reader *reader, const struct received_record *record, struct received *event,
                   struct problem *problem);

#endif
