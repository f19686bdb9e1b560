/* See status_inbox.h. */
#include "bridge/ops/status_inbox.h"

#include <inttypes.h>

#include "bridge/base/jsonobject.h"

/* Offsets between what is stored and the end of the log, markers of transactions included; -1: not known. */
static int64_t lag_of(const struct inbox_view_partition *p) {
  if (!p->log_known)
    return -1;
  int64_t from = p->stored.exists ? p->stored.next_offset : p->low;
  return p->end > from ? p->end - from : 0;
}

/* Of all partitions; -1 where one of them is not known. */
static int64_t lag_of_all(const struct status_inbox *s) {
  int64_t sum = 0;
  for (int i = 0; i < s->view.partition_count; i++) {
    int64_t lag = lag_of(&s->view.partitions[i]);
    if (lag < 0)
      return -1;
    sum += lag;
  }
  return sum;
}

static int64_t open_letters(const struct status_inbox *s) {
  int64_t sum = 0;
  for (int i = 0; i < s->view.letter_count; i++)
    sum += s->view.letters[i].count;
  return sum;
}

/* The code of what makes the inbox not read it, as far as offsets tell; NULL: nothing, or not known. */
static const char *refused_code(const struct status_inbox *s, const struct inbox_view_partition *p) {
  struct error err;
  bool fits = !p->log_known || inbox_view_judge(p, s->consumer, s->cluster_id, NULL, &err);
  return fits ? NULL : err.code;
}

static const char *plural(int64_t count) {
  return count == 1 ? "" : "s";
}

static void print_partition(const struct status_inbox *s, const struct inbox_view_partition *p, FILE *out) {
  fprintf(out, "  %s/%" PRId32 "  ", p->topic, p->partition);
  if (p->stored.exists)
    fprintf(out, "next offset %" PRId64, p->stored.next_offset);
  else
    fprintf(out, "not read yet");
  if (lag_of(p) >= 0)
    fprintf(out, ", lag %" PRId64, lag_of(p));
  if (p->updated_at != NULL)
    fprintf(out, ", moved %s%s", p->updated_at, p->dirty ? ", in use" : "");
  if (refused_code(s, p) != NULL)
    fprintf(out, ", REFUSED: %s", refused_code(s, p));
  fputc('\n', out);
}

static void print_view(const struct status_inbox *s, FILE *out) {
  const struct inbox_view *view = &s->view;
  for (int i = 0; i < view->partition_count; i++)
    print_partition(s, &view->partitions[i], out);
  if (view->partition_count > 0 && lag_of_all(s) >= 0)
    fprintf(out, "  lag in all  %" PRId64 " offset%s\n", lag_of_all(s), plural(lag_of_all(s)));
  if (view->attempts > 0)
    fprintf(out, "  retrying    %" PRId64 " message%s\n", view->attempts, plural(view->attempts));
  fprintf(out, "dead letters  %" PRId64 " open\n", open_letters(s));
  for (int i = 0; i < view->letter_count; i++)
    fprintf(out, "  %-20s %6" PRId64 "  oldest %s\n", view->letters[i].code, view->letters[i].count,
            view->letters[i].oldest);
  if (view->held_keys > 0)
    fprintf(out, "held keys     %" PRId64 ", with %" PRId64 " message%s parked behind %s\n", view->held_keys,
            view->parked, plural(view->parked), view->held_keys == 1 ? "it" : "them");
}

void status_inbox_text(const struct status_inbox *s, FILE *out) {
  if (s->group_read)
    fprintf(out, "inbox         %s: %s, %d member%s\n", s->consumer, s->group.state, s->group.members,
            plural(s->group.members));
  else
    fprintf(out, "inbox         %s\n", s->consumer);
  if (s->tables_read && !s->set_up)
    fprintf(out, "  tables      %s\n              %s\n", s->not_set_up.message, s->not_set_up.remedy);
  else if (s->tables_read)
    print_view(s, out);
  if (!s->logs_read || !s->group_read)
    fprintf(out, "  kafka       MISSING: %s\n", s->logs_error.message);
}

static void put_known(struct buffer *json, const char *name, int64_t value) {
  if (value < 0)
    jsonobject_text(json, name, NULL);
  else
    jsonobject_integer(json, name, value);
}

static void json_partitions(const struct status_inbox *s, struct buffer *json) {
  jsonobject_key(json, "partitions");
  buffer_append_char(json, '[');
  for (int i = 0; i < s->view.partition_count; i++) {
    const struct inbox_view_partition *p = &s->view.partitions[i];
    jsonobject_open(json, NULL);
    jsonobject_text(json, "topic", p->topic);
    jsonobject_integer(json, "partition", p->partition);
    put_known(json, "next_offset", p->stored.exists ? p->stored.next_offset : -1);
    put_known(json, "log_start", p->log_known ? p->low : -1);
    put_known(json, "log_end", p->log_known ? p->end : -1);
    put_known(json, "lag", lag_of(p));
    jsonobject_bool(json, "in_use", p->dirty);
    jsonobject_text(json, "updated_at", p->updated_at);
    jsonobject_text(json, "code", refused_code(s, p));
    jsonobject_close(json);
  }
  buffer_append_char(json, ']');
}

static void json_letters(const struct inbox_view *view, int64_t open, struct buffer *json) {
  jsonobject_open(json, "dead_letters");
  jsonobject_integer(json, "open", open);
  jsonobject_key(json, "codes");
  buffer_append_char(json, '[');
  for (int i = 0; i < view->letter_count; i++) {
    jsonobject_open(json, NULL);
    jsonobject_text(json, "code", view->letters[i].code);
    jsonobject_integer(json, "open", view->letters[i].count);
    jsonobject_text(json, "oldest", view->letters[i].oldest);
    jsonobject_close(json);
  }
  buffer_append_text(json, "]}");
}

void status_inbox_json(const struct status_inbox *s, struct buffer *json) {
  bool known = s->tables_read && s->set_up;
  jsonobject_open(json, "inbox");
  jsonobject_text(json, "group", s->consumer);
  jsonobject_text(json, "state", s->group_read ? s->group.state : NULL);
  put_known(json, "members", s->group_read ? s->group.members : -1);
  jsonobject_key(json, "set_up");
  buffer_append_text(json, !s->tables_read ? "null" : s->set_up ? "true" : "false");
  jsonobject_text(json, "kafka_error", s->logs_read && s->group_read ? NULL : s->logs_error.message);
  if (known) {
    put_known(json, "lag", lag_of_all(s));
    json_partitions(s, json);
    json_letters(&s->view, open_letters(s), json);
    jsonobject_integer(json, "held_keys", s->view.held_keys);
    jsonobject_integer(json, "parked", s->view.parked);
    jsonobject_integer(json, "retrying", s->view.attempts);
  }
  jsonobject_close(json);
}
