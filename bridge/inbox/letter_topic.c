/* See letter_topic.h. A batch is read, then sent in one transaction. After any doubt a new producer settles what became
 * of that one, and the progress that is stored says it. */
#include "bridge/inbox/letter_topic.h"
#include "bridge/inbox/consumed.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/backoff.h"
#include "bridge/base/clock.h"
#include "bridge/base/failpoint.h"
#include "bridge/base/log.h"
#include "bridge/base/memory.h"
#include "bridge/inbox/letter_progress.h"
#include "bridge/kafka/admin.h"
#include "bridge/kafka/producer.h"
#include "bridge/kafka/topic_scan.h"

#define AWAY_MS 60000
#define CALL_MS 10000 /* one request */
#define SEND_MS 30000
#define COMMIT_MS 60000
#define SLICE_MS 100
#define PROGRESS_MS 10000
#define BATCH_LETTERS 500
#define BATCH_BYTES ((int64_t)4 << 20)
/* Of what is sent to one partition at a time: well below what a topic may take at least, since a batch that is too
 * large is refused whole. */
#define REQUEST_BYTES 16384

/* Owns its message and the reader that its copy borrows from. */
struct letter {
  struct consumer_message *message;
  struct dead_letter_reader *reader;
  struct dead_letter_copy copy;
};

struct batch {
  struct letter letters[BATCH_LETTERS];
  int count;
  int64_t bytes;
  int64_t end;          /* behind the last record that was looked at */
  int64_t last_settled; /* offset; -1: nothing was */
  struct letter_topic_totals totals;
};

struct part {
  struct letter_progress progress;
  bool known;     /* end is */
  int64_t low;    /* where the log begins */
  int64_t end;    /* of what was committed when the run began */
  int64_t resume; /* all before was looked at in this run */
  int64_t noted;  /* all before was told to the caller */
};

/* An original's topic, as it is now. */
struct target {
  char *name;
  int32_t partitions;
};

struct run {
  const struct letter_topic_settings *settings;
  const struct stop *stop;
  struct letter_topic_totals *totals;
  struct kafka_settings kafka; /* of a name of its own, which the transactional id is made of */
  char *group;

  /* Until something is in doubt. */
  struct kafka_admin *admin;
  struct producer *producer;
  struct topic_scan *scan;
  struct target *targets;
  int target_count;

  struct part *parts;
  int32_t part_count;
  struct batch batch;
  int32_t doubtful;   /* whether batch, which is of this partition, was committed is not known; -1: it is */
  bool full;          /* the text of the progress */
  int64_t failing_ms; /* since when nothing succeeds; 0: it does */
  int64_t told_ms;
};

static bool wait_ms(const struct run *run, int64_t ms, struct error *err) {
  for (int64_t end = clock_monotonic_ms() + ms;;) {
    int64_t left = end - clock_monotonic_ms();
    if (atomic_load(&run->stop->requested))
      return error_set(err, ERROR_STOPPED, "stopped");
    if (left <= 0)
      return true;
    clock_sleep_ms(left < SLICE_MS ? left : SLICE_MS);
  }
}

static void clear_batch(struct batch *batch) {
  for (int i = 0; i < batch->count; i++) {
    topic_scan_message_free(batch->letters[i].message);
    dead_letter_reader_free(batch->letters[i].reader);
  }
  batch->count = 0;
  batch->bytes = 0;
}

/* The producer first: until then librdkafka may still look at what is to be sent. */
static void close_session(struct run *run) {
  producer_free(run->producer);
  topic_scan_free(run->scan);
  kafka_admin_free(run->admin);
  for (int i = 0; i < run->target_count; i++)
    free(run->targets[i].name);
  free(run->targets);
  run->producer = NULL;
  run->scan = NULL;
  run->admin = NULL;
  run->targets = NULL;
  run->target_count = 0;
  clear_batch(&run->batch);
}

static bool refuse_progress(const struct run *run, int32_t partition, const char *what, struct error *err) {
  error_refuse(err, "dlq_progress_invalid", "topic %s partition %d: what group %s has stored %s", run->settings->topic,
               (int)partition, run->group, what);
  return error_remedy(err,
                      "put the group's offsets back: kafka-consumer-groups.sh --group %s "
                      "--topic %s --reset-offsets --to-earliest --execute; every letter that is in it is sent then",
                      run->group, run->settings->topic);
}

