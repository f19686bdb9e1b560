/* See dlq_print.h. The keys of the JSON forms are stable: others read them. */
#include "bridge/ops/dlq_print.h"

#include <inttypes.h>
#include <string.h>

#include "bridge/base/jsonobject.h"
#include "bridge/base/jsontext.h"
#include "bridge/event/payload.h"

static const char *or_dash(const char *text) {
  return text == NULL || text[0] == '\0' ? "-" : text;
}

/* Control characters as blanks, what is no UTF-8 as question marks. */
static void append_tame(struct buffer *out, struct slice text) {
  bool valid = utf8_valid(text);
  for (size_t i = 0; i < text.len; i++) {
    unsigned char c = (unsigned char)text.data[i];
    buffer_append_char(out, c < 0x20 || c == 0x7f ? ' ' : c >= 0x80 && !valid ? '?' : text.data[i]);
  }
}

void dlq_print_tame(FILE *out, struct slice text) {
  struct buffer tame;
  buffer_init(&tame, BUFFER_MAX_ROW);
  append_tame(&tame, text);
  fwrite(buffer_slice(&tame).data, 1, tame.len, out);
  buffer_free(&tame);
}

static void print_and_clear(struct buffer *line, FILE *out) {
  buffer_append_char(line, '\n');
  fwrite(buffer_slice(line).data, 1, line->len, out);
  buffer_free(line);
}

/* A bytea as the people know it whose key it is: its text where it is one, else `\x00ff`. */
static void append_key(struct buffer *out, const char *hex) {
  if (hex == NULL) {
    buffer_append_char(out, '-');
    return;
  }
  struct buffer bytes;
  buffer_init(&bytes, BUFFER_MAX_ROW);
  if (bytea_decode(slice_of(hex), &bytes) && utf8_valid(buffer_slice(&bytes)))
    append_tame(out, buffer_slice(&bytes));
  else
    buffer_append_text(out, hex);
  buffer_free(&bytes);
}

/* `name`, or `name`_base64 where the bytes are no text. */
static void put_bytes(struct buffer *json, const char *name, const char *base64_name, struct slice bytes) {
  if (!slice_present(bytes)) {
    jsonobject_text(json, name, NULL);
  } else if (utf8_valid(bytes)) {
    jsonobject_key(json, name);
    buffer_append_json(json, bytes);
  } else {
    jsonobject_key(json, base64_name);
    buffer_append_char(json, '"');
    buffer_append_base64(json, bytes);
    buffer_append_char(json, '"');
  }
}

static void put_hex(struct buffer *json, const char *name, const char *base64_name, const char *hex) {
  struct buffer bytes;
  buffer_init(&bytes, BUFFER_MAX_ROW);
  bool ok = hex != NULL && bytea_decode(slice_of(hex), &bytes);
  put_bytes(json, name, base64_name, ok ? buffer_slice(&bytes) : SLICE_ABSENT);
  buffer_free(&bytes);
}

/* JSON or a number, as it is. */
static void put_verbatim(struct buffer *json, const char *name, const char *value) {
  jsonobject_key(json, name);
  buffer_append_text(json, value == NULL ? "null" : value);
}

static void put_letter(struct buffer *json, const struct dlq_letter *l) {
  put_verbatim(json, "id", l->id);
  jsonobject_text(json, "state", l->state);
  jsonobject_text(json, "topic", l->record.topic);
  put_verbatim(json, "partition", l->record.partition);
  put_verbatim(json, "offset", l->record.offset);
  put_verbatim(json, "timestamp_ms", l->record.timestamp_ms);
  put_hex(json, "key", "key_base64", l->record.key);
  jsonobject_text(json, "source", l->source);
  jsonobject_text(json, "message_id", l->message_id);
  jsonobject_text(json, "type", l->type);
  jsonobject_text(json, "code", l->code);
  jsonobject_text(json, "message", l->message);
  put_verbatim(json, "attempts", l->attempts);
  jsonobject_text(json, "first_failure", l->first_failure);
  jsonobject_text(json, "last_failure", l->last_failure);
  jsonobject_text(json, "resolved_at", l->resolved_at);
  jsonobject_bool(json, "holds_key", l->parked != NULL);
  put_verbatim(json, "parked", l->parked == NULL ? "0" : l->parked);
}

/* A field of a table, tame and filled up to its width; what is wider pushes the rest of its line. */
static void append_field(struct buffer *line, int width, struct slice text) {
  size_t before = line->len;
  append_tame(line, text.len == 0 ? slice_of("-") : text);
  for (size_t i = before; i < line->len; i++)
    width -= (line->data[i] & 0xc0) != 0x80; /* the first byte of a character */
  do
    buffer_append_char(line, ' ');
  while (width-- > -1);
}

static const int widths[] = {5, 19, 26, 14, 22, 18, 4, 5};

