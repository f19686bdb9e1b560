/* See inbox.h. The one file that knows the order of things: joining the group, admitting what it assigns, handling,
 * leaving; and the recovery, which opens a session and admits everything again. */
#include "bridge/inbox/inbox.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bridge/base/clock.h"
#include "bridge/base/failpoint.h"
#include "bridge/base/log.h"
#include "bridge/base/memory.h"
#include "bridge/inbox/admission.h"
#include "bridge/inbox/handle.h"
#include "bridge/inbox/handlers.h"
#include "bridge/inbox/layout.h"
#include "bridge/kafka/admin.h"
#include "bridge/kafka/record_probe.h"
#include "bridge/postgres/connection.h"

#define HELD_BYTES_MAX (8 << 20)
#define IDLE_POLL_MS 100
#define FETCHED_MAX 1000 /* messages for the next batch and the one behind it */
#define FETCHED_BYTES_MAX (HELD_BYTES_MAX / 2)
#define KAFKA_ANSWER_MS 5000 /* a broker's answer at an admission */
#define PROBE_INTERVAL_MS 5000
#define PROBE_TIMEOUT_MS 2000
#define POLL_ERROR_MS 15000 /* librdkafka repeats what is still wrong more often than that */
#define REPORT_INTERVAL_MS 1000
#define MAINTAIN_INTERVAL_MS 60000
#define SESSION_INTERVAL_MS 1000
#define STOPPED_RETRY_MS 30000 /* an operator may have decided meanwhile */
#define ADMIT_RETRY_MS 1000
#define BATCH_OF_DEATH 500 /* as many as a batch may have held */
#define ALONE_STEP_MS 1000
#define LEAVE_MS 5000
#define UNREACHABLE_MAX_MS 60000 /* with until_end */

struct inbox {
  const struct inbox_settings *settings;
  const struct stop *stop;
  struct inbox_report *report;
  struct handling *handling;
  char *session_name; /* of the sessions in Postgres: not a relay's */

  struct store *store; /* NULL: to be opened at store_due_ms */
  int64_t store_due_ms;
  struct backoff store_backoff;
  bool let_in; /* Postgres has accepted us once */
  bool joined; /* and the group */

  struct consumer *consumer; /* NULL: to be made at consumer_due_ms */
  int64_t consumer_due_ms;
  struct backoff consumer_backoff;
  struct record_probe *probe; /* these come and go with the consumer */
  struct kafka_admin *admin;
  char *cluster_id;

  struct partition **partitions;
  int partition_count;
  bool assigned;                 /* the group has said once what is ours */
  bool announced;                /* that events flow */
  unsigned due_turn, alone_turn; /* which partition is looked at first: none waits for ever behind slow ones */
  uint64_t seed;

  int64_t report_due_ms, maintain_due_ms, probe_due_ms, session_due_ms;
  int64_t poll_failed_ms; /* 0: never, or it is over */
  struct error poll_error;
  bool moved; /* something was committed since the group was told */

  int64_t away_since_ms; /* with until_end: a server is away since; 0: none is */
};

/* A server is away. false once there is no patience left. */
static bool patient(struct inbox *in) {
  int64_t now_ms = clock_monotonic_ms();
  if (in->away_since_ms == 0)
    in->away_since_ms = now_ms;
  return !in->settings->until_end || now_ms - in->away_since_ms < UNREACHABLE_MAX_MS;
}

static bool stopping(const struct inbox *in) {
  return atomic_load(&in->stop->requested);
}

static struct partition *next_in_turn(const struct inbox *in, unsigned *turn) {
  return in->partitions[(*turn)++ % (unsigned)in->partition_count];
}

static struct partition *find(const struct inbox *in, const struct consumer_partition *at, int *index) {
  for (int i = 0; i < in->partition_count; i++) {
    struct partition *p = in->partitions[i];
    if (p->at.partition == at->partition && strcmp(p->at.topic, at->topic) == 0) {
      *index = i;
      return p;
    }
  }
  return NULL;
}

static void add_partition(struct inbox *in, const struct consumer_partition *at) {
  int index;
  if (find(in, at, &index) != NULL)
    return;
  struct partition *p = memory_alloc(sizeof *p);
  in->seed = in->seed * 6364136223846793005u + 1442695040888963407u;
  partition_init(p, at, in->settings->backoff_ms, in->settings->backoff_max_ms, in->seed);
  in->partitions = memory_resize(in->partitions, ((size_t)in->partition_count + 1) * sizeof(*in->partitions));
  in->partitions[in->partition_count++] = p;
}

