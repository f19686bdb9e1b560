/* See topic_back.h. */
#include "bridge/kafka/topic_back.h"

#include <stdlib.h>

#include "bridge/base/clock.h"
#include "bridge/base/memory.h"
#include "bridge/kafka/message_copy.h"
#include "bridge/kafka/reader.h"

#define FIRST_STEP 1000 /* offsets */
#define STEP_GROWTH 8

struct topic_back {
  struct kafka_reader reader;
};

/* A run over a part of the log. */
struct pass {
  bool (*is_old)(void *ctx, const struct consumer_message *message); /* NULL: take */
  void (*take)(void *ctx, const struct consumer_message *message);
  void *ctx;
  int64_t last_old; /* -1: none */
};

struct topic_back *topic_back_new(const struct kafka_settings *settings, const _Atomic(bool) *stop, struct error *err) {
  struct topic_back *back = memory_alloc(sizeof *back);
  if (kafka_reader_open(&back->reader, settings, err)) {
    back->reader.stop = stop;
    return back;
  }
  topic_back_free(back);
  return NULL;
}

void topic_back_free(struct topic_back *back) {
  if (back == NULL)
    return;
  kafka_reader_close(&back->reader);
  free(back);
}

static void hand_over(struct pass *pass, const rd_kafka_message_t *m, const char *topic) {
  struct consumer_message *message = consumer_message_copy(m, topic);
  if (pass->is_old == NULL)
    pass->take(pass->ctx, message);
  else if (pass->is_old(pass->ctx, message))
    pass->last_old = message->offset;
  free(message);
}

/* The EOF event comes behind everything that can be read. */
static bool read_to_end(const struct kafka_reader *r, int32_t partition, int64_t end, struct pass *pass,
                        struct error *err) {
  rd_kafka_resp_err_t last = RD_KAFKA_RESP_ERR__TIMED_OUT;
  while (clock_monotonic_ms() < r->deadline) {
    if (r->stop != NULL && *r->stop)
      return error_set(err, ERROR_STOPPED, "stopped");
    rd_kafka_message_t *m = kafka_reader_next(r, partition);
    if (m == NULL)
      continue;
    rd_kafka_resp_err_t code = m->err;
    int64_t offset = m->offset;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && offset < end)
      hand_over(pass, m, r->topic);
    rd_kafka_message_destroy(m);
    if (code == RD_KAFKA_RESP_ERR__PARTITION_EOF || (code == RD_KAFKA_RESP_ERR_NO_ERROR && offset + 1 >= end))
      return true;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
      last = code;
    if (kafka_error_is_authorization(code))
      break;
  }
  return kafka_reader_fail(r, last, err);
}

static bool run(const struct kafka_reader *r, int32_t partition, int64_t from, int64_t end, struct pass *pass,
                struct error *err) {
  pass->last_old = -1;
  if (rd_kafka_consume_start(r->rkt, partition, from) != 0)
    return kafka_reader_fail(r, rd_kafka_last_error(), err);
  bool ok = read_to_end(r, partition, end, pass, err);
  rd_kafka_consume_stop(r->rkt, partition);
  return ok;
}

bool topic_back_read(struct topic_back *back, const char *topic, int32_t partition, int timeout_ms,
                     bool (*is_old)(void *ctx, const struct consumer_message *message),
                     void (*take)(void *ctx, const struct consumer_message *message), void *ctx, struct error *err) {
  struct kafka_reader *r = &back->reader;
  int64_t low, end;
  if (!kafka_reader_topic(r, topic, timeout_ms, err) || !kafka_reader_range(r, partition, &low, &end, err))
    return false;
  struct pass looking = {.is_old = is_old, .ctx = ctx, .last_old = -1};
  int64_t from = end;
  for (int64_t step = FIRST_STEP; from > low && looking.last_old < 0; step *= STEP_GROWTH) {
    from = end - low > step ? end - step : low;
    if (!run(r, partition, from, end, &looking, err))
      return false;
  }
  struct pass taking = {.take = take, .ctx = ctx};
  if (looking.last_old >= 0)
    from = looking.last_old + 1;
  return from >= end || run(r, partition, from, end, &taking, err);
}
