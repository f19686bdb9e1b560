/* The limit of the inbox: its statements for made-up events, each prepared once, through libpq's pipeline, and nothing
 * around them: no Kafka, no parsing, no recovery. */
#include <getopt.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/memory.h"
#include "bridge/inbox/statements.h"
#include "tests/bench/common.h"

#define VALUES_MAX 16
#define HANDLE "handle"

static const char help[] =
    "usage: pipeline --conninfo CONNINFO --handler SCHEMA.FUNCTION --consumer NAME --topic NAME [OPTIONS]\n"
    "\n"
    "Handles N events in transactions of B, as walferry inbox does: mark and call for each, the offsets of the "
    "topic's\n"
    "partitions, which stand at 0 under claim 1. Each event has an id of its own.\n"
    "\n"
    "  --count N         events (default 1000)\n"
    "  --batch B         of a transaction (default 500)\n"
    "  --partitions N    of the topic (default 1)\n"
    "  --source NAME, --key KEY, --headers JSON, --value TEXT\n"
    "                    of each event\n"
    "  --before TEXT, --after TEXT\n"
    "                    what stands around its id in the envelope\n"
    "\n"
    "Example: pipeline --conninfo 'dbname=shop' --handler app.on_event --consumer accounting --topic orders\n"
    "           --before '{\"id\":\"' --after '\"}'\n";

struct options {
  const char *conninfo, *handler, *consumer, *topic, *source, *key, *headers, *value, *before, *after;
  int64_t count, batch, partitions;
};

struct limit {
  const struct options *options;
  PGconn *pg;
  int64_t stands; /* where the offsets do */
};

struct values {
  int count;
  const char *data[VALUES_MAX];
  int lengths[VALUES_MAX];
  int formats[VALUES_MAX];
  char numbers[VALUES_MAX][24];
};

static void add_text(struct values *v, const char *text) {
  v->data[v->count] = text;
  v->lengths[v->count] = text == NULL ? 0 : (int)strlen(text);
  v->formats[v->count++] = 1;
}

static void add_number(struct values *v, int64_t number) {
  snprintf(v->numbers[v->count], sizeof v->numbers[0], "%" PRId64, number);
  v->data[v->count] = v->numbers[v->count];
  v->formats[v->count++] = 0;
}

static void must(const struct limit *l, int ok) {
  if (ok != 1)
    bench_fail("%s", PQerrorMessage(l->pg));
}

static void execute(struct limit *l, const char *name, const struct values *v) {
  must(l, PQsendQueryPrepared(l->pg, name, v->count, v->data, v->lengths, v->formats, 0));
}

static void send_sql(struct limit *l, const char *sql) {
  must(l, PQsendQueryParams(l->pg, sql, 0, NULL, NULL, NULL, NULL, 0));
}

/* The answers to all that was sent. */
static void collect(struct limit *l) {
  must(l, PQpipelineSync(l->pg));
  for (;;) {
    PGresult *result = PQgetResult(l->pg);
    ExecStatusType status = result == NULL ? PGRES_COMMAND_OK : PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_PIPELINE_SYNC)
      bench_fail("%s", PQerrorMessage(l->pg));
    PQclear(result);
    if (status == PGRES_PIPELINE_SYNC)
      return;
  }
}

static void prepare(struct limit *l) {
  static const enum inbox_statement used[] = {INBOX_MARKS_LOCK, INBOX_OFFSET_SWAP};
  struct buffer sql;
  buffer_init(&sql, 1 << 16);
  inbox_statement_call(&sql, l->options->handler, INBOX_HANDLE);
  buffer_append_char(&sql, '\0');
  must(l, PQsendPrepare(l->pg, HANDLE, sql.data, 0, NULL));
  for (size_t i = 0; i < sizeof used / sizeof used[0]; i++)
    must(l, PQsendPrepare(l->pg, inbox_statements[used[i]].name, inbox_statements[used[i]].sql, 0, NULL));
  collect(l);
  buffer_free(&sql);
}

static void swap(struct limit *l, int64_t partition) {
  struct values v = {.count = 0};
  add_text(&v, l->options->consumer);
  add_text(&v, l->options->topic);
  add_number(&v, partition);
  add_number(&v, 1);
  add_number(&v, l->stands);
  add_number(&v, l->stands + 1000);
  add_number(&v, l->stands + 999);
  add_number(&v, 1700000000000);
  add_text(&v, "00000000-0000-4000-8000-000000000000");
  execute(l, inbox_statements[INBOX_OFFSET_SWAP].name, &v);
}