static void remove_partition(struct inbox *in, int index) {
  struct partition *p = in->partitions[index];
  partition_drop(p, in->consumer);
  inbox_report_partition_gone(in->report, p->at.topic, p->at.partition);
  free(p);
  in->partitions[index] = in->partitions[--in->partition_count];
}

static void report_partitions(struct inbox *in) {
  for (int i = 0; i < in->partition_count; i++) {
    struct inbox_partition_view view;
    partition_describe(in->partitions[i], in->consumer, &view);
    inbox_report_partition(in->report, &view);
  }
}

/* The session is of no use any more: each partition is admitted anew in the next, which tells what was committed. */
static bool drop_store(struct inbox *in, struct error *err) {
  store_close(in->store);
  in->store = NULL;
  in->store_due_ms = clock_monotonic_ms() + backoff_next_ms(&in->store_backoff);
  for (int i = 0; i < in->partition_count; i++) {
    struct partition *p = in->partitions[i];
    p->claim = 0;
    if (!partition_rest(p, in->consumer, PARTITION_WAITING, 0, err))
      return false;
  }
  return true;
}

static void drop_consumer(struct inbox *in) {
  while (in->partition_count > 0)
    remove_partition(in, in->partition_count - 1);
  consumer_free(in->consumer, LEAVE_MS);
  record_probe_free(in->probe);
  kafka_admin_free(in->admin);
  free(in->cluster_id);
  in->consumer = NULL;
  in->probe = NULL;
  in->admin = NULL;
  in->cluster_id = NULL;
  in->assigned = false;
  in->consumer_due_ms = clock_monotonic_ms() + backoff_next_ms(&in->consumer_backoff);
}

/* What a session of statements that are prepared would say less well. */
static bool check_database(const struct inbox *in, struct error *err) {
  const struct inbox_settings *s = in->settings;
  struct connection *conn = connection_open(s->conninfo, in->session_name, err);
  bool ok = conn != NULL && layout_check(conn, err) && handlers_check(conn, s->handlers, s->handler_count, err);
  connection_close(conn);
  return ok;
}

static bool open_store(struct inbox *in, struct error *err) {
  const struct inbox_settings *s = in->settings;
  struct store_settings settings = {.name = in->session_name,
                                    .conninfo = s->conninfo,
                                    .consumer = s->group,
                                    .handlers = s->handlers,
                                    .handler_count = s->handler_count,
                                    .timeout_ms = s->timeout_ms,
                                    .stop = in->stop,
                                    .report = in->report};
  inbox_report_talk(in->report, INBOX_POSTGRES);
  if (check_database(in, err))
    in->store = store_open(&settings, err);
  if (in->store != NULL && handling_connect(in->handling, in->store, in->consumer, err)) {
    in->let_in = true;
    in->maintain_due_ms = 0;
    return true;
  }
  store_close(in->store);
  in->store = NULL;
  if (in->let_in && err->kind == ERROR_CONFIG) /* it accepted us before in this run: it will again */
    err->kind = ERROR_RETRY;
  return false;
}

static bool open_consumer(struct inbox *in, struct error *err) {
  const struct inbox_settings *s = in->settings;
  struct consumer_settings settings = {.kafka = &s->kafka,
                                       .group = s->group,
                                       .topics = s->topics,
                                       .topic_count = s->topic_count,
                                       .held_bytes_max = HELD_BYTES_MAX,
                                       .handling_max_ms = s->timeout_ms};
  inbox_report_talk(in->report, INBOX_KAFKA);
  in->admin = kafka_admin_new(&s->kafka, err);
  if (in->admin == NULL || !kafka_admin_cluster_id(in->admin, KAFKA_ANSWER_MS, &in->cluster_id, err))
    return false;
  in->probe = record_probe_new(&s->kafka, err);
  if (in->probe == NULL)
    return false;
  in->consumer = consumer_new(&settings, err);
  return in->consumer != NULL;
}

