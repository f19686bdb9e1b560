/* The floor that walferry is measured against: a transactional producer with walferry's own properties and rest after a
 * commit, and nothing around it. Its records come from a schedule instead of a database, and it keeps no position. */
#include <getopt.h>
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/clock.h"
#include "bridge/base/memory.h"
#include "bridge/kafka/conf.h"
#include "bridge/kafka/producer.h"
#include "tests/bench/common.h"

#define PROPERTIES_MAX 32
#define CALL_TIMEOUT_MS 60000

static const char help[] =
    "usage: bare_producer --brokers LIST --topic NAME [OPTIONS]\n"
    "\n"
    "Produces records in transactions, with the producer properties of walferry, and prints one line of JSON: "
    "records,\n"
    "commits, seconds, and start_us: record i (in its header `id`) was due at start_us + i / R, and is sent with that "
    "timestamp.\n"
    "\n"
    "  --rate R          so many records a second on a schedule; while one transaction commits, what falls due goes\n"
    "                    into the next. 0: as fast as they are taken (default)\n"
    "  --count N         records in all (default 1000)\n"
    "  --first-id N      number of the first one's id (default 0)\n"
    "  --rest-us N       microseconds at least from a commit to the next transaction, which takes what fell due in\n"
    "                    both (default 2000, as walferry). One that begins before the brokers have written the last\n"
    "                    one's markers is turned away, and tried again 20 ms later. 0: no rest\n"
    "  --batch N         at most so many in a transaction (default 6000: 3 MB of values with --bytes 500)\n"
    "  --bytes N         of each value (default 500)\n"
    "  --partitions N    of the topic (default 1); the key decides, as in walferry\n"
    "  --instance NAME   the transactional id is walferry.NAME (default bare)\n"
    "  -X NAME=VALUE     a property of librdkafka, as in kafka.properties\n"
    "\n"
    "Example: bare_producer --brokers 127.0.0.1:9092 --topic events --rate 200 --count 3000\n";

struct options {
  struct kafka_settings kafka;
  const char *properties[PROPERTIES_MAX];
  const char *topic;
  int64_t rate;
  int64_t count;
  int64_t first_id;
  int64_t rest_us;
  int64_t batch;
  int64_t bytes;
  int64_t partitions;
};

struct bare {
  const struct options *options;
  struct kafka_link link;
  rd_kafka_t *rk;
  rd_kafka_topic_t *topic;
  char *value;
};

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque) {
  (void)rk, (void)opaque;
  if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
    bench_fail("not delivered: %s", rd_kafka_err2str(message->err));
}

static void must(rd_kafka_error_t *error, const char *doing) {
  if (error != NULL)
    bench_fail("%s: %s", doing, rd_kafka_error_string(error));
}

static void produce(struct bare *b, int64_t n, int64_t due_us) {
  char id[BENCH_ID_SIZE], key[24];
  bench_id(id, b->options->first_id + n);
  int key_len = snprintf(key, sizeof key, "%" PRId64, n % BENCH_KEYS);
  rd_kafka_headers_t *headers = rd_kafka_headers_new(2);
  rd_kafka_header_add(headers, "id", -1, id, -1);
  rd_kafka_header_add(headers, "type", -1, "OrderPlaced", -1);
  int32_t partition =
      rd_kafka_msg_partitioner_murmur2(b->topic, key, (size_t)key_len, (int32_t)b->options->partitions, NULL, NULL);
  rd_kafka_resp_err_t code;
  do {
    rd_kafka_error_t *error = rd_kafka_produceva(
        b->rk,
        (rd_kafka_vu_t[]){{.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = b->topic},
                          {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = partition},
                          {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {key, (size_t)key_len}},
                          {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {b->value, (size_t)b->options->bytes}},
                          {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = due_us / 1000},
                          {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers}},
        6);
    code = rd_kafka_error_code(error);
    if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL)
      rd_kafka_poll(b->rk, 10);
    else
      must(error, "producing");
    rd_kafka_error_destroy(error);
  } while (code == RD_KAFKA_RESP_ERR__QUEUE_FULL);
}

/* How many of those from `done` on go into the next transaction; waits until there is one, and it may begin. */
static int64_t wait_for_due(const struct options *o, int64_t start_us, int64_t done, int64_t begin_us) {
  int64_t due = o->count;
  bench_sleep_until(begin_us);
  if (o->rate > 0) {
    bench_sleep_until(bench_due_us(start_us, done, o->rate));
    due = (clock_wall_us() - start_us) * o->rate / 1000000 + 1;
  }
  if (due > o->count)
    due = o->count;
  if (due <= done)
    due = done + 1;
  return due - done > o->batch ? o->batch : due - done;
}