/* An id as random as a UUID: 2^64 times the golden ratio, which is odd, meets each number once. */
static void handle(struct limit *l, int64_t n) {
  const struct options *o = l->options;
  char id[BENCH_ID_SIZE];
  uint64_t scattered = (uint64_t)(n + 1) * UINT64_C(11400714819323198485);
  snprintf(id, sizeof id, "%08" PRIx64 "-%04" PRIx64 "-4000-8000-%012" PRIx64, scattered >> 32,
           scattered >> 16 & 0xffff, scattered & 0xffff);
  char *envelope = memory_format("%s%s%s", o->before, id, o->after);
  struct values v = {.count = 0};
  add_text(&v, o->consumer);
  add_text(&v, o->source);
  add_text(&v, id);
  add_text(&v, id);
  add_text(&v, id);
  add_text(&v, NULL);
  add_text(&v, NULL);
  add_text(&v, NULL);
  add_text(&v, envelope);
  add_text(&v, o->topic);
  add_number(&v, 0);
  add_number(&v, n);
  add_number(&v, 1700000000000);
  add_text(&v, o->key);
  add_text(&v, o->headers);
  add_text(&v, o->value);
  execute(l, HANDLE, &v);
  free(envelope);
}

static void run(struct limit *l) {
  const struct options *o = l->options;
  struct values none = {.count = 0};
  for (int64_t done = 0; done < o->count;) {
    send_sql(l, "BEGIN");
    execute(l, inbox_statements[INBOX_MARKS_LOCK].name, &none);
    for (int64_t i = 0; i < o->partitions; i++)
      swap(l, i);
    l->stands += 1000;
    for (int64_t end = done + o->batch; done < end && done < o->count; done++)
      handle(l, done);
    send_sql(l, "COMMIT");
    collect(l);
  }
}

static void parse(int argc, char **argv, struct options *o) {
  static const struct option longs[] = {
      {"conninfo", required_argument, NULL, 'i'},
      {"handler", required_argument, NULL, 'f'},
      {"consumer", required_argument, NULL, 'g'},
      {"topic", required_argument, NULL, 't'},
      {"source", required_argument, NULL, 's'},
      {"key", required_argument, NULL, 'k'},
      {"headers", required_argument, NULL, 'e'},
      {"value", required_argument, NULL, 'v'},
      {"before", required_argument, NULL, 'b'},
      {"after", required_argument, NULL, 'a'},
      {"count", required_argument, NULL, 'c'},
      {"batch", required_argument, NULL, 'n'},
      {"partitions", required_argument, NULL, 'p'},
      {"help", no_argument, NULL, 'h'},
      {NULL, 0, NULL, 0},
  };
  for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;)
    switch (c) {
    case 'i':
      o->conninfo = optarg;
      break;
    case 'f':
      o->handler = optarg;
      break;
    case 'g':
      o->consumer = optarg;
      break;
    case 't':
      o->topic = optarg;
      break;
    case 's':
      o->source = optarg;
      break;
    case 'k':
      o->key = optarg;
      break;
    case 'e':
      o->headers = optarg;
      break;
    case 'v':
      o->value = optarg;
      break;
    case 'b':
      o->before = optarg;
      break;
    case 'a':
      o->after = optarg;
      break;
    case 'c':
      o->count = bench_number("count", optarg, 1, INT32_MAX);
      break;
    case 'n':
      o->batch = bench_number("batch", optarg, 1, 100000);
      break;
    case 'p':
      o->partitions = bench_number("partitions", optarg, 1, 1000);
      break;
    case 'h':
      bench_usage(help, true);
    default:
      bench_usage(help, false);
    }
  if (o->conninfo == NULL || o->handler == NULL || strchr(o->handler, '.') == NULL || o->consumer == NULL ||
      o->topic == NULL || optind != argc)
    bench_usage(help, false);
}

int main(int argc, char **argv) {
  struct options options = {.source = "bench",
                            .key = "key",
                            .headers = "[]",
                            .value = "",
                            .before = "{\"id\":\"",
                            .after = "\"}",
                            .count = 1000,
                            .batch = 500,
                            .partitions = 1};
  parse(argc, argv, &options);
  struct limit limit = {.options = &options, .pg = PQconnectdb(options.conninfo)};
  if (PQstatus(limit.pg) != CONNECTION_OK)
    bench_fail("%s", PQerrorMessage(limit.pg));
  must(&limit, PQenterPipelineMode(limit.pg));
  prepare(&limit);
  run(&limit);
  PQfinish(limit.pg);
  return 0;
}