/* May it go on after this? With kinds that an end is no remedy for, it does. */
static bool recoverable(struct inbox *in, const struct error *err) {
  switch (err->kind) {
  case ERROR_RETRY:
  case ERROR_START_OVER:
  case ERROR_FATAL: /* of Postgres: a statement failed that should not; the next session may do better */
    break;
  case ERROR_NONE:
  case ERROR_CONFIG:
  case ERROR_REFUSED:
  case ERROR_FENCED:
  case ERROR_STOPPED:
    return false;
  }
  inbox_report_failed(in->report, err);
  log_error_event(LOG_WARN, "inbox.recovering", err);
  return patient(in);
}

/* What the log says at the place that is stored. */
static bool look_at_log(struct inbox *in, const struct partition *p, const struct store_offset *stored,
                        struct admission_log *log, struct record_facts *facts, struct error *err) {
  inbox_report_talk(in->report, INBOX_KAFKA);
  if (!record_probe_range(in->probe, p->at.topic, p->at.partition, KAFKA_ANSWER_MS, &log->low, &log->end, err))
    return false;
  log->cluster_id = in->cluster_id;
  if (!stored->exists || stored->record_offset < 0)
    return true;
  if (!record_probe_look(in->probe, p->at.topic, p->at.partition, stored->record_offset, ADMISSION_ID_HEADER,
                         KAFKA_ANSWER_MS, facts, err))
    return false;
  log->record = facts;
  return true;
}

/* Where it may go on, and whether. */
static bool judge(struct inbox *in, struct partition *p, const struct store_offset *stored, int64_t *start,
                  struct error *err) {
  struct admission_log log = {.record = NULL};
  struct record_facts facts;
  if (!look_at_log(in, p, stored, &log, &facts, err))
    return false;
  struct admission_place place = {.consumer = in->settings->group, .topic = p->at.topic, .partition = p->at.partition};
  struct admission_stored row = {.exists = stored->exists,
                                 .next_offset = stored->next_offset,
                                 .cluster_id = stored->cluster_id,
                                 .record_offset = stored->record_offset,
                                 .record_timestamp = stored->record_timestamp,
                                 .record_id = slice_of(stored->record_id)};
  if (!admission_judge(&place, &row, &log, start, err))
    return false;
  if (p->until < 0)
    p->until = log.end;
  return true;
}

/* Whether it is ours then, p->claim says. false: the store's error. */
static bool claim(struct inbox *in, struct partition *p, const struct store_offset *read, int64_t start,
                  struct error *err) {
  struct store_partition at = {.topic = p->at.topic, .partition = p->at.partition};
  struct store_offset entered = {.exists = false};
  const struct store_offset *stored = read;
  inbox_report_talk(in->report, INBOX_POSTGRES);
  if (!read->exists) {
    if (!store_offset_enter(in->store, &at, start, in->cluster_id, err) ||
        !store_offset_read(in->store, &at, &entered, err))
      return false;
    stored = &entered;
  }
  int64_t ours = 0;
  p->claim = 0;
  bool ok =
      stored->next_offset != start || store_offset_claim(in->store, &at, stored->claim, in->cluster_id, &ours, err);
  if (ok && ours > 0) {
    p->claim = ours;
    p->next_offset = start;
    p->read_offset = start;
    bool stuck = stored->died_after == 0, early = stored->died_after >= 0 && stored->died_after < BATCH_OF_DEATH;
    p->alone_from = start; /* what an attempt was made at before, is settled before others depend on it */
    p->alone_below = p->counted_below = start;
    p->to_single = early ? BATCH_OF_DEATH : 1;
    p->to_count = stuck ? BATCH_OF_DEATH : 0;
    if (stuck)
      log_info("inbox.careful", log_string("topic", at.topic), log_int("partition", at.partition),
               log_int("next_offset", start));
  }
  store_offset_clear(&entered);
  return ok;
}

static bool read_from(struct inbox *in, struct partition *p, struct error *err) {
  struct consumer_start start = {.topic = p->at.topic, .partition = p->at.partition, .offset = p->next_offset};
  if (!consumer_assign(in->consumer, &start, 1, err))
    return false;
  p->state = PARTITION_READING;
  p->read_offset = p->next_offset;
  return true;
}

/* An operator has to look at it; the others go on. */
static void stop_partition(struct partition *p, const struct error *why) {
  bool known = p->state == PARTITION_STOPPED && p->error.code == why->code;
  p->state = PARTITION_STOPPED;
  p->due_ms = clock_monotonic_ms() + STOPPED_RETRY_MS;
  p->error = *why;
  if (!known)
    log_error_event(LOG_ERROR, "inbox.partition_stopped", why);
}

