/* See store.h. */
#include "bridge/inbox/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "bridge/base/clock.h"
#include "bridge/base/failpoint.h"
#include "bridge/base/log.h"
#include "bridge/base/memory.h"
#include "bridge/base/number.h"
#include "bridge/event/header_json.h"
#include "bridge/inbox/statements.h"
#include "bridge/postgres/pipeline.h"

#define ANSWER_MARGIN_MS 10000 /* for a server that hangs, beyond its own statement_timeout */
#define STOP_PATIENCE_MS 6000  /* of the 10 s in which a stop is to be done */
#define WAIT_SLICE_MS 100
#define IDLE_TRANSACTION_MS 10000 /* a process that hangs in a transaction lets go of its locks */
#define CALL_NAME_SIZE 32

/* What was sent, and so what the next answers are about. */
enum step { STEP_OTHER = 1, STEP_MOVE, STEP_CALL, STEP_LETTER };

struct store {
  struct store_settings settings;
  struct pipeline *pipeline;
  bool sending_failed; /* latched until the transaction's end; why stands in sending_error */
  struct error sending_error;
  unsigned char *steps;
  size_t step_count, step_room;
  int64_t stop_seen_ms; /* 0: not asked to stop yet */
  bool cancelled;
  char sqlstate[6];      /* of the last statement that stood alone and failed */
  struct buffer headers; /* of the message that is sent */
  struct buffer details; /* of the last failure */
};

static bool sent(struct store *s, enum step step, bool ok) {
  if (!ok)
    s->sending_failed = true;
  if (s->step_count == s->step_room) {
    s->step_room = s->step_room == 0 ? 1024 : 2 * s->step_room;
    s->steps = memory_resize(s->steps, s->step_room);
  }
  s->steps[s->step_count++] = (unsigned char)step;
  return ok;
}

static void send_sql(struct store *s, const char *sql) {
  if (!s->sending_failed)
    sent(s, STEP_OTHER, pipeline_send(s->pipeline, sql, &s->sending_error));
}

static void execute_named(struct store *s, enum step step, const char *name, const struct pipeline_values *values) {
  if (!s->sending_failed)
    sent(s, step, pipeline_execute(s->pipeline, name, values, &s->sending_error));
}

static void execute(struct store *s, enum step step, enum inbox_statement statement,
                    const struct pipeline_values *values) {
  execute_named(s, step, inbox_statements[statement].name, values);
}

/* The next answer. A stop that was asked for is waited for only so long. */
static bool next_answer(struct store *s, enum pipeline_answer *answer, struct error *err) {
  int64_t deadline_ms = clock_monotonic_ms() + s->settings.timeout_ms + ANSWER_MARGIN_MS;
  while (!pipeline_answered(s->pipeline, WAIT_SLICE_MS)) {
    int64_t now_ms = clock_monotonic_ms();
    if (now_ms >= deadline_ms)
      break;
    if (s->stop_seen_ms == 0 && atomic_load(&s->settings.stop->requested))
      s->stop_seen_ms = now_ms;
    if (s->stop_seen_ms != 0 && !s->cancelled && now_ms - s->stop_seen_ms >= STOP_PATIENCE_MS) {
      s->cancelled = true;
      pipeline_cancel(s->pipeline);
    }
  }
  return pipeline_next(s->pipeline, deadline_ms, answer, err);
}

static void keep_failure(struct store *s, struct store_result *result) {
  struct pipeline_failure failure;
  pipeline_failure(s->pipeline, &failure);
  buffer_clear(&s->details);
  failure_details(&s->details, &failure);
  size_t json_len = s->details.len;
  buffer_append_slice(&s->details, failure_message(&failure));
  result->details = slice_from(s->details.data, json_len);
  result->message = slice_from(s->details.data + json_len, s->details.len - json_len);
  memcpy(result->sqlstate, failure.sqlstate, sizeof result->sqlstate);
  result->failure = failure_classify(failure.sqlstate);
  result->in_handler = failure.context != NULL;
  pipeline_fail(s->pipeline, &result->error);
  result->ending = s->cancelled ? STORE_CANCELLED : STORE_FAILED;
}

struct reading {
  struct store_called *called;
  struct store_letter_row *row;
  struct store_result *result;
  int calls, moves;
};