static void run(struct bare *b) {
  const struct options *o = b->options;
  int64_t commits = 0;
  int64_t start_us = clock_wall_us();
  int64_t begin_us = start_us;
  for (int64_t done = 0; done < o->count; commits++) {
    int64_t due = wait_for_due(o, start_us, done, begin_us);
    must(rd_kafka_begin_transaction(b->rk), "beginning");
    for (int64_t end = done + due; done < end; done++)
      produce(b, done, o->rate > 0 ? bench_due_us(start_us, done, o->rate) : clock_wall_us());
    must(rd_kafka_commit_transaction(b->rk, CALL_TIMEOUT_MS), "committing");
    begin_us = clock_wall_us() + o->rest_us;
  }
  printf("{\"records\": %" PRId64 ", \"commits\": %" PRId64 ", \"start_us\": %" PRId64 ", \"seconds\": %.3f}\n",
         o->count, commits, start_us, (double)(clock_wall_us() - start_us) / 1e6);
}

static void parse(int argc, char **argv, struct options *o) {
  static const struct option longs[] = {
      {"brokers", required_argument, NULL, 'b'},
      {"topic", required_argument, NULL, 't'},
      {"rate", required_argument, NULL, 'r'},
      {"count", required_argument, NULL, 'c'},
      {"first-id", required_argument, NULL, 'f'},
      {"rest-us", required_argument, NULL, 'u'},
      {"batch", required_argument, NULL, 'n'},
      {"bytes", required_argument, NULL, 's'},
      {"partitions", required_argument, NULL, 'p'},
      {"instance", required_argument, NULL, 'i'},
      {"help", no_argument, NULL, 'h'},
      {NULL, 0, NULL, 0},
  };
  for (int c; (c = getopt_long(argc, argv, "X:", longs, NULL)) != -1;)
    switch (c) {
    case 'b':
      o->kafka.brokers = optarg;
      break;
    case 't':
      o->topic = optarg;
      break;
    case 'r':
      o->rate = bench_number("rate", optarg, 0, 1000000);
      break;
    case 'c':
      o->count = bench_number("count", optarg, 1, INT32_MAX);
      break;
    case 'f':
      o->first_id = bench_number("first-id", optarg, 0, INT32_MAX);
      break;
    case 'u':
      o->rest_us = bench_number("rest-us", optarg, 0, 1000000);
      break;
    case 'n':
      o->batch = bench_number("batch", optarg, 1, INT32_MAX);
      break;
    case 's':
      o->bytes = bench_number("bytes", optarg, 2, 1 << 20);
      break;
    case 'p':
      o->partitions = bench_number("partitions", optarg, 1, 1000);
      break;
    case 'i':
      o->kafka.instance = optarg;
      break;
    case 'X':
      if (o->kafka.property_count == PROPERTIES_MAX)
        bench_fail("more than %d properties", PROPERTIES_MAX);
      o->properties[o->kafka.property_count++] = optarg;
      break;
    case 'h':
      bench_usage(help, true);
    default:
      bench_usage(help, false);
    }
  if (o->kafka.brokers == NULL || o->topic == NULL || optind != argc)
    bench_usage(help, false);
}

int main(int argc, char **argv) {
  struct options options = {.kafka = {.instance = "bare"},
                            .count = 1000,
                            .rest_us = PRODUCER_MARKERS_US,
                            .batch = 6000,
                            .bytes = 500,
                            .partitions = 1};
  options.kafka.properties = options.properties;
  parse(argc, argv, &options);

  struct bare b = {.options = &options};
  struct error err = {.kind = ERROR_NONE};
  kafka_link_init(&b.link, KAFKA_ROLE_PRODUCER);
  rd_kafka_conf_t *conf = kafka_conf_new(&options.kafka, &b.link, &err);
  if (conf != NULL)
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
  b.rk = conf == NULL ? NULL : kafka_handle_new(conf, &b.link, &err);
  if (b.rk == NULL)
    bench_fail("%s", err.message);
  b.topic = rd_kafka_topic_new(b.rk, options.topic, NULL);
  b.value = memory_alloc((size_t)options.bytes); /* a text as JSON, so that it is an event's payload */
  memset(b.value, 'x', (size_t)options.bytes);
  b.value[0] = b.value[options.bytes - 1] = '"';
  must(rd_kafka_init_transactions(b.rk, CALL_TIMEOUT_MS), "taking over the transactional id");
  run(&b);
  rd_kafka_topic_destroy(b.topic);
  rd_kafka_destroy(b.rk);
  free(b.value);
  return 0;
}
