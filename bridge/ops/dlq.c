/* See dlq.h. */
#include "bridge/ops/dlq.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/memory.h"
#include "bridge/ops/dlq_print.h"

#define PAGE "200"
#define MESSAGE_MAX "160" /* characters, in a list */
#define STRING(number) #number
#define TEXT_OF(number) STRING(number)

#define RFC3339(column) "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"

/* Everything of a letter, %s: its key, its message, details, headers and value. The count of what is parked is asked
 * for only of those that hold a key. */
static const char select_letters[] =
    "SELECT l.id, l.state, " RFC3339("l.first_failure") ", " RFC3339("l.last_failure") ", " RFC3339(
        "l.resolved_at") ",\n"
                         "  l.topic, l.partition, l.record_offset, l.record_timestamp, l.source, l.message_id, "
                         "l.type,\n"
                         "  l.code, l.attempts, h.parked, %s\n"
                         "FROM walferry.inbox_dead_letters l LEFT JOIN LATERAL (\n"
                         "  SELECT (SELECT count(*) FROM walferry.inbox_parked p WHERE p.consumer = h.consumer\n"
                         "          AND p.topic = h.topic AND sha256(p.key) = sha256(h.key)) AS parked\n"
                         "  FROM walferry.inbox_holds h WHERE h.consumer = l.consumer AND h.topic = l.topic\n"
                         "    AND sha256(h.key) = sha256(l.key) AND h.dead_letter = l.id) h ON true\n"
                         "WHERE %s AND l.id > $8::bigint ORDER BY l.id LIMIT " PAGE;
static const char short_columns[] = "substring(l.key FOR " TEXT_OF(DLQ_KEY_MAX) "), left(l.message, " MESSAGE_MAX ")";
static const char whole_columns[] = "l.key, l.message, l.details, l.headers, l.value";

static struct dlq_letter letter_of(const struct rows *rows, int row, bool whole) {
  return (struct dlq_letter){.id = rows_text(rows, row, 0),
                             .state = rows_text(rows, row, 1),
                             .first_failure = rows_text(rows, row, 2),
                             .last_failure = rows_text(rows, row, 3),
                             .resolved_at = rows_text(rows, row, 4),
                             .record = {.topic = rows_text(rows, row, 5),
                                        .partition = rows_text(rows, row, 6),
                                        .offset = rows_text(rows, row, 7),
                                        .timestamp_ms = rows_text(rows, row, 8),
                                        .key = rows_text(rows, row, 15),
                                        .headers = whole ? rows_text(rows, row, 18) : NULL,
                                        .value = whole ? rows_text(rows, row, 19) : NULL},
                             .source = rows_text(rows, row, 9),
                             .message_id = rows_text(rows, row, 10),
                             .type = rows_text(rows, row, 11),
                             .code = rows_text(rows, row, 12),
                             .attempts = rows_text(rows, row, 13),
                             .parked = rows_text(rows, row, 14),
                             .message = rows_text(rows, row, 16),
                             .details = whole ? rows_text(rows, row, 17) : NULL};
}

struct dlq {
  const struct dlq_settings *settings;
  const struct inbox_settings *inbox;
  const struct stop *stop;
  struct connection *conn;
  FILE *out;
};

/* The letters behind after. NULL: err. */
static struct rows *select_page(const struct dlq *d, const char *columns, const char *after, struct error *err) {
  struct letter_filter_params filter;
  letter_filter_params(&d->settings->filter, d->inbox->group, &filter);
  const char *params[LETTER_FILTER_PARAMS + 1];
  memcpy(params, filter.values, sizeof filter.values);
  params[LETTER_FILTER_PARAMS] = after;
  char *sql = memory_format(select_letters, columns, letter_filter_sql);
  struct rows *rows = connection_query(d->conn, sql, LETTER_FILTER_PARAMS + 1, params, err);
  free(sql);
  letter_filter_params_free(&filter);
  return rows;
}

static bool list(const struct dlq *d, struct error *err) {
  char after[24] = "0";
  if (!d->settings->json)
    dlq_print_head(d->out);
  for (bool more = true; more;) {
    if (atomic_load(&d->stop->requested))
      return error_set(err, ERROR_STOPPED, "stopped");
    struct rows *rows = select_page(d, short_columns, after, err);
    if (rows == NULL)
      return false;
    int count = rows_count(rows);
    for (int i = 0; i < count; i++) {
      struct dlq_letter letter = letter_of(rows, i, false);
      (d->settings->json ? dlq_print_line_json : dlq_print_line)(&letter, d->out);
    }
    more = count > 0;
    if (more)
      snprintf(after, sizeof after, "%s", rows_text(rows, count - 1, 0));
    rows_free(rows);
    if (ferror(d->out))
      return error_set(err, ERROR_FATAL, "the list cannot be written: nobody reads it any more, or the disk is full");
  }
  return true;
}