static int64_t field_number(const struct store *s, int column) {
  int64_t number;
  const char *text = pipeline_rows(s->pipeline) == 0 ? NULL : pipeline_field(s->pipeline, 0, column);
  return text != NULL && number_parse(slice_of(text), INT64_MIN, INT64_MAX, &number) ? number : -1;
}

static void take_called(const struct store *s, struct store_called *called) {
  const char *outcome = pipeline_rows(s->pipeline) == 0 ? NULL : pipeline_field(s->pipeline, 0, 0);
  called->outcome = outcome == NULL                         ? INBOX_DUPLICATE
                    : slice_is(slice_of(outcome), "called") ? INBOX_PROCESSED
                                                            : INBOX_PARKED;
  called->us = called->outcome == INBOX_PROCESSED ? field_number(s, 2) : -1;
}

static void take_letter(const struct store *s, struct store_letter_row *row) {
  row->id = field_number(s, 0);
  row->attempts = (int)field_number(s, 1);
  snprintf(row->first_failure, sizeof row->first_failure, "%s", pipeline_field(s->pipeline, 0, 2));
  snprintf(row->last_failure, sizeof row->last_failure, "%s", pipeline_field(s->pipeline, 0, 3));
}

static void take_answer(struct store *s, struct reading *r, enum step step, enum pipeline_answer answer) {
  inbox_report_turn(s->settings.report);
  if (answer == PIPELINE_FAILED) {
    keep_failure(s, r->result);
    r->result->call = step == STEP_CALL ? r->calls : -1;
    r->result->move = r->moves;
    /* INBOX_OFFSET_SWAP divides by the number of rows that it moved */
    if (step == STEP_MOVE && slice_is(slice_of(r->result->sqlstate), "22012"))
      r->result->ending = STORE_DISPLACED;
  } else if (answer == PIPELINE_DONE && step == STEP_CALL && r->called != NULL) {
    take_called(s, &r->called[r->calls]);
  } else if (answer == PIPELINE_DONE && step == STEP_LETTER && r->row != NULL) {
    take_letter(s, r->row);
  }
  r->calls += step == STEP_CALL;
  r->moves += step == STEP_MOVE;
}

/* The answers to all that was sent. */
static bool collect(struct store *s, struct store_called *called, struct store_letter_row *row,
                    struct store_result *result, struct error *err) {
  struct reading reading = {.called = called, .row = row, .result = result};
  *result = (struct store_result){.ending = STORE_COMMITTED, .call = -1, .move = -1};
  bool ok = !s->sending_failed && pipeline_sync(s->pipeline, &s->sending_error);
  if (!ok)
    *err = s->sending_error;
  FAILPOINT("inbox.sent");
  enum pipeline_answer answer = PIPELINE_DONE;
  for (size_t i = 0; ok && i < s->step_count; i++) {
    ok = next_answer(s, &answer, err);
    if (ok)
      take_answer(s, &reading, (enum step)s->steps[i], answer);
  }
  ok = ok && next_answer(s, &answer, err);
  if (!ok)
    keep_failure(s, result);
  s->step_count = 0;
  s->sending_failed = false;
  return ok && (answer == PIPELINE_SYNCED ||
                error_set(err, ERROR_RETRY, "Postgres answered something that was not asked for"));
}

/* Ends the transaction block that a failure has left open. */
static bool roll_back(struct store *s, struct error *err) {
  enum pipeline_answer answer;
  return pipeline_send(s->pipeline, "ROLLBACK", err) && pipeline_sync(s->pipeline, err) &&
         next_answer(s, &answer, err) && next_answer(s, &answer, err);
}

/* A statement that is a transaction of its own; its rows can be read until settle. */
static bool ask(struct store *s, enum inbox_statement statement, const struct pipeline_values *values,
                struct error *err) {
  enum pipeline_answer answer;
  if (!pipeline_execute(s->pipeline, inbox_statements[statement].name, values, err) ||
      !pipeline_sync(s->pipeline, err) || !next_answer(s, &answer, err))
    return false;
  if (answer == PIPELINE_DONE)
    return true;
  struct pipeline_failure failure;
  pipeline_failure(s->pipeline, &failure);
  memcpy(s->sqlstate, failure.sqlstate, sizeof s->sqlstate);
  pipeline_fail(s->pipeline, err);
  struct error end;
  next_answer(s, &answer, &end); /* where the session broke, its next use will tell */
  return false;
}

