/* See letter_work.h. */
#include "bridge/inbox/letter_work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/failpoint.h"
#include "bridge/base/jsontext.h"
#include "bridge/base/log.h"
#include "bridge/base/memory.h"
#include "bridge/base/number.h"
#include "bridge/event/dead_letter.h"
#include "bridge/inbox/statements.h"
#include "bridge/inbox/stored.h"

/* $1 id, $2 consumer, $3 whether headers and value are needed. */
#define LETTER_OPEN_ROW                                                                                                \
  "SELECT l.topic, l.partition, l.record_offset, l.record_timestamp, l.key, CASE WHEN $3::boolean THEN l.headers "     \
  "END,\n"                                                                                                             \
  "  CASE WHEN $3::boolean THEN l.value END, l.type,\n"                                                                \
  "  EXISTS (SELECT FROM walferry.inbox_holds h\n"                                                                     \
  "          WHERE h.consumer = l.consumer AND h.topic = l.topic AND sha256(h.key) = sha256(l.key))\n"                 \
  "FROM walferry.inbox_dead_letters l WHERE l.id = $1::bigint AND l.consumer = $2::text AND l.state = 'open'"
static const char letter_look[] = LETTER_OPEN_ROW;
static const char letter_take[] = LETTER_OPEN_ROW "\nFOR UPDATE OF l SKIP LOCKED";

/* $1 consumer, $2 topic, $3 key, $4 id. */
static const char letter_before[] = "SELECT id FROM walferry.inbox_dead_letters\n"
                                    "WHERE consumer = $1::text AND topic = $2::text AND sha256(key) = "
                                    "sha256($3::bytea) AND state = 'open'\n"
                                    "  AND id < $4::bigint ORDER BY id LIMIT 1";
/* $1 id, $2 code, $3 message, $4 details. */
static const char letter_failed[] = "UPDATE walferry.inbox_dead_letters SET attempts = attempts + 1,\n"
                                    "  last_failure = now(), code = $2::text, message = $3::text, details = $4::jsonb\n"
                                    "WHERE id = $1::bigint AND state = 'open' RETURNING 1";
static const char letter_is_open[] =
    "SELECT 1 FROM walferry.inbox_dead_letters WHERE id = $1::bigint AND state = 'open'";

/* $1 consumer, $2 topic, $3 partition, $4 offset: the attempt that the letter of a parked message takes over. Nobody
 * claims what is parked: the hold's lock is what keeps others off. */
static const char parked_attempt[] =
    "INSERT INTO walferry.inbox_attempts AS a (consumer, topic, partition, record_offset, attempts)\n"
    "VALUES ($1::text, $2::text, $3::integer, $4::bigint, 1)\n"
    "ON CONFLICT (consumer, topic, partition, record_offset)\n"
    "DO UPDATE SET attempts = a.attempts + 1, last_attempt = now()";

struct letter_work {
  const struct letters_settings *settings;
  struct registry *registry;
  struct received_reader *reader;
  struct stored stored;
  struct received event;          /* of the message in hand */
  struct buffer message, details; /* of the last trouble; NUL-terminated */
  char *begin;
};

struct letter_work *letter_work_new(const struct letters_settings *settings) {
  const struct inbox_settings *inbox = settings->inbox;
  struct letter_work *work = memory_alloc(sizeof *work);
  *work = (struct letter_work){.settings = settings,
                               .registry = registry_new(inbox->handlers, inbox->handler_count, inbox->unmatched),
                               .reader = received_reader_new(),
                               .begin = memory_format("BEGIN;\n%s", inbox_statements[INBOX_MARKS_LOCK].sql)};
  buffer_init(&work->message, BUFFER_MAX_ROW);
  buffer_init(&work->details, BUFFER_MAX_ROW);
  return work;
}

void letter_work_free(struct letter_work *work) {
  if (work == NULL)
    return;
  registry_free(work->registry);
  received_reader_free(work->reader);
  stored_free(&work->stored);
  buffer_free(&work->message);
  buffer_free(&work->details);
  free(work->begin);
  free(work);
}