static void print_whole(const struct dlq *d, const struct dlq_letter *letter) {
  struct stored stored = {.headers = {.items = NULL}};
  struct received_record record;
  struct received event;
  struct problem problem = {.code = NULL};
  struct received_reader *reader = received_reader_new();
  struct registry *registry = registry_new(d->inbox->handlers, d->inbox->handler_count, d->inbox->unmatched);
  bool readable = stored_read(&stored, &letter->record, &record, &problem);
  struct problem second;
  readable &= received_read(reader, &record, &event, readable ? &problem : &second);
  struct dlq_reading reading = {.record = &record,
                                .event = &event,
                                .problem = readable ? NULL : problem.code,
                                .problem_message = problem.message};
  size_t index;
  registry_find(registry, event.type, &index, &reading.handler);
  (d->settings->json ? dlq_print_whole_json : dlq_print_whole)(letter, &reading, d->out);
  registry_free(registry);
  received_reader_free(reader);
  stored_free(&stored);
}

static bool show(const struct dlq *d, struct error *err) {
  struct rows *rows = select_page(d, whole_columns, "0", err);
  if (rows == NULL)
    return false;
  bool found = rows_count(rows) > 0;
  if (found) {
    struct dlq_letter letter = letter_of(rows, 0, true);
    print_whole(d, &letter);
  }
  rows_free(rows);
  if (found)
    return true;
  error_set(err, ERROR_CONFIG, "consumer %s has no dead letter %" PRId64, d->inbox->group, d->settings->filter.id);
  return error_remedy(err, "walferry dlq CONFIG list --all shows those that there are");
}

static void print_note(void *to, const struct letters_note *note) {
  const struct dlq *d = to;
  if (!d->settings->json)
    dlq_print_note(note, d->settings->dry_run, d->out);
}

static bool fail_left(const struct letters_totals *totals, struct error *err) {
  uint64_t failed = totals->letters[LETTERS_FAILED] + totals->parked[LETTERS_FAILED];
  uint64_t waiting = totals->letters[LETTERS_BEHIND];
  if (failed + waiting == 0)
    return true;
  error_set(err, ERROR_FATAL, "%" PRIu64 " failed and %" PRIu64 " wait for an earlier one of their key", failed,
            waiting);
  return error_remedy(err,
                      "walferry dlq CONFIG show --id ID says why; correct the handler or the data and replay again, "
                      "or discard");
}

static bool resolve(struct dlq *d, enum letters_action action, struct error *err) {
  const struct dlq_settings *s = d->settings;
  struct letters_settings run = {.inbox = d->inbox,
                                 .filter = &s->filter,
                                 .action = action,
                                 .limit = action == LETTERS_DISCARD && s->confirm > 0 ? s->confirm : s->limit,
                                 .max_per_second = s->max_per_second,
                                 .dry_run = s->dry_run,
                                 .note = print_note,
                                 .note_to = d};
  struct letters_totals totals;
  bool ok = letters_run(&run, d->stop, &totals, err);
  if (s->json)
    dlq_print_totals_json(&totals, d->out);
  else
    dlq_print_totals(&totals, s->dry_run, d->out);
  return ok && fail_left(&totals, err);
}

/* As many as were looked at are discarded, or none: a filter may say something else than was meant. One that comes
 * meanwhile is not (.limit). */
static bool confirmed(const struct dlq *d, struct error *err) {
  int64_t count = 0;
  if (d->settings->dry_run)
    return true;
  if (!letters_count(d->conn, d->inbox, &d->settings->filter, &count, err))
    return false;
  if (d->settings->confirm == count || count == 0) /* none: perhaps what an earlier run left is to be finished */
    return true;
  if (d->settings->confirm < 0)
    error_set(err, ERROR_CONFIG, "%" PRId64 " dead letters match; nothing was discarded: --confirm is missing", count);
  else
    error_set(err, ERROR_CONFIG, "%" PRId64 " dead letters match, --confirm says %" PRId64 "; nothing was discarded",
              count, d->settings->confirm);
  return error_remedy(err, "look at them with list and the same filters, then repeat with --confirm %" PRId64, count);
}

static bool look(struct dlq *d, bool (*at)(const struct dlq *, struct error *), struct error *err) {
  d->conn = letters_connect(d->inbox, err);
  bool ok = d->conn != NULL && at(d, err);
  connection_close(d->conn);
  return ok;
}

bool dlq_run(const struct dlq_settings *settings, const struct inbox_settings *inbox, const struct stop *stop,
             FILE *out, struct error *err) {
  struct dlq d = {.settings = settings, .inbox = inbox, .stop = stop, .out = out};
  switch (settings->verb) {
  case DLQ_LIST:
    return look(&d, list, err);
  case DLQ_SHOW:
    return look(&d, show, err);
  case DLQ_REPLAY:
    return resolve(&d, LETTERS_REPLAY, err);
  case DLQ_DISCARD:
    return look(&d, confirmed, err) && resolve(&d, LETTERS_DISCARD, err);
  }
  return false;
}