static bool settle(struct store *s, struct error *err) {
  enum pipeline_answer answer;
  return next_answer(s, &answer, err);
}

static bool tell(struct store *s, enum inbox_statement statement, const struct pipeline_values *values,
                 struct error *err) {
  return ask(s, statement, values, err) && settle(s, err);
}

static void add_partition(struct store *s, struct pipeline_values *values, const struct store_partition *at) {
  pipeline_value(values, slice_of(s->settings.consumer));
  pipeline_value(values, slice_of(at->topic));
  pipeline_number(values, at->partition);
}

static void add_message(struct store *s, struct pipeline_values *values, const struct store_message *message) {
  add_partition(s, values, &message->at);
  pipeline_number(values, message->offset);
}

static void call_name(char *name, size_t handler) {
  snprintf(name, CALL_NAME_SIZE, "wf_handle_%zu", handler);
}

static bool prepare_handlers(struct store *s, int *prepared, struct error *err) {
  struct buffer sql;
  bool ok = true;
  buffer_init(&sql, 1 << 16);
  for (size_t i = 0; ok && i < s->settings.handler_count; i++) {
    if (s->settings.handlers[i].call == NULL)
      continue;
    char name[CALL_NAME_SIZE];
    call_name(name, i);
    buffer_clear(&sql);
    inbox_statement_call(&sql, s->settings.handlers[i].call, INBOX_HANDLE);
    buffer_append_char(&sql, '\0');
    ok = pipeline_prepare(s->pipeline, name, sql.data, err);
    (*prepared)++;
  }
  buffer_free(&sql);
  return ok;
}

static bool prepare_all(struct store *s, struct error *err) {
  int prepared = 0;
  for (int i = 0; i < INBOX_STATEMENT_COUNT; i++) {
    if (i == INBOX_LAYOUT_READ || i == INBOX_HANDLER_LOOK) /* are asked before */
      continue;
    if (!pipeline_prepare(s->pipeline, inbox_statements[i].name, inbox_statements[i].sql, err))
      return false;
    prepared++;
  }
  if (!prepare_handlers(s, &prepared, err) || !pipeline_sync(s->pipeline, err))
    return false;
  enum pipeline_answer answer;
  for (int i = 0; i < prepared; i++) {
    if (!next_answer(s, &answer, err))
      return false;
    if (answer != PIPELINE_DONE)
      return pipeline_fail(s->pipeline, err);
  }
  return settle(s, err);
}

struct store *store_open(const struct store_settings *settings, struct error *err) {
  char *setup = memory_format("SET statement_timeout = %d; SET idle_in_transaction_session_timeout = %d; "
                              "SET default_transaction_isolation = 'read committed'",
                              settings->timeout_ms, IDLE_TRANSACTION_MS);
  struct pipeline *pipeline = pipeline_open(settings->conninfo, settings->name, setup, err);
  free(setup);
  if (pipeline == NULL)
    return NULL;
  struct store *s = memory_alloc(sizeof *s);
  s->settings = *settings;
  s->pipeline = pipeline;
  buffer_init(&s->headers, BUFFER_MAX_ROW);
  buffer_init(&s->details, 1 << 20);
  if (prepare_all(s, err))
    return s;
  store_close(s);
  return NULL;
}

void store_close(struct store *s) {
  if (s == NULL)
    return;
  pipeline_close(s->pipeline);
  buffer_free(&s->headers);
  buffer_free(&s->details);
  free(s->steps);
  free(s);
}

bool store_alive(struct store *s, struct error *err) {
  return pipeline_alive(s->pipeline, err);
}

bool store_offset_read(struct store *s, const struct store_partition *at, struct store_offset *offset,
                       struct error *err) {
  struct pipeline_values values = {.count = 0};
  *offset = (struct store_offset){.exists = false};
  add_partition(s, &values, at);
  if (!ask(s, INBOX_OFFSET_READ, &values, err))
    return false;
  if (pipeline_rows(s->pipeline) > 0)
    *offset = (struct store_offset){
        .exists = true,
        .next_offset = field_number(s, 0),
        .claim = field_number(s, 1),
        .died_after = field_number(s, 2),
        .cluster_id = memory_string(pipeline_field(s->pipeline, 0, 3)),
        .record_offset = field_number(s, 4),
        .record_timestamp = field_number(s, 5),
        .record_id = memory_string(pipeline_field(s->pipeline, 0, 6)),
    };
  return settle(s, err);
}