void letter_task_clear(struct letter_task *task) {
  free(task->topic);
  free(task->key);
  free(task->partition);
  free(task->offset);
  free(task->type);
  *task = (struct letter_task){.parked = false};
}

static void replace(char **text, const char *with) {
  char *copy = memory_string(with);
  free(*text);
  *text = copy;
}

static char *text_of(struct slice s) {
  return slice_present(s) ? memory_copy(s.data, s.len) : NULL;
}

/* Transactions */

static void take_sqlstate(const struct connection *conn, struct letter_trouble *trouble) {
  snprintf(trouble->sqlstate, sizeof trouble->sqlstate, "%s", connection_sqlstate(conn));
  trouble->failure = failure_classify(trouble->sqlstate);
  trouble->code = failure_code(trouble->failure, trouble->sqlstate);
}

/* What the message failed with, before anything else is asked of the server. */
static void take_failure(struct letter_work *work, const struct connection *conn, struct letter_trouble *trouble) {
  struct pipeline_failure failure;
  connection_failure(conn, &failure);
  take_sqlstate(conn, trouble);
  buffer_clear(&work->message);
  buffer_append_slice(&work->message, failure_message(&failure));
  buffer_append_char(&work->message, '\0');
  struct buffer *json = &work->details;
  buffer_clear(json);
  failure_details(json, &failure);
  buffer_append_char(json, '\0');
  trouble->message = work->message.data;
  trouble->details = json->data;
}

static enum letter_result broken(struct connection *conn, struct letter_trouble *trouble) {
  take_sqlstate(conn, trouble);
  connection_run(conn, "ROLLBACK", NULL);
  return LETTER_BROKEN;
}

static enum letter_result troubled(struct connection *conn) {
  connection_run(conn, "ROLLBACK", NULL);
  return LETTER_TROUBLED;
}

static enum letter_result leave(struct connection *conn, enum letters_outcome *outcome, enum letters_outcome said,
                                struct letter_trouble *trouble, struct error *err) {
  *outcome = said;
  return connection_run(conn, "ROLLBACK", err) ? LETTER_SETTLED : broken(conn, trouble);
}

/* What a transaction says only at its end (deferred constraints) is the message's doing, unless the server or the
 * connection went away. */
static enum letter_result commit(struct letter_work *work, struct connection *conn, struct letter_trouble *trouble,
                                 struct error *err) {
  if (connection_run(conn, "COMMIT", err))
    return LETTER_SETTLED;
  take_failure(work, conn, trouble);
  if (trouble->failure == FAILURE_LOST || trouble->failure == FAILURE_NOT_COUNTED)
    return LETTER_BROKEN;
  return troubled(conn);
}

/* A statement whose rows do not matter. */
static bool run(struct connection *conn, const char *sql, int count, const char *const *params, struct error *err) {
  struct rows *rows = connection_query(conn, sql, count, params, err);
  rows_free(rows);
  return rows != NULL;
}

static bool run_statement(struct connection *conn, enum inbox_statement statement, int count, const char *const *params,
                          struct error *err) {
  return run(conn, inbox_statements[statement].sql, count, params, err);
}

/* One message */

static bool read_event(struct letter_work *work, const struct stored_row *row, struct received_record *record,
                       struct problem *problem) {
  if (stored_read(&work->stored, row, record, problem))
    return received_read(work->reader, record, &work->event, problem);
  struct problem ignored;
  received_read(work->reader, record, &work->event, &ignored);
  return false;
}

/* The message may be cut within a character. */
static void poison(struct letter_work *work, struct letter_trouble *trouble, const char *code, const char *message) {
  size_t len = strlen(message);
  while (len > 0 && !utf8_valid(slice_from(message, len)))
    len--;
  buffer_clear(&work->message);
  buffer_append(&work->message, message, len);
  buffer_append_char(&work->message, '\0');
  *trouble = (struct letter_trouble){.code = code, .failure = FAILURE_POISON, .message = work->message.data};
}

