/* See cli.h. */
#include "bridge/cli.h"

#include <getopt.h>
#include <string.h>

static const struct {
  const char *name;
  enum command command;
} commands[] = {{"relay", COMMAND_RELAY}, {"inbox", COMMAND_INBOX}, {"init", COMMAND_INIT}};
#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static const char program_help[] =
    "walferry " WALFERRY_VERSION ": a Postgres outbox to Kafka, exactly once\n"
    "\n"
    "usage: walferry COMMAND CONFIG [OPTIONS]\n"
    "\n"
    "  relay CONFIG   stream the outbox to Kafka\n"
    "  init CONFIG    create outbox, functions, publication, slot and topics\n"
    "  inbox CONFIG   Kafka to SQL handlers (not supported yet)\n"
    "\n"
    "  --help         also behind a command\n"
    "  --version\n"
    "  --log-format text|json   of the log on stderr; text on a terminal, else json\n"
    "\n"
    "Exit codes: 0 done or stopped on request; 1 failed, worth a restart; 2 usage, config or credentials;\n"
    "3 refused for safety, an operator must decide; 4 fenced by, or the slot is held by, another instance.\n"
    "\n"
    "Example: walferry relay shop.yaml\n";

static const char relay_help[] =
    "usage: walferry relay CONFIG [--until now|LSN] [--adopt-slot] [--log-format text|json]\n"
    "\n"
    "Streams the committed rows of the outbox tables to Kafka, each exactly once. A second instance of the same "
    "config\n"
    "waits as a hot standby and takes over when the first is gone.\n"
    "\n"
    "  --until now    leave with 0 once everything that is in the WAL now is published and acknowledged; leave with 4 "
    "if\n"
    "                 another instance holds the slot, with 1 if a server stays away for 60 s\n"
    "  --until LSN    the same up to that position, such as 0/16B3748\n"
    "  --adopt-slot   go on from a slot for which no position is stored, once and knowingly\n"
    "\n"
    "SIGTERM or SIGINT: finish what is open, acknowledge, leave within 10 s; a second one leaves at once.\n"
    "\n"
    "Example: walferry relay shop.yaml --until now\n";

static const char inbox_help[] = "usage: walferry inbox CONFIG\n"
                                 "\n"
                                 "Kafka to SQL handlers. Not supported yet in this version.\n"
                                 "\n"
                                 "Example: walferry inbox shop.yaml\n";

static const char init_help[] =
    "usage: walferry init CONFIG [--print] [--admin CONNINFO] [--log-format text|json]\n"
    "\n"
    "Creates what the config names and what is not there yet: outbox tables (with a size check), walferry.emit and\n"
    "walferry.emit_message, publication, slot with its first position, topics. May be run again at any time.\n"
    "\n"
    "  --print            print the SQL and the topics instead, and change nothing\n"
    "  --admin CONNINFO   create tables, functions, publication and the relay's role with this connection; the "
    "relay's\n"
    "                     own role then needs no more than LOGIN and REPLICATION\n"
    "\n"
    "Example: walferry init shop.yaml --admin 'host=db1 dbname=shop user=postgres'\n";

void cli_print_help(enum command command, FILE *out) {
  switch (command) {
  case COMMAND_RELAY:
    fputs(relay_help, out);
    return;
  case COMMAND_INBOX:
    fputs(inbox_help, out);
    return;
  case COMMAND_INIT:
    fputs(init_help, out);
    return;
  case COMMAND_HELP:
  case COMMAND_VERSION:
    break;
  }
  fputs(program_help, out);
}

enum option_id {
  OPTION_HELP = 1,
  OPTION_VERSION,
  OPTION_LOG_FORMAT,
  OPTION_UNTIL,
  OPTION_ADOPT,
  OPTION_PRINT,
  OPTION_ADMIN
};