static bool read_progress(struct run *run, int32_t partition, struct error *err) {
  struct part *part = &run->parts[partition];
  int64_t low, end, next;
  struct slice text;
  if (!topic_scan_range(run->scan, partition, CALL_MS, &low, &end, err) ||
      !topic_scan_stored(run->scan, partition, CALL_MS, &next, &text, err))
    return false;
  if (next > end)
    return refuse_progress(run, partition, "lies behind its end", err);
  if (!letter_progress_read(&part->progress, next >= 0 ? next : low, next >= 0 ? text : SLICE_ABSENT))
    return refuse_progress(run, partition, "was not written by walferry", err);
  part->low = low;
  if (!part->known) {
    part->known = true;
    part->end = end;
    part->resume = part->progress.next;
  }
  letter_progress_begin(&part->progress, part->resume);
  return true;
}

static void take_totals(struct run *run, struct part *part, const struct batch *batch) {
  run->totals->sent += batch->totals.sent;
  run->totals->passed_over += batch->totals.passed_over;
  run->totals->no_letters += batch->totals.no_letters;
  part->resume = batch->end;
}

/* Whether the transaction that was in doubt was committed after all. */
static void settle_doubt(struct run *run) {
  if (run->doubtful < 0)
    return;
  struct part *part = &run->parts[run->doubtful];
  run->doubtful = -1;
  if (!letter_progress_settled(&part->progress, run->batch.last_settled))
    return;
  take_totals(run, part, &run->batch);
  letter_progress_begin(&part->progress, part->resume);
}

static bool find_topic(struct run *run, struct error *err) {
  struct kafka_topic_facts facts;
  bool configs_known;
  if (!kafka_admin_topic(run->admin, run->settings->topic, CALL_MS, &facts, &configs_known, err))
    return false;
  if (!facts.exists) {
    error_set(err, ERROR_CONFIG, "there is no topic %s", run->settings->topic);
    return error_remedy(err, "name the dead-letter topic: that of the events with inbox.dead_letter.suffix behind it, "
                             "such as fleet.rentals.dlq");
  }
  if (run->parts == NULL) { /* what is added while it runs is for the next one */
    run->parts = memory_alloc((size_t)facts.partitions * sizeof *run->parts);
    run->part_count = facts.partitions;
  }
  return true;
}

/* The producer comes before the progress is read: it ends what a killed run left open. */
static bool open_session(struct run *run, struct error *err) {
  static const struct producer_limits limits = {.batch_bytes = REQUEST_BYTES};
  const struct letter_topic_settings *s = run->settings;
  run->admin = kafka_admin_new(s->kafka, err);
  if (run->admin == NULL || !find_topic(run, err))
    return false;
  if (!s->dry_run) {
    run->producer = producer_new(&run->kafka, &limits, err);
    if (run->producer == NULL || !producer_init(run->producer, CALL_MS, &run->stop->requested, err))
      return false;
  }
  run->scan = topic_scan_new(s->kafka, s->topic, run->group, err);
  if (run->scan == NULL)
    return false;
  for (int32_t partition = 0; partition < run->part_count; partition++)
    if (!read_progress(run, partition, err))
      return false;
  settle_doubt(run);
  return true;
}

/* Reading a batch */

static void tell_progress(struct run *run) {
  int64_t now = clock_monotonic_ms();
  if (now - run->told_ms < PROGRESS_MS)
    return;
  run->told_ms = now;
  log_info("dlq.progress", log_string("topic", run->settings->topic), log_int("sent", (int64_t)run->totals->sent),
           log_int("passed_over", (int64_t)(run->totals->passed_over + run->batch.totals.passed_over)),
           log_int("no_letters", (int64_t)run->totals->no_letters));
}

static void tell(struct run *run, struct part *part, const struct consumer_message *m,
                 const struct dead_letter_copy *letter, const char *why) {
  if (m->offset < part->noted)
    return;
  part->noted = m->offset + 1;
  struct letter_topic_note note = {.partition = m->partition, .offset = m->offset, .letter = letter, .why = why};
  run->settings->note(run->settings->note_to, &note);
}