/* It cannot be read, for this reason. */
static void turn_away(struct partition *p, const struct error *why) {
  if (why->kind == ERROR_REFUSED) {
    stop_partition(p, why);
    return;
  }
  p->state = PARTITION_WAITING; /* the brokers do not say */
  p->due_ms = clock_monotonic_ms() + ADMIT_RETRY_MS;
  p->error = *why;
  log_error_event(LOG_WARN, "inbox.partition_waits", why);
}

/* Reads, judges and claims one partition that is due. false: the store or the consumer is of no use any more. */
static bool admit(struct inbox *in, struct partition *p, struct error *err) {
  struct store_partition at = {.topic = p->at.topic, .partition = p->at.partition};
  struct store_offset stored;
  inbox_report_talk(in->report, INBOX_POSTGRES);
  if (!store_offset_read(in->store, &at, &stored, err))
    return false;
  struct error why = {.kind = ERROR_NONE};
  int64_t start;
  bool ok = true;
  if (judge(in, p, &stored, &start, &why)) {
    FAILPOINT("inbox.before_claim");
    ok = claim(in, p, &stored, start, err);
    if (ok && p->claim > 0) {
      FAILPOINT("inbox.after_claim");
      error_clear(&p->error);
      partition_heard(p);
      ok = read_from(in, p, err);
    } else {
      p->due_ms = clock_monotonic_ms() + ADMIT_RETRY_MS / 10; /* another was faster: look again */
    }
  } else {
    turn_away(p, &why);
  }
  store_offset_clear(&stored);
  inbox_report_talk(in->report, INBOX_NOBODY);
  return ok;
}

/* Of a partition that nothing was read of for a while. librdkafka does not tell when a topic was deleted and made again
 * meanwhile: it goes on at the same offset, if the other log has one. */
static bool judge_again(struct inbox *in, struct partition *p, struct error *err) {
  struct store_partition at = {.topic = p->at.topic, .partition = p->at.partition};
  struct store_offset stored;
  inbox_report_talk(in->report, INBOX_POSTGRES);
  if (!store_offset_read(in->store, &at, &stored, err))
    return false;
  struct error why = {.kind = ERROR_NONE};
  int64_t ignored;
  bool ok = true;
  if (judge(in, p, &stored, &ignored, &why)) {
    partition_heard(p);
  } else {
    ok = partition_rest(p, in->consumer, PARTITION_WAITING, 0, err);
    if (ok)
      turn_away(p, &why);
  }
  store_offset_clear(&stored);
  inbox_report_talk(in->report, INBOX_NOBODY);
  return ok;
}

static bool go_on_with_due(struct inbox *in, struct error *err) {
  int64_t now_ms = clock_monotonic_ms();
  for (int i = 0; i < in->partition_count; i++) {
    struct partition *p = next_in_turn(in, &in->due_turn);
    if (p->state == PARTITION_READING || p->due_ms > now_ms || stopping(in))
      continue;
    bool ok = p->state == PARTITION_BACKING_OFF ? read_from(in, p, err) : admit(in, p, err);
    if (!ok)
      return false;
    if (p->state == PARTITION_WAITING) /* that may have taken long: the group is to hear of us before the next */
      return true;
  }
  return true;
}

static void tell_group(struct inbox *in) {
  if (!in->moved || in->consumer == NULL)
    return;
  struct consumer_start *positions = memory_alloc((size_t)in->partition_count * sizeof *positions + 1);
  int count = 0;
  for (int i = 0; i < in->partition_count; i++)
    if (in->partitions[i]->claim > 0)
      positions[count++] = (struct consumer_start){.topic = in->partitions[i]->at.topic,
                                                   .partition = in->partitions[i]->at.partition,
                                                   .offset = in->partitions[i]->next_offset};
  if (count > 0)
    consumer_commit(in->consumer, positions, count);
  free(positions);
  in->moved = false;
}

/* In good order: whoever has it next need not wonder what we died of. */
static bool release(struct inbox *in, struct partition *p, struct error *err) {
  struct store_partition at = {.topic = p->at.topic, .partition = p->at.partition};
  int64_t claim = p->claim;
  p->claim = 0;
  return in->store == NULL || claim == 0 || store_offset_release(in->store, &at, claim, err);
}

