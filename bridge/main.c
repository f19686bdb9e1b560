/* Wiring: builds the parts from the command line and the config, hands them to each other, and turns the outcome into
 * an exit code. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bridge/base/clock.h"
#include "bridge/base/memory.h"
#include "bridge/cli.h"
#include "bridge/kafka/client.h"
#include "bridge/ops/check.h"
#include "bridge/ops/daemon.h"
#include "bridge/ops/dlq.h"
#include "bridge/ops/dlq_topic.h"
#include "bridge/ops/drop.h"
#include "bridge/ops/explain.h"
#include "bridge/ops/http.h"
#include "bridge/ops/init.h"
#include "bridge/ops/remedy.h"
#include "bridge/ops/replay.h"
#include "bridge/ops/signals.h"
#include "bridge/ops/status.h"
#include "bridge/ops/status_lost.h"
#include "bridge/ops/watched_inbox.h"
#include "bridge/ops/watched_relay.h"
#include "bridge/postgres/conninfo.h"
#include "bridge/relay/preview.h"
#include "bridge/settings.h"

/* The top: logs an error once, under the event that its kind has. */
static int report(const char *command, const struct error *err) {
  int code = error_exit_code(err);
  if (code == 0)
    return 0;
  char event[64];
  snprintf(event, sizeof event, "%s.%s", command,
           err->kind == ERROR_REFUSED  ? "refused"
           : err->kind == ERROR_FENCED ? "fenced"
                                       : "failed");
  log_error_event(LOG_ERROR, event, err);
  return code;
}

/* Those that watch what runs for long. */
struct watchers {
  struct daemon *daemon;
  struct http *http;
};

/* listen: NULL where nothing is served. False where it cannot be; end them then too. */
static bool watchers_start(struct watchers *watchers, const char *listen, const struct watched *watched,
                           const struct stop *stop, struct error *err) {
  watchers->daemon = daemon_start(watched, stop);
  watchers->http = listen == NULL ? NULL : http_start(listen, watched, err);
  return listen == NULL || watchers->http != NULL;
}

static void watchers_end(struct watchers *watchers, bool ok, const struct error *err) {
  daemon_end(watchers->daemon, ok ? NULL : err);
  http_stop(watchers->http);
}

static bool run_relay(const struct cli *cli, const struct config *config, struct settings *settings,
                      const struct stop *stop, struct error *err) {
  struct relay_settings *relay = &settings->relay;
  relay->adopt_slot = cli->adopt_slot;
  relay->snapshot = cli->snapshot;
  if (cli->until != NULL)
    relay->until = lsn_parse(slice_of(cli->until), &relay->until_lsn) ? RELAY_UNTIL_LSN : RELAY_UNTIL_NOW;
  if (cli->sink_stdout || cli->dry_run != 0) { /* stands beside the one that works: no HTTP, whose port that one has */
    struct preview_settings preview = {.relay = relay, .events_max = cli->dry_run, .out_fd = STDOUT_FILENO};
    return preview_run(&preview, stop, err);
  }
  struct progress *progress = progress_new();
  struct watched_relay source = {.progress = progress, .slot = relay->slot, .publication = relay->publication};
  struct watched watched = {
      .class = &watched_relay_class, .source = &source, .name = relay->name, .started_us = clock_wall_us()};
  struct watchers watchers;
  bool ok =
      watchers_start(&watchers, config->http.listen, &watched, stop, err) && relay_run(relay, stop, progress, err);
  watchers_end(&watchers, ok, err);
  progress_free(progress);
  return ok;
}

static bool run_inbox(const struct cli *cli, const struct config *config, struct settings *settings,
                      const struct stop *stop, struct error *err) {
  struct inbox_settings *inbox = &settings->inbox;
  inbox->until_end = cli->until_end;
  struct inbox_report *report = inbox_report_new(inbox->handlers, inbox->handler_count);
  inbox_report_call_limit(report, inbox->timeout_ms);
  struct watched_inbox source = {.report = report, .group = inbox->group};
  struct watched watched = {
      .class = &watched_inbox_class, .source = &source, .name = inbox->name, .started_us = clock_wall_us()};
  struct watchers watchers;
  bool ok =
      watchers_start(&watchers, config->http.inbox_listen, &watched, stop, err) && inbox_run(inbox, stop, report, err);
  watchers_end(&watchers, ok, err);
  inbox_report_free(report);
  return ok;
}

static bool run_init(const struct cli *cli, const struct config *config, struct settings *settings,
                     const struct stop *stop, struct error *err) {
  settings->relay.snapshot = cli->snapshot;
  char *role = conninfo_value(config->postgres.conninfo, "user");
  struct init_settings init = {.relay = settings_relay(settings, config),
                               .inbox = settings_inbox(settings, config),
                               .admin_conninfo = cli->admin,
                               .role = role};
  bool ok = true;
  if (cli->print)
    init_print(&init, stdout);
  else
    ok = init_run(&init, stop, stdout, err);
  free(role);
  return ok;
}