/* One that matches. True: message and reader are the batch's now. */
static bool take_letter(struct run *run, struct part *part, const struct letter *letter) {
  struct batch *batch = &run->batch;
  batch->totals.sent++;
  if (run->settings->dry_run)
    tell(run, part, letter->message, &letter->copy, NULL);
  letter_progress_settle(&part->progress, letter->message->offset);
  batch->last_settled = letter->message->offset;
  if (run->settings->dry_run)
    return false;
  batch->letters[batch->count++] = *letter;
  batch->bytes += letter->message->held_bytes;
  return true;
}

/* Takes over the message. */
static void take_message(struct run *run, struct part *part, struct consumer_message *m) {
  struct batch *batch = &run->batch;
  struct letter letter = {.message = m, .reader = dead_letter_reader_new()};
  const struct letter_filter *filter = run->settings->filter;
  struct received_record record = consumed_record(m);
  const char *why;
  bool taken = false;
  if (letter_progress_settled(&part->progress, m->offset)) {
    letter_progress_settle(&part->progress, m->offset);
  } else if (!dead_letter_read(letter.reader, &record, &letter.copy, &why)) {
    batch->totals.no_letters++;
    tell(run, part, m, NULL, why);
    if (letter_progress_has_room(&part->progress)) {
      letter_progress_settle(&part->progress, m->offset);
      batch->last_settled = m->offset;
    } else {
      letter_progress_leave(&part->progress, m->offset);
    }
  } else if (!letter_filter_matches(filter, letter.copy.type, letter.copy.code,
                                    letter.copy.has_first_failure ? &letter.copy.first_failure_us : NULL)) {
    batch->totals.passed_over++;
    letter_progress_leave(&part->progress, m->offset);
  } else if (!run->settings->dry_run && !letter_progress_has_room(&part->progress)) {
    run->full = true;
  } else {
    taken = take_letter(run, part, &letter);
  }
  if (!run->full)
    batch->end = m->offset + 1;
  if (!taken) {
    topic_scan_message_free(m);
    dead_letter_reader_free(letter.reader);
  }
}

static bool limit_reached(const struct run *run) {
  return run->settings->limit > 0 && (int64_t)(run->totals->sent + run->batch.totals.sent) >= run->settings->limit;
}

static int batch_letters(const struct run *run) {
  int64_t rate = run->settings->max_per_second;
  return rate > 0 && rate < BATCH_LETTERS ? (int)rate : BATCH_LETTERS;
}

/* *ended: nothing more is to be read of this partition. */
static bool read_batch(struct run *run, struct part *part, bool *ended, struct error *err) {
  struct batch *batch = &run->batch;
  int64_t silent_since = clock_monotonic_ms();
  batch->totals = (struct letter_topic_totals){.sent = 0};
  batch->last_settled = -1;
  batch->end = part->resume;
  while (batch->count < batch_letters(run) && batch->bytes < BATCH_BYTES) {
    *ended = batch->end >= part->end || run->full || limit_reached(run);
    if (*ended)
      return true;
    tell_progress(run);
    if (!wait_ms(run, 0, err))
      return false;
    struct consumer_message *m;
    switch (topic_scan_next(run->scan, &m, err)) {
    case TOPIC_SCAN_MESSAGE:
      silent_since = clock_monotonic_ms();
      if (m->offset < part->end) {
        take_message(run, part, m);
        break;
      }
      topic_scan_message_free(m);
      *ended = true;
      return true;
    case TOPIC_SCAN_END:
      *ended = true;
      return true;
    case TOPIC_SCAN_NOTHING:
      if (clock_monotonic_ms() - silent_since >= CALL_MS)
        return error_set(err, ERROR_RETRY, "topic %s: no broker sends its records", run->settings->topic);
      break;
    case TOPIC_SCAN_FAILED:
      return false;
    }
  }
  return true;
}

/* Sending it */