/* revoked: they are still ours; else others may have them already. */
static bool give_up(struct inbox *in, const struct consumer_event *event, bool revoked, struct error *err) {
  if (revoked)
    tell_group(in);
  bool ok = true;
  for (int i = 0; i < event->partition_count; i++) {
    int index;
    struct partition *p = find(in, &event->partitions[i], &index);
    if (p == NULL)
      continue;
    if (revoked)
      ok = release(in, p, err) && ok;
    remove_partition(in, index);
  }
  log_info("inbox.revoked", log_int("partitions", event->partition_count), log_bool("lost", !revoked));
  struct error answer;
  if (!consumer_release(in->consumer, ok ? err : &answer))
    return false;
  return ok;
}

static bool take_assignment(struct inbox *in, const struct consumer_event *event, struct error *err) {
  for (int i = 0; i < event->partition_count; i++)
    add_partition(in, &event->partitions[i]);
  in->assigned = true;
  in->joined = true;
  in->announced = false;
  log_info("inbox.assigned", log_int("partitions", event->partition_count));
  return consumer_assign(in->consumer, NULL, 0, err); /* each is started once it is admitted */
}

static void kafka_answered(struct inbox *in) {
  if (in->poll_failed_ms == 0 && clock_monotonic_ms() < in->probe_due_ms)
    return;
  in->poll_failed_ms = 0;
  in->probe_due_ms = clock_monotonic_ms() + PROBE_INTERVAL_MS;
  inbox_report_kafka_answered(in->report);
}

static bool take_event(struct inbox *in, const struct consumer_event *event, struct error *err) {
  int index;
  struct partition *p;
  switch (event->kind) {
  case CONSUMER_NOTHING:
    return true;
  case CONSUMER_MESSAGE:
    kafka_answered(in);
    p = find(in, &(struct consumer_partition){.topic = event->message->topic, .partition = event->message->partition},
             &index);
    if (p == NULL || p->state != PARTITION_READING)
      consumer_message_free(in->consumer, event->message);
    else
      partition_push(p, in->consumer, handling_decide(in->handling, event->message));
    return true;
  case CONSUMER_END:
    kafka_answered(in);
    p = find(in, &event->partitions[0], &index);
    if (p != NULL && p->state == PARTITION_READING && event->offset > p->read_offset)
      p->read_offset = event->offset;
    return true;
  case CONSUMER_OUT_OF_RANGE:
    p = find(in, &event->partitions[0], &index);
    return p == NULL || partition_rest(p, in->consumer, PARTITION_WAITING, 0, err);
  case CONSUMER_ASSIGNED:
    if (event->partition_count > 0)
      kafka_answered(in);
    return take_assignment(in, event, err);
  case CONSUMER_REVOKED:
    return give_up(in, event, true, err);
  case CONSUMER_LOST:
    return give_up(in, event, false, err);
  }
  return true;
}

/* What is wrong with brokers, group or topics; librdkafka goes on trying. */
static void poll_failed(struct inbox *in, const struct error *err) {
  bool news = in->poll_failed_ms == 0 || strcmp(in->poll_error.message, err->message) != 0;
  in->poll_failed_ms = clock_monotonic_ms();
  in->poll_error = *err;
  inbox_report_kafka_silent(in->report, err);
  if (news)
    log_error_event(LOG_WARN, "inbox.kafka_failed", err);
}

static int queued(const struct inbox *in) {
  int count = 0;
  for (int i = 0; i < in->partition_count; i++)
    count += in->partitions[i]->count;
  return count;
}

/* Is there as much as the next batches can take? */
static bool fetched_enough(const struct inbox *in) {
  int count = 0;
  int64_t bytes = 0;
  for (int i = 0; i < in->partition_count; i++) {
    if (handling_runs_alone(in->partitions[i]))
      continue;
    count += in->partitions[i]->count;
    bytes += in->partitions[i]->bytes;
  }
  return count >= FETCHED_MAX || bytes >= FETCHED_BYTES_MAX;
}

/* Events until there are none, or enough; at least one, as rebalances are events too. What is not needed yet stays with
 * librdkafka: where it is told to pause a partition it throws away what it has of it, and takes up to a second to read
 * on. Waits only while there is nothing to be done. */