/* In the transaction that is open. */
static bool call(struct letter_work *work, struct connection *conn, const char *handler, enum letters_outcome *outcome,
                 struct letter_trouble *trouble) {
  const struct received *event = &work->event;
  struct slice texts[] = {event->identity_source, event->id,          event->correlation_id, event->id,
                          event->trace_id,        event->traceparent, event->tenant_id,      event->envelope};
  enum { COUNT = sizeof texts / sizeof texts[0] };
  char *copies[COUNT];
  const char *params[1 + COUNT] = {work->settings->inbox->group};
  for (size_t i = 0; i < COUNT; i++)
    params[1 + i] = copies[i] = text_of(texts[i]);
  struct buffer sql;
  buffer_init(&sql, BUFFER_MAX_ROW);
  inbox_statement_call(&sql, handler, INBOX_REPLAY);
  buffer_append_char(&sql, '\0');
  struct error err;
  struct rows *rows = connection_query(conn, sql.data, 1 + COUNT, params, &err);
  if (rows != NULL) {
    *outcome = rows_count(rows) > 0 ? LETTERS_HANDLED : LETTERS_DUPLICATE;
  } else {
    take_failure(work, conn, trouble);
  }
  buffer_free(&sql);
  for (size_t i = 0; i < COUNT; i++)
    free(copies[i]);
  bool ok = rows != NULL;
  rows_free(rows);
  return ok;
}

static bool handle(struct letter_work *work, struct connection *conn, struct letter_task *task,
                   const struct stored_row *row, enum letters_outcome *outcome, struct letter_trouble *trouble) {
  struct received_record record;
  struct problem problem = {.code = NULL};
  bool readable = read_event(work, row, &record, &problem);
  char *type = text_of(work->event.type);
  replace(&task->type, type);
  free(type);
  replace(&task->partition, row->partition);
  replace(&task->offset, row->offset);
  task->handler = NULL;
  if (!readable) {
    poison(work, trouble, problem.code, problem.message);
    return false;
  }
  size_t index;
  switch (registry_find(work->registry, work->event.type, &index, &task->handler)) {
  case REGISTRY_CALL:
    *outcome = LETTERS_HANDLED;
    return work->settings->dry_run || call(work, conn, task->handler, outcome, trouble);
  case REGISTRY_IGNORE:
  case REGISTRY_SKIP:
    *outcome = LETTERS_PASSED_OVER;
    return true;
  case REGISTRY_DEAD_LETTER:
    break;
  }
  poison(work, trouble, CODE_UNMATCHED_TYPE, "no handler is for its type");
  return false;
}

/* Dead letters */

/* Whether the letter must wait for an earlier one of its key. */
static bool look_before(struct letter_work *work, struct connection *conn, struct letter_task *task,
                        struct error *err) {
  task->behind[0] = '\0';
  if (!task->held || work->settings->action == LETTERS_DISCARD)
    return true;
  struct rows *rows = connection_query(
      conn, letter_before, 4, (const char *[]){work->settings->inbox->group, task->topic, task->key, task->id}, err);
  if (rows != NULL && rows_count(rows) > 0)
    snprintf(task->behind, sizeof task->behind, "%s", rows_text(rows, 0, 0));
  rows_free(rows);
  return rows != NULL;
}

static struct stored_row row_of_letter(const struct rows *rows) {
  return (struct stored_row){.topic = rows_text(rows, 0, 0),
                             .partition = rows_text(rows, 0, 1),
                             .offset = rows_text(rows, 0, 2),
                             .timestamp_ms = rows_text(rows, 0, 3),
                             .key = rows_text(rows, 0, 4),
                             .headers = rows_text(rows, 0, 5),
                             .value = rows_text(rows, 0, 6)};
}

