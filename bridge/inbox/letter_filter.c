/* See letter_filter.h. */
#include "bridge/inbox/letter_filter.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/buffer.h"
#include "bridge/base/memory.h"
#include "bridge/base/pattern.h"

const char *letter_state_name(enum letter_state state) {
  switch (state) {
  case LETTER_OPEN:
    return "open";
  case LETTER_REPLAYED:
    return "replayed";
  case LETTER_DISCARDED:
    return "discarded";
  case LETTER_ANY:
    return "any";
  }
  return "";
}

bool letter_filter_narrows(const struct letter_filter *filter) {
  return filter->id != 0 || filter->type != NULL || filter->code != NULL || filter->has_since || filter->has_until;
}

/* Where state is 'open' the planner sees that the index of open letters serves: it plans with the values. */
const char letter_filter_sql[] =
    "l.consumer = $1::text AND ($2::bigint IS NULL OR l.id = $2::bigint)\n"
    "  AND ($3::text IS NULL OR coalesce(l.type, '') LIKE $3::text) AND ($4::text IS NULL OR l.code = $4::text)\n"
    "  AND ($5::timestamptz IS NULL OR l.first_failure >= $5::timestamptz)\n"
    "  AND ($6::timestamptz IS NULL OR l.first_failure < $6::timestamptz)\n"
    "  AND ($7::text IS NULL OR l.state = $7::text)";

/* `*` is LIKE's `%`, and what LIKE would read in another way stands for itself. */
static char *like_pattern(const char *pattern) {
  struct buffer like;
  buffer_init(&like, BUFFER_MAX_ROW);
  for (const char *at = pattern; *at != '\0'; at++) {
    if (strchr("\\%_", *at) != NULL)
      buffer_append_char(&like, '\\');
    buffer_append_char(&like, *at == '*' ? '%' : *at);
  }
  char *text = memory_copy(buffer_slice(&like).data, like.len);
  buffer_free(&like);
  return text;
}

void letter_filter_params(const struct letter_filter *filter, const char *consumer,
                          struct letter_filter_params *params) {
  *params = (struct letter_filter_params){.type = filter->type == NULL ? NULL : like_pattern(filter->type)};
  snprintf(params->id, sizeof params->id, "%" PRId64, filter->id);
  timestamp_format(filter->since_us, params->since);
  timestamp_format(filter->until_us, params->until);
  const char *const values[] = {consumer,
                                filter->id == 0 ? NULL : params->id,
                                params->type,
                                filter->code,
                                filter->has_since ? params->since : NULL,
                                filter->has_until ? params->until : NULL,
                                filter->state == LETTER_ANY ? NULL : letter_state_name(filter->state)};
  memcpy(params->values, values, sizeof values);
}

void letter_filter_params_free(struct letter_filter_params *params) {
  free(params->type);
  params->type = NULL;
}

bool letter_filter_matches(const struct letter_filter *filter, struct slice type, struct slice code,
                           const int64_t *first_failure_us) {
  if (filter->type != NULL && !pattern_matches(filter->type, slice_present(type) ? type : slice_of("")))
    return false;
  if (filter->code != NULL && !slice_is(code, filter->code))
    return false;
  return (!filter->has_since || (first_failure_us != NULL && *first_failure_us >= filter->since_us)) &&
         (!filter->has_until || (first_failure_us != NULL && *first_failure_us < filter->until_us));
}
