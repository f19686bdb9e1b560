/* See headers.h. */
#include "bridge/event/headers.h"

#include <inttypes.h>
#include <stdio.h>

static const struct {
  const char *name;
  enum event_field field;
} own_headers[] = {{"id", FIELD_ID},
                   {"type", FIELD_TYPE},
                   {"source", FIELD_SOURCE},
                   {"correlation_id", FIELD_CORRELATION_ID},
                   {"causation_id", FIELD_CAUSATION_ID},
                   {"trace_id", FIELD_TRACE_ID},
                   {"traceparent", FIELD_TRACEPARENT},
                   {"tenant_id", FIELD_TENANT_ID},
                   {HEADER_CONTENT_TYPE, FIELD_CONTENT_TYPE}};
#define OWN_HEADER_COUNT (sizeof own_headers / sizeof *own_headers)

bool header_field(const char *name, enum event_field *field) {
  for (size_t i = 0; i < OWN_HEADER_COUNT; i++)
    if (strcmp(own_headers[i].name, name) == 0) {
      *field = own_headers[i].field;
      return true;
    }
  return false;
}

void header_list_init(struct header_list *list) {
  *list = (struct header_list){0};
}

void header_list_free(struct header_list *list) {
  jsontext_scratch_free(&list->unescaped);
  *list = (struct header_list){0};
}

static void add(struct header_list *list, const char *name, struct slice value) {
  list->items[list->count++] = (struct record_header){.name = name, .value = value};
}

void header_list_transaction(struct header_list *list, const struct event *event, struct slice *lsn, struct slice *tx) {
  if (!list->transaction_known || list->lsn != event->commit_lsn || list->xid != event->xid) {
    list->transaction_known = true;
    list->lsn = event->commit_lsn;
    list->xid = event->xid;
    list->lsn_text = lsn_format(event->commit_lsn);
    snprintf(list->xid_text, sizeof list->xid_text, "%" PRIu32, event->xid);
  }
  *lsn = slice_of(list->lsn_text.text);
  *tx = event->xid == 0 ? SLICE_ABSENT : slice_of(list->xid_text);
}

/* Whether the record's content type is the row's own to say. */
static bool own_content_type(const struct event *event, const struct header_defaults *defaults) {
  return !defaults->content_type.fixed && slice_present(event->fields[FIELD_CONTENT_TYPE]);
}

static struct slice own_value(const struct event *event, const struct header_defaults *defaults,
                              enum event_field field) {
  struct slice value = event->fields[field];
  if (field == FIELD_CONTENT_TYPE)
    return own_content_type(event, defaults) ? value : defaults->content_type.text;
  return field == FIELD_SOURCE && !slice_present(value) ? defaults->source : value;
}

static void collect_own(struct header_list *list, const struct event *event, const struct header_defaults *defaults) {
  list->count = 0;
  for (size_t i = 0; i < OWN_HEADER_COUNT; i++) {
    struct slice value = own_value(event, defaults, own_headers[i].field);
    if (slice_present(value))
      add(list, own_headers[i].name, value);
  }
  struct slice lsn, tx;
  header_list_transaction(list, event, &lsn, &tx);
  add(list, HEADER_LSN, lsn);
  if (slice_present(tx))
    add(list, HEADER_TX, tx);
  if (defaults->mark.name != NULL)
    add(list, defaults->mark.name, defaults->mark.value);
  list->own = list->count;
}

static struct record_header *find(struct header_list *list, const char *name) {
  for (int i = 0; i < list->count; i++)
    if (strcmp(list->items[i].name, name) == 0)
      return &list->items[i];
  return NULL;
}

/* A header of the row's own, by a column of its own or out of the headers column. NULL, or what is wrong with it. */
static const char *place(struct header_list *list, const struct event *event, const struct header_defaults *defaults,
                         const char *name, struct slice value) {
  struct record_header *same = find(list, name);
  if (same == NULL) {
    if (strncmp(name, "wf_", 3) == 0)
      return "a header's name begins with wf_, which is kept for walferry's own";
    if (list->count == list->own + HEADERS_CUSTOM_MAX)
      return "more than 100 headers";
    add(list, name, value);
    return NULL;
  }
  if (same - list->items >= list->own)
    return "a header stands there twice";
  if (strcmp(same->name, HEADER_CONTENT_TYPE) == 0 && !defaults->content_type.fixed &&
      !own_content_type(event, defaults))
    same->value = value;
  return slice_equal(same->value, value) ? NULL : "a header contradicts the event's own of that name";
}

static const char *place_columns(struct header_list *list, const struct event *event,
                                 const struct header_defaults *defaults) {
  const char *wrong = NULL;
  for (int i = 0; i < event->column_header_count && wrong == NULL; i++)
    if (slice_present(event->column_headers[i].value))
      wrong = place(list, event, defaults, event->column_headers[i].name, event->column_headers[i].value);
  return wrong;
}

/* NULL, or what is wrong with this header. */
static const char *add_custom(struct header_list *list, const struct event *event,
                              const struct header_defaults *defaults, const struct jsontext_member *member) {
  struct slice name = jsontext_scratch_string(&list->unescaped, member->name);
  if (name.len == 0 || memchr(name.data, '\0', name.len) != NULL)
    return "a header's name is empty or holds a NUL character";
  struct slice value = member->value;
  switch (jsontext_kind_of(value)) {
  case JSONTEXT_NULL:
    return NULL;
  case JSONTEXT_OBJECT:
  case JSONTEXT_ARRAY:
    return "a header's value is an object or an array";
  case JSONTEXT_STRING:
    value = jsontext_scratch_string(&list->unescaped, jsontext_string_body(value));
    break;
  case JSONTEXT_NUMBER:
  case JSONTEXT_BOOL:
    break;
  }
  return place(list, event, defaults, name.data, value);
}

bool header_list_collect(struct header_list *list, const struct event *event, const struct header_defaults *defaults,
                         struct problem *problem) {
  collect_own(list, event, defaults);
  const char *column_wrong = place_columns(list, event, defaults);
  if (column_wrong != NULL) {
    problem_set(problem, "headers_invalid", "%s", column_wrong);
    return false;
  }
  struct slice text = event->fields[FIELD_HEADERS];
  if (!slice_present(text))
    return true;
  if (!jsontext_check(text, NULL) || jsontext_kind_of(text) != JSONTEXT_OBJECT) {
    problem_set(problem, "headers_invalid", "headers is not a JSON object");
    return false;
  }
  jsontext_scratch_reset(&list->unescaped, text.len);
  struct jsontext_members walk = jsontext_members_of(text);
  for (struct jsontext_member member; jsontext_members_next(&walk, &member);) {
    const char *wrong = add_custom(list, event, defaults, &member);
    if (wrong != NULL) {
      problem_set(problem, "headers_invalid", "%s", wrong);
      return false;
    }
  }
  return true;
}
