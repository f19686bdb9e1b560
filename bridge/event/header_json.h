/* The headers of a consumed record as JSON and back, byte for byte: an array in their order of
 *   {"name": NAME, "value": TEXT}     valid UTF-8 without NUL
 *   {"name": NAME, "base64": BYTES}   any other value
 *   {"name": NAME}                    no value
 * It is JSON that jsonb takes; so a name that is no UTF-8 is repaired. Pure. */
#ifndef WALFERRY_EVENT_HEADER_JSON_H
#define WALFERRY_EVENT_HEADER_JSON_H

#include "bridge/base/buffer.h"
#include "bridge/base/record_header.h"

void header_json_write(struct buffer *out, const struct record_header *headers, int count);

struct header_json {
  struct record_header *items;
  int count;
  struct buffer texts; /* that the items point to */
};
/* false: it is not of the form above; there is nothing to free then. */
bool header_json_read(struct slice json, struct header_json *headers);
void header_json_free(struct header_json *headers);

#endif
