/* The other end of the inbox: stamps when each effect of a handler can be seen by others. Notifications are sent once
 * the transaction is flushed and visible, with no polling on either side. */
#include <getopt.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/clock.h"
#include "bridge/base/memory.h"
#include "tests/bench/common.h"

#define QUIET_MS 500 /* after the last that was asked for: one too many would come */

static const char help[] =
    "usage: listener --conninfo CONNINFO --channel NAME --count N [OPTIONS]\n"
    "\n"
    "Listens on a channel and prints `ready`. Once N notifications have come and half a second has passed, or nothing\n"
    "comes any more, or at SIGTERM, writes a line for each, `PAYLOAD MICROSECONDS`: the wall clock at its arrival.\n"
    "\n"
    "  --idle S         leave when nothing came for S seconds (default 20)\n"
    "  --out FILE       instead of standard output\n"
    "\n"
    "Example: listener --conninfo 'host=127.0.0.1 dbname=shop' --channel bench --count 3000 --out arrivals\n";

struct options {
  const char *conninfo;
  const char *channel;
  const char *out;
  int64_t count;
  int64_t idle_s;
};

struct arrival {
  char id[BENCH_ID_SIZE];
  int64_t at_us;
};

struct listener {
  PGconn *pg;
  struct arrival *arrivals;
  int64_t count;
  int64_t capacity;
};

static volatile sig_atomic_t stopping;

static void on_signal(int number) {
  (void)number;
  stopping = 1;
}

static void open_listener(struct listener *l, const struct options *o) {
  l->pg = PQconnectdb(o->conninfo);
  if (PQstatus(l->pg) != CONNECTION_OK)
    bench_fail("%s", PQerrorMessage(l->pg));
  char *name = PQescapeIdentifier(l->pg, o->channel, strlen(o->channel));
  char *sql = memory_format("LISTEN %s", name);
  PGresult *result = PQexec(l->pg, sql);
  if (PQresultStatus(result) != PGRES_COMMAND_OK)
    bench_fail("%s", PQerrorMessage(l->pg));
  PQclear(result);
  free(sql);
  PQfreemem(name);
  puts("ready");
  fflush(stdout);
}

static void keep(struct listener *l, const char *id, int64_t at_us) {
  if (l->count == l->capacity) {
    l->capacity = l->capacity * 2;
    l->arrivals = memory_resize(l->arrivals, (size_t)l->capacity * sizeof *l->arrivals);
  }
  struct arrival *arrival = &l->arrivals[l->count++];
  snprintf(arrival->id, sizeof arrival->id, "%s", id);
  arrival->at_us = at_us;
}

static void listen_to_all(struct listener *l, const struct options *o) {
  int64_t last_ms = clock_monotonic_ms();
  while (!stopping) {
    struct pollfd ready = {.fd = PQsocket(l->pg), .events = POLLIN};
    poll(&ready, 1, 100);
    int64_t at_us = clock_wall_us();
    if (!PQconsumeInput(l->pg))
      bench_fail("%s", PQerrorMessage(l->pg));
    for (PGnotify *notice; (notice = PQnotifies(l->pg)) != NULL; PQfreemem(notice)) {
      keep(l, notice->extra, at_us);
      last_ms = clock_monotonic_ms();
    }
    if (clock_monotonic_ms() - last_ms > (l->count >= o->count ? QUIET_MS : o->idle_s * 1000))
      return;
  }
}

static void write_out(const struct listener *l, const char *path) {
  FILE *out = path == NULL ? stdout : fopen(path, "w");
  if (out == NULL)
    bench_fail("cannot write %s", path);
  for (int64_t i = 0; i < l->count; i++)
    fprintf(out, "%s %" PRId64 "\n", l->arrivals[i].id, l->arrivals[i].at_us);
  if (fclose(out) != 0)
    bench_fail("cannot write %s", path == NULL ? "to standard output" : path);
}

static void parse(int argc, char **argv, struct options *o) {
  static const struct option longs[] = {
      {"conninfo", required_argument, NULL, 'i'},
      {"channel", required_argument, NULL, 't'},
      {"count", required_argument, NULL, 'c'},
      {"idle", required_argument, NULL, 's'},
      {"out", required_argument, NULL, 'o'},
      {"help", no_argument, NULL, 'h'},
      {NULL, 0, NULL, 0},
  };
  for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;)
    switch (c) {
    case 'i':
      o->conninfo = optarg;
      break;
    case 't':
      o->channel = optarg;
      break;
    case 'c':
      o->count = bench_number("count", optarg, 1, INT32_MAX);
      break;
    case 's':
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
  if (o->conninfo == NULL || o->channel == NULL || o->count == 0 || optind != argc)
    bench_usage(help, false);
}

int main(int argc, char **argv) {
  struct options options = {.idle_s = 20};
  parse(argc, argv, &options);
  struct sigaction action = {.sa_handler = on_signal};
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);

  struct listener listener = {.capacity = options.count + 1};
  listener.arrivals = memory_alloc((size_t)listener.capacity * sizeof *listener.arrivals);
  open_listener(&listener, &options);
  listen_to_all(&listener, &options);
  write_out(&listener, options.out);
  PQfinish(listener.pg);
  free(listener.arrivals);
  return 0;
}
