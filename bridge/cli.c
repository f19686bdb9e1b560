/* See cli.h. */
#include "bridge/cli.h"

#include <getopt.h>
#include <string.h>

#include "bridge/base/number.h"

static const char program_help[] =
    "walferry " WALFERRY_VERSION ": a Postgres outbox to Kafka, and Kafka to Postgres handlers, exactly once\n"
    "\n"
    "usage: walferry COMMAND CONFIG [OPTIONS]\n"
    "\n"
    "  relay CONFIG    stream the outbox to Kafka\n"
    "  inbox CONFIG    hand events from Kafka to SQL handlers\n"
    "  init CONFIG     create outbox, functions, publication, slot and topics; the inbox's tables\n"
    "  check CONFIG    every precondition, with what to do where one fails\n"
    "  status CONFIG   slot, position, lag, who is active, quarantine\n"
    "  drop CONFIG     remove slot, publication and position of an instance that is gone\n"
    "  explain CODE    what a refusal or error code means and what to do\n"
    "\n"
    "  --help          also behind a command\n"
    "  --version\n"
    "  --log-format text|json   of the log on stderr; text on a terminal, else json\n"
    "\n"
    "Exit codes: 0 done or stopped on request; 1 failed, worth a restart; 2 usage, config or credentials;\n"
    "3 refused for safety, an operator must decide; 4 fenced by, or the slot is held by, another instance.\n"
    "\n"
    "Example: walferry relay shop.yaml\n";

static const char relay_help[] =
    "usage: walferry relay CONFIG [--until now|LSN] [--sink kafka|stdout] [--dry-run N] [--adopt-slot]\n"
    "                             [--log-format text|json]\n"
    "\n"
    "Streams the committed rows of the outbox tables to Kafka, each exactly once. A second instance of the same "
    "config\n"
    "waits as a hot standby and takes over when the first is gone.\n"
    "\n"
    "  --until now     leave with 0 once everything that is in the WAL now is published and acknowledged; leave with 4 "
    "if\n"
    "                  another instance holds the slot, with 1 if a server stays away for 60 s\n"
    "  --until LSN     the same up to that position, such as 0/16B3748\n"
    "  --sink stdout   print the records as lines of JSON instead, from where the slot stands; Kafka is not needed, "
    "and\n"
    "                  nothing is acknowledged: a temporary copy of the slot is read, also while a relay runs\n"
    "  --dry-run N     the same for the first N events, then leave\n"
    "  --adopt-slot    go on from a slot for which no position is stored, once and knowingly\n"
    "\n"
    "SIGTERM or SIGINT: finish what is open, acknowledge, leave within 10 s; a second one leaves at once.\n"
    "\n"
    "Example: walferry relay shop.yaml --until now\n";

static const char inbox_help[] =
    "usage: walferry inbox CONFIG [--until-end] [--log-format text|json]\n"
    "\n"
    "Reads the events of the inbox's topics and calls the SQL function that the config names for their type. Offset, "
    "mark\n"
    "and all that the function does are one Postgres transaction, so that each event has its effect exactly once. "
    "Several\n"
    "instances of the same config share the partitions.\n"
    "\n"
    "  --until-end   leave with 0 once everything that is in the topics now is handled; leave with 1 if a server "
    "stays\n"
    "                away for 60 s, with 3 if a partition was stopped\n"
    "\n"
    "SIGTERM or SIGINT: finish the batch, commit, leave the group within 10 s; a second one leaves at once.\n"
    "\n"
    "Example: walferry inbox shop.yaml\n";

static const char init_help[] =
    "usage: walferry init CONFIG [--print] [--admin CONNINFO] [--log-format text|json]\n"
    "\n"
    "Creates what the config names and what is not there yet. For the relay section: outbox tables (with a size\n"
    "check), walferry.emit and walferry.emit_message, publication, slot with its first position, topics. For the "
    "inbox\n"
    "section: its tables and functions; not the topics that it reads, and not the handlers. May be run again at any\n"
    "time.\n"
    "\n"
    "  --print            print the SQL, the topics and Kafka's ACLs instead, and change nothing\n"
    "  --admin CONNINFO   create tables, functions, publication and the role of the config with this connection; that\n"
    "                     role then needs no more than LOGIN, and REPLICATION for a relay\n"
    "\n"
    "Example: walferry init shop.yaml --admin 'host=db1 dbname=shop user=postgres'\n";