static enum letter_result resolve(struct letter_work *work, struct connection *conn, const struct letter_task *task,
                                  struct letter_trouble *trouble, struct error *err) {
  bool discard = work->settings->action == LETTERS_DISCARD;
  const char *state = letter_state_name(discard ? LETTER_DISCARDED : LETTER_REPLAYED);
  if (!run_statement(conn, INBOX_DEAD_LETTER_RESOLVE, 2, (const char *[]){task->id, state}, err))
    return broken(conn, trouble);
  FAILPOINT("letters.before_commit");
  enum letter_result result = commit(work, conn, trouble, err);
  FAILPOINT("letters.after_commit");
  return result;
}

/* With the letter's row locked, in its transaction; in a dry run with neither. */
static enum letter_result work_on_letter(struct letter_work *work, struct connection *conn, struct letter_task *task,
                                         const struct rows *rows, enum letters_outcome *outcome,
                                         struct letter_trouble *trouble, struct error *err) {
  if (rows_count(rows) == 0)
    return leave(conn, outcome, LETTERS_GONE, trouble, err);
  struct stored_row row = row_of_letter(rows);
  replace(&task->topic, row.topic);
  replace(&task->key, row.key);
  replace(&task->partition, row.partition);
  replace(&task->offset, row.offset);
  replace(&task->type, rows_text(rows, 0, 7));
  task->held = rows_bool(rows, 0, 8);
  if (!look_before(work, conn, task, err))
    return broken(conn, trouble);
  if (task->behind[0] != '\0')
    return leave(conn, outcome, LETTERS_BEHIND, trouble, err);
  if (work->settings->action == LETTERS_DISCARD)
    *outcome = LETTERS_DISCARDED;
  else if (!handle(work, conn, task, &row, outcome, trouble))
    return troubled(conn);
  if (work->settings->dry_run)
    return leave(conn, outcome, *outcome, trouble, err);
  return resolve(work, conn, task, trouble, err);
}

enum letter_result letter_work_letter(struct letter_work *work, struct connection *conn, struct letter_task *task,
                                      enum letters_outcome *outcome, struct letter_trouble *trouble,
                                      struct error *err) {
  bool dry = work->settings->dry_run;
  if (!connection_run(conn, dry ? "BEGIN READ ONLY" : work->begin, err))
    return broken(conn, trouble);
  const char *whole = work->settings->action == LETTERS_REPLAY ? "true" : "false";
  struct rows *rows = connection_query(conn, dry ? letter_look : letter_take, 3,
                                       (const char *[]){task->id, work->settings->inbox->group, whole}, err);
  enum letter_result result =
      rows == NULL ? broken(conn, trouble) : work_on_letter(work, conn, task, rows, outcome, trouble, err);
  rows_free(rows);
  return result;
}

/* What is parked */

enum hold { HOLD_BROKEN = 1, HOLD_OURS, HOLD_NONE };

/* Takes the hold of the key in a transaction of its own. HOLD_NONE: nobody may take what is parked, as the letter that
 * holds it is open, or another does so: a lock that is not given in time is his who handles a message behind it. */
static enum hold take_hold(struct letter_work *work, struct connection *conn, const struct letter_task *task,
                           struct error *err) {
  if (!connection_run(conn, work->begin, err))
    return HOLD_BROKEN;
  const char *const key[] = {work->settings->inbox->group, task->topic, task->key};
  struct rows *rows = connection_query(conn, inbox_statements[INBOX_HOLD_LOCK].sql, 3, key, err);
  if (rows == NULL)
    return strcmp(connection_sqlstate(conn), "57014") == 0 ? HOLD_NONE : HOLD_BROKEN;
  enum hold hold = HOLD_NONE;
  if (rows_count(rows) > 0) {
    const char *letter = rows_text(rows, 0, 0);
    struct rows *open = connection_query(conn, letter_is_open, 1, &letter, err);
    hold = open == NULL ? HOLD_BROKEN : rows_count(open) > 0 ? HOLD_NONE : HOLD_OURS;
    rows_free(open);
  }
  rows_free(rows);
  return hold;
}

