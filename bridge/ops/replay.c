/* See replay.h. */
#include "bridge/ops/replay.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bridge/base/clock.h"
#include "bridge/base/jsonobject.h"
#include "bridge/base/log.h"
#include "bridge/ops/dlq_print.h"

#define BAR_CELLS 24
#define LOG_INTERVAL_MS 5000

struct view {
  bool bar; /* stderr is a terminal */
  bool drawn;
  int64_t began_ms;
  int64_t logged_ms;
};

static int percent_of(const struct replay_progress *progress) {
  return progress->done >= progress->total ? 100 : (int)((double)progress->done * 100 / (double)progress->total);
}

static void draw(struct view *view, int percent, uint64_t events, uint64_t per_second) {
  char cells[BAR_CELLS + 1];
  memset(cells, '.', BAR_CELLS);
  memset(cells, '#', (size_t)(percent * BAR_CELLS / 100));
  cells[BAR_CELLS] = '\0';
  /* Ends where it began, so that a warning is written over it. */
  fprintf(stderr, "\033[K[%s] %3d %%  %" PRIu64 " events  %" PRIu64 "/s\r", cells, percent, events, per_second);
  fflush(stderr);
  view->drawn = true;
}

static void clear_bar(struct view *view) {
  if (view->drawn)
    fputs("\033[K", stderr);
  view->drawn = false;
}

static void show(void *ctx, const struct replay_progress *progress) {
  struct view *view = ctx;
  int64_t now_ms = clock_monotonic_ms();
  int64_t elapsed_ms = now_ms - view->began_ms + 1;
  int percent = percent_of(progress);
  uint64_t per_second = progress->events * 1000 / (uint64_t)elapsed_ms;
  if (view->bar) {
    draw(view, percent, progress->events, per_second);
  } else if (now_ms - view->logged_ms >= LOG_INTERVAL_MS) {
    view->logged_ms = now_ms;
    log_info("replay.progress", log_string("run", progress->run->id), log_int("percent", percent),
             log_lsn("at", progress->at), log_lsn("to", progress->run->to),
             log_int("events", (int64_t)progress->events), log_int("per_second", (int64_t)per_second));
  }
}

static const char *done_word(enum replay_sink sink) {
  switch (sink) {
  case REPLAY_KAFKA:
    return "published";
  case REPLAY_STDOUT:
    return "printed";
  case REPLAY_COUNT:
    return "would be published";
  }
  return "";
}

static void print_table(const struct tally *tally, FILE *out) {
  int count;
  struct tally_entry *entries = tally_list(tally, &count);
  for (int i = 0; i < count; i++) {
    fprintf(out, "%12" PRIu64 "  ", entries[i].records);
    dlq_print_tame(out, slice_of(entries[i].topic));
    fputs("  ", out);
    dlq_print_tame(out, slice_of(entries[i].type[0] == '\0' ? "-" : entries[i].type));
    fputc('\n', out);
  }
  free(entries);
}

static void print_summary(const struct replay_command *command, const struct replay_outcome *outcome, FILE *out) {
  const struct position_run *run = &outcome->run;
  enum replay_sink sink = command->request.sink;
  bool rows = command->request.source == REPLAY_TABLE;
  const char *happened = rows ? "occurred" : "committed";
  if (sink == REPLAY_KAFKA)
    fprintf(out, "run %s, ", run->id);
  if (rows)
    fprintf(out, "%" PRIu64 " rows as of %s", outcome->rows, lsn_format(run->to).text);
  else
    fprintf(out, "commits from %s to %s", lsn_format(run->from).text, lsn_format(run->to).text);
  if (run->from_us != 0)
    fprintf(out, ", %s at %s or later", happened, clock_rfc3339(run->from_us).text);
  if (run->to_us != 0)
    fprintf(out, ", %s at %s or before", happened, clock_rfc3339(run->to_us).text);
  fputc('\n', out);
  if (outcome->was_finished) {
    bool relative = command->request.from.relative != NULL || command->request.to.relative != NULL;
    fprintf(out, "is finished already: %" PRIu64 " records were published; --again publishes %s\n", run->records,
            rows       ? "the rows that there are now"
            : relative ? "what its bounds, counted from now, span"
                       : "them once more");
    return;
  }
  print_table(outcome->tally, out);
  fprintf(out, "%12" PRIu64 "  %s", run->records - outcome->records_before, done_word(sink));
  if (outcome->records_before > 0)
    fprintf(out, ", and %" PRIu64 " by earlier attempts of this run", outcome->records_before);
  fputc('\n', out);
  if (sink == REPLAY_COUNT)
    fputs("a dry run: nothing was published, and nothing is remembered\n", out);
}

static void write_bounds(const struct replay_command *command, const struct replay_outcome *outcome,
                         struct buffer *json) {
  const struct position_run *run = &outcome->run;
  bool rows = command->request.source == REPLAY_TABLE;
  jsonobject_text(json, "source", rows ? "table" : "slot");
  jsonobject_lsn(json, "from", rows ? 0 : run->from);
  jsonobject_lsn(json, "to", run->to);
  jsonobject_moment(json, "from_time", run->from_us);
  jsonobject_moment(json, "to_time", run->to_us);
  if (rows)
    jsonobject_integer(json, "rows", (int64_t)outcome->rows);
}