static bool poll(struct inbox *in, struct error *err) {
  int wait_ms = in->store != NULL && queued(in) > 0 ? 0 : IDLE_POLL_MS;
  int64_t now_ms = clock_monotonic_ms();
  for (int i = 0; in->store != NULL && i < in->partition_count; i++)
    if (in->partitions[i]->state != PARTITION_READING && in->partitions[i]->due_ms - now_ms < wait_ms)
      wait_ms = in->partitions[i]->due_ms > now_ms ? (int)(in->partitions[i]->due_ms - now_ms) : 0;
  inbox_report_turn(in->report);
  for (bool first = true; first || !fetched_enough(in); first = false) {
    struct consumer_event event;
    if (!consumer_poll(in->consumer, wait_ms, &event, err)) {
      if (err->kind != ERROR_RETRY)
        return false;
      poll_failed(in, err);
      return true;
    }
    if (event.kind == CONSUMER_NOTHING)
      return true;
    if (!take_event(in, &event, err))
      return false;
    wait_ms = 0;
  }
  return true;
}

/* Nothing was heard of Kafka for a while: does it answer? */
static void probe(struct inbox *in) {
  int64_t now_ms = clock_monotonic_ms();
  if (now_ms < in->probe_due_ms || (in->poll_failed_ms != 0 && now_ms - in->poll_failed_ms < POLL_ERROR_MS))
    return;
  struct kafka_cluster_facts ignored;
  struct error away;
  inbox_report_talk(in->report, INBOX_KAFKA);
  if (kafka_admin_cluster(in->admin, PROBE_TIMEOUT_MS, &ignored, &away))
    kafka_answered(in);
  else
    poll_failed(in, &away);
  inbox_report_talk(in->report, INBOX_NOBODY);
}

/* One step of handling: each partition whose first message runs by itself, then a batch of the others. Once that takes
 * long, the other partitions wait for the next step: the group is to hear of us. */
static bool handle(struct inbox *in, struct error *err) {
  bool any = queued(in) > 0;
  for (int i = 0; i < in->partition_count; i++)
    if (in->partitions[i]->doubtful && in->partitions[i]->first != NULL && !judge_again(in, in->partitions[i], err))
      return false;
  int64_t until_ms = clock_monotonic_ms() + ALONE_STEP_MS;
  for (int i = 0; i < in->partition_count && !stopping(in) && clock_monotonic_ms() < until_ms; i++) {
    struct partition *p = next_in_turn(in, &in->alone_turn);
    if (handling_runs_alone(p) && !handling_alone(in->handling, p, err))
      return false;
  }
  if (!stopping(in) && !handling_batch(in->handling, in->partitions, in->partition_count, err))
    return false;
  in->moved |= any;
  return true;
}

static void maintain(struct inbox *in) {
  int64_t now_ms = clock_monotonic_ms();
  if (now_ms < in->maintain_due_ms)
    return;
  struct error err;
  inbox_report_talk(in->report, INBOX_POSTGRES);
  if (!store_maintain(in->store, in->settings->retention_days, &err))
    log_error_event(LOG_WARN, "inbox.maintenance_failed", &err);
  inbox_report_talk(in->report, INBOX_NOBODY);
  in->maintain_due_ms = now_ms + MAINTAIN_INTERVAL_MS;
}

/* While there is nothing to be done nobody else would notice that the session ended. */
static bool look_at_session(struct inbox *in, struct error *err) {
  int64_t now_ms = clock_monotonic_ms();
  if (queued(in) > 0 || now_ms < in->session_due_ms)
    return true;
  in->session_due_ms = now_ms + SESSION_INTERVAL_MS;
  return store_alive(in->store, err);
}

/* Now and then. */
static void report_now(struct inbox *in) {
  int64_t now_ms = clock_monotonic_ms();
  if (now_ms < in->report_due_ms)
    return;
  in->report_due_ms = now_ms + REPORT_INTERVAL_MS;
  report_partitions(in);
  tell_group(in);
}

/* Everything that the group gave us is admitted, or refused. */
static bool admitted(const struct inbox *in) {
  if (!in->assigned || in->store == NULL)
    return false;
  for (int i = 0; i < in->partition_count; i++)
    if (in->partitions[i]->state == PARTITION_WAITING)
      return false;
  return true;
}

static void announce(struct inbox *in) {
  if (in->announced || !admitted(in))
    return;
  in->announced = true;
  backoff_reset(&in->store_backoff);
  backoff_reset(&in->consumer_backoff);
  inbox_report_enter(in->report, INBOX_STREAMING);
  report_partitions(in);
  log_info("inbox.streaming", log_string("group", in->settings->group), log_int("partitions", in->partition_count));
}