/* Behind take_hold: no row, nothing is parked. NULL: err. */
static struct rows *first_parked(struct letter_work *work, struct connection *conn, const struct letter_task *task,
                                 struct error *err) {
  const char *const params[] = {work->settings->inbox->group, task->topic, task->key, "1"};
  return connection_query(conn, inbox_statements[INBOX_PARKED_NEXT].sql, 4, params, err);
}

static struct stored_row row_of_parked(const struct letter_task *task, const struct rows *rows) {
  return (struct stored_row){.topic = task->topic,
                             .partition = rows_text(rows, 0, 1),
                             .offset = rows_text(rows, 0, 2),
                             .timestamp_ms = rows_text(rows, 0, 3),
                             .key = rows_text(rows, 0, 4),
                             .headers = rows_text(rows, 0, 5),
                             .value = rows_text(rows, 0, 6)};
}

static enum letter_result release(struct letter_work *work, struct connection *conn, const struct letter_task *task,
                                  enum letters_outcome *outcome, struct letter_trouble *trouble, struct error *err) {
  const char *const key[] = {work->settings->inbox->group, task->topic, task->key};
  FAILPOINT("letters.before_release");
  *outcome = LETTERS_GONE;
  if (!run_statement(conn, INBOX_HOLD_RELEASE, 3, key, err) || !connection_run(conn, "COMMIT", err))
    return broken(conn, trouble);
  return LETTER_SETTLED;
}

static enum letter_result settle_parked(struct letter_work *work, struct connection *conn, struct letter_task *task,
                                        const struct rows *rows, enum letters_outcome *outcome,
                                        struct letter_trouble *trouble, struct error *err) {
  snprintf(task->id, sizeof task->id, "%s", rows_text(rows, 0, 0));
  struct stored_row row = row_of_parked(task, rows);
  if (!handle(work, conn, task, &row, outcome, trouble))
    return troubled(conn);
  if (!run_statement(conn, INBOX_PARKED_REMOVE, 1, (const char *[]){task->id}, err))
    return broken(conn, trouble);
  FAILPOINT("letters.parked_before_commit");
  enum letter_result result = commit(work, conn, trouble, err);
  FAILPOINT("letters.parked_after_commit");
  return result;
}

enum letter_result letter_work_parked(struct letter_work *work, struct connection *conn, struct letter_task *task,
                                      enum letters_outcome *outcome, struct letter_trouble *trouble,
                                      struct error *err) {
  enum hold hold = take_hold(work, conn, task, err);
  if (hold == HOLD_NONE)
    return leave(conn, outcome, LETTERS_GONE, trouble, err);
  struct rows *rows = hold == HOLD_OURS ? first_parked(work, conn, task, err) : NULL;
  if (rows == NULL)
    return broken(conn, trouble);
  enum letter_result result = rows_count(rows) == 0 ? release(work, conn, task, outcome, trouble, err)
                                                    : settle_parked(work, conn, task, rows, outcome, trouble, err);
  rows_free(rows);
  return result;
}

/* Failures */

static enum letter_result fail_letter(struct connection *conn, const struct letter_task *task,
                                      const struct letter_trouble *failed, enum letters_outcome *outcome,
                                      struct letter_trouble *trouble, struct error *err) {
  struct rows *rows = connection_query(conn, letter_failed, 4,
                                       (const char *[]){task->id, failed->code, failed->message, failed->details}, err);
  if (rows == NULL)
    return broken(conn, trouble);
  *outcome = rows_count(rows) > 0 ? LETTERS_FAILED : LETTERS_GONE;
  rows_free(rows);
  return LETTER_SETTLED;
}

