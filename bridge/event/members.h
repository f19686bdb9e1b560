/* The members of a JSON object by role: it is checked and taken apart in one go, in place; only strings with escapes
 * are copied. */
#ifndef WALFERRY_EVENT_MEMBERS_H
#define WALFERRY_EVENT_MEMBERS_H

#include "bridge/base/jsontext.h"

#define MEMBERS_MAX 48 /* at most 64 */

/* A table of these ends with a NULL name; several names may have one role, if no object has two of them. */
struct member_role {
  const char *name;
  int role; /* below MEMBERS_MAX */
};

/* By role, as written, borrowed from the object. */
struct members {
  struct slice values[MEMBERS_MAX]; /* absent where the member is missing or null */
  uint64_t seen;                    /* a bit for each role that stands there, null or not */
  size_t count;                     /* of all members, those without a role too */
  bool twice;                       /* a role stands there twice: it is not known which is meant; the first is kept */
};

static inline bool members_seen(const struct members *members, int role) {
  return members->seen >> role & 1;
}

/* Reads a whole text. Names with escapes are resolved in the scratch, which has room for the object. false: it is no
 * JSON object, and nothing is found. */
bool members_collect(struct jsontext_scratch *scratch, struct slice object, const struct member_role *roles,
                     struct members *found);
/* The same for a member's value. None (absent) has no members. false: it is no object, or one of its roles stands there
 * twice. */
bool members_nested(struct jsontext_scratch *scratch, struct slice object, const struct member_role *roles,
                    struct members *found);
/* The text of a string, number or boolean; an absent value leaves *text as it is. false: it is an object or array. */
bool members_text(struct jsontext_scratch *scratch, struct slice value, struct slice *text);

#endif
