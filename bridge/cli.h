/* The command line: what was asked for. */
#ifndef WALFERRY_CLI_H
#define WALFERRY_CLI_H

#include <stdint.h>
#include <stdio.h>

#include "bridge/base/error.h"
#include "bridge/base/log.h"
#include "bridge/ops/dlq.h"
#include "bridge/ops/position.h"
#include "bridge/ops/replay.h"

#define CLI_TYPES_MAX 64

enum command {
  COMMAND_HELP = 1, /* help is printed already where cli_parse says so */
  COMMAND_VERSION,
  COMMAND_RELAY,
  COMMAND_REPLAY,
  COMMAND_INBOX,
  COMMAND_INIT,
  COMMAND_CHECK,
  COMMAND_STATUS,
  COMMAND_DLQ,
  COMMAND_POSITION,
  COMMAND_DROP,
  COMMAND_EXPLAIN
};

struct cli {
  enum command command;
  enum command help_for;   /* with COMMAND_HELP: 0 for the program, else a command */
  const char *config_path; /* NULL only for explain */
  const char *code;        /* explain: the code asked for; NULL: list them all */
  const char *until;       /* relay: NULL, "now" or an LSN, checked */
  bool until_end;          /* inbox */
  bool adopt_slot;         /* relay */
  bool snapshot;           /* relay, init */
  bool sink_stdout;        /* relay, replay: records to stdout instead of Kafka */
  int64_t dry_run;         /* relay: so many events to stdout; 0: not asked for */
  bool print;              /* init */
  const char *admin;       /* init: conninfo, or NULL */
  bool json;               /* check, status, dlq, replay, position */
  bool lost;               /* status */
  const char *confirm;     /* drop, position: the instance's name, or NULL */
  bool all;                /* dlq */
  struct dlq_settings dlq; /* dlq: complete */
  const char *from, *to;   /* replay: as they were given */
  const char *types[CLI_TYPES_MAX];
  struct replay_command replay;     /* replay: complete */
  struct position_request position; /* position: complete */
  bool log_format_given;
  enum log_format log_format;
};

/* ERROR_CONFIG names the word that was not understood, and what would be. */
bool cli_parse(int argc, char **argv, struct cli *cli, struct error *err);
const char *cli_command_name(enum command command); /* "relay"; "" for help and version */
void cli_print_help(enum command command, FILE *out);

#endif
