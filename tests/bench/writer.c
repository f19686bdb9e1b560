/* The load of the latency benchmark: single-row transactions on the outbox, on a schedule that does not wait for
 * anybody. When they committed is asked of Postgres afterwards (track_commit_timestamp). */
#include <getopt.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/clock.h"
#include "bridge/base/memory.h"
#include "tests/bench/common.h"

#define CONNECTIONS_MAX 64

static const char help[] =
    "usage: writer --conninfo CONNINFO --rate R --seconds S [OPTIONS]\n"
    "\n"
    "Inserts R rows a second into public.outbox, each in a transaction of its own, for S seconds. Prints one line of\n"
    "JSON: rows, and by how many milliseconds the last commit of each connection and the latest of all were behind\n"
    "the schedule.\n"
    "\n"
    "  --connections N   that take turns (default 4)\n"
    "  --first-id N      number of the first row's id (default 0)\n"
    "  --bytes N         of each payload (default 500)\n"
    "\n"
    "Example: writer --conninfo 'host=127.0.0.1 dbname=shop' --rate 200 --seconds 15\n";

struct options {
  const char *conninfo;
  int64_t rate;
  int64_t seconds;
  int64_t connections;
  int64_t first_id;
  int64_t bytes;
};

struct connection {
  pthread_t thread;
  const struct options *options;
  int64_t number;
  int64_t start_us;
  int64_t behind_us; /* the latest return of a commit, after it was due */
  int64_t behind_at_end_us;
  PGconn *pg;
  char *payload;
};

static void must(const struct connection *c, PGresult *result, ExecStatusType wanted) {
  if (PQresultStatus(result) != wanted)
    bench_fail("%s", PQerrorMessage(c->pg));
  PQclear(result);
}

static void open_connection(struct connection *c) {
  c->pg = PQconnectdb(c->options->conninfo);
  if (PQstatus(c->pg) != CONNECTION_OK)
    bench_fail("%s", PQerrorMessage(c->pg));
  must(c,
       PQprepare(c->pg, "insert",
                 "insert into public.outbox (id, aggregatetype, aggregateid, type, payload)"
                 " values ($1, 'order', $2, 'OrderPlaced', $3)",
                 3, NULL),
       PGRES_COMMAND_OK);
  /* {"pad": "xxx"}, as long as asked for */
  int64_t pad = c->options->bytes > 11 ? c->options->bytes - 11 : 0;
  char *fill = memory_alloc((size_t)pad + 1);
  memset(fill, 'x', (size_t)pad);
  c->payload = memory_format("{\"pad\": \"%s\"}", fill);
  free(fill);
}

static void insert(struct connection *c, int64_t n) {
  char id[BENCH_ID_SIZE], key[24];
  bench_id(id, c->options->first_id + n);
  snprintf(key, sizeof key, "%" PRId64, n % BENCH_KEYS);
  const char *values[] = {id, key, c->payload};
  must(c, PQexecPrepared(c->pg, "insert", 3, values, NULL, NULL, 0), PGRES_COMMAND_OK);
}

static void *run(void *arg) {
  struct connection *c = arg;
  const struct options *o = c->options;
  for (int64_t n = c->number; n < o->rate * o->seconds; n += o->connections) {
    int64_t due_us = bench_due_us(c->start_us, n, o->rate);
    bench_sleep_until(due_us);
    insert(c, n);
    c->behind_at_end_us = clock_wall_us() - due_us;
    if (c->behind_at_end_us > c->behind_us)
      c->behind_us = c->behind_at_end_us;
  }
  return NULL;
}

static void parse(int argc, char **argv, struct options *o) {
  static const struct option longs[] = {
      {"conninfo", required_argument, NULL, 'i'}, {"rate", required_argument, NULL, 'r'},
      {"seconds", required_argument, NULL, 's'},  {"connections", required_argument, NULL, 'c'},
      {"first-id", required_argument, NULL, 'f'}, {"bytes", required_argument, NULL, 'b'},
      {"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0},
  };
  for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;)
    switch (c) {
    case 'i':
      o->conninfo = optarg;
      break;
    case 'r':
      o->rate = bench_number("rate", optarg, 1, 1000000);
      break;
    case 's':
      o->seconds = bench_number("seconds", optarg, 1, 86400);
      break;
    case 'c':
      o->connections = bench_number("connections", optarg, 1, CONNECTIONS_MAX);
      break;
    case 'f':
      o->first_id = bench_number("first-id", optarg, 0, INT32_MAX);
      break;
    case 'b':
      o->bytes = bench_number("bytes", optarg, 1, 1 << 20);
      break;
    case 'h':
      bench_usage(help, true);
    default:
      bench_usage(help, false);
    }
  if (o->conninfo == NULL || o->rate == 0 || o->seconds == 0 || optind != argc)
    bench_usage(help, false);
}

int main(int argc, char **argv) {
  struct options options = {.connections = 4, .bytes = 500};
  parse(argc, argv, &options);
  struct connection connections[CONNECTIONS_MAX] = {{0}};
  for (int64_t i = 0; i < options.connections; i++) {
    connections[i].options = &options;
    connections[i].number = i;
    open_connection(&connections[i]);
  }
  int64_t start_us = clock_wall_us();
  int64_t behind_us = 0, behind_at_end_us = 0;
  for (int64_t i = 0; i < options.connections; i++) {
    connections[i].start_us = start_us;
    if (pthread_create(&connections[i].thread, NULL, run, &connections[i]) != 0)
      bench_fail("no thread");
  }
  for (int64_t i = 0; i < options.connections; i++) {
    struct connection *c = &connections[i];
    pthread_join(c->thread, NULL);
    PQfinish(c->pg);
    free(c->payload);
    behind_us = c->behind_us > behind_us ? c->behind_us : behind_us;
    behind_at_end_us = c->behind_at_end_us > behind_at_end_us ? c->behind_at_end_us : behind_at_end_us;
  }
  printf("{\"rows\": %" PRId64 ", \"start_us\": %" PRId64 ", \"behind_ms\": %.1f, \"behind_at_end_ms\": %.1f}\n",
         options.rate * options.seconds, start_us, (double)behind_us / 1e3, (double)behind_at_end_us / 1e3);
  return 0;
}