static const char check_help[] =
    "usage: walferry check CONFIG [--json] [--log-format text|json]\n"
    "\n"
    "Asks Postgres and Kafka about every precondition of relay and inbox, as far as the config has them, and prints a\n"
    "line for each: ok, warn or FAIL, and the remedy. Changes nothing, and may be run beside both. Exit code 0 if "
    "nothing fails; 2 where config, credentials or\n"
    "rights are at fault, else 3 where a start would be refused, else 1 where a server cannot be reached.\n"
    "\n"
    "  --json   the same as one JSON object\n"
    "\n"
    "Example: walferry check shop.yaml\n";

static const char status_help[] = "usage: walferry status CONFIG [--json] [--log-format text|json]\n"
                                  "\n"
                                  "Shows slot, position, lag, whether an instance is active, and what is in "
                                  "quarantine; of an inbox the offset and lag\n"
                                  "of each partition, dead letters, and what is held behind them. Changes nothing. "
                                  "Exit code 1 if not all of it could\n"
                                  "be read.\n"
                                  "\n"
                                  "  --json   the same as one JSON object\n"
                                  "\n"
                                  "Example: walferry status shop.yaml\n";

static const char drop_help[] =
    "usage: walferry drop CONFIG --confirm NAME [--log-format text|json]\n"
    "\n"
    "Removes slot, publication and position topic of an instance that is gone for good: an abandoned slot keeps WAL\n"
    "until the disk is full. Outbox tables, their rows and the topics of events stay, and so does all\n"
    "of an inbox. Refused while an instance runs; exit code 2 where the config has no relay, as there is nothing "
    "then.\n"
    "\n"
    "  --confirm NAME   the config's name, to show that this one is meant\n"
    "\n"
    "Example: walferry drop shop.yaml --confirm shop\n";

static const char explain_help[] = "usage: walferry explain [CODE]\n"
                                   "\n"
                                   "Prints what a refusal or error code means and what to do; without a code, lists "
                                   "them all.\n"
                                   "\n"
                                   "Example: walferry explain slot_missing\n";

static const struct {
  const char *name;
  enum command command;
  const char *help;
} commands[] = {{"relay", COMMAND_RELAY, relay_help},      {"inbox", COMMAND_INBOX, inbox_help},
                {"init", COMMAND_INIT, init_help},         {"check", COMMAND_CHECK, check_help},
                {"status", COMMAND_STATUS, status_help},   {"drop", COMMAND_DROP, drop_help},
                {"explain", COMMAND_EXPLAIN, explain_help}};
#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

const char *cli_command_name(enum command command) {
  for (size_t i = 0; i < COMMAND_COUNT; i++)
    if (commands[i].command == command)
      return commands[i].name;
  return "";
}

void cli_print_help(enum command command, FILE *out) {
  const char *help = program_help;
  for (size_t i = 0; i < COMMAND_COUNT; i++)
    if (commands[i].command == command)
      help = commands[i].help;
  fputs(help, out);
}

enum option_id {
  OPTION_HELP = 1,
  OPTION_VERSION,
  OPTION_LOG_FORMAT,
  OPTION_UNTIL,
  OPTION_UNTIL_END,
  OPTION_ADOPT,
  OPTION_SINK,
  OPTION_DRY_RUN,
  OPTION_PRINT,
  OPTION_ADMIN,
  OPTION_JSON,
  OPTION_CONFIRM,
  OPTION_END
};

static const struct option long_options[] = {{"help", no_argument, NULL, OPTION_HELP},
                                             {"version", no_argument, NULL, OPTION_VERSION},
                                             {"log-format", required_argument, NULL, OPTION_LOG_FORMAT},
                                             {"until", required_argument, NULL, OPTION_UNTIL},
                                             {"until-end", no_argument, NULL, OPTION_UNTIL_END},
                                             {"adopt-slot", no_argument, NULL, OPTION_ADOPT},
                                             {"sink", required_argument, NULL, OPTION_SINK},
                                             {"dry-run", required_argument, NULL, OPTION_DRY_RUN},
                                             {"print", no_argument, NULL, OPTION_PRINT},
                                             {"admin", required_argument, NULL, OPTION_ADMIN},
                                             {"json", no_argument, NULL, OPTION_JSON},
                                             {"confirm", required_argument, NULL, OPTION_CONFIRM},
                                             {NULL, 0, NULL, 0}};

