/* See letter_progress.h. */
#include "bridge/inbox/letter_progress.h"

#include <inttypes.h>
#include <stdlib.h>

#include "bridge/base/memory.h"
#include "bridge/base/number.h"

#define MARK "wf1 "
#define RUN_TEXT_MAX 40 /* of one run: two numbers and what is between */

void letter_progress_free(struct letter_progress *p) {
  free(p->runs);
  *p = (struct letter_progress){.next = 0};
}

static void insert(struct letter_progress *p, int at, struct letter_run run) {
  if (p->count == p->capacity) {
    p->capacity = p->capacity == 0 ? 16 : p->capacity * 2;
    p->runs = memory_resize(p->runs, (size_t)p->capacity * sizeof *p->runs);
  }
  memmove(p->runs + at + 1, p->runs + at, (size_t)(p->count - at) * sizeof *p->runs);
  p->runs[at] = run;
  p->count++;
}

static void drop(struct letter_progress *p, int at, int count) {
  memmove(p->runs + at, p->runs + at + count, (size_t)(p->count - at - count) * sizeof *p->runs);
  p->count -= count;
}

/* Adds a run, and makes one of those that it touches. */
static void add(struct letter_progress *p, struct letter_run run) {
  int first = 0, behind;
  while (first < p->count && p->runs[first].to < run.from)
    first++;
  for (behind = first; behind < p->count && p->runs[behind].from <= run.to; behind++) {
    run.from = p->runs[behind].from < run.from ? p->runs[behind].from : run.from;
    run.to = p->runs[behind].to > run.to ? p->runs[behind].to : run.to;
  }
  if (behind > first)
    drop(p, first, behind - first);
  insert(p, first, run);
  if (p->runs[0].from <= p->next) {
    p->next = p->runs[0].to > p->next ? p->runs[0].to : p->next;
    drop(p, 0, 1);
  }
}

/* A number and the comma behind it, which the last one does not have. */
static bool take_number(struct slice *text, int64_t min, int64_t max, int64_t *value) {
  const char *comma = text->len == 0 ? NULL : memchr(text->data, ',', text->len);
  size_t len = comma == NULL ? text->len : (size_t)(comma - text->data), used = comma == NULL ? len : len + 1;
  if (!number_parse(slice_from(text->data, len), min, max, value) || (comma != NULL && used == text->len))
    return false;
  *text = slice_from(text->data + used, text->len - used);
  return true;
}

static bool read_runs(struct letter_progress *p, struct slice text) {
  int64_t at = p->next, gap, len;
  while (text.len > 0) {
    if (!take_number(&text, 1, INT64_MAX - at, &gap) || !take_number(&text, 1, INT64_MAX - at - gap, &len))
      return false;
    insert(p, p->count, (struct letter_run){.from = at + gap, .to = at + gap + len});
    at += gap + len;
  }
  return true;
}

bool letter_progress_read(struct letter_progress *p, int64_t next, struct slice text) {
  static const size_t mark = sizeof MARK - 1;
  struct letter_progress read = {.next = next, .looked = next};
  bool ok = text.len == 0 || (text.len > mark && memcmp(text.data, MARK, mark) == 0 &&
                              read_runs(&read, slice_from(text.data + mark, text.len - mark)));
  if (!ok) {
    letter_progress_free(&read);
    return false;
  }
  letter_progress_free(p);
  *p = read;
  return true;
}

void letter_progress_begin(struct letter_progress *p, int64_t offset) {
  p->looked = offset;
}

bool letter_progress_settled(const struct letter_progress *p, int64_t offset) {
  bool settled = offset < p->next;
  for (int i = 0; !settled && i < p->count && p->runs[i].from <= offset; i++)
    settled = offset < p->runs[i].to;
  return settled;
}

/* From `looked` on: between that and this record there is no other. */
void letter_progress_settle(struct letter_progress *p, int64_t offset) {
  add(p, (struct letter_run){.from = p->looked < offset ? p->looked : offset, .to = offset + 1});
  p->looked = offset + 1;
}

void letter_progress_leave(struct letter_progress *p, int64_t offset) {
  p->looked = offset + 1;
}

static void write_runs(const struct letter_progress *p, struct buffer *text) {
  int64_t at = p->next;
  for (int i = 0; i < p->count; i++) {
    buffer_printf(text, "%s%" PRId64 ",%" PRId64, i == 0 ? MARK : ",", p->runs[i].from - at,
                  p->runs[i].to - p->runs[i].from);
    at = p->runs[i].to;
  }
}

bool letter_progress_has_room(const struct letter_progress *p) {
  bool continues = p->looked <= p->next;
  for (int i = 0; i < p->count; i++)
    continues |= p->runs[i].from <= p->looked && p->looked <= p->runs[i].to;
  if (continues || (p->count + 1) * RUN_TEXT_MAX + (int)sizeof MARK <= LETTER_PROGRESS_TEXT_MAX)
    return true;
  struct buffer text;
  buffer_init(&text, LETTER_PROGRESS_TEXT_MAX);
  write_runs(p, &text);
  bool room = !text.overflow && text.len + RUN_TEXT_MAX <= LETTER_PROGRESS_TEXT_MAX;
  buffer_free(&text);
  return room;
}

void letter_progress_write(const struct letter_progress *p, struct buffer *text) {
  write_runs(p, text);
}
