/* See publisher.h. */
#include "bridge/relay/publisher.h"

#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

#include "bridge/base/buffer.h"
#include "bridge/base/clock.h"
#include "bridge/base/failpoint.h"
#include "bridge/base/log.h"
#include "bridge/base/memory.h"
#include "bridge/kafka/position_log.h"
#include "bridge/kafka/producer.h"
#include "bridge/relay/admit_topic.h"
#include "bridge/relay/minutes.h"
#include "bridge/relay/row_log.h"
#include "bridge/relay/suspects.h"

#define ADMIN_TIMEOUT_MS 10000
#define INIT_TIMEOUT_MS 60000
#define SEND_TIMEOUT_MS 60000
#define COMMIT_TIMEOUT_MS 60000
#define POSITION_READ_TIMEOUT_MS 30000
#define BATCH_BYTES 1000000 /* librdkafka's own default */
#define BATCH_BYTES_MIN 16384
#define MESSAGE_MAX_USUAL 1000000 /* max.message.bytes is 1048588, with a batch's frame, unless somebody changed it */
#define REQUEST_BYTES 100000000   /* socket.request.max.bytes is 100 MiB unless a broker's config says otherwise */
#define PROGRESS_INTERVAL_MS 1000
#define POSITION_SEGMENT_BYTES (64 << 20) /* a full one is compacted: history is read from the topic's beginning */

struct topic {
  char *name;
  int32_t partitions;  /* the pinned count: what keys are spread over */
  int64_t message_max; /* bytes; 0 unknown */
  int32_t turn;        /* the partition that takes the next record of a round-robin route */
  UT_hash_handle hh;
};

struct publisher {
  struct publisher_settings settings;
  const struct stop *stop;
  char *position_topic;
  struct kafka_admin *admin; /* made when first needed */
  bool accepted;             /* the brokers have let us in once */
  bool opened;               /* and there was a producer, and a position was read */
  struct producer *producer; /* NULL between generations */
  int64_t batch_bytes;       /* the smallest topic limit seen, at most BATCH_BYTES */
  int64_t batch_start_bytes; /* the same when the batch in hand was taken */
  const char *replace;       /* why this producer must not begin another transaction that is committed; else NULL */
  struct position committed;
  struct position next;
  struct buffer json;
  int64_t history_keep_us;   /* 0: no history is kept */
  int64_t history_minute_us; /* of its newest copy */
  struct minutes_clock history_clock;
  bool history_clock_told;  /* it has jumped ahead */
  struct topic *topics;     /* forgotten with each new producer: limits may have changed */
  struct topic *last_topic; /* the one that was asked for last, most often the next one too */
  struct suspects *suspects;
  struct suspects *suspect_substitutes; /* the quarantine records made in place of those */
  void (*step)(void *ctx);              /* NULL: nobody wants to know */
  void *step_ctx;
  void (*note)(void *ctx, const struct record *record); /* NULL: nobody counts */
  void *note_ctx;
  void (*row)(void *ctx, const struct table_spec *table, struct slice id); /* NULL: nobody */
  void *row_ctx;
  struct totals totals;
  uint64_t records_logged; /* of its records, as of the last position.committed */
  struct row_log *row_log;
  bool progress_unlogged;
  int64_t progress_logged_ms;
  struct record *substitutes; /* quarantine records made in place of records of the batch in flight */
};

struct topic_shape publisher_topic_shape(const struct publisher_settings *settings, const char *topic) {
  struct topic_shape shape = topic_plan_shape(&settings->topics, topic);
  bool keeps_all = strcmp(topic, settings->quarantine_topic) == 0;
  for (int i = 0; i < settings->dead_letter_topic_count && !keeps_all; i++)
    keeps_all = strcmp(topic, settings->dead_letter_topics[i]) == 0;
  if (keeps_all)
    shape.cleanup = TOPIC_CLEANUP_DELETE;
  return shape;
}

struct topic_shape publisher_position_shape(const struct publisher_settings *settings) {
  return (struct topic_shape){.partitions = 1,
                              .replication = settings->topics.common.replication,
                              .min_insync_replicas = settings->topics.common.min_insync_replicas,
                              .cleanup = TOPIC_CLEANUP_COMPACT,
                              .clean_election = true,
                              .segment_bytes = POSITION_SEGMENT_BYTES};
}

struct publisher *publisher_new(const struct publisher_settings *settings, const struct stop *stop) {
  struct publisher *p = memory_alloc(sizeof *p);
  p->settings = *settings;
  p->stop = stop;
  p->position_topic = kafka_position_topic(settings->kafka.instance);
  p->batch_bytes = BATCH_BYTES;
  position_init(&p->committed);
  position_init(&p->next);
  buffer_init(&p->json, BUFFER_MAX_ROW);
  p->suspects = suspects_new();
  p->suspect_substitutes = suspects_new();
  p->row_log = row_log_new();
  return p;
}