static const struct option long_options[] = {{"help", no_argument, NULL, OPTION_HELP},
                                             {"version", no_argument, NULL, OPTION_VERSION},
                                             {"log-format", required_argument, NULL, OPTION_LOG_FORMAT},
                                             {"until", required_argument, NULL, OPTION_UNTIL},
                                             {"adopt-slot", no_argument, NULL, OPTION_ADOPT},
                                             {"print", no_argument, NULL, OPTION_PRINT},
                                             {"admin", required_argument, NULL, OPTION_ADMIN},
                                             {NULL, 0, NULL, 0}};

static bool usage(struct error *err, const char *what, const char *word) {
  error_set(err, ERROR_CONFIG, "%s: %s", what, word);
  return error_remedy(err, "see walferry --help");
}

static bool take_option(struct cli *cli, int id, const char *value, bool *help, struct error *err) {
  switch ((enum option_id)id) {
  case OPTION_HELP:
    *help = true;
    return true;
  case OPTION_VERSION:
    cli->command = COMMAND_VERSION;
    return true;
  case OPTION_LOG_FORMAT:
    cli->log_format_given = true;
    cli->log_format = strcmp(value, "json") == 0 ? LOG_JSON : LOG_TEXT;
    return cli->log_format == LOG_JSON || strcmp(value, "text") == 0 ||
           usage(err, "--log-format is text or json, not", value);
  case OPTION_UNTIL: {
    lsn_t ignored;
    cli->until = value;
    return strcmp(value, "now") == 0 || lsn_parse(slice_of(value), &ignored) ||
           usage(err, "--until takes now or an LSN such as 0/16B3748, not", value);
  }
  case OPTION_ADOPT:
    cli->adopt_slot = true;
    return true;
  case OPTION_PRINT:
    cli->print = true;
    return true;
  case OPTION_ADMIN:
    cli->admin = value;
    return true;
  }
  return false;
}

static bool take_command(struct cli *cli, const char *word, struct error *err) {
  for (size_t i = 0; i < COMMAND_COUNT; i++) {
    if (strcmp(commands[i].name, word) == 0) {
      cli->command = commands[i].command;
      return true;
    }
  }
  return usage(err, "unknown command", word);
}

/* Options that only some commands take. */
static bool check_options(const struct cli *cli, struct error *err) {
  if (cli->command != COMMAND_RELAY && (cli->until != NULL || cli->adopt_slot))
    return usage(err, "only relay takes", cli->until != NULL ? "--until" : "--adopt-slot");
  if (cli->command != COMMAND_INIT && (cli->print || cli->admin != NULL))
    return usage(err, "only init takes", cli->print ? "--print" : "--admin");
  return true;
}

bool cli_parse(int argc, char **argv, struct cli *cli, struct error *err) {
  *cli = (struct cli){.log_format = LOG_TEXT};
  bool help = false;
  opterr = 0;
  optind = 0;
  for (;;) {
    int id = getopt_long(argc, argv, ":", long_options, NULL);
    if (id == -1)
      break;
    const char *word = optind > 0 && optind <= argc ? argv[optind - 1] : "";
    if (id == '?' && optopt > OPTION_ADMIN) { /* a short option: there are none */
      char letter[] = {'-', (char)optopt, '\0'};
      return usage(err, "unknown option", letter);
    }
    if (id == '?')
      return usage(err, "unknown option", word);
    if (id == ':')
      return usage(err, "a value is missing behind", word);
    if (!take_option(cli, id, optarg, &help, err))
      return false;
  }
  if (cli->command == COMMAND_VERSION)
    return true;
  if (optind < argc && strcmp(argv[optind], "help") == 0) {
    help = true;
    optind++;
  }
  if (optind < argc && !take_command(cli, argv[optind], err))
    return false;
  if (help) {
    cli->help_for = cli->command;
    cli->command = COMMAND_HELP;
    return true;
  }
  if (optind >= argc)
    return usage(err, "a command is missing", "relay, init or inbox");
  if (optind + 1 >= argc)
    return usage(err, "the config file is missing behind", argv[optind]);
  cli->config_path = argv[optind + 1];
  if (optind + 2 < argc)
    return usage(err, "one config file at a time; not understood", argv[optind + 2]);
  return check_options(cli, err);
}