/* What keeps it from knowing where the end is. */
static bool wait_for_group(struct inbox *in, struct error *err) {
  struct error cause;
  error_set(&cause, ERROR_RETRY, "group %s has not said which partitions are ours", in->settings->group);
  if (in->poll_error.kind != ERROR_NONE)
    cause = in->poll_error;
  if (patient(in))
    return true;
  *err = cause;
  return false;
}

/* With until_end: is it reached? false: it never will be. */
static bool look_for_end(struct inbox *in, bool *done, struct error *err) {
  if (!in->settings->until_end)
    return true;
  if (!in->assigned || in->poll_failed_ms != 0)
    return wait_for_group(in, err);
  if (!admitted(in))
    return true;
  in->away_since_ms = 0;
  const struct partition *stopped = NULL;
  for (int i = 0; i < in->partition_count; i++) {
    const struct partition *p = in->partitions[i];
    if (p->state == PARTITION_STOPPED)
      stopped = p;
    else if (p->state != PARTITION_READING || p->count > 0 || p->read_offset < p->until)
      return true;
  }
  if (stopped != NULL) {
    *err = stopped->error;
    return false;
  }
  *done = true;
  return true;
}

/* One turn with all there is. false: something has to be made again, or it is the end. */
static bool turn(struct inbox *in, bool *done, struct error *err) {
  if (!poll(in, err))
    return false;
  if (in->store != NULL) {
    if (!go_on_with_due(in, err) || !handle(in, err))
      return false;
    maintain(in);
    if (!look_at_session(in, err))
      return false;
  }
  announce(in);
  report_now(in);
  probe(in);
  return look_for_end(in, done, err);
}

/* After a turn that failed: is it the consumer or the store that has to be made again? */
static bool recover(struct inbox *in, struct error *err) {
  struct error cause = *err;
  in->announced = false;
  if (!recoverable(in, &cause))
    return false;
  if (cause.kind == ERROR_START_OVER) {
    drop_consumer(in);
    return true;
  }
  if (!drop_store(in, err)) {
    drop_consumer(in);
    *err = cause;
  }
  return true;
}

/* Opens what is missing and due. */
static bool open_missing(struct inbox *in, struct error *err) {
  int64_t now_ms = clock_monotonic_ms();
  if (in->consumer == NULL) {
    if (now_ms < in->consumer_due_ms) {
      clock_sleep_ms(20);
      inbox_report_turn(in->report);
      return true;
    }
    if (!open_consumer(in, err)) {
      drop_consumer(in);
      if (in->joined && err->kind == ERROR_CONFIG) /* as for Postgres */
        err->kind = ERROR_RETRY;
      return recoverable(in, err);
    }
    if (in->store != NULL && !handling_connect(in->handling, in->store, in->consumer, err))
      return recover(in, err);
  }
  if (in->store == NULL && now_ms >= in->store_due_ms && !open_store(in, err)) {
    in->store_due_ms = clock_monotonic_ms() + backoff_next_ms(&in->store_backoff);
    return recoverable(in, err);
  }
  return true;
}

static void leave(struct inbox *in) {
  struct error ignored;
  bool ok = in->store != NULL;
  inbox_report_enter(in->report, INBOX_STOPPING);
  tell_group(in);
  for (int i = 0; ok && i < in->partition_count; i++)
    ok = release(in, in->partitions[i], &ignored);
  drop_consumer(in);
  store_close(in->store);
}

bool inbox_run(const struct inbox_settings *settings, const struct stop *stop, struct inbox_report *report,
               struct error *err) {
  struct inbox in = {.settings = settings,
                     .stop = stop,
                     .report = report,
                     .handling = handling_new(settings, report),
                     .session_name = memory_format("%s/inbox", settings->name),
                     .seed = (uint64_t)clock_wall_us() ^ (uint64_t)getpid()};
  backoff_init(&in.store_backoff, 100, 10000, in.seed);
  backoff_init(&in.consumer_backoff, 100, 10000, in.seed + 1);
  bool done = false, ok = true;
  while (ok && !done && !stopping(&in)) {
    ok = open_missing(&in, err);
    if (ok && in.consumer != NULL && !turn(&in, &done, err))
      ok = recover(&in, err);
  }
  leave(&in);
  handling_free(in.handling);
  free(in.partitions);
  free(in.session_name);
  return ok;
}