void publisher_set_step(struct publisher *p, void (*step)(void *ctx), void *ctx) {
  p->step = step;
  p->step_ctx = ctx;
}

void publisher_keep_history(struct publisher *p, int64_t keep_ms) {
  p->history_keep_us = keep_ms * 1000;
}

void publisher_set_note(struct publisher *p, void (*note)(void *ctx, const struct record *record), void *ctx) {
  p->note = note;
  p->note_ctx = ctx;
}

void publisher_set_row(struct publisher *p, void (*row)(void *ctx, const struct table_spec *table, struct slice id),
                       void *ctx) {
  p->row = row;
  p->row_ctx = ctx;
}

static void forget_topics(struct publisher *p) {
  struct topic *topic, *next;
  HASH_ITER(hh, p->topics, topic, next) {
    HASH_DEL(p->topics, topic);
    free(topic->name);
    free(topic);
  }
  p->last_topic = NULL;
}

static void free_substitutes(struct publisher *p) {
  while (p->substitutes != NULL) {
    struct record *next = p->substitutes->next;
    record_free(p->substitutes);
    p->substitutes = next;
  }
}

static void drop_producer(struct publisher *p) {
  producer_free(p->producer);
  p->producer = NULL;
  p->replace = NULL;
  forget_topics(p);
  free_substitutes(p);
}

void publisher_close(struct publisher *p) {
  drop_producer(p);
  kafka_admin_free(p->admin);
  p->admin = NULL;
}

void publisher_free(struct publisher *p) {
  if (p == NULL)
    return;
  publisher_close(p);
  position_clear(&p->committed);
  position_clear(&p->next);
  buffer_free(&p->json);
  suspects_free(p->suspects);
  suspects_free(p->suspect_substitutes);
  row_log_free(p->row_log);
  free(p->position_topic);
  free(p);
}

const char *publisher_position_topic(const struct publisher *p) {
  return p->position_topic;
}

const struct position *publisher_position(const struct publisher *p) {
  return &p->committed;
}

const struct totals *publisher_totals(const struct publisher *p) {
  return &p->totals;
}

/* What was good enough before in this run will be again: a certificate is renewed, a password is being changed. */
static bool not_config(bool was_good, struct error *err) {
  if (was_good && err->kind == ERROR_CONFIG)
    err->kind = ERROR_RETRY;
  return false;
}

static bool have_admin(struct publisher *p, struct error *err) {
  if (p->admin == NULL)
    p->admin = kafka_admin_new(&p->settings.kafka, err);
  return p->admin != NULL || not_config(p->accepted, err);
}

bool publisher_reachable(struct publisher *p, int timeout_ms, struct error *err) {
  if (!have_admin(p, err))
    return false;
  if (!kafka_admin_reachable(p->admin, timeout_ms, err))
    return not_config(p->accepted, err);
  p->accepted = true;
  return true;
}

bool publisher_check_position_topic(struct publisher *p, struct error *err) {
  struct kafka_topic_facts facts;
  bool configs_known;
  if (!have_admin(p, err) ||
      !kafka_admin_topic(p->admin, p->position_topic, ADMIN_TIMEOUT_MS, &facts, &configs_known, err))
    return false;
  if (!facts.exists) {
    struct topic_shape shape = publisher_position_shape(&p->settings);
    if (!kafka_admin_create_topic(p->admin, p->position_topic, &shape, ADMIN_TIMEOUT_MS, err) ||
        !kafka_admin_topic(p->admin, p->position_topic, ADMIN_TIMEOUT_MS, &facts, &configs_known, err))
      return error_wrap(err, "position topic %s", p->position_topic);
  }
  if (!configs_known)
    log_warn("kafka.topic_unchecked", log_string("topic", p->position_topic),
             log_string("error", "its settings may not be read: grant DescribeConfigs"));
  return admit_position_topic(p->position_topic, &facts, configs_known, err);
}

/* A missing topic is made with the config's partitions, or with as many as were pinned before it was deleted. */
static bool create_topic(struct publisher *p, const char *name, int32_t pinned, struct error *err) {
  struct topic_shape shape = publisher_topic_shape(&p->settings, name);
  if (pinned != 0)
    shape.partitions = pinned;
  if (!kafka_admin_create_topic(p->admin, name, &shape, ADMIN_TIMEOUT_MS, err))
    return error_wrap(err, "creating topic %s", name);
  log_info("kafka.topic_created", log_string("topic", name), log_int("partitions", shape.partitions));
  return true;
}