void dlq_print_head(FILE *out) {
  static const char *const heads[] = {"ID", "FAILED AT", "RECORD", "KEY", "TYPE", "CODE", "TRIES", "PARKED"};
  struct buffer line;
  buffer_init(&line, BUFFER_MAX_ROW);
  for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++)
    append_field(&line, widths[i], slice_of(heads[i]));
  buffer_append_text(&line, "MESSAGE");
  print_and_clear(&line, out);
}

static struct slice to_second(const char *rfc3339) {
  struct slice text = slice_of(rfc3339);
  size_t len = strlen("2026-11-21T08:01:58");
  return slice_from(text.data, text.len < len ? text.len : len);
}

void dlq_print_line(const struct dlq_letter *l, FILE *out) {
  struct buffer place, key, line;
  buffer_init(&place, BUFFER_MAX_ROW);
  buffer_printf(&place, "%s/%s@%s", l->record.topic, l->record.partition, l->record.offset);
  buffer_init(&key, BUFFER_MAX_ROW);
  append_key(&key, l->record.key);
  const struct slice fields[] = {slice_of(l->id),       to_second(l->last_failure), buffer_slice(&place),
                                 buffer_slice(&key),    slice_of(l->type),          slice_of(l->code),
                                 slice_of(l->attempts), slice_of(l->parked)};
  buffer_init(&line, BUFFER_MAX_ROW);
  for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
    append_field(&line, widths[i], fields[i]);
  append_tame(&line, slice_of(l->message));
  print_and_clear(&line, out);
  buffer_free(&place);
  buffer_free(&key);
}

void dlq_print_line_json(const struct dlq_letter *letter, FILE *out) {
  struct buffer json;
  buffer_init(&json, BUFFER_MAX_ROW);
  jsonobject_open(&json, NULL);
  put_letter(&json, letter);
  jsonobject_close(&json);
  print_and_clear(&json, out);
}

/* One letter */

static void print_text(FILE *out, const char *name, const char *text) {
  if (text == NULL)
    return;
  fprintf(out, "%-16s", name);
  dlq_print_tame(out, slice_of(text));
  fputc('\n', out);
}

static void print_headers(const struct received_record *record, FILE *out) {
  for (int i = 0; i < record->header_count; i++) {
    fprintf(out, "%-16s", i == 0 ? "headers" : "");
    dlq_print_tame(out, slice_of(record->headers[i].name));
    fputs(": ", out);
    dlq_print_tame(out, record->headers[i].value);
    fputc('\n', out);
  }
}

static void print_reading(const struct dlq_reading *reading, FILE *out) {
  print_text(out, "handler", reading->handler == NULL ? "none" : reading->handler);
  if (reading->problem == NULL)
    return;
  fprintf(out, "%-16s%s: ", "unreadable", reading->problem);
  dlq_print_tame(out, slice_of(reading->problem_message));
  fputc('\n', out);
}

