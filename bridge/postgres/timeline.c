/* See timeline.h. */
#include "bridge/postgres/timeline.h"

#include "bridge/base/number.h"

static bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r';
}

/* Takes the first line off, without its newline. */
static struct slice take_line(struct slice *text) {
  const char *newline = memchr(text->data, '\n', text->len);
  size_t len = newline == NULL ? text->len : (size_t)(newline - text->data);
  struct slice line = slice_from(text->data, len);
  size_t used = newline == NULL ? len : len + 1;
  *text = slice_from(text->data + used, text->len - used);
  return line;
}

/* Takes the next word off; empty at the end of the line. */
static struct slice take_word(struct slice *line) {
  while (line->len > 0 && is_blank(line->data[0]))
    *line = slice_from(line->data + 1, line->len - 1);
  size_t len = 0;
  while (len < line->len && !is_blank(line->data[len]))
    len++;
  struct slice word = slice_from(line->data, len);
  *line = slice_from(line->data + len, line->len - len);
  return word;
}

bool timeline_history_find(struct slice text, uint32_t timeline, bool *found, lsn_t *end, struct error *err) {
  bool seen = false;
  lsn_t seen_end = 0;
  uint64_t previous = 0;
  for (int number = 1; text.len > 0; number++) {
    struct slice line = take_line(&text);
    struct slice word = take_word(&line);
    if (word.len == 0 || word.data[0] == '#')
      continue;
    uint64_t id;
    lsn_t switch_lsn;
    if (!number_parse_u64(word, UINT32_MAX, &id) || !lsn_parse(take_word(&line), &switch_lsn))
      return error_set(err, ERROR_FATAL, "malformed line %d in the server's timeline history", number);
    if (id <= previous)
      return error_set(err, ERROR_FATAL, "timelines do not grow at line %d of the server's timeline history", number);
    previous = id;
    if (id == timeline) {
      seen = true;
      seen_end = switch_lsn;
    }
  }
  *found = seen;
  if (seen)
    *end = seen_end;
  return true;
}
