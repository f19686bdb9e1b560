/* The one reader of all contestants: stamps when each record of a topic arrives. While it reads it writes nothing, so
 * that what it adds is the same for all, and little. */
#include <getopt.h>
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/clock.h"
#include "bridge/base/memory.h"
#include "tests/bench/common.h"

#define QUIET_MS 500 /* after the last record that was asked for: one too many would come */

static const char help[] =
    "usage: consumer --brokers LIST --topic NAME --count N [OPTIONS]\n"
    "\n"
    "Reads a topic, read_committed, from its beginning. Prints `ready` once it is at the end of every partition, "
    "reads\n"
    "on until N records have come and half a second has passed, or nothing comes any more, or at SIGTERM; then writes "
    "a\n"
    "line for each record, `ID MICROSECONDS`: the header `id`, and the wall clock at its arrival.\n"
    "\n"
    "  --partitions N   of the topic (default 1)\n"
    "  --idle S         leave when no record came for S seconds (default 20)\n"
    "  --out FILE       instead of standard output\n"
    "\n"
    "Example: consumer --brokers 127.0.0.1:9092 --topic events --count 3000 --out arrivals\n";

struct options {
  const char *brokers;
  const char *topic;
  const char *out;
  int64_t partitions;
  int64_t count;
  int64_t idle_s;
};

struct arrival {
  char id[BENCH_ID_SIZE];
  int64_t at_us;
};

struct reader {
  rd_kafka_t *rk;
  struct arrival *arrivals;
  int64_t count;
  int64_t capacity;
  int64_t ends_seen;
};

static volatile sig_atomic_t stopping;

static void on_signal(int number) {
  (void)number;
  stopping = 1;
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value) {
  char text[512];
  if (rd_kafka_conf_set(conf, name, value, text, sizeof text) != RD_KAFKA_CONF_OK)
    bench_fail("%s: %s", name, text);
}

static void open_reader(struct reader *r, const struct options *o) {
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  set(conf, "bootstrap.servers", o->brokers);
  set(conf, "group.id", "bench"); /* asked for by librdkafka; no group is joined */
  set(conf, "isolation.level", "read_committed");
  set(conf, "enable.auto.commit", "false");
  set(conf, "enable.partition.eof", "true");
  set(conf, "socket.nagle.disable", "true");
  set(conf, "fetch.min.bytes", "1"); /* whatever there is, at once; else the broker holds the request until there is */
  set(conf, "fetch.wait.max.ms", "500");
  set(conf, "fetch.error.backoff.ms", "1");
  set(conf, "check.crcs", "false");
  char text[512];
  r->rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
  if (r->rk == NULL)
    bench_fail("%s", text);
  rd_kafka_poll_set_consumer(r->rk);
  rd_kafka_topic_partition_list_t *assignment = rd_kafka_topic_partition_list_new((int)o->partitions);
  for (int32_t i = 0; i < o->partitions; i++)
    rd_kafka_topic_partition_list_add(assignment, o->topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
  rd_kafka_resp_err_t code = rd_kafka_assign(r->rk, assignment);
  rd_kafka_topic_partition_list_destroy(assignment);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
    bench_fail("assigning: %s", rd_kafka_err2str(code));
}

static void keep(struct reader *r, const rd_kafka_message_t *message, int64_t at_us) {
  if (r->count == r->capacity) {
    r->capacity = r->capacity * 2;
    r->arrivals = memory_resize(r->arrivals, (size_t)r->capacity * sizeof *r->arrivals);
  }
  struct arrival *arrival = &r->arrivals[r->count++];
  rd_kafka_headers_t *headers;
  const void *id = "-";
  size_t len = 1;
  if (rd_kafka_message_headers(message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR)
    rd_kafka_header_get_last(headers, "id", &id, &len);
  snprintf(arrival->id, sizeof arrival->id, "%.*s", (int)len, (const char *)id);
  arrival->at_us = at_us;
}

static void read_all(struct reader *r, const struct options *o) {
  int64_t last_ms = clock_monotonic_ms();
  while (!stopping) {
    bool all = r->count >= o->count;
    rd_kafka_message_t *message = rd_kafka_consumer_poll(r->rk, 100);
    int64_t at_us = clock_wall_us();
    if (message == NULL) {
      int64_t quiet_ms = clock_monotonic_ms() - last_ms;
      if (quiet_ms > (all ? QUIET_MS : o->idle_s * 1000))
        return;
    } else if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
      keep(r, message, at_us);
      last_ms = clock_monotonic_ms();
    } else if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
      if (++r->ends_seen == o->partitions) {
        puts("ready");
        fflush(stdout);
      }
    } else {
      bench_fail("reading: %s", rd_kafka_message_errstr(message));
    }
    if (message != NULL)
      rd_kafka_message_destroy(message);
  }
}

static void write_out(const struct reader *r, const char *path) {
  FILE *out = path == NULL ? stdout : fopen(path, "w");
  if (out == NULL)
    bench_fail("cannot write %s", path);
  for (int64_t i = 0; i < r->count; i++)
    fprintf(out, "%s %" PRId64 "\n", r->arrivals[i].id, r->arrivals[i].at_us);
  if (fclose(out) != 0)
    bench_fail("cannot write %s", path == NULL ? "to standard output" : path);
}

static void parse(int argc, char **argv, struct options *o) {
  static const struct option longs[] = {
      {"brokers", required_argument, NULL, 'b'}, {"topic", required_argument, NULL, 't'},
      {"count", required_argument, NULL, 'c'},   {"partitions", required_argument, NULL, 'p'},
      {"idle", required_argument, NULL, 'i'},    {"out", required_argument, NULL, 'o'},
      {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0},
  };
  for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;)
    switch (c) {
    case 'b':
      o->brokers = optarg;
      break;
    case 't':
      o->topic = optarg;
      break;
    case 'c':
      o->count = bench_number("count", optarg, 1, INT32_MAX);
      break;
    case 'p':
      o->partitions = bench_number("partitions", optarg, 1, 1000);
      break;
    case 'i':
      o->idle_s = bench_number("idle", optarg, 1, 3600);
      break;
    case 'o':
      o->out = optarg;
      break;
    case 'h':
      bench_usage(help, true);
    default:
      bench_usage(help, false);
    }
  if (o->brokers == NULL || o->topic == NULL || o->count == 0 || optind != argc)
    bench_usage(help, false);
}

int main(int argc, char **argv) {
  struct options options = {.partitions = 1, .idle_s = 20};
  parse(argc, argv, &options);
  struct sigaction action = {.sa_handler = on_signal};
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);

  struct reader reader = {.capacity = options.count + 1};
  reader.arrivals = memory_alloc((size_t)reader.capacity * sizeof *reader.arrivals);
  open_reader(&reader, &options);
  read_all(&reader, &options);
  write_out(&reader, options.out);
  rd_kafka_consumer_close(reader.rk);
  rd_kafka_destroy(reader.rk);
  free(reader.arrivals);
  return 0;
}
