/* See handle.h. */
#include "bridge/inbox/handle.h"

#include <stdio.h>
#include <stdlib.h>

#include "bridge/base/clock.h"
#include "bridge/base/failpoint.h"
#include "bridge/base/log.h"
#include "bridge/base/memory.h"
#include "bridge/event/dead_letter.h"
#include "bridge/inbox/admission.h"
#include "bridge/inbox/consumed.h"

#define BATCH_MESSAGES_MAX 500
#define BATCH_MESSAGES_START 32
#define BATCH_BYTES_MAX (1 << 20)
#define BATCH_LONG_US 1000000 /* takes longer: the next is smaller, so that a rebalance or a stop need not wait */
#define BATCH_SHORT_US 300000
#define DISPLACED_MS 500 /* the group will say who has the partition now */

/* What a batch takes of one partition. */
struct batch_part {
  struct partition *partition;
  int count;
  const struct consumer_message *last;
  const struct partition_message *next; /* the first that it does not take */
};

struct handling {
  const struct inbox_settings *settings;
  struct inbox_report *report;
  struct registry *registry;
  struct received_reader *reader;
  struct store *store;
  struct consumer *consumer;

  int batch_max;
  int turn; /* which partition comes first */
  struct batch_part *parts;
  int part_count, part_room;
  struct store_called called[BATCH_MESSAGES_MAX];

  bool uncount; /* the attempt at this message does not count, and it could not be said yet */
  struct store_message uncounted;
};

struct handling *handling_new(const struct inbox_settings *settings, struct inbox_report *report) {
  struct handling *h = memory_alloc(sizeof *h);
  h->settings = settings;
  h->report = report;
  h->registry = registry_new(settings->handlers, settings->handler_count, settings->unmatched);
  h->reader = received_reader_new();
  h->batch_max = BATCH_MESSAGES_START;
  return h;
}

void handling_free(struct handling *h) {
  if (h == NULL)
    return;
  registry_free(h->registry);
  received_reader_free(h->reader);
  free(h->parts);
  free(h);
}

bool handling_connect(struct handling *h, struct store *store, struct consumer *consumer, struct error *err) {
  h->store = store;
  h->consumer = consumer;
  if (h->uncount && !store_attempt_uncount(store, &h->uncounted, err))
    return false;
  h->uncount = false;
  return true;
}

struct partition_message *handling_decide(struct handling *h, struct consumer_message *message) {
  struct partition_message *decided = memory_alloc(sizeof *decided);
  struct received_record record = consumed_record(message);
  struct received event;
  struct problem problem;
  size_t handler;
  const char *call;
  decided->message = message;
  decided->handler = -1;
  bool readable = received_read(h->reader, &record, &event, &problem);
  decided->action = registry_find(h->registry, event.type, &handler, &call);
  if (decided->action == REGISTRY_CALL)
    decided->handler = (int)handler;
  if (!readable && decided->action != REGISTRY_IGNORE)
    decided->action = REGISTRY_DEAD_LETTER;
  return decided;
}

/* The progress that handling all up to and with `last` is. */
static struct store_move move_behind(const struct partition *p, const struct consumer_message *last) {
  struct slice id = SLICE_ABSENT;
  for (int i = 0; i < last->header_count; i++)
    if (strcmp(last->headers[i].name, ADMISSION_ID_HEADER) == 0)
      id = last->headers[i].value;
  return (struct store_move){.at = {.topic = p->at.topic, .partition = p->at.partition},
                             .claim = p->claim,
                             .from = p->next_offset,
                             .to = last->offset + 1,
                             .record_offset = last->offset,
                             .record_timestamp = last->timestamp_ms,
                             .record_id = admission_id(id)};
}

static void report_partition(struct handling *h, const struct partition *p) {
  struct inbox_partition_view view;
  partition_describe(p, h->consumer, &view);
  inbox_report_partition(h->report, &view);
}

/* What it failed with before is over. */
static void settled(struct partition *p) {
  backoff_reset(&p->backoff);
  p->attempts = 0;
  error_clear(&p->error);
}

/* Another has the partition, or an operator has moved its offset: it is read anew, if it still is ours. */
static bool displaced(struct handling *h, struct partition *p, struct error *err) {
  log_info("inbox.displaced", log_string("topic", p->at.topic), log_int("partition", p->at.partition),
           log_int("next_offset", p->next_offset));
  p->claim = 0;
  return partition_rest(p, h->consumer, PARTITION_WAITING, DISPLACED_MS, err);
}

