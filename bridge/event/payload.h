/* A payload column on its way into a record: embedded in JSON, bare, or as the data of a CloudEvent. */
#ifndef WALFERRY_EVENT_PAYLOAD_H
#define WALFERRY_EVENT_PAYLOAD_H

#include "bridge/base/buffer.h"
#include "bridge/event/record.h"

/* Memory for what does not travel as it came; owned by one builder. */
struct payload_scratch {
  struct buffer decoded; /* the bytes of a bytea */
  struct buffer encoded; /* a JSON string made of a payload */
};

void payload_scratch_init(struct payload_scratch *scratch);
void payload_scratch_free(struct payload_scratch *scratch);
void payload_scratch_reuse(struct payload_scratch *scratch); /* as buffer_reuse */

/* All slices are borrowed from the event and the scratch, until its next use. */

/* One JSON value; `null` for a NULL payload. json and jsonb are JSON by Postgres' word and are not looked at again.
 * false: problem is "payload_not_json". */
bool payload_as_json(struct payload_scratch *scratch, const struct event *event, struct slice *json,
                     struct problem *problem);

/* The payload itself: a text as it is, a bytea's bytes; absent for a NULL one. false: a bytea is not in hex form. */
bool payload_as_bytes(struct payload_scratch *scratch, const struct event *event, struct slice *bytes,
                      struct problem *problem);

struct payload_data {
  struct slice json; /* what stands behind the member's colon; absent: no data */
  bool base64;       /* the member is data_base64, else data */
  struct slice content_type;
};
/* The data of a CloudEvent. Source: CloudEvents JSON event format 1.0, section 3.1. By the row's content type: JSON, or
 * none given, is embedded as JSON, any other text as a string; bytes that are not JSON go in base64.
 * false: problem is "payload_not_json" or "record_too_large". */
bool payload_as_data(struct payload_scratch *scratch, const struct event *event, struct payload_data *data,
                     struct problem *problem);

/* The bytes of a bytea in Postgres' hex form "\x6869", appended: half the text's length, and so within any buffer that
 * a row fits. false: it is of another form. */
bool bytea_decode(struct slice text, struct buffer *bytes);

/* Whether a media type says JSON: its subtype is json or ends in +json. */
bool media_type_is_json(struct slice type);

#endif
