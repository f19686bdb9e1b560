/* Writes JSON objects member by member: a comma stands where what comes before asks for one. For texts of fixed members
 * that others read; jsontext.h is for reading. */
#ifndef WALFERRY_BASE_JSONOBJECT_H
#define WALFERRY_BASE_JSONOBJECT_H

#include <stdbool.h>
#include <stdint.h>

#include "bridge/base/buffer.h"
#include "bridge/base/lsn.h"

/* A member's name (any bytes) and colon; its value is appended next, in whatever way. */
void jsonobject_key(struct buffer *json, const char *name);
/* A member that is an object, or one that stands by itself or in an array (NULL); then its own members follow. */
void jsonobject_open(struct buffer *json, const char *name);
void jsonobject_close(struct buffer *json);

void jsonobject_text(struct buffer *json, const char *name, const char *value); /* any bytes; NULL is null */
void jsonobject_integer(struct buffer *json, const char *name, int64_t value);
void jsonobject_bool(struct buffer *json, const char *name, bool value);
void jsonobject_moment(struct buffer *json, const char *name, int64_t unix_us);      /* RFC 3339; 0 is null */
void jsonobject_lsn(struct buffer *json, const char *name, lsn_t value);             /* 0 is null */
void jsonobject_slice(struct buffer *json, const char *name, struct slice text);     /* any bytes; absent is null */
void jsonobject_verbatim(struct buffer *json, const char *name, struct slice value); /* which is JSON */
void jsonobject_base64(struct buffer *json, const char *name, struct slice bytes);

#endif