/* The result of a message that was not called. */
static enum inbox_outcome uncalled(enum registry_action action) {
  return action == REGISTRY_IGNORE ? INBOX_IGNORED : INBOX_SKIPPED;
}

static void log_handled(const struct partition_message *m, enum inbox_outcome outcome) {
  log_debug("inbox.handled", log_string("topic", m->message->topic), log_int("partition", m->message->partition),
            log_int("offset", m->message->offset), log_string("outcome", inbox_outcome_name(outcome)));
}

/* Committed: the first messages of a partition, as far as they went, with what became of those that were called. */
static void advance(struct handling *h, struct partition *p, int count, const struct store_called **called) {
  for (int i = 0; i < count; i++) {
    const struct partition_message *m = p->first;
    enum inbox_outcome outcome = uncalled(m->action);
    if (m->action == REGISTRY_CALL) {
      outcome = (*called)->outcome;
      if (outcome == INBOX_PROCESSED)
        inbox_report_called(h->report, m->handler, (*called)->us);
      (*called)++;
    }
    inbox_report_outcome(h->report, m->handler, outcome, NULL);
    log_handled(m, outcome);
    p->next_offset = m->message->offset + 1;
    partition_pop(p, h->consumer);
  }
  settled(p);
}

/* What is not called cannot fail. */
static bool may_run_together(const struct partition *p, const struct partition_message *m) {
  return m != NULL && m->action != REGISTRY_DEAD_LETTER &&
         (m->action != REGISTRY_CALL || !partition_alone(p, m->message->offset));
}

bool handling_runs_alone(const struct partition *p) {
  return p->state == PARTITION_READING && p->first != NULL && !may_run_together(p, p->first);
}

static void add_part(struct handling *h, struct partition *p) {
  if (h->part_count == h->part_room) {
    h->part_room = h->part_room == 0 ? 16 : 2 * h->part_room;
    h->parts = memory_resize(h->parts, (size_t)h->part_room * sizeof *h->parts);
  }
  h->parts[h->part_count++] = (struct batch_part){.partition = p, .next = p->first};
}

/* Takes up to `share` more messages of one partition. */
static int extend(struct batch_part *part, int share, int64_t *bytes) {
  int n = 0;
  while (n < share && may_run_together(part->partition, part->next)) {
    if (*bytes > 0 && *bytes + part->next->message->held_bytes > BATCH_BYTES_MAX)
      break;
    *bytes += part->next->message->held_bytes;
    part->last = part->next->message;
    part->next = part->next->next;
    n++;
  }
  part->count += n;
  return n;
}

/* Of each partition an equal share, then of those that have more. Returns how many messages there are. */
static int choose(struct handling *h, struct partition *const *partitions, int count) {
  h->part_count = 0;
  for (int i = 0; i < count; i++) {
    struct partition *p = partitions[(h->turn + i) % count];
    if (p->state == PARTITION_READING && may_run_together(p, p->first) && h->part_count < h->batch_max)
      add_part(h, p);
  }
  h->turn = (h->turn + 1) % (count > 0 ? count : 1);
  int taken = 0, more = h->part_count > 0;
  int64_t bytes = 0;
  while (more > 0 && taken < h->batch_max) {
    int share = (h->batch_max - taken + h->part_count - 1) / h->part_count;
    more = 0;
    for (int i = 0; i < h->part_count && taken + more < h->batch_max; i++) {
      int left = h->batch_max - taken - more;
      more += extend(&h->parts[i], share < left ? share : left, &bytes);
    }
    taken += more;
  }
  int with_some = 0; /* a large message may have left no room for the next partition's, but for that of a third */
  for (int i = 0; i < h->part_count; i++)
    if (h->parts[i].count > 0)
      h->parts[with_some++] = h->parts[i];
  h->part_count = with_some;
  return taken;
}

static void send_part(struct handling *h, const struct batch_part *part) {
  const struct partition_message *m = part->partition->first;
  for (int i = 0; i < part->count; i++, m = m->next) {
    if (m->action != REGISTRY_CALL)
      continue;
    struct received_record record = consumed_record(m->message);
    struct received event;
    struct problem problem;
    received_read(h->reader, &record, &event, &problem);
    store_call(h->store, (size_t)m->handler, &record, &event);
  }
}

