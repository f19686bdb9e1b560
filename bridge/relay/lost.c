/* See lost.h. */
#include "bridge/relay/lost.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bridge/base/clock.h"
#include "bridge/base/log.h"
#include "bridge/event/headers.h"
#include "bridge/kafka/topic_back.h"

#define LOGGED_MAX 100
#define PARTITION_TIMEOUT_MS 20000
#define REPORT_TIMEOUT_MS 30000 /* the slot is held meanwhile */

struct search {
  const char *instance;
  lsn_t from;
  void (*take)(void *ctx, const struct lost_event *event);
  void *ctx;
  int64_t events;
  int64_t doubtful;
};

/* The last of that name; absent if there is none. */
static struct slice header(const struct consumer_message *m, const char *name) {
  struct slice value = SLICE_ABSENT;
  for (int i = 0; i < m->header_count; i++)
    if (strcmp(m->headers[i].name, name) == 0)
      value = m->headers[i].value;
  return value;
}

/* "<name>.<schema>.<table>", as a relay of another name writes it. A source of the row's own may be anything. */
static bool looks_like_anothers(struct slice source, const char *instance) {
  size_t len = strlen(instance);
  if (!slice_present(source) ||
      (source.len > len && memcmp(source.data, instance, len) == 0 && source.data[len] == '.'))
    return false;
  int dots = 0;
  for (size_t i = 0; i < source.len; i++)
    dots += source.data[i] == '.';
  return dots == 2;
}

enum lost_whose lost_whose(const struct consumer_message *message, const char *instance, lsn_t *lsn) {
  struct slice text = header(message, HEADER_LSN);
  if (!slice_present(text) || !lsn_parse(text, lsn) || slice_present(header(message, HEADER_REPLAY)) ||
      slice_present(header(message, HEADER_SNAPSHOT)))
    return LOST_OTHERS;
  return looks_like_anothers(header(message, "source"), instance) ? LOST_DOUBTFUL : LOST_OURS;
}

static bool is_old(void *ctx, const struct consumer_message *message) {
  const struct search *s = ctx;
  lsn_t lsn;
  return lost_whose(message, s->instance, &lsn) == LOST_OURS && lsn < s->from;
}

static void take(void *ctx, const struct consumer_message *message) {
  struct search *s = ctx;
  lsn_t lsn;
  enum lost_whose whose = lost_whose(message, s->instance, &lsn);
  if (whose == LOST_OTHERS || lsn < s->from)
    return;
  if (whose == LOST_DOUBTFUL) {
    s->doubtful++;
    return;
  }
  s->events++;
  s->take(s->ctx, &(struct lost_event){.topic = message->topic,
                                       .partition = message->partition,
                                       .offset = message->offset,
                                       .id = header(message, "id"),
                                       .type = header(message, "type"),
                                       .lsn = lsn});
}

static int partition_timeout_ms(const struct lost_limits *limits) {
  int64_t left = limits->deadline_ms - clock_monotonic_ms();
  return left <= 0 ? 0 : left < PARTITION_TIMEOUT_MS ? (int)left : PARTITION_TIMEOUT_MS;
}

void lost_find(const struct kafka_settings *settings, const struct position *position, lsn_t from,
               const struct lost_limits *limits, void (*take_event)(void *ctx, const struct lost_event *event),
               void *ctx, struct lost_found *found) {
  struct search s = {.instance = settings->instance, .from = from, .take = take_event, .ctx = ctx};
  *found = (struct lost_found){.events = 0};
  struct topic_back *back = topic_back_new(settings, limits->stop, &found->why);
  for (int i = 0; i < position->topic_count; i++) {
    const struct position_topic *topic = &position->topics[i];
    bool ok = back != NULL;
    for (int32_t p = 0; ok && p < topic->partitions; p++)
      ok = topic_back_read(back, topic->name, p, partition_timeout_ms(limits), is_old, take, &s, &found->why);
    found->topics_unread += !ok;
  }
  topic_back_free(back);
  found->events = s.events;
  found->doubtful = s.doubtful;
}

static void log_event(void *ctx, const struct lost_event *event) {
  int64_t *logged = ctx;
  if (++*logged > LOGGED_MAX)
    return;
  log_warn("relay.lost_event", log_string("topic", event->topic), log_int("partition", event->partition),
           log_int("offset", event->offset), log_slice("id", event->id), log_slice("type", event->type),
           log_lsn("lsn", event->lsn));
}

void lost_report(const struct kafka_settings *settings, const struct position *position, lsn_t from,
                 const _Atomic(bool) *stop, struct error *err) {
  struct lost_limits limits = {.deadline_ms = clock_monotonic_ms() + REPORT_TIMEOUT_MS, .stop = stop};
  struct lost_found found;
  int64_t logged = 0;
  lost_find(settings, position, from, &limits, log_event, &logged, &found);
  if (found.topics_unread > 0)
    log_warn("relay.lost_unknown", log_int("topics", found.topics_unread), log_string("error", found.why.message));
  size_t used = strlen(err->message);
  snprintf(err->message + used, sizeof err->message - used,
           "; Kafka has %s%" PRId64 " events of transactions from %s on, which the database no longer has "
           "(`walferry status CONFIG --lost` lists them)",
           found.topics_unread > 0 || found.doubtful > 0 ? "at least " : "", found.events, lsn_format(from).text);
}