/* Which command takes which option, besides those that all take. */
static const struct {
  enum option_id option;
  enum command command;
} taken_by[] = {
    {OPTION_UNTIL, COMMAND_RELAY},  {OPTION_UNTIL_END, COMMAND_INBOX}, {OPTION_ADOPT, COMMAND_RELAY},
    {OPTION_SINK, COMMAND_RELAY},   {OPTION_DRY_RUN, COMMAND_RELAY},   {OPTION_PRINT, COMMAND_INIT},
    {OPTION_ADMIN, COMMAND_INIT},   {OPTION_JSON, COMMAND_CHECK},      {OPTION_JSON, COMMAND_STATUS},
    {OPTION_CONFIRM, COMMAND_DROP},
};

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
  case OPTION_UNTIL_END:
    cli->until_end = true;
    return true;
  case OPTION_ADOPT:
    cli->adopt_slot = true;
    return true;
  case OPTION_SINK:
    cli->sink_stdout = strcmp(value, "stdout") == 0;
    return cli->sink_stdout || strcmp(value, "kafka") == 0 || usage(err, "--sink is kafka or stdout, not", value);
  case OPTION_DRY_RUN:
    return number_parse(slice_of(value), 1, INT64_MAX, &cli->dry_run) ||
           usage(err, "--dry-run takes a number of events from 1 on, not", value);
  case OPTION_PRINT:
    cli->print = true;
    return true;
  case OPTION_ADMIN:
    cli->admin = value;
    return true;
  case OPTION_JSON:
    cli->json = true;
    return true;
  case OPTION_CONFIRM:
    cli->confirm = value;
    return true;
  case OPTION_END:
    break;
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

static bool takes(enum command command, enum option_id option) {
  bool special = false;
  for (size_t i = 0; i < sizeof taken_by / sizeof taken_by[0]; i++) {
    special |= taken_by[i].option == option;
    if (taken_by[i].option == option && taken_by[i].command == command)
      return true;
  }
  return !special;
}

/* Options that the command does not take, and those that do not go together. */
static bool check_options(const struct cli *cli, unsigned given, struct error *err) {
  for (int id = OPTION_HELP; id < OPTION_END; id++) {
    if ((given & 1u << id) == 0 || takes(cli->command, (enum option_id)id))
      continue;
    error_set(err, ERROR_CONFIG, "%s does not take --%s", cli_command_name(cli->command), long_options[id - 1].name);
    return error_remedy(err, "see walferry %s --help", cli_command_name(cli->command));
  }
  if (cli->adopt_slot && (cli->sink_stdout || cli->dry_run > 0))
    return usage(err, "nothing is adopted by a run that only prints", "--adopt-slot");
  if (cli->dry_run > 0 && (given & 1u << OPTION_SINK) != 0 && !cli->sink_stdout)
    return usage(err, "a dry run sends nothing to Kafka", "--sink kafka");
  if (cli->command == COMMAND_DROP && cli->confirm == NULL) {
    error_set(err, ERROR_CONFIG, "drop removes slot, publication and position for good: --confirm is missing");
    return error_remedy(err, "repeat the config's name: walferry drop %s --confirm NAME", cli->config_path);
  }
  return true;
}

/* What stands behind the command: a config file, or for explain a code. */
static bool take_operand(struct cli *cli, int count, char **words, struct error *err) {
  if (cli->command == COMMAND_EXPLAIN) {
    cli->code = count > 0 ? words[0] : NULL;
    return count <= 1 || usage(err, "one code at a time; not understood", words[1]);
  }
  if (count == 0)
    return usage(err, "the config file is missing behind", cli_command_name(cli->command));
  cli->config_path = words[0];
  return count == 1 || usage(err, "one config file at a time; not understood", words[1]);
}

bool cli_parse(int argc, char **argv, struct cli *cli, struct error *err) {
  *cli = (struct cli){.log_format = LOG_TEXT};
  bool help = false;
  unsigned given = 0; /* a bit for each option_id */
  opterr = 0;
  optind = 0;
  for (;;) {
    int id = getopt_long(argc, argv, ":", long_options, NULL);
    if (id == -1)
      break;
    const char *word = optind > 0 && optind <= argc ? argv[optind - 1] : "";
    if (id == '?' && optopt >= OPTION_END) { /* a short option: there are none */
      char letter[] = {'-', (char)optopt, '\0'};
      return usage(err, "unknown option", letter);
    }
    if (id == '?')
      return usage(err, "unknown option", word);
    if (id == ':')
      return usage(err, "a value is missing behind", word);
    if (!take_option(cli, id, optarg, &help, err))
      return false;
    given |= 1u << id;
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
    return usage(err, "a command is missing", "relay, inbox, init, check, status, drop or explain");
  return take_operand(cli, argc - optind - 1, argv + optind + 1, err) && check_options(cli, given, err);
}