/* The message that failed runs by itself next; where it is not known which one did, all of them do. */
static void set_apart(struct handling *h, int failed_call) {
  int calls = 0;
  for (int i = 0; i < h->part_count; i++) {
    struct partition *p = h->parts[i].partition;
    const struct partition_message *m = p->first;
    if (failed_call < 0) {
      p->alone_from = m->message->offset;
      p->alone_below = h->parts[i].last->offset + 1;
      continue;
    }
    for (int k = 0; k < h->parts[i].count; k++, m = m->next) {
      if (m->action != REGISTRY_CALL || calls++ != failed_call)
        continue;
      p->alone_from = m->message->offset;
      p->alone_below = p->alone_from + 1;
    }
  }
}

static int clamp(int n) {
  return n < 1 ? 1 : n > BATCH_MESSAGES_MAX ? BATCH_MESSAGES_MAX : n;
}

/* The size follows how long a batch takes, and how far batches get before one of their messages fails. */
static void adapt(struct handling *h, int messages, int64_t us) {
  if (us > BATCH_LONG_US)
    h->batch_max = clamp(messages / 2);
  else if (us < BATCH_SHORT_US && messages == h->batch_max)
    h->batch_max = clamp(2 * h->batch_max);
}

bool handling_batch(struct handling *h, struct partition *const *partitions, int count, struct error *err) {
  int messages = choose(h, partitions, count);
  if (messages == 0)
    return true;
  int64_t began_us = clock_monotonic_us();
  inbox_report_talk(h->report, INBOX_POSTGRES);
  store_begin(h->store);
  for (int i = 0; i < h->part_count; i++) {
    struct store_move move = move_behind(h->parts[i].partition, h->parts[i].last);
    store_move(h->store, &move);
  }
  for (int i = 0; i < h->part_count; i++)
    send_part(h, &h->parts[i]);
  struct store_result result;
  if (!store_commit(h->store, h->called, &result, err))
    return false;
  inbox_report_talk(h->report, INBOX_NOBODY);
  int64_t took_us = clock_monotonic_us() - began_us;
  switch (result.ending) {
  case STORE_COMMITTED: {
    const struct store_called *called = h->called;
    inbox_report_batch(h->report, messages, took_us);
    adapt(h, messages, took_us);
    for (int i = 0; i < h->part_count; i++) {
      advance(h, h->parts[i].partition, h->parts[i].count, &called);
      report_partition(h, h->parts[i].partition);
    }
    return true;
  }
  case STORE_FAILED:
    log_info("inbox.batch_failed", log_int("messages", messages), log_int("failed", result.call),
             log_string("sqlstate", result.sqlstate));
    set_apart(h, result.call);
    h->batch_max = clamp(result.call < 0 ? messages / 2 : 2 * result.call);
    return true;
  case STORE_DISPLACED:
    return displaced(h, h->parts[result.move].partition, err);
  case STORE_CANCELLED:
    break;
  }
  return true;
}

/* One message by itself. */
struct single {
  struct partition *p;
  struct partition_message *m;
  struct received_record record;
  struct received event;
  struct problem problem;
  struct store_message place;
  bool counted; /* its attempt was, before the call */
};

static void log_failed(const struct single *single, const struct store_result *result, int attempts) {
  const struct received *event = &single->event;
  log_warn("inbox.event_failed", log_slice("type", event->type), log_slice("id", event->id),
           log_string("topic", single->record.topic), log_int("partition", single->record.partition),
           log_int("offset", single->record.offset), log_int("attempt", attempts),
           log_string("error", result->error.message), log_slice("trace_id", event->trace_id));
}

/* The record for the dead-letter topic. */
static bool emit_letter(struct handling *h, const struct single *single, const struct store_letter *letter,
                        const struct store_letter_row *row) {
  struct buffer text;
  struct dead_letter record = {.record = &single->record,
                               .received = &single->event,
                               .code = letter->code,
                               .message = letter->message,
                               .details = letter->details,
                               .attempts = row->attempts,
                               .first_failure = slice_of(row->first_failure),
                               .last_failure = slice_of(row->last_failure),
                               .topic_suffix = h->settings->dead_letter_suffix,
                               .consumer = h->settings->group};
  buffer_init(&text, BUFFER_MAX_ROW);
  dead_letter_write(&text, &record);
  bool fits = !text.overflow;
  if (fits)
    store_letter_emit(h->store, buffer_slice(&text));
  buffer_free(&text);
  return fits;
}