/* NULL: err. What is known is asked for once in a session. */
static const struct target *find_target(struct run *run, const char *name, struct error *err) {
  for (int i = 0; i < run->target_count; i++)
    if (strcmp(run->targets[i].name, name) == 0)
      return &run->targets[i];
  struct kafka_topic_facts facts;
  bool configs_known;
  if (!kafka_admin_topic(run->admin, name, CALL_MS, &facts, &configs_known, err))
    return NULL;
  if (!facts.exists) {
    error_set(err, ERROR_FATAL, "the topic %s does not exist any more", name);
    error_remedy(err, "create it and run this again; nothing of this letter's batch was sent, and all before it is "
                      "remembered");
    return NULL;
  }
  run->targets = memory_resize(run->targets, (size_t)(run->target_count + 1) * sizeof *run->targets);
  run->targets[run->target_count] = (struct target){.name = memory_string(name), .partitions = facts.partitions};
  return &run->targets[run->target_count++];
}

static bool name_letter(const struct run *run, const struct letter *letter, struct error *err) {
  return error_wrap(err, "dead letter %s/%d@%" PRId64, run->settings->topic, (int)letter->message->partition,
                    letter->message->offset);
}

/* Before the transaction begins: one that waited for answers could be timed out by the broker. */
static bool find_targets(struct run *run, struct error *err) {
  for (int i = 0; i < run->batch.count; i++)
    if (find_target(run, run->batch.letters[i].copy.original.topic, err) == NULL)
      return name_letter(run, &run->batch.letters[i], err);
  return true;
}

static bool send_letter(struct run *run, struct letter *letter, struct error *err) {
  const struct received_record *original = &letter->copy.original;
  const struct target *target = find_target(run, original->topic, err);
  if (target == NULL)
    return false;
  bool there = original->partition < target->partitions;
  struct producer_message message = {
      .topic = original->topic,
      .partition = there ? original->partition : producer_partition(run->producer, original->key, target->partitions),
      .key = original->key,
      .value = original->value,
      .headers = original->headers,
      .header_count = original->header_count,
      .tag = letter};
  return producer_send(run->producer, &message, SEND_MS, &run->stop->now, err);
}

static bool send_all(struct run *run, struct error *err) {
  for (int i = 0; i < run->batch.count; i++)
    if (!send_letter(run, &run->batch.letters[i], err))
      return false;
  return producer_flush(run->producer, SEND_MS, &run->stop->now, err);
}

static bool store_progress(struct run *run, int32_t partition, struct error *err) {
  const struct letter_progress *progress = &run->parts[partition].progress;
  struct buffer text;
  buffer_init(&text, LETTER_PROGRESS_TEXT_MAX);
  letter_progress_write(progress, &text);
  struct producer_offset offset = {.group = run->group,
                                   .topic = run->settings->topic,
                                   .partition = partition,
                                   .next = progress->next,
                                   .text = buffer_slice(&text)};
  bool ok = !text.overflow && producer_send_offset(run->producer, &offset, SEND_MS, &run->stop->now, err);
  buffer_free(&text);
  return ok;
}

static bool transact(struct run *run, int32_t partition, struct error *err) {
  if (!producer_begin(run->producer, err))
    return false;
  FAILPOINT("dlq_topic.after_begin");
  if (!send_all(run, err))
    return false;
  FAILPOINT("dlq_topic.after_produce");
  if (!store_progress(run, partition, err))
    return false;
  FAILPOINT("dlq_topic.after_offsets");
  if (!producer_commit(run->producer, COMMIT_MS, &run->stop->now, NULL, err))
    return false;
  FAILPOINT("dlq_topic.after_commit");
  return true;
}

/* A letter that its topic does not take is refused again however often it is sent. */
static void name_refused(const struct run *run, struct error *err) {
  const struct producer_failure *failures;
  if (err->kind != ERROR_START_OVER || producer_failures(run->producer, &failures) == 0)
    return;
  const struct letter *letter = failures[0].tag;
  error_set(err, ERROR_FATAL, "topic %s refuses it: %s", letter->copy.original.topic, failures[0].reason);
  error_remedy(err, "change the topic's settings (max.message.bytes, cleanup.policy) so that it takes the record, or "
                    "leave the letter out by a filter; all before its batch is remembered");
  name_letter(run, letter, err);
}

