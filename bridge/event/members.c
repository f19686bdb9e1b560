/* See members.h. */
#include "bridge/event/members.h"

bool members_collect(struct jsontext_scratch *scratch, struct slice object, const struct member_role *roles,
                     struct members *found) {
  *found = (struct members){0};
  struct jsontext_reader reader = jsontext_checking_reader_over(object);
  struct slice raw_name, value;
  if (!jsontext_read_open(&reader, JSONTEXT_OBJECT))
    return false;
  while (jsontext_read_member(&reader, &raw_name) && jsontext_read_value(&reader, &value)) {
    found->count++;
    struct slice name = jsontext_scratch_text(scratch, raw_name);
    const struct member_role *r = roles;
    while (r->name != NULL && !slice_is(name, r->name))
      r++;
    if (r->name == NULL)
      continue;
    if (members_seen(found, r->role)) {
      found->twice = true;
      continue;
    }
    found->seen |= UINT64_C(1) << r->role;
    if (jsontext_kind_of(value) != JSONTEXT_NULL)
      found->values[r->role] = value;
  }
  if (jsontext_read_end(&reader))
    return true;
  *found = (struct members){0}; /* what is no JSON has no members */
  return false;
}

bool members_nested(struct jsontext_scratch *scratch, struct slice object, const struct member_role *roles,
                    struct members *found) {
  *found = (struct members){0};
  if (!slice_present(object))
    return true;
  return jsontext_kind_of(object) == JSONTEXT_OBJECT && members_collect(scratch, object, roles, found) && !found->twice;
}

bool members_text(struct jsontext_scratch *scratch, struct slice value, struct slice *text) {
  if (!slice_present(value))
    return true;
  switch (jsontext_kind_of(value)) {
  case JSONTEXT_STRING:
    *text = jsontext_scratch_text(scratch, jsontext_string_body(value));
    return true;
  case JSONTEXT_NUMBER:
  case JSONTEXT_BOOL:
    *text = value;
    return true;
  case JSONTEXT_OBJECT:
  case JSONTEXT_ARRAY:
  case JSONTEXT_NULL:
    break;
  }
  return false;
}
