/* JSON as text (the prefix keeps clear of jansson): whether it is JSON, and where the members of an object stand, so
 * that payloads and numbers travel byte for byte. A parser that builds a tree would need many times a large row's
 * memory and would not keep numbers (1e400, 0.10) as they were written; this needs none and copies nothing. */
#ifndef WALFERRY_BASE_JSONTEXT_H
#define WALFERRY_BASE_JSONTEXT_H

#include "bridge/base/buffer.h"

#define JSONTEXT_DEPTH_MAX 2048 /* nested deeper it counts as no JSON; jansson's limit too */

/* Whether text is one JSON value (RFC 8259) in valid UTF-8, blanks around it allowed, no lone surrogates.
 * If not, *error_at (may be NULL) says at which byte that shows. */
bool jsontext_check(struct slice text, size_t *error_at);

enum jsontext_kind {
  JSONTEXT_OBJECT = 1,
  JSONTEXT_ARRAY,
  JSONTEXT_STRING,
  JSONTEXT_NUMBER,
  JSONTEXT_BOOL,
  JSONTEXT_NULL
};

/* Reads a text front to back and checks it on the way, so that each byte is looked at once. As jsontext_check, but
 * strings may hold bytes that are no UTF-8, as programs write them that pass foreign bytes through. Text that is not
 * JSON latches the reader: from then on it finds nothing. Only once jsontext_read_end has said so, what was read before
 * is known to be part of a JSON text. */
struct jsontext_reader {
  const char *at; /* where it stands; after a failure, where that shows */
  const char *end;
  int depth;      /* of the objects and arrays gone into */
  bool any_bytes; /* in strings: not only UTF-8 */
  bool first;     /* what stands next in the object or array is its first */
  bool failed;
};

struct jsontext_reader jsontext_reader_over(struct slice text);
struct jsontext_reader jsontext_checking_reader_over(struct slice text); /* strings are UTF-8, or it is no JSON */
/* Goes into the object or array that stands next. False, and nothing is read, if something else does. */
bool jsontext_read_open(struct jsontext_reader *r, enum jsontext_kind kind);
/* To the next element of the array gone into; false behind its end, or after a failure. */
bool jsontext_read_element(struct jsontext_reader *r);
/* To the value of the next member of the object gone into; false behind its end, or after a failure.
 * *name as in struct jsontext_member. */
bool jsontext_read_member(struct jsontext_reader *r, struct slice *name);
/* Steps over text if it stands next, so that what was read once need not be taken apart again. It has to lead from
 * where an element stands to where a value of a member stands. False, and nothing is read, if something else does. */
bool jsontext_read_text(struct jsontext_reader *r, struct slice text);
/* The whole value that stands next, as written. False after a failure. */
bool jsontext_read_value(struct jsontext_reader *r, struct slice *value);
/* Whether nothing follows and nothing failed. */
bool jsontext_read_end(struct jsontext_reader *r);

/* What follows takes only what was accepted above. */
enum jsontext_kind jsontext_kind_of(struct slice value);

struct jsontext_member {
  struct slice name;  /* between its quotes, as written: maybe with escapes */
  struct slice value; /* as written, without blanks around it */
};

struct jsontext_members {
  const char *at;
};

/* Walks the members of an object in their order. */
struct jsontext_members jsontext_members_of(struct slice object);
bool jsontext_members_next(struct jsontext_members *members, struct jsontext_member *member);

/* What stands between a string value's quotes, as written. */
struct slice jsontext_string_body(struct slice string);
/* Resolves the escapes of a string's body into to, which has room for body.len bytes and may be the body itself;
 * returns the length. */
size_t jsontext_unescape(struct slice body, char *to);

/* Room for the unescaped strings of one text. None is longer than it is there between its quotes, so that room for the
 * whole text is made once and nothing moves. Kept from text to text, except what a large one left behind. Starts as
 * zeros. */
struct jsontext_scratch {
  char *data;
  size_t capacity;
  size_t used;
};
void jsontext_scratch_free(struct jsontext_scratch *scratch);
/* Ends what was handed out for the text before. */
void jsontext_scratch_reset(struct jsontext_scratch *scratch, size_t text_len);
/* The text of a string's body: where it stands if nothing is escaped, else in the scratch. */
struct slice jsontext_scratch_text(struct jsontext_scratch *scratch, struct slice body);
/* The same, always in the scratch, with a NUL behind it, for which a quote made room. */
struct slice jsontext_scratch_string(struct jsontext_scratch *scratch, struct slice body);

bool utf8_valid(struct slice text);
/* As a JSON string; bytes that are no UTF-8 become U+FFFD each, so that the result is always JSON. */
void jsontext_append_lossy(struct buffer *buf, struct slice text);

#endif