static struct topic *know_topic(struct publisher *p, const char *name, struct error *err) {
  struct topic *topic = p->last_topic;
  if (topic != NULL && strcmp(topic->name, name) == 0)
    return topic;
  HASH_FIND_STR(p->topics, name, topic);
  if (topic != NULL)
    return p->last_topic = topic;
  struct kafka_topic_facts facts;
  bool configs_known;
  if (!have_admin(p, err) || !kafka_admin_topic(p->admin, name, ADMIN_TIMEOUT_MS, &facts, &configs_known, err))
    return NULL;
  int32_t pinned = position_partitions(&p->committed, name);
  if (!facts.exists && (!admit_target_topic(name, &facts, p->settings.create_topics, pinned, err) ||
                        !create_topic(p, name, pinned, err) ||
                        !kafka_admin_topic(p->admin, name, ADMIN_TIMEOUT_MS, &facts, &configs_known, err)))
    return NULL;
  if (facts.partitions < 1) {
    error_set(err, ERROR_RETRY, "topic %s is not visible yet", name);
    return NULL;
  }
  if (!admit_target_topic(name, &facts, p->settings.create_topics, pinned, err))
    return NULL;
  if (pinned != 0 && pinned < facts.partitions)
    log_warn("kafka.partitions_grew", log_string("topic", name), log_int("partitions", facts.partitions),
             log_int("used", pinned));
  topic = memory_alloc(sizeof *topic);
  topic->name = memory_string(name);
  topic->partitions = pinned != 0 ? pinned : facts.partitions;
  topic->message_max = configs_known ? facts.message_max : 0;
  if (topic->message_max > 0 && topic->message_max < p->batch_bytes)
    p->batch_bytes = topic->message_max;
  HASH_ADD_KEYPTR(hh, p->topics, topic->name, strlen(topic->name), topic);
  return p->last_topic = topic;
}

bool publisher_prepare_topic(struct publisher *p, const char *topic, struct error *err) {
  return know_topic(p, topic, err) != NULL;
}

static bool read_position(struct publisher *p, struct position *position, struct error *err) {
  char *value = NULL;
  size_t len = 0;
  if (!have_admin(p, err))
    return false;
  if (!position_log_read(p->admin, &p->settings.kafka, p->position_topic, p->settings.position_key,
                         POSITION_READ_TIMEOUT_MS, &value, &len, err))
    return not_config(p->opened, err);
  bool ok = true;
  position_clear(position);
  if (value != NULL)
    ok = position_decode(slice_from(value, len), position, err);
  free(value);
  return ok;
}

static bool fence(struct publisher *p, struct error *err) {
  producer_free(p->producer);
  p->replace = NULL;
  struct producer_limits limits = {.batch_bytes = p->batch_bytes};
  p->producer = producer_new(&p->settings.kafka, &limits, err);
  return (p->producer != NULL && producer_init(p->producer, INIT_TIMEOUT_MS, &p->stop->requested, err)) ||
         not_config(p->opened, err);
}

static bool new_producer(struct publisher *p, struct position *position, struct error *err) {
  if (!fence(p, err))
    return false;
  FAILPOINT("relay.after_producer_init");
  if (!read_position(p, position, err))
    return false;
  FAILPOINT("relay.after_position_read");
  return true;
}

bool publisher_peek(struct publisher *p, struct position *position, struct error *err) {
  struct kafka_topic_facts facts;
  if (!have_admin(p, err) || !kafka_admin_topic(p->admin, p->position_topic, ADMIN_TIMEOUT_MS, &facts, NULL, err))
    return false;
  if (facts.exists)
    return read_position(p, position, err);
  position_clear(position);
  position_init(position);
  return true;
}

bool publisher_open(struct publisher *p, struct position *position, struct error *err) {
  drop_producer(p);
  if (!new_producer(p, position, err))
    return false;
  p->opened = true;
  position_copy(&p->committed, position);
  return true;
}

/* Nothing is in flight, but this producer must not begin another transaction: only it is replaced. */
static bool renew_producer(struct publisher *p, const char *reason, struct error *err) {
  log_info("kafka.producer_renewed", log_string("reason", reason));
  p->totals.producers_renewed++;
  struct position stored;
  position_init(&stored);
  bool ok = new_producer(p, &stored, err);
  if (ok && !position_same_progress(&stored, &p->committed))
    ok = error_set(err, ERROR_START_OVER, "the stored position is not the one committed last");
  position_clear(&stored);
  return ok;
}

