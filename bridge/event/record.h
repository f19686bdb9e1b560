/* A finished Kafka record: topic, key, value, headers, timestamp; and what is needed to quarantine it later.
 * One allocation each; everything in it lives as long as the record. */
#ifndef WALFERRY_EVENT_RECORD_H
#define WALFERRY_EVENT_RECORD_H

#include "bridge/base/blocks.h"
#include "bridge/base/record_header.h"
#include "bridge/event/event.h"
#include "bridge/event/router.h"

#define RECORD_PARTITION_BY_KEY (-1)
#define RECORD_PARTITION_ROUND_ROBIN (-2)

/* Headers of quarantine and dead-letter records. */
#define RECORD_HEADER_ERROR_CODE "wf_error_code"
#define RECORD_HEADER_ERROR_MESSAGE "wf_error_message"
#define RECORD_HEADER_ORIGIN "wf_origin"

struct record {
  struct record *next; /* for whoever holds a list of them */
  const char *topic;   /* NUL-terminated */
  struct slice key;    /* absent: no key */
  struct slice value;  /* absent: a tombstone */
  struct record_header *headers;
  int header_count;
  int64_t timestamp_ms; /* Unix */
  int32_t partition;    /* RECORD_PARTITION_BY_KEY or _ROUND_ROBIN, or the explicit one */
  bool quarantined;     /* already a quarantine record: topic is the quarantine topic */
  bool substitute;      /* such a one, in place of a record that the brokers refused */
  bool bare;            /* the value is the payload alone */
  bool trace_dropped;   /* the row's traceparent was ill-formed and was left out */

  const char *origin; /* "public.outbox" or the message prefix; NUL-terminated, in the record */
  struct slice id;    /* absent where the row had none */
  lsn_t commit_lsn;
  uint32_t xid;
  uint64_t index;                 /* among the counted changes of its transaction, from 0 */
  const struct table_spec *table; /* whose row it is; borrowed; NULL: a message, or made for another record */
};

/* Of one that was made by itself; accepts NULL. */
void record_free(struct record *record);

/* The first header of that name; absent if there is none. */
struct slice record_header_value(const struct record *record, const char *name);

/* What is wrong with a row (static codes):
 * "payload_not_json", "missing_id", "missing_type", "missing_key", "unroutable", "topic_illegal", "record_too_large",
 * "record_refused", "message_not_json", "occurred_at_invalid", "partition_invalid", "headers_invalid". */
struct problem {
  const char *code; /* NULL: nothing wrong */
  char message[256];
};

/* What a record's value looks like (README, "What a record looks like"). */
enum envelope_layout {
  ENVELOPE_STANDARD = 1,
  ENVELOPE_CONTRACT,
  ENVELOPE_ACTOR,
  ENVELOPE_CLOUDEVENTS, /* 1.0, structured mode */
  ENVELOPE_PAYLOAD      /* the payload alone: nothing is checked, and NULL is a tombstone */
};

struct record_rules {
  const char *instance; /* for the default source "<instance>.<schema>.<table>" */
  enum envelope_layout layout;
  bool versioned_types; /* `order.created` of version 1 is published as `order.created.v1` */
  const struct router *router;
  const char *quarantine_topic;
  const char *topic;         /* all that is routed goes there instead; NULL: where it is routed to */
  const char *topic_suffix;  /* is put behind that; NULL: nothing */
  struct record_header mark; /* one more header of each record, quarantine records too: how it got out if not by way of
                                the stream (HEADER_REPLAY, HEADER_SNAPSHOT); name NULL: none */
};

/* Keeps scratch memory between records; one per thread. */
struct record_builder;
struct record_builder *record_builder_new(const struct record_rules *rules); /* rules are borrowed */
void record_builder_free(struct record_builder *builder);

/* Builds the record of an event: envelope, headers, topic, key. Routes and templates see the type as it is written. A
 * traceparent that is none is left out; where one is there without a trace id, the id is taken from it. Never fails for
 * what is wrong with the row: then problem is filled and NULL returned, and the caller quarantines
 * (record_build_quarantine) or stops. The record is made in memory, and ends with it; by itself where that is NULL. */
struct record *record_build(struct record_builder *builder, const struct event *event, struct blocks *memory,
                            struct problem *problem);

/* The quarantine record of a row (README, "Quarantine"): key = the original's; value = JSON {original_topic (if known),
 * origin, lsn, index, id, original_key, fields, column_headers, payload_form, payload | payload_base64,
 * error{code,message,details}, attempts: 1, first_failure, last_failure}; headers: id, type, wf_lsn, wf_tx,
 * wf_error_code, wf_error_message, wf_origin. Both times are the commit's; fields holds the row's other columns by
 * role, as text. payload by payload_form: "json" verbatim; "text" verbatim if it is JSON, but no string, else the text
 * as a string (in payload_base64 if it is no UTF-8); "bytea" in payload_base64. A NULL payload is null, and has no
 * form. A payload too large for any of these gives way to its size and hash in details. */
struct record *record_build_quarantine(struct record_builder *builder, const struct event *event, struct blocks *memory,
                                       const struct problem *problem);

/* The same for a record that the broker (or a size limit) refused: with the envelope it would have had (or payload,
 * where it has none; payload_base64 where the value is no JSON), original_partition (if explicit) and original_headers
 * (of a dead-letter record a name may stand there twice).
 * For "record_too_large", with size and hash (FNV-1a 64, hex) in details instead of envelope and headers, id and type
 * cut to 1 KiB, and no key above 64 KiB. Its timestamp_ms is 0, now: the record's own may be what the broker refused.
 */
struct record *record_quarantine(const struct record *refused, const char *quarantine_topic,
                                 const struct problem *problem);

#endif