/* For the relay, which publishes it. What is too large for a message is a row only. */
static bool emit(struct letter_work *work, struct connection *conn, const struct received_record *record,
                 const struct letter_trouble *failed, const struct rows *letter, struct error *err) {
  const struct inbox_settings *inbox = work->settings->inbox;
  int64_t attempts = 0;
  number_parse(slice_of(rows_text(letter, 0, 1)), 0, INT32_MAX, &attempts);
  const struct dead_letter dead = {.record = record,
                                   .received = &work->event,
                                   .code = failed->code,
                                   .message = slice_of(failed->message),
                                   .details = slice_of(failed->details),
                                   .attempts = (int)attempts,
                                   .first_failure = slice_of(rows_text(letter, 0, 2)),
                                   .last_failure = slice_of(rows_text(letter, 0, 3)),
                                   .topic_suffix = inbox->dead_letter_suffix,
                                   .consumer = inbox->group};
  struct buffer text;
  buffer_init(&text, BUFFER_MAX_ROW);
  dead_letter_write(&text, &dead);
  bool fits = !text.overflow;
  buffer_append_char(&text, '\0');
  bool ok = !fits || run_statement(conn, INBOX_DEAD_LETTER_EMIT, 1, (const char *[]){text.data}, err);
  if (!fits)
    log_warn("dlq.dead_letter_too_large", log_string("dead_letter", rows_text(letter, 0, 0)));
  buffer_free(&text);
  return ok;
}

/* The attempt that failed was rolled back with its transaction; it is counted here, for the letter to take over. */
static bool bury(struct letter_work *work, struct connection *conn, struct letter_task *task,
                 const struct stored_row *row, const struct letter_trouble *failed, struct error *err) {
  const struct received *event = &work->event;
  struct received_record record;
  struct problem problem;
  read_event(work, row, &record, &problem);
  char *source = text_of(event->identity_source), *id = text_of(event->id), *type = text_of(event->type);
  const char *const params[] = {work->settings->inbox->group,
                                row->topic,
                                row->partition,
                                row->offset,
                                row->timestamp_ms,
                                row->key,
                                row->headers,
                                row->value,
                                source,
                                id,
                                type,
                                failed->code,
                                failed->message,
                                failed->details,
                                "true"};
  bool called = failed->sqlstate[0] != '\0';
  struct rows *counted = called ? connection_query(conn, parked_attempt, 4, params, err) : NULL;
  struct rows *rows = NULL;
  if (!called || counted != NULL)
    rows = connection_query(conn, inbox_statements[INBOX_DEAD_LETTER].sql, 15, params, err);
  bool ok = rows != NULL &&
            (!work->settings->inbox->dead_letter_records || emit(work, conn, &record, failed, rows, err)) &&
            run_statement(conn, INBOX_PARKED_REMOVE, 1, (const char *[]){task->id}, err);
  if (ok)
    snprintf(task->id, sizeof task->id, "%s", rows_text(rows, 0, 0));
  rows_free(counted);
  rows_free(rows);
  free(source);
  free(id);
  free(type);
  return ok;
}

static enum letter_result fail_parked(struct letter_work *work, struct connection *conn, struct letter_task *task,
                                      const struct letter_trouble *failed, enum letters_outcome *outcome,
                                      struct letter_trouble *trouble, struct error *err) {
  enum hold hold = take_hold(work, conn, task, err);
  struct rows *rows = hold == HOLD_OURS ? first_parked(work, conn, task, err) : NULL;
  if (hold == HOLD_BROKEN || (hold == HOLD_OURS && rows == NULL))
    return broken(conn, trouble);
  enum letter_result result;
  if (hold == HOLD_NONE || rows_count(rows) == 0 || strcmp(rows_text(rows, 0, 0), task->id) != 0) {
    result = leave(conn, outcome, LETTERS_GONE, trouble, err);
  } else {
    struct stored_row row = row_of_parked(task, rows);
    *outcome = LETTERS_FAILED;
    bool ok = bury(work, conn, task, &row, failed, err) && connection_run(conn, "COMMIT", err);
    result = ok ? LETTER_SETTLED : broken(conn, trouble);
  }
  rows_free(rows);
  return result;
}

enum letter_result letter_work_fail(struct letter_work *work, struct connection *conn, struct letter_task *task,
                                    const struct letter_trouble *failed, enum letters_outcome *outcome,
                                    struct letter_trouble *trouble, struct error *err) {
  return task->parked ? fail_parked(work, conn, task, failed, outcome, trouble, err)
                      : fail_letter(conn, task, failed, outcome, trouble, err);
}