static void log_letter(const struct single *single, const struct store_letter *letter,
                       const struct store_letter_row *row) {
  const struct received *event = &single->event;
  log_warn("inbox.dead_letter", log_int("id", row->id), log_string("code", letter->code),
           log_slice("type", event->type), log_slice("event_id", event->id), log_string("topic", single->record.topic),
           log_int("partition", single->record.partition), log_int("offset", single->record.offset),
           log_int("attempts", row->attempts), log_slice("trace_id", event->trace_id));
}

/* What holds a partition up, as the report has it. */
static bool hold_up(struct handling *h, struct partition *p, const char *code, int attempts, const struct error *cause,
                    struct error *err) {
  p->error = *cause;
  p->error.code = code;
  p->attempts = attempts;
  bool ok = partition_back_off(p, h->consumer, err);
  report_partition(h, p);
  return ok;
}

static void settle_letter(struct handling *h, struct single *single, const char *code) {
  inbox_report_outcome(h->report, single->m->handler, code == NULL ? INBOX_PARKED : INBOX_DEAD_LETTERED, code);
  single->p->next_offset = single->record.offset + 1;
  partition_pop(single->p, h->consumer);
  settled(single->p);
  report_partition(h, single->p);
}

/* Gives the message up: its row, its record and the offset behind it in one transaction. One that is not called is
 * parked, where its key is held: its place is behind those that wait. */
static bool bury(struct handling *h, struct single *single, const struct store_letter *letter, struct error *err) {
  struct partition *p = single->p;
  struct store_move move = move_behind(p, single->m->message);
  struct store_letter_row row;
  struct store_result result = {.ending = STORE_COMMITTED};
  bool parked = false;
  store_begin(h->store);
  store_move(h->store, &move);
  if (single->m->action != REGISTRY_CALL && !store_park(h->store, &single->record, &parked, &result, err))
    return false;
  if (result.ending == STORE_COMMITTED && !parked && !store_letter(h->store, letter, &row, &result, err))
    return false;
  if (result.ending == STORE_COMMITTED && parked) {
    if (!store_commit(h->store, NULL, &result, err))
      return false;
  } else if (result.ending == STORE_COMMITTED) {
    FAILPOINT("inbox.letter_written");
    if (h->settings->dead_letter_records && !emit_letter(h, single, letter, &row))
      log_warn("inbox.dead_letter_too_large", log_int("id", row.id));
    if (!store_commit(h->store, NULL, &result, err))
      return false;
  }
  switch (result.ending) {
  case STORE_COMMITTED:
    if (!parked)
      log_letter(single, letter, &row);
    settle_letter(h, single, parked ? NULL : letter->code);
    return true;
  case STORE_DISPLACED:
    return displaced(h, p, err);
  case STORE_FAILED:
    log_error_event(LOG_ERROR, "inbox.dead_letter_failed", &result.error);
    return hold_up(h, p, "dead_letter_failed", p->attempts, &result.error, err);
  case STORE_CANCELLED:
    break;
  }
  return true;
}

static struct store_letter letter_of(const struct handling *h, const struct single *single, const char *code,
                                     struct slice message, struct slice details) {
  return (struct store_letter){.record = &single->record,
                               .event = &single->event,
                               .code = code,
                               .message = message,
                               .details = details,
                               .hold = h->settings->hold_key};
}

/* A message that no handler is called for. */
static bool bury_uncalled(struct handling *h, struct single *single, struct error *err) {
  char message[400];
  bool readable = single->problem.code == NULL;
  if (readable)
    snprintf(message, sizeof message, "no handler is for events of type \"%.*s\"", SLICE_ARG(single->event.type));
  else
    snprintf(message, sizeof message, "%s", single->problem.message);
  struct store_letter letter =
      letter_of(h, single, readable ? CODE_UNMATCHED_TYPE : single->problem.code, slice_of(message), SLICE_ABSENT);
  return bury(h, single, &letter, err);
}

/* Those before ended process or server. */
static bool bury_crashed(struct handling *h, struct single *single, int attempts, struct error *err) {
  char message[160];
  snprintf(message, sizeof message,
           "the process, or the server's, ended each of the %d times when the handler was called", attempts);
  struct store_letter letter = letter_of(h, single, failure_code(FAILURE_LOST, ""), slice_of(message), SLICE_ABSENT);
  return bury(h, single, &letter, err);
}