/* What the command is about has to be in the config. */
static bool need_sections(const struct cli *cli, const struct config *config, struct error *err) {
  switch (cli->command) {
  case COMMAND_RELAY:
  case COMMAND_POSITION:
  case COMMAND_REPLAY:
    return settings_need_relay(config, err);
  case COMMAND_DROP:
    return config->has_relay || drop_nothing(err);
  case COMMAND_INBOX:
    return settings_need_inbox(config, err);
  case COMMAND_DLQ: /* a topic's letters are where the inbox of another config left them, too */
    return cli->dlq.from_topic != NULL || settings_need_inbox(config, err);
  case COMMAND_INIT:
  case COMMAND_CHECK:
  case COMMAND_STATUS:
    return settings_need_either(config, err);
  case COMMAND_HELP:
  case COMMAND_VERSION:
  case COMMAND_EXPLAIN:
    break;
  }
  return true;
}

/* A relay runs until it is stopped; a command that has an end of its own and was stopped before it is not done. */
static bool ends_by_itself(enum command command) {
  return command != COMMAND_RELAY && command != COMMAND_INBOX;
}

static bool run_command(const struct cli *cli, const struct config *config, struct error *err) {
  static struct stop stop; /* the thread that waits for signals outlives every frame */
  signals_start(&stop, ends_by_itself(cli->command) ? 1 : 0);
  struct settings settings;
  if (!need_sections(cli, config, err) || !settings_init(&settings, config, err))
    return false;
  bool ok = false;
  switch (cli->command) {
  case COMMAND_RELAY:
    ok = run_relay(cli, config, &settings, &stop, err);
    break;
  case COMMAND_REPLAY:
    ok = replay_command_run(&cli->replay, &settings.relay, &stop, stdout, err);
    break;
  case COMMAND_INIT:
    ok = run_init(cli, config, &settings, &stop, err);
    break;
  case COMMAND_DROP:
    ok = drop_confirm(config->name, cli->confirm, err) && drop_run(&settings.relay, &stop, stdout, err);
    break;
  case COMMAND_CHECK:
    ok = check_run(cli->config_path, settings_relay(&settings, config), settings_inbox(&settings, config), &stop,
                   cli->json, stdout, err);
    break;
  case COMMAND_STATUS:
    ok = cli->lost
             ? settings_need_relay(config, err) && status_lost_run(&settings.relay, &stop, cli->json, stdout, err)
             : status_run(cli->config_path, config->name, config->postgres.conninfo, settings_relay(&settings, config),
                          settings_inbox(&settings, config), &stop, cli->json, stdout, err);
    break;
  case COMMAND_DLQ:
    ok = cli->dlq.from_topic != NULL ? dlq_topic_run(&cli->dlq, &settings.kafka, &stop, stdout, err)
                                     : dlq_run(&cli->dlq, &settings.inbox, &stop, stdout, err);
    break;
  case COMMAND_POSITION:
    ok = position_run(&cli->position, cli->config_path, &settings.relay, &stop, stdout, err);
    break;
  case COMMAND_INBOX:
    ok = run_inbox(cli, config, &settings, &stop, err);
    break;
  case COMMAND_HELP:
  case COMMAND_VERSION:
  case COMMAND_EXPLAIN:
    break; /* need no config */
  }
  settings_free(&settings);
  if (!ok && err->kind == ERROR_STOPPED && ends_by_itself(cli->command)) {
    error_set(err, ERROR_RETRY, "stopped before everything was done");
    error_remedy(err, "run it again: what is done already is passed over");
  }
  return ok;
}

/* The commands that work with a config file. */
static int run(const struct cli *cli, struct error *err) {
  const char *name = cli_command_name(cli->command);
  struct config *config = config_load(cli->config_path, err);
  if (config == NULL)
    return report("config", err);
  enum log_level level;
  if (log_level_parse(config->log.level, &level))
    log_set_level(level);
  log_info("process.started", log_string("version", WALFERRY_VERSION), log_string("command", name),
           log_string("instance", config->name), log_string("librdkafka", kafka_library_version()));
  bool ok = run_command(cli, config, err);
  if (!ok)
    remedy_complete(err, cli->config_path, config->name);
  int code = ok ? 0 : report(name, err);
  if (ok)
    log_info("process.done");
  config_free(config);
  return code;
}

int main(int argc, char **argv) {
  memory_setup();
  struct cli cli;
  struct error err = {.kind = ERROR_NONE};
  setvbuf(stdout, NULL, _IOLBF, 0); /* what is done is said, even where the process leaves at once after it */
  if (!cli_parse(argc, argv, &cli, &err)) {
    fprintf(stderr, "walferry: %s (%s)\n", err.message, err.remedy);
    return error_exit_code(&err);
  }
  enum log_format format = isatty(STDERR_FILENO) ? LOG_TEXT : LOG_JSON;
  log_setup(LOG_INFO, cli.log_format_given ? cli.log_format : format);
  switch (cli.command) {
  case COMMAND_HELP:
    cli_print_help(cli.help_for, stdout);
    return 0;
  case COMMAND_VERSION:
    printf("walferry %s (librdkafka %s)\n", WALFERRY_VERSION, kafka_library_version());
    return 0;
  case COMMAND_RELAY:
  case COMMAND_REPLAY:
  case COMMAND_INBOX:
  case COMMAND_INIT:
  case COMMAND_CHECK:
  case COMMAND_STATUS:
  case COMMAND_DLQ:
  case COMMAND_POSITION:
  case COMMAND_DROP:
    return run(&cli, &err);
  case COMMAND_EXPLAIN:
    if (!explain_print(cli.code, stdout, &err))
      fprintf(stderr, "walferry: %s (%s)\n", err.message, err.remedy);
    return error_exit_code(&err);
  }
  return 2;
}