static bool ensure_producer(struct publisher *p, struct error *err) {
  if (p->replace != NULL || producer_trouble_since_begin(p->producer) > 0)
    return renew_producer(p, p->replace != NULL ? p->replace : "a connection broke", err);
  if (p->batch_bytes < producer_batch_bytes(p->producer))
    return renew_producer(p, "a topic takes smaller batches", err);
  return true;
}

/* Where a record goes. Neither a key nor a turn reaches partitions above the pinned count. */
static int32_t choose_partition(struct publisher *p, const struct record *record, struct topic *topic) {
  if (record->partition >= 0)
    return record->partition;
  if (record->partition != RECORD_PARTITION_ROUND_ROBIN)
    return producer_partition(p->producer, record->key, topic->partitions);
  int32_t chosen = topic->turn;
  topic->turn = (chosen + 1) % topic->partitions;
  return chosen;
}

static bool send_record(struct publisher *p, const struct record *record, struct error *err) {
  struct topic *topic = know_topic(p, record->topic, err);
  if (topic == NULL)
    return false;
  struct producer_message message = {
      .topic = record->topic,
      .partition = choose_partition(p, record, topic),
      .key = record->key,
      .value = record->value,
      .timestamp_ms = record->timestamp_ms,
      .headers = record->headers,
      .header_count = record->header_count,
      .tag = (void *)(uintptr_t)record,
  };
  return producer_send(p->producer, &message, SEND_TIMEOUT_MS, &p->stop->now, err);
}

/* Remembers what the broker refused for what it is, so that the recovery can try each alone. */
static void remember_refused(struct publisher *p) {
  const struct producer_failure *failures;
  int count = producer_failures(p->producer, &failures);
  for (int i = 0; i < count; i++) {
    const struct record *record = failures[i].tag;
    if (record == NULL)
      continue;
    suspects_add(record->substitute ? p->suspect_substitutes : p->suspects, record->commit_lsn, record->index);
  }
}

/* Suspects are sent in a transaction that is aborted whatever happens: only whether the broker takes them counts, and
 * aborted records reach no read_committed consumer. *taken: all of them; else reason is why one was not, and the
 * producer is a new one, since the broker does not know the sequence numbers of what it refused. No position needs to
 * be read in between: nothing of this producer is ever committed. */
static bool probe(struct publisher *p, const struct record *const *records, int count, bool *taken, char *reason,
                  size_t reason_size, struct error *err) {
  if (p->step != NULL)
    p->step(p->step_ctx);
  if (producer_trouble_since_begin(p->producer) > 0 && !fence(p, err))
    return false;
  if (!producer_begin(p->producer, err))
    return false;
  producer_set_quiet(p->producer, true); /* it would log every refusal, and there may be thousands */
  struct error refused;
  bool sent = true;
  for (int i = 0; i < count && sent; i++)
    sent = send_record(p, records[i], &refused);
  sent = sent && producer_flush(p->producer, SEND_TIMEOUT_MS, &p->stop->now, &refused);
  const struct producer_failure *failures;
  *taken = producer_failures(p->producer, &failures) == 0;
  if (*taken && !sent) {
    *err = refused;
    return false;
  }
  if (*taken) {
    producer_set_quiet(p->producer, false);
    return producer_abort(p->producer, ADMIN_TIMEOUT_MS, err);
  }
  snprintf(reason, reason_size, "%s", failures[0].reason);
  struct error ignored; /* fencing ends the transaction as well, but has to wait for it */
  producer_abort(p->producer, ADMIN_TIMEOUT_MS, &ignored);
  return fence(p, err);
}

/* Most suspects were only in bad company: one record that a broker refuses takes its whole batch with it. So they are
 * tried together: fewer after a refusal, down to one, and more again after two tries without. Those that are refused
 * alone are remembered as such, the others forgotten. */
static bool try_suspects(struct publisher *p, const struct record *const *records, int count, bool *any_refused,
                         struct error *err) {
  int together = count, lucky = 0;
  for (int at = 0; at < count;) {
    int n = together < count - at ? together : count - at;
    bool taken;
    char reason[64] = "";
    if (!probe(p, records + at, n, &taken, reason, sizeof reason, err))
      return false;
    if (!taken && n > 1) {
      together = n < 4 ? 1 : n / 4;
      lucky = 0;
      continue;
    }
    for (int i = at; taken && i < at + n; i++)
      suspects_settle(p->suspects, records[i]->commit_lsn, records[i]->index);
    if (!taken)
      suspects_refuse(p->suspects, records[at]->commit_lsn, records[at]->index, reason);
    *any_refused = *any_refused || !taken;
    lucky = taken ? lucky + 1 : 0;
    if (lucky == 2) {
      together = n * 2;
      lucky = 0;
    }
    at += n;
  }
  return true;
}