void store_offset_clear(struct store_offset *offset) {
  free(offset->cluster_id);
  free(offset->record_id);
  *offset = (struct store_offset){.exists = false};
}

bool store_offset_enter(struct store *s, const struct store_partition *at, int64_t next_offset, const char *cluster_id,
                        struct error *err) {
  struct pipeline_values values = {.count = 0};
  add_partition(s, &values, at);
  pipeline_number(&values, next_offset);
  pipeline_value(&values, slice_of(cluster_id));
  return tell(s, INBOX_OFFSET_ENTER, &values, err);
}

/* Whoever had the partition hangs in the middle of a batch, or is busy with one. */
static bool evict(struct store *s, const struct store_partition *at, int64_t *claim, struct error *err) {
  struct pipeline_values values = {.count = 0};
  add_partition(s, &values, at);
  *claim = 0;
  if (!ask(s, INBOX_OFFSET_EVICT, &values, err))
    return false;
  int ended = pipeline_rows(s->pipeline);
  log_info("inbox.partition_locked", log_string("topic", at->topic), log_int("partition", at->partition),
           log_int("sessions_ended", ended));
  return settle(s, err);
}

bool store_offset_claim(struct store *s, const struct store_partition *at, int64_t read, const char *cluster_id,
                        int64_t *claim, struct error *err) {
  struct pipeline_values values = {.count = 0};
  add_partition(s, &values, at);
  pipeline_number(&values, read);
  pipeline_value(&values, slice_of(cluster_id));
  s->sqlstate[0] = '\0';
  if (!ask(s, INBOX_OFFSET_CLAIM, &values, err))
    return strcmp(s->sqlstate, "55P03") == 0 && evict(s, at, claim, err);
  *claim = pipeline_rows(s->pipeline) == 0 ? 0 : field_number(s, 0);
  return settle(s, err);
}

bool store_offset_release(struct store *s, const struct store_partition *at, int64_t claim, struct error *err) {
  struct pipeline_values values = {.count = 0};
  add_partition(s, &values, at);
  pipeline_number(&values, claim);
  return tell(s, INBOX_OFFSET_RELEASE, &values, err);
}

void store_begin(struct store *s) {
  struct pipeline_values none = {.count = 0};
  send_sql(s, "BEGIN");
  execute(s, STEP_OTHER, INBOX_MARKS_LOCK, &none);
}

void store_move(struct store *s, const struct store_move *move) {
  struct pipeline_values values = {.count = 0};
  add_partition(s, &values, &move->at);
  pipeline_number(&values, move->claim);
  pipeline_number(&values, move->from);
  pipeline_number(&values, move->to);
  pipeline_number(&values, move->record_offset);
  pipeline_number(&values, move->record_timestamp);
  pipeline_value(&values, move->record_id);
  execute(s, STEP_MOVE, INBOX_OFFSET_SWAP, &values);
}

void store_call(struct store *s, size_t handler, const struct received_record *record, const struct received *event) {
  struct pipeline_values values = {.count = 0};
  char name[CALL_NAME_SIZE];
  call_name(name, handler);
  buffer_clear(&s->headers);
  header_json_write(&s->headers, record->headers, record->header_count);
  pipeline_value(&values, slice_of(s->settings.consumer));
  pipeline_value(&values, event->identity_source);
  pipeline_value(&values, event->id);
  pipeline_value(&values, slice_present(event->correlation_id) ? event->correlation_id : event->id);
  pipeline_value(&values, event->id); /* what the handler emits was caused by this event */
  pipeline_value(&values, event->trace_id);
  pipeline_value(&values, event->traceparent);
  pipeline_value(&values, event->tenant_id);
  pipeline_value(&values, event->envelope);
  pipeline_value(&values, slice_of(record->topic));
  pipeline_number(&values, record->partition);
  pipeline_number(&values, record->offset);
  pipeline_number(&values, record->timestamp_ms);
  pipeline_value(&values, record->key);
  pipeline_value(&values, buffer_slice(&s->headers));
  pipeline_value(&values, record->value);
  execute_named(s, STEP_CALL, name, &values);
  buffer_reuse(&s->headers);
}