static void print_summary_json(const struct replay_command *command, const struct replay_outcome *outcome, FILE *out) {
  const struct position_run *run = &outcome->run;
  struct buffer json;
  buffer_init(&json, BUFFER_MAX_ROW);
  jsonobject_open(&json, NULL);
  jsonobject_text(&json, "run", run->id);
  write_bounds(command, outcome, &json);
  jsonobject_bool(&json, "dry_run", command->request.sink == REPLAY_COUNT);
  jsonobject_bool(&json, "finished", run->finished);
  jsonobject_bool(&json, "was_finished", outcome->was_finished);
  jsonobject_integer(&json, "records", (int64_t)(run->records - outcome->records_before));
  jsonobject_integer(&json, "records_before", (int64_t)outcome->records_before);
  jsonobject_key(&json, "by_type");
  buffer_append_char(&json, '[');
  int count;
  struct tally_entry *entries = tally_list(outcome->tally, &count);
  for (int i = 0; i < count; i++) {
    jsonobject_open(&json, NULL);
    jsonobject_text(&json, "topic", entries[i].topic);
    jsonobject_text(&json, "type", entries[i].type);
    jsonobject_integer(&json, "records", (int64_t)entries[i].records);
    jsonobject_close(&json);
  }
  free(entries);
  buffer_append_char(&json, ']');
  jsonobject_close(&json);
  buffer_append_char(&json, '\n');
  fwrite(buffer_slice(&json).data, 1, json.len, out);
  buffer_free(&json);
}

/* How to go on, for one that ended in between; behind what the error itself says is to be done. */
static void remedy(const struct replay_command *command, const struct replay_outcome *outcome, struct error *err) {
  if (err->kind != ERROR_STOPPED && err->kind != ERROR_RETRY && err->kind != ERROR_START_OVER &&
      err->kind != ERROR_FATAL)
    return;
  if (err->kind == ERROR_STOPPED)
    error_set(err, ERROR_RETRY, "stopped before everything was done");
  char own[sizeof err->remedy];
  memcpy(own, err->remedy, sizeof own);
  if (command->request.sink != REPLAY_KAFKA)
    error_remedy(err, "run it again: it begins anew");
  else if (outcome->run.id[0] != '\0' && command->request.source == REPLAY_TABLE)
    error_remedy(err, "the same command goes on where it stopped, after %" PRIu64 " records, and publishes none twice",
                 outcome->run.records);
  else if (outcome->run.id[0] != '\0')
    error_remedy(err,
                 "the same command goes on where it stopped, %s, after %" PRIu64 " records, and publishes none twice",
                 lsn_format(outcome->reached != 0 ? outcome->reached : outcome->run.from).text, outcome->run.records);
  else
    error_remedy(err, "run it again: nothing was published yet");
  if (own[0] == '\0')
    return;
  char again[sizeof err->remedy];
  memcpy(again, err->remedy, sizeof again);
  error_remedy(err, "%s. Then: %s", own, again);
}

static void log_outcome(const struct replay_outcome *outcome) {
  const struct position_run *run = &outcome->run;
  log_info("replay.done", log_string("run", run->id), log_lsn("from", run->from), log_lsn("to", run->to),
           log_int("records", (int64_t)(run->records - outcome->records_before)),
           log_int("records_before", (int64_t)outcome->records_before),
           log_bool("was_finished", outcome->was_finished));
}

bool replay_command_run(const struct replay_command *command, const struct relay_settings *relay,
                        const struct stop *stop, FILE *out, struct error *err) {
  if (command->request.source == REPLAY_SLOT && relay->retain.slot == NULL) {
    error_set(err, ERROR_CONFIG, "the config holds nothing back for replays: postgres.replay is missing");
    return error_remedy(err,
                        "add postgres.replay: {keep: 24h}, run `walferry init CONFIG` and start the relay anew; what "
                        "is committed from then on can be replayed. Or, for the rows that are still in the "
                        "outbox: `walferry replay CONFIG --source table`");
  }
  struct view view = {.bar = isatty(STDERR_FILENO) != 0 && command->request.sink != REPLAY_STDOUT,
                      .began_ms = clock_monotonic_ms(),
                      .logged_ms = clock_monotonic_ms()};
  struct replay_settings settings = {.relay = relay,
                                     .request = command->request,
                                     .max_per_second = command->max_per_second,
                                     .out_fd = STDOUT_FILENO,
                                     .report = show,
                                     .report_ctx = &view};
  if (view.bar)
    log_set_level(LOG_WARN); /* the bar says the rest */
  struct replay_outcome outcome;
  bool ok = replay_run(&settings, stop, &outcome, err);
  clear_bar(&view);
  if (ok)
    log_outcome(&outcome);
  else
    remedy(command, &outcome, err);
  if (outcome.run.id[0] != '\0' && command->request.sink != REPLAY_STDOUT)
    (command->json ? print_summary_json : print_summary)(command, &outcome, out);
  tally_free(outcome.tally);
  return ok;
}
