/* See traceparent.h. */
#include "bridge/event/traceparent.h"

#define LENGTH 55 /* of version 00 */

static bool is_hex(struct slice text) {
  for (size_t i = 0; i < text.len; i++)
    if ((text.data[i] < '0' || text.data[i] > '9') && (text.data[i] < 'a' || text.data[i] > 'f'))
      return false;
  return true;
}

static bool is_id(struct slice text) {
  bool zero = true;
  for (size_t i = 0; i < text.len; i++)
    zero = zero && text.data[i] == '0';
  return !zero && is_hex(text);
}

bool traceparent_parse(struct slice text, struct slice *trace_id) {
  if (text.len < LENGTH || text.data[2] != '-' || text.data[35] != '-' || text.data[52] != '-')
    return false;
  struct slice version = slice_from(text.data, 2), trace = slice_from(text.data + 3, 32);
  if (!is_hex(version) || slice_is(version, "ff") || !is_id(trace) || !is_id(slice_from(text.data + 36, 16)) ||
      !is_hex(slice_from(text.data + 53, 2)))
    return false;
  if (text.len > LENGTH && (slice_is(version, "00") || text.data[LENGTH] != '-'))
    return false;
  *trace_id = trace;
  return true;
}