bool store_commit(struct store *s, struct store_called *called, struct store_result *result, struct error *err) {
  FAILPOINT("inbox.before_commit");
  send_sql(s, "COMMIT");
  if (!collect(s, called, NULL, result, err))
    return false;
  if (result->ending == STORE_COMMITTED) {
    FAILPOINT("inbox.after_commit");
    return true;
  }
  return roll_back(s, err);
}

bool store_attempt_begin(struct store *s, const struct store_message *message, int64_t claim, int *attempts,
                         struct error *err) {
  struct pipeline_values values = {.count = 0};
  add_message(s, &values, message);
  pipeline_number(&values, claim);
  if (!ask(s, INBOX_ATTEMPT_BEGIN, &values, err))
    return false;
  *attempts = pipeline_rows(s->pipeline) == 0 ? 0 : (int)field_number(s, 0);
  return settle(s, err);
}

bool store_attempt_failed(struct store *s, const struct store_message *message, struct slice details,
                          struct error *err) {
  struct pipeline_values values = {.count = 0};
  add_message(s, &values, message);
  pipeline_value(&values, details);
  return tell(s, INBOX_ATTEMPT_FAILED, &values, err);
}

bool store_attempt_uncount(struct store *s, const struct store_message *message, struct error *err) {
  struct pipeline_values values = {.count = 0};
  add_message(s, &values, message);
  return tell(s, INBOX_ATTEMPT_UNCOUNT, &values, err);
}

void store_attempt_forget(struct store *s, const struct store_message *message) {
  struct pipeline_values values = {.count = 0};
  add_message(s, &values, message);
  execute(s, STEP_OTHER, INBOX_ATTEMPT_FORGET, &values);
}

static void add_record(struct store *s, struct pipeline_values *values, const struct received_record *record) {
  buffer_clear(&s->headers);
  header_json_write(&s->headers, record->headers, record->header_count);
  pipeline_value(values, slice_of(s->settings.consumer));
  pipeline_value(values, slice_of(record->topic));
  pipeline_number(values, record->partition);
  pipeline_number(values, record->offset);
  pipeline_number(values, record->timestamp_ms);
  pipeline_value(values, record->key);
  pipeline_value(values, buffer_slice(&s->headers));
  pipeline_value(values, record->value);
}

bool store_park(struct store *s, const struct received_record *record, bool *parked, struct store_result *result,
                struct error *err) {
  struct pipeline_values values = {.count = 0};
  struct store_called called = {.outcome = INBOX_DUPLICATE};
  add_record(s, &values, record);
  execute(s, STEP_CALL, INBOX_PARK, &values);
  buffer_reuse(&s->headers);
  if (!collect(s, &called, NULL, result, err))
    return false;
  *parked = called.outcome == INBOX_PARKED;
  return result->ending == STORE_COMMITTED || roll_back(s, err);
}

bool store_letter(struct store *s, const struct store_letter *letter, struct store_letter_row *row,
                  struct store_result *result, struct error *err) {
  const struct received *event = letter->event;
  struct pipeline_values values = {.count = 0};
  add_record(s, &values, letter->record);
  pipeline_value(&values, event->identity_source);
  pipeline_value(&values, event->id);
  pipeline_value(&values, event->type);
  pipeline_value(&values, slice_of(letter->code));
  pipeline_value(&values, letter->message);
  pipeline_value(&values, letter->details);
  pipeline_bool(&values, letter->hold);
  execute(s, STEP_LETTER, INBOX_DEAD_LETTER, &values);
  buffer_reuse(&s->headers);
  if (!collect(s, NULL, row, result, err))
    return false;
  return result->ending == STORE_COMMITTED || roll_back(s, err);
}

void store_letter_emit(struct store *s, struct slice record) {
  struct pipeline_values values = {.count = 0};
  pipeline_value(&values, record);
  execute(s, STEP_OTHER, INBOX_DEAD_LETTER_EMIT, &values);
}

bool store_maintain(struct store *s, int retention_days, struct error *err) {
  struct pipeline_values values = {.count = 0};
  char interval[32];
  snprintf(interval, sizeof interval, "%d days", retention_days);
  pipeline_text(&values, interval);
  return tell(s, INBOX_MAINTAIN, &values, err);
}