/* *renew: it is done, but the producer must not be used again. */
static bool send_batch(struct run *run, int32_t partition, bool *renew, struct error *err) {
  struct part *part = &run->parts[partition];
  if (run->batch.last_settled < 0 || run->settings->dry_run) {
    take_totals(run, part, &run->batch);
    return true;
  }
  if (!find_targets(run, err))
    return false;
  producer_rest(run->producer);
  run->doubtful = partition;
  if (!transact(run, partition, err)) {
    name_refused(run, err);
    if (err->kind == ERROR_FATAL || err->kind == ERROR_STOPPED) /* nobody follows who would end it */
      producer_abort(run->producer, CALL_MS, NULL);
    return false;
  }
  run->doubtful = -1;
  run->failing_ms = 0;
  take_totals(run, part, &run->batch);
  *renew = producer_trouble_since_begin(run->producer) != 0;
  int count = run->batch.count;
  clear_batch(&run->batch);
  int64_t rate = run->settings->max_per_second;
  return *renew || wait_ms(run, rate == 0 ? 0 : count * INT64_C(1000) / rate, err);
}

static bool fail_full(const struct run *run, int32_t partition, struct error *err) {
  error_set(err, ERROR_FATAL,
            "topic %s partition %d: the filters pass over letters in more places than can be remembered",
            run->settings->topic, (int)partition);
  return error_remedy(err, "send those that were passed over first, without a filter and with --limit as needed; what "
                           "was sent is remembered");
}

static bool replay_partition(struct run *run, int32_t partition, bool *renew, struct error *err) {
  struct part *part = &run->parts[partition];
  bool ended = part->resume >= part->end || limit_reached(run);
  if (ended)
    return true;
  if (!topic_scan_begin(run->scan, partition, part->resume > part->low ? part->resume : part->low, err))
    return false;
  while (!ended && !*renew)
    if (!read_batch(run, part, &ended, err) || !send_batch(run, partition, renew, err))
      return false;
  if (run->full)
    return fail_full(run, partition, err);
  if (ended && !limit_reached(run))
    part->resume = part->end;
  return true;
}

static bool replay(struct run *run, bool *renew, struct error *err) {
  *renew = false;
  memset(&run->batch.totals, 0, sizeof run->batch.totals);
  for (int32_t partition = 0; partition < run->part_count && !*renew; partition++)
    if (!replay_partition(run, partition, renew, err))
      return false;
  return true;
}

/* After a failure: whether to try again. */
static bool may_try_again(struct run *run, struct backoff *backoff, struct error *err) {
  if (err->kind != ERROR_RETRY && err->kind != ERROR_START_OVER)
    return false;
  int64_t now = clock_monotonic_ms();
  if (run->failing_ms == 0) {
    run->failing_ms = now;
    backoff_reset(backoff);
  } else if (now - run->failing_ms >= AWAY_MS) {
    err->kind = ERROR_RETRY;
    return false;
  }
  log_error_event(LOG_WARN, "dlq.retry", err);
  return wait_ms(run, backoff_next_ms(backoff), err);
}

static bool run_sessions(struct run *run, struct error *err) {
  struct backoff backoff;
  backoff_init(&backoff, SLICE_MS, 5000, (uint64_t)clock_monotonic_us());
  for (bool renew;;) {
    bool ok = open_session(run, err) && replay(run, &renew, err);
    close_session(run);
    if (ok && !renew)
      return true;
    if (!ok && !may_try_again(run, &backoff, err))
      return false;
  }
}

bool letter_topic_run(const struct letter_topic_settings *settings, const struct stop *stop,
                      struct letter_topic_totals *totals, struct error *err) {
  struct run *run = memory_alloc(sizeof *run);
  *totals = (struct letter_topic_totals){.sent = 0};
  run->settings = settings;
  run->stop = stop;
  run->totals = totals;
  run->doubtful = -1;
  run->told_ms = clock_monotonic_ms();
  char *name = memory_format("%s.dlq", settings->kafka->instance); /* no instance's: their names have no dots */
  run->kafka = *settings->kafka;
  run->kafka.instance = name;
  run->group = kafka_transactional_id(name);
  bool ok = run_sessions(run, err);
  if (!ok && err->kind == ERROR_FENCED)
    error_remedy(
        err, "another `walferry dlq CONFIG replay --from-topic` of this config runs: wait until it is done, then run "
             "this again");
  for (int32_t i = 0; i < run->part_count; i++)
    letter_progress_free(&run->parts[i].progress);
  free(run->parts);
  free(run->group);
  free(name);
  free(run);
  return ok;
}