/* The quarantine record in place of one that cannot be published; NULL with err where the config says stop. */
static const struct record *quarantine(struct publisher *p, const struct record *record, const char *code,
                                       const char *message, const char *detail, struct error *err) {
  struct problem problem = {.code = code};
  snprintf(problem.message, sizeof problem.message, "%s %s", message, detail);
  if (p->settings.stop_on_invalid) {
    segment_refuse_row(record->origin, record->id, record->commit_lsn, record->xid, record->index, &problem, err);
    return NULL;
  }
  struct record placed = *record;
  struct topic *topic;
  HASH_FIND_STR(p->topics, record->topic, topic);
  if (topic != NULL && record->partition == RECORD_PARTITION_BY_KEY)
    placed.partition = producer_partition(p->producer, record->key, topic->partitions);
  struct record *substitute = record_quarantine(&placed, p->settings.quarantine_topic, &problem);
  substitute->next = p->substitutes;
  p->substitutes = substitute;
  return substitute;
}

/* The codec is the user's choice, and not our default. */
static bool codec_chosen(const struct kafka_settings *settings) {
  bool chosen = false;
  for (int i = 0; i < settings->property_count; i++) {
    const char *property = settings->properties[i];
    const char *codec = strncmp(property, "compression.codec=", 18) == 0  ? property + 18
                        : strncmp(property, "compression.type=", 17) == 0 ? property + 17
                                                                          : NULL;
    if (codec != NULL)
      chosen = strcmp(codec, "none") != 0;
  }
  return chosen;
}

/* NULL, or why a record is too large to be sent. Limits are on the compressed batch: what exceeds one before
 * compression may still fit. It is tried where a codec was chosen, since each that does not fit costs a recovery; and
 * not where the request could be above socket.request.max.bytes, since a broker then ends the connection and says
 * nothing. */
static const char *too_large(const struct publisher *p, const struct record *record, const struct topic *topic) {
  size_t size = record->value.len + record->key.len;
  if (topic->message_max > 0 && size <= (size_t)topic->message_max)
    return NULL;
  if (size > REQUEST_BYTES)
    return "larger than a request to the brokers may be, for topic";
  if (topic->message_max > 0 && !codec_chosen(&p->settings.kafka))
    return "larger than max.message.bytes of topic";
  return NULL;
}

/* What can be known of a record without sending it. */
struct refusal {
  const char *code; /* NULL: nothing is wrong */
  const char *message;
  const char *detail;
};

static bool check_locally(struct publisher *p, const struct record *record, struct refusal *refusal,
                          struct error *err) {
  *refusal = (struct refusal){.code = NULL};
  const struct topic *topic = know_topic(p, record->topic, err);
  if (topic == NULL) {
    /* A name that came from the row, and that the brokers do not take, is the row's fault. */
    if (err->kind != ERROR_CONFIG || record->quarantined)
      return false;
    *refusal = (struct refusal){"topic_illegal", "the brokers make no topic", record->topic};
  } else if (record->partition >= topic->partitions) {
    *refusal = (struct refusal){"partition_invalid", "no such partition in topic", topic->name};
  } else {
    const char *why = too_large(p, record, topic);
    if (why != NULL)
      *refusal = (struct refusal){"record_too_large", why, topic->name};
  }
  return true;
}

/* What is sent in place of a record: itself, or its quarantine record. NULL with err on failure. */
static const struct record *settle_record(struct publisher *p, const struct record *record, struct error *err) {
  struct refusal refusal;
  if (!check_locally(p, record, &refusal, err))
    return NULL;
  if (refusal.code != NULL)
    return quarantine(p, record, refusal.code, refusal.message, refusal.detail, err);
  const char *reason = suspects_refusal(p->suspects, record->commit_lsn, record->index);
  if (reason == NULL)
    return record;
  const char *code = strstr(reason, "SIZE_TOO_LARGE") != NULL ? "record_too_large" : "record_refused";
  return quarantine(p, record, code, "the broker refuses it:", reason, err);
}

/* It was their batch that was too large. */
static void halve_batches(struct publisher *p) {
  if (p->batch_start_bytes / 2 >= BATCH_BYTES_MIN)
    p->batch_bytes = p->batch_start_bytes / 2;
}