void dlq_print_whole(const struct dlq_letter *l, const struct dlq_reading *reading, FILE *out) {
  struct buffer place, key;
  buffer_init(&place, BUFFER_MAX_ROW);
  buffer_printf(&place, "%s/%s@%s", l->record.topic, l->record.partition, l->record.offset);
  buffer_append_char(&place, '\0');
  buffer_init(&key, BUFFER_MAX_ROW);
  append_key(&key, l->record.key);
  buffer_append_char(&key, '\0');
  const char *const rows[][2] = {{"id", l->id},
                                 {"state", l->state},
                                 {"resolved at", l->resolved_at},
                                 {"record", place.data},
                                 {"timestamp (ms)", l->record.timestamp_ms},
                                 {"key", key.data},
                                 {"source", l->source},
                                 {"message id", l->message_id},
                                 {"type", l->type},
                                 {"code", l->code},
                                 {"message", l->message},
                                 {"details", l->details},
                                 {"attempts", l->attempts},
                                 {"first failure", l->first_failure},
                                 {"last failure", l->last_failure},
                                 {"holds its key", l->parked == NULL ? "no" : "yes"},
                                 {"parked behind", l->parked}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    print_text(out, rows[i][0], rows[i][1]);
  buffer_free(&place);
  buffer_free(&key);
  print_reading(reading, out);
  print_headers(reading->record, out);
  fprintf(out, "%-16s", "value");
  if (slice_present(reading->record->value))
    fwrite(reading->record->value.data, 1, reading->record->value.len, out);
  else
    fputs("none: a tombstone", out);
  fputc('\n', out);
}

void dlq_print_whole_json(const struct dlq_letter *letter, const struct dlq_reading *reading, FILE *out) {
  struct buffer json;
  buffer_init(&json, BUFFER_MAX_ROW);
  jsonobject_open(&json, NULL);
  put_letter(&json, letter);
  put_verbatim(&json, "details", letter->details);
  put_verbatim(&json, "headers", letter->record.headers);
  put_bytes(&json, "value", "value_base64", reading->record->value);
  jsonobject_key(&json, "event"); /* as a handler would be given it */
  if (reading->problem == NULL)
    buffer_append_slice(&json, reading->event->envelope);
  else
    buffer_append_text(&json, "null");
  jsonobject_text(&json, "problem", reading->problem);
  jsonobject_text(&json, "handler", reading->handler);
  jsonobject_close(&json);
  print_and_clear(&json, out);
}

/* Replay and discard */

static const char *dry_words(const struct letters_note *note) {
  switch (note->outcome) {
  case LETTERS_HANDLED:
  case LETTERS_DUPLICATE:
    return "would call";
  case LETTERS_PASSED_OVER:
    return "would be passed over";
  case LETTERS_DISCARDED:
    return "would be discarded";
  case LETTERS_FAILED:
    return "cannot be handled";
  case LETTERS_BEHIND:
    return "waits";
  case LETTERS_GONE:
    return "is resolved meanwhile";
  }
  return "";
}

void dlq_print_note(const struct letters_note *note, bool dry_run, FILE *out) {
  struct buffer line;
  buffer_init(&line, BUFFER_MAX_ROW);
  buffer_printf(&line, "%s  %s  ", dry_run ? "--" : note->outcome == LETTERS_FAILED ? "FAILED" : "waits", note->id);
  if (note->topic != NULL && note->partition != NULL)
    buffer_printf(&line, "%s/%s@%s  ", note->topic, note->partition, note->offset);
  append_tame(&line, slice_of(or_dash(note->type)));
  if (dry_run)
    buffer_printf(&line, "  %s", dry_words(note));
  if (dry_run && note->outcome == LETTERS_HANDLED)
    buffer_printf(&line, " %s", note->handler);
  if (note->outcome == LETTERS_FAILED) {
    buffer_printf(&line, "  %s: ", note->code);
    append_tame(&line, slice_of(note->message));
    buffer_append_text(&line, note->parked ? " (was parked; is a dead letter now, and holds the key)" : "");
  }
  if (note->outcome == LETTERS_BEHIND)
    buffer_printf(&line, "  behind %s, which is open and has the same key", note->behind);
  print_and_clear(&line, out);
}

static const char *const outcome_names[LETTERS_OUTCOMES + 1] = {
    [LETTERS_HANDLED] = "handled",     [LETTERS_DUPLICATE] = "already_processed",
    [LETTERS_PASSED_OVER] = "ignored", [LETTERS_DISCARDED] = "discarded",
    [LETTERS_FAILED] = "failed",       [LETTERS_BEHIND] = "waiting",
    [LETTERS_GONE] = "elsewhere"};

static const char *const outcome_words[LETTERS_OUTCOMES + 1] = {
    [LETTERS_HANDLED] = "replayed",
    [LETTERS_DUPLICATE] = "already processed",
    [LETTERS_PASSED_OVER] = "ignored or skipped by the config",
    [LETTERS_DISCARDED] = "discarded",
    [LETTERS_FAILED] = "failed",
    [LETTERS_BEHIND] = "waiting for an earlier one of their key",
    [LETTERS_GONE] = "resolved or worked on by another"};

static void print_counts(const char *what, const uint64_t counts[LETTERS_OUTCOMES + 1], FILE *out) {
  uint64_t sum = 0;
  for (int i = 1; i <= LETTERS_OUTCOMES; i++)
    sum += counts[i];
  fprintf(out, "%s: %" PRIu64, what, sum);
  const char *between = " (";
  for (int i = 1; i <= LETTERS_OUTCOMES; i++) {
    if (counts[i] == 0)
      continue;
    fprintf(out, "%s%" PRIu64 " %s", between, counts[i], outcome_words[i]);
    between = ", ";
  }
  fputs(sum == 0 ? "\n" : ")\n", out);
}

void dlq_print_totals(const struct letters_totals *totals, bool dry_run, FILE *out) {
  if (dry_run)
    fputs("a dry run: nothing was changed\n", out);
  print_counts("dead letters", totals->letters, out);
  if (!dry_run)
    print_counts("parked behind them", totals->parked, out);
  for (int i = 0; i < totals->failed_codes; i++)
    fprintf(out, "failed with %s: %" PRIu64 "\n", totals->failed[i].code, totals->failed[i].count);
}

static void put_counts(struct buffer *json, const char *name, const uint64_t counts[LETTERS_OUTCOMES + 1]) {
  jsonobject_open(json, name);
  for (int i = 1; i <= LETTERS_OUTCOMES; i++)
    jsonobject_integer(json, outcome_names[i], (int64_t)counts[i]);
  jsonobject_close(json);
}

void dlq_print_totals_json(const struct letters_totals *totals, FILE *out) {
  struct buffer json;
  buffer_init(&json, BUFFER_MAX_ROW);
  jsonobject_open(&json, NULL);
  put_counts(&json, "dead_letters", totals->letters);
  put_counts(&json, "parked", totals->parked);
  jsonobject_open(&json, "failed_by_code");
  for (int i = 0; i < totals->failed_codes; i++)
    jsonobject_integer(&json, totals->failed[i].code, (int64_t)totals->failed[i].count);
  jsonobject_close(&json);
  jsonobject_close(&json);
  print_and_clear(&json, out);
}