/* The call could not even be planned: there is no such function or schema (for the moment), or no right to it. */
static bool is_uncallable(const struct store_result *result) {
  static const char *const states[] = {"42883", "42501", "3F000"};
  for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
    if (result->call >= 0 && !result->in_handler && strcmp(result->sqlstate, states[i]) == 0)
      return true;
  return false;
}

/* Not the message's doing: it waits, and no attempt is counted. */
static bool wait_for_handler(struct handling *h, struct single *single, int attempts, const struct store_result *result,
                             struct error *err) {
  if (single->counted && !store_attempt_uncount(h->store, &single->place, err))
    return false;
  log_error_event(LOG_ERROR, "inbox.handler_missing", &result->error);
  return hold_up(h, single->p, "handler_missing", attempts, &result->error, err);
}

/* The handler failed; the transaction is rolled back. */
static bool failed(struct handling *h, struct single *single, int attempts, const struct store_result *result,
                   struct error *err) {
  if (is_uncallable(result))
    return wait_for_handler(h, single, attempts, result, err);
  if (result->failure == FAILURE_NOT_COUNTED) {
    if (single->counted && !store_attempt_uncount(h->store, &single->place, err))
      return false;
    if (result->call < 0) { /* not the handler's: a new session may be led to a server that takes writes */
      *err = result->error;
      err->kind = ERROR_RETRY;
      return false;
    }
    return hold_up(h, single->p, "postgres_unavailable", attempts, &result->error, err);
  }
  if (!single->counted && !store_attempt_begin(h->store, &single->place, single->p->claim, &attempts, err))
    return false;
  if (attempts == 0)
    return displaced(h, single->p, err);
  log_failed(single, result, attempts);
  if (result->failure == FAILURE_POISON || attempts >= h->settings->max_attempts) {
    struct store_letter letter =
        letter_of(h, single, failure_code(result->failure, result->sqlstate), result->message, result->details);
    return bury(h, single, &letter, err);
  }
  if (!store_attempt_failed(h->store, &single->place, result->details, err))
    return false;
  inbox_report_retry(h->report, single->m->handler);
  return hold_up(h, single->p, failure_code(result->failure, result->sqlstate), attempts, &result->error, err);
}

static bool call(struct handling *h, struct single *single, struct error *err) {
  struct partition *p = single->p;
  int attempts = 0;
  if (single->counted) {
    if (!store_attempt_begin(h->store, &single->place, p->claim, &attempts, err))
      return false;
    if (attempts == 0)
      return displaced(h, p, err);
    if (attempts > h->settings->max_attempts) /* this one is not made */
      return store_attempt_uncount(h->store, &single->place, err) && bury_crashed(h, single, attempts - 1, err);
    FAILPOINT("inbox.attempt_counted");
  }
  struct store_move move = move_behind(p, single->m->message);
  int64_t began_us = clock_monotonic_us();
  store_begin(h->store);
  store_move(h->store, &move);
  store_call(h->store, (size_t)single->m->handler, &single->record, &single->event);
  store_attempt_forget(h->store, &single->place);
  struct store_called called;
  struct store_result result;
  if (!store_commit(h->store, &called, &result, err)) {
    h->uncount = single->counted && result.failure == FAILURE_NOT_COUNTED;
    h->uncounted = single->place;
    return false;
  }
  switch (result.ending) {
  case STORE_COMMITTED: {
    const struct store_called *first = &called;
    inbox_report_batch(h->report, 1, clock_monotonic_us() - began_us);
    advance(h, p, 1, &first);
    report_partition(h, p);
    return true;
  }
  case STORE_DISPLACED:
    return displaced(h, p, err);
  case STORE_CANCELLED:
    return !single->counted || store_attempt_uncount(h->store, &single->place, err);
  case STORE_FAILED:
    break;
  }
  return failed(h, single, attempts, &result, err);
}

bool handling_alone(struct handling *h, struct partition *p, struct error *err) {
  struct single single = {.p = p, .m = p->first, .record = consumed_record(p->first->message)};
  single.place = (struct store_message){.at = {.topic = p->at.topic, .partition = p->at.partition},
                                        .offset = single.record.offset};
  single.counted = single.record.offset < p->counted_below;
  received_read(h->reader, &single.record, &single.event, &single.problem);
  inbox_report_talk(h->report, INBOX_POSTGRES);
  bool ok = single.m->action == REGISTRY_CALL ? call(h, &single, err) : bury_uncalled(h, &single, err);
  if (ok)
    inbox_report_talk(h->report, INBOX_NOBODY);
  return ok;
}