/* Tries those records of a batch that were refused in the company of others, and not yet alone. */
static bool settle_suspects(struct publisher *p, const struct segment *batch, int count, struct error *err) {
  if (suspects_empty(p->suspects))
    return true;
  const struct record **suspects = memory_alloc((size_t)count * sizeof *suspects);
  int found = 0;
  bool ok = true, any_refused = false;
  for (const struct segment *s = batch; ok && s != NULL; s = s->next)
    for (const struct record *r = s->first; ok && !s->covered && r != NULL; r = r->next) {
      struct refusal refusal;
      if (!suspects_has(p->suspects, r->commit_lsn, r->index) ||
          suspects_refusal(p->suspects, r->commit_lsn, r->index) != NULL)
        continue;
      ok = check_locally(p, r, &refusal, err);
      if (refusal.code == NULL)
        suspects[found++] = r;
    }
  if (ok && found > 0) {
    ok = try_suspects(p, suspects, found, &any_refused, err);
    p->replace = "refused records were tried";
  }
  if (ok && found > 0 && !any_refused)
    halve_batches(p);
  free(suspects);
  return ok;
}

static bool refuse_substitute(const struct record *record, const char *reason, struct error *err) {
  error_refuse(err, "quarantine_refused", "%s id %.*s at %s: the brokers refuse its quarantine record too: %s",
               record->origin, SLICE_ARG(record->id), lsn_format(record->commit_lsn).text, reason);
  return error_remedy(
      err,
      "correct the topic, so that it is not compacted and takes 1 MB: kafka-configs.sh --bootstrap-server "
      "$KAFKA_BROKERS --alter --entity-type topics --entity-name %s --add-config "
      "cleanup.policy=delete,max.message.bytes=1048588",
      record->topic);
}

/* A quarantine record that was made in place of a refused one, and is refused too, is the end of what can be done. Here
 * too others may only have been in bad company. */
static bool settle_substitutes(struct publisher *p, const struct record *const *settled, int count, struct error *err) {
  if (suspects_empty(p->suspect_substitutes))
    return true;
  const struct record **suspects = memory_alloc((size_t)count * sizeof *suspects);
  int found = 0;
  for (int i = 0; i < count; i++)
    if (settled[i]->substitute && suspects_has(p->suspect_substitutes, settled[i]->commit_lsn, settled[i]->index))
      suspects[found++] = settled[i];
  bool taken = true;
  char reason[64] = "";
  bool ok = found == 0 || probe(p, suspects, found, &taken, reason, sizeof reason, err);
  bool together = taken;
  for (int i = 0; ok && !together && i < found; i++) {
    ok = probe(p, suspects + i, 1, &taken, reason, sizeof reason, err);
    if (ok && !taken)
      ok = refuse_substitute(suspects[i], reason, err);
  }
  if (ok && found > 0) {
    p->replace = "refused records were tried";
    halve_batches(p);
  }
  free(suspects);
  return ok;
}

/* Decided, for good. */
static void forget_suspects(struct publisher *p, const struct record *const *settled, int count) {
  if (suspects_empty(p->suspects) && suspects_empty(p->suspect_substitutes))
    return;
  for (int i = 0; i < count; i++) {
    suspects_settle(p->suspects, settled[i]->commit_lsn, settled[i]->index);
    suspects_settle(p->suspect_substitutes, settled[i]->commit_lsn, settled[i]->index);
  }
}

void publisher_advance(struct position *next, const struct segment *batch) {
  for (const struct segment *s = batch; s != NULL; s = s->next) {
    if (s->covered)
      continue;
    next->run.records += (uint64_t)s->count;
    if (segment_is_idle(s)) {
      if (s->end_lsn > next->idle_end_lsn)
        next->idle_end_lsn = s->end_lsn;
      continue;
    }
    next->commit_lsn = s->commit_lsn;
    next->xid = s->xid;
    next->commit_time_us = s->commit_time_us;
    next->complete = s->ends;
    next->next_index = s->ends ? 0 : s->next_index;
    next->hash = s->ends ? 0 : s->hash;
    if (s->ends)
      next->end_lsn = s->end_lsn;
  }
}

void publisher_log_progress(struct publisher *p) {
  row_log_flush(p->row_log, clock_monotonic_ms(), false);
  if (!p->progress_unlogged)
    return;
  p->progress_unlogged = false;
  p->progress_logged_ms = clock_monotonic_ms();
  log_info("position.committed", log_lsn("commit_lsn", p->committed.commit_lsn),
           log_lsn("end_lsn", position_ack_lsn(&p->committed)), log_bool("complete", p->committed.complete),
           log_int("records", (int64_t)(p->totals.records - p->records_logged)));
  p->records_logged = p->totals.records;
}

/* One record of the position topic; absent value: a tombstone. */
static bool send_position(struct publisher *p, const char *key, struct slice value, struct error *err) {
  struct producer_message message = {.topic = p->position_topic, .partition = 0, .key = slice_of(key), .value = value};
  return producer_send(p->producer, &message, SEND_TIMEOUT_MS, &p->stop->now, err);
}

/* An operator's word is kept for good, whatever is committed later. */
static bool send_word(struct publisher *p, char key[2 * MINUTES_KEY_SIZE], struct error *err) {
  if (p->next.word.at_us == p->committed.word.at_us)
    return true;
  minutes_word_key(p->next.word.at_us, key);
  return send_position(p, key, buffer_slice(&p->json), err);
}

static bool send_history(struct publisher *p, const struct minutes_step *step, char (*keys)[MINUTES_KEY_SIZE],
                         struct error *err) {
  if (!step->due)
    return true;
  minutes_key(step->minute_us, keys[0]);
  bool ok = send_position(p, keys[0], buffer_slice(&p->json), err);
  for (int i = 0; ok && i < step->drop_count; i++) {
    minutes_key(step->drop_from_us + i * MINUTES_US, keys[i + 1]);
    ok = send_position(p, keys[i + 1], SLICE_ABSENT, err);
  }
  return ok;
}

/* What p->next writes into the history, and takes away. A clock that jumped ahead is told once. */
static struct minutes_step history_step(struct publisher *p) {
  int64_t now_us = p->next.written_us;
  int64_t window_us = minutes_clock(&p->history_clock, now_us, FAILPOINT_CLOCK(clock_monotonic_us()));
  int64_t ahead_us = now_us - window_us;
  if (ahead_us > MINUTES_US && !p->history_clock_told)
    log_warn("position.clock_jumped", log_int("ahead_s", ahead_us / 1000000),
             log_string("meaning", "the window of the history, and of a held-back slot, follows slowly"));
  p->history_clock_told = ahead_us > MINUTES_US;
  return minutes_step(p->history_keep_us, p->history_minute_us, now_us, window_us, &p->next);
}

/* Begin, records, position, commit. p->next is the position to commit. */
static bool transact(struct publisher *p, const struct record *const *records, int count, struct error *err) {
  char keys[MINUTES_DROPS_MAX + 1][MINUTES_KEY_SIZE]; /* of the history; they live until all is delivered */
  char word_key[2 * MINUTES_KEY_SIZE];
  struct minutes_step step = {.due = false};
  p->next.written_us = FAILPOINT_CLOCK(clock_wall_us());
  if (p->history_keep_us != 0 && p->next.state == POSITION_SET)
    step = history_step(p);
  buffer_clear(&p->json);
  position_encode(&p->next, &p->json);
  if (!producer_begin(p->producer, err))
    return false;
  FAILPOINT("publisher.after_begin");
  bool any_to_log = false;
  for (int i = 0; i < count; i++) {
    if (!send_record(p, records[i], err))
      return false;
    any_to_log = any_to_log || row_log_wants(records[i]);
  }
  FAILPOINT("publisher.after_produce");
  if (!send_position(p, p->settings.position_key, buffer_slice(&p->json), err) || !send_history(p, &step, keys, err) ||
      !send_word(p, word_key, err))
    return false;
  FAILPOINT("publisher.after_position");
  int64_t elapsed_ms;
  int64_t commit_began_us = clock_monotonic_us();
  if (!producer_commit(p->producer, COMMIT_TIMEOUT_MS, &p->stop->now, &elapsed_ms, err))
    return false;
  int64_t commit_us = clock_monotonic_us() - commit_began_us;
  FAILPOINT("publisher.after_commit");
  totals_add_commit(&p->totals, records, count, commit_us);
  int64_t now_ms = clock_monotonic_ms();
  for (int i = 0; p->note != NULL && i < count; i++)
    p->note(p->note_ctx, records[i]);
  for (int i = 0; any_to_log && i < count; i++)
    row_log_note(p->row_log, records[i], now_ms);
  p->replace = elapsed_ms > producer_socket_timeout_ms(p->producer) ? "a call took too long" : NULL;
  position_copy(&p->committed, &p->next);
  if (step.due)
    p->history_minute_us = step.minute_us;
  p->progress_unlogged = true;
  if (now_ms - p->progress_logged_ms >= PROGRESS_INTERVAL_MS)
    publisher_log_progress(p);
  return true;
}

bool publisher_store(struct publisher *p, const struct position *position, struct error *err) {
  position_copy(&p->next, position);
  p->next.history_since_us = p->committed.history_since_us; /* the topic's, whatever is stored */
  return ensure_producer(p, err) && transact(p, NULL, 0, err);
}

/* Every record of the batch as it will be sent; memory is the caller's to free. */
static bool settle_batch(struct publisher *p, const struct segment *batch, const struct record **settled,
                         struct error *err) {
  int count = 0;
  const struct topic *before = NULL;
  for (const struct segment *s = batch; s != NULL; s = s->next)
    for (const struct record *r = s->first; !s->covered && r != NULL; r = r->next) {
      settled[count] = settle_record(p, r, err);
      const struct topic *topic = settled[count] == NULL ? NULL : know_topic(p, settled[count]->topic, err);
      if (topic == NULL)
        return false;
      if (topic != before && position_partitions(&p->next, topic->name) == 0)
        position_pin(&p->next, topic->name, topic->partitions);
      before = topic;
      count++;
    }
  return true;
}

static bool is_tidied(const struct record *record) {
  return record->table != NULL && table_is_tidied(record->table) && !record->quarantined;
}

/* Did a row that was published before go to the quarantine then? One that is above its topic's limit may have, also
 * where batches are compressed, and its quarantine record has no payload: the row is all that is left of it. So may one
 * above the brokers' own limit where the topic's was raised since, or may not be read. */
static bool was_quarantined(struct publisher *p, const struct record *record, bool *was, struct error *err) {
  struct refusal refusal;
  if (!check_locally(p, record, &refusal, err))
    return false;
  const struct topic *topic;
  HASH_FIND_STR(p->topics, record->topic, topic);
  *was = refusal.code != NULL || record->value.len + record->key.len > MESSAGE_MAX_USUAL ||
         (topic->message_max > 0 && record->value.len + record->key.len > (size_t)topic->message_max);
  return true;
}

static bool tell_covered_rows(struct publisher *p, const struct segment *batch, struct error *err) {
  for (const struct segment *s = batch; s != NULL; s = s->next)
    for (const struct record *r = s->first; s->covered && r != NULL; r = r->next) {
      bool quarantined = true;
      if (is_tidied(r) && !was_quarantined(p, r, &quarantined, err))
        return false;
      if (!quarantined)
        p->row(p->row_ctx, r->table, r->id);
    }
  return true;
}

static void tell_rows(struct publisher *p, const struct segment *batch, const struct record *const *settled) {
  int at = 0;
  for (const struct segment *s = batch; s != NULL; s = s->next)
    for (const struct record *r = s->first; !s->covered && r != NULL; r = r->next, at++)
      if (settled[at] == r && is_tidied(r))
        p->row(p->row_ctx, r->table, r->id);
}

static bool publish_new(struct publisher *p, const struct segment *batch, int count, struct error *err) {
  const struct record **settled = memory_alloc((size_t)count * sizeof *settled);
  bool ok = ensure_producer(p, err) && settle_suspects(p, batch, count, err) && settle_batch(p, batch, settled, err) &&
            settle_substitutes(p, settled, count, err);
  if (ok) {
    /* Settling may have found a topic with smaller batches, or tried a record alone. */
    ok = ensure_producer(p, err) && transact(p, settled, count, err);
    if (ok) {
      forget_suspects(p, settled, count);
      totals_add_transactions(&p->totals, batch);
      if (p->row != NULL)
        tell_rows(p, batch, settled);
    } else if (p->producer != NULL) {
      remember_refused(p);
    }
  }
  free(settled);
  return ok;
}

/* p->next is the position behind the batch, without the topics that it pins. */
static bool publish_to_next(struct publisher *p, const struct segment *batch, struct error *err) {
  free_substitutes(p);
  p->batch_start_bytes = p->batch_bytes;
  int count = 0;
  bool any_new = false;
  for (const struct segment *s = batch; s != NULL; s = s->next) {
    count += s->covered ? 0 : s->count;
    any_new = any_new || !s->covered;
  }
  if (p->row != NULL && !tell_covered_rows(p, batch, err))
    return false;
  return !any_new || publish_new(p, batch, count, err);
}

bool publisher_publish(struct publisher *p, const struct segment *batch, struct error *err) {
  position_copy(&p->next, &p->committed);
  publisher_advance(&p->next, batch);
  return publish_to_next(p, batch, err);
}

bool publisher_publish_snapshot(struct publisher *p, const struct segment *batch, uint64_t next_row,
                                struct error *err) {
  position_copy(&p->next, &p->committed);
  p->next.snapshot.next = next_row;
  for (const struct segment *s = batch; s != NULL; s = s->next)
    p->next.run.records += (uint64_t)s->count;
  if (batch == NULL) /* all of its rows were passed over: that is progress too */
    return ensure_producer(p, err) && transact(p, NULL, 0, err);
  return publish_to_next(p, batch, err);
}

void publisher_rest(const struct publisher *p) {
  producer_rest(p->producer);
}
