/* See cli.h. */
#include "bridge/cli.h"

#include <getopt.h>
#include <string.h>

#include "bridge/base/clock.h"
#include "bridge/base/jsontext.h"
#include "bridge/base/moment.h"
#include "bridge/base/number.h"
#include "bridge/base/topic_name.h"

static const char program_help[] =
    "walferry " WALFERRY_VERSION ": a Postgres outbox to Kafka, and Kafka to Postgres handlers, exactly once\n"
    "\n"
    "usage: walferry COMMAND CONFIG [OPTIONS]\n"
    "\n"
    "  relay CONFIG    stream the outbox to Kafka\n"
    "  replay CONFIG   publish a window of what was streamed once more\n"
    "  inbox CONFIG    hand events from Kafka to SQL handlers\n"
    "  init CONFIG     create outbox, functions, publication, slot and topics; the inbox's tables\n"
    "  check CONFIG    every precondition, with what to do where one fails\n"
    "  status CONFIG   slot, position, lag, who is active, quarantine\n"
    "  dlq CONFIG ...  list, show, replay or discard the inbox's dead letters\n"
    "  position CONFIG ...  show or set where the relay goes on; where it stood, by the minute\n"
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
    "usage: walferry relay CONFIG [--until now|LSN] [--sink kafka|stdout] [--dry-run N] [--snapshot] [--adopt-slot]\n"
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
    "  --snapshot      where the slot is not made yet: publish the rows that stand in the outbox tables first, then "
    "go\n"
    "                  over to what is committed from then on, without a gap or a repeat. Makes the slot itself; later "
    "it\n"
    "                  may stay and does nothing\n"
    "  --adopt-slot    go on from a slot for which no position is stored, once and knowingly\n"
    "\n"
    "SIGTERM or SIGINT: finish what is open, acknowledge, leave within 10 s; a second one leaves at once.\n"
    "\n"
    "Example: walferry relay shop.yaml --until now\n";

static const char replay_help[] =
    "usage: walferry replay CONFIG --from LSN|TIME [--to LSN|TIME] [--type PATTERN]...\n"
    "                              [--topic T | --topic-suffix S | --sink stdout] [--dry-run] [--again] [--json]\n"
    "                              [--max-per-second N] [--log-format text|json]\n"
    "       walferry replay CONFIG --source table [--from TIME] [--to TIME] [the same options]\n"
    "\n"
    "Publishes what the relay has published before once more, exactly once: from the slot that postgres.replay holds\n"
    "back, also while the relay runs. Keys, values, timestamps, order and the headers wf_lsn and wf_tx are those of "
    "the\n"
    "first time; the header wf_replay has the run's id. Stopped or killed, the same command goes on where it was and\n"
    "publishes nothing twice.\n"
    "\n"
    "--source table publishes the rows that are in the outbox tables when it begins, and needs no slot: for what is "
    "no\n"
    "longer retained. Rows that the relay has not published yet are among them. Instead of the first time's, wf_lsn "
    "is\n"
    "where the server's WAL ended, and there is no wf_tx.\n"
    "\n"
    "  --from LSN         the first commit, as records have it in wf_lsn, such as 0/16B3748\n"
    "  --from TIME        what was committed at this time or later: 2026-11-21T08:00:00Z, 2026-11-21, or 2h (ago)\n"
    "  --to LSN|TIME      the last commit, or what was committed at this time or before; by default, and at most, "
    "what\n"
    "                     the relay had published when the run began\n"
    "  --source table     rows instead of a slot; --from and --to, if given, are times, compared with occurred_at\n"
    "  --type PATTERN     only events of this type, exact or with *; may be given several times\n"
    "  --topic T          to this topic instead of those that the routes say\n"
    "  --topic-suffix S   to those topics with this behind their names, such as .replayed\n"
    "  --sink stdout      print the records as lines of JSON instead; nothing is remembered\n"
    "  --dry-run          count by topic and type, and change nothing\n"
    "  --again            once more, where a run of the same options is finished already, or its rows are gone\n"
    "  --max-per-second N publish no more records a second, so that the relay beside it keeps its latency\n"
    "  --json             the summary as one JSON object\n"
    "\n"
    "SIGTERM or SIGINT: finish what is open, leave within 10 s with 1. Exit code 3 where that is asked for which the\n"
    "slot no longer holds; 4 where another replay of this instance runs.\n"
    "\n"
    "Example: walferry replay shop.yaml --from 2h --type 'Rental*' --dry-run\n";

static const char inbox_help[] =
    "usage: walferry inbox CONFIG [--until-end] [--log-format text|json]\n"
    "\n"
    "Reads the events of the inbox's topics and calls the SQL function that the config names for their type. Offset, "
    "mark\n"
    "and all that the function does are one Postgres transaction, so that each event has its effect exactly once. "
    "Several\n"
    "instances of the same config share the partitions.\n"
    "\n"
    "  --until-end   leave with 0 once what stood in its partitions at the start is handled (other members of the "
    "group\n"
    "                have partitions of their own); leave with 1 if a server stays away for 60 s, with 3 if a "
    "partition\n"
    "                was stopped\n"
    "\n"
    "SIGTERM or SIGINT: finish the batch, commit, leave the group within 10 s; a second one leaves at once.\n"
    "\n"
    "Example: walferry inbox shop.yaml\n";

static const char init_help[] =
    "usage: walferry init CONFIG [--print] [--admin CONNINFO] [--snapshot] [--log-format text|json]\n"
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
    "  --snapshot         leave slot and position to the first `walferry relay CONFIG --snapshot`, and grant what "
    "that\n"
    "                     needs: CREATE on the schema walferry, for the work list of the rows\n"
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

static const char status_help[] =
    "usage: walferry status CONFIG [--lost] [--json] [--log-format text|json]\n"
    "\n"
    "Shows slot, position, lag, whether an instance is active, and what is in "
    "quarantine; of an inbox the offset and lag\n"
    "of each partition, dead letters, and what is held behind them. Changes nothing. "
    "Exit code 1 if not all of it could\n"
    "be read.\n"
    "\n"
    "  --lost   after a failover or a restored backup: list the events that Kafka has and "
    "the database no longer has\n"
    "  --json   the same as one JSON object; with --lost an object a line\n"
    "\n"
    "Example: walferry status shop.yaml\n";

static const char dlq_help[] =
    "usage: walferry dlq CONFIG list [--type PATTERN] [--code CODE] [--since TIME] [--until TIME]\n"
    "                                [--state open|replayed|discarded] [--all] [--json]\n"
    "       walferry dlq CONFIG show --id ID [--json]\n"
    "       walferry dlq CONFIG replay [FILTERS] [--limit N] [--max-per-second N] [--dry-run] [--json]\n"
    "       walferry dlq CONFIG replay --from-topic TOPIC [FILTERS] [--limit N] [--max-per-second N] [--dry-run]\n"
    "                                [--json]\n"
    "       walferry dlq CONFIG discard FILTERS|--all [--confirm COUNT] [--max-per-second N] [--dry-run] [--json]\n"
    "                                [--log-format text|json]\n"
    "\n"
    "The dead letters of the inbox (of inbox.group): events that their handler could not take.\n"
    "\n"
    "  list      one a line, oldest first, with how many events are parked behind each: open ones, unless --state or\n"
    "            --all says otherwise\n"
    "  show      one with everything: headers, value, error, the event as its handler would be given it\n"
    "  replay    call the handler of each open letter that matches, in the order of their ids and each in one\n"
    "            transaction with its mark, so that no effect comes twice. What is parked behind it follows in order.\n"
    "            Exit code 1 if some failed: those stay open, and what is parked behind them stays parked\n"
    "            With --from-topic: send the letters of a dead-letter topic to the topics that they came from, for "
    "all\n"
    "            who read those, each once however often this is run. Needs Kafka alone; the letters in the database\n"
    "            stay as they are. What a filter passes over is there for the next run\n"
    "  discard   give them up. What is parked behind them is handled. Without --confirm it says how many match\n"
    "\n"
    "  --id ID             one letter; not with --from-topic\n"
    "  --type PATTERN      by type, exact or with *\n"
    "  --code CODE         by error code\n"
    "  --since TIME        that failed first at this time or later: 2026-11-21T08:00:00Z, 2026-11-21, or 2h (ago)\n"
    "  --until TIME        that failed first before this time\n"
    "  --state STATE       of list: open, replayed or discarded\n"
    "  --all               list: of any state; discard: every open letter\n"
    "  --from-topic TOPIC  of replay: the dead-letter topic, such as fleet.rentals.dlq\n"
    "  --limit N           try N letters at most\n"
    "  --max-per-second N  call no more handlers, or send no more letters, a second than that\n"
    "  --dry-run           say what would be done, and change nothing\n"
    "  --confirm COUNT     as many letters are to be discarded\n"
    "  --json              list: an object a line; show: one object; else the statistics as one\n"
    "\n"
    "Both may run beside the inbox, and may be stopped or killed at any time: run them again.\n"
    "\n"
    "Example: walferry dlq shop.yaml replay --type 'Rental*' --since 2h\n";

static const char position_help[] =
    "usage: walferry position CONFIG show [--json]\n"
    "       walferry position CONFIG history [--json]\n"
    "       walferry position CONFIG set LSN|new [--confirm NAME] [--reason TEXT] [--log-format text|json]\n"
    "\n"
    "Where the relay stands: the record in Kafka up to which everything is published.\n"
    "\n"
    "  show      the record, the slot beside it and the held-back slot, and how far they are apart\n"
    "  history   where it stood: each minute of the window in which something was published (postgres.replay.keep, or\n"
    "            a day), and what operators set. Reads the position topic from its beginning\n"
    "  set       the way out of a refusal: transactions whose commit lies before LSN count as published from now on,\n"
    "            those behind it are published. First it says how many events will be repeated or skipped, counted by\n"
    "            streaming a copy of the slot; without --confirm that is all, and the exit code is 2. Refused while "
    "an\n"
    "            instance runs (exit code 4). LSN is at least where the slot stands: what lies before is sent again "
    "by\n"
    "            walferry replay. set new: where the slot is gone, the next one that init makes is where it goes on\n"
    "\n"
    "  --confirm NAME   of set: the config's name, to show that this one is meant\n"
    "  --reason TEXT    of set: kept with who did it and when, for show and history\n"
    "  --json           show: one object; history: an object a line\n"
    "\n"
    "show and history change nothing and may be run at any time.\n"
    "\n"
    "Example: walferry position shop.yaml set 0/16B3748 --confirm shop --reason 'slot was recreated, ticket 4711'\n";

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
} commands[] = {{"relay", COMMAND_RELAY, relay_help}, {"replay", COMMAND_REPLAY, replay_help},
                {"inbox", COMMAND_INBOX, inbox_help}, {"init", COMMAND_INIT, init_help},
                {"check", COMMAND_CHECK, check_help}, {"status", COMMAND_STATUS, status_help},
                {"dlq", COMMAND_DLQ, dlq_help},       {"position", COMMAND_POSITION, position_help},
                {"drop", COMMAND_DROP, drop_help},    {"explain", COMMAND_EXPLAIN, explain_help}};
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
  OPTION_ID,
  OPTION_TYPE,
  OPTION_CODE,
  OPTION_SINCE,
  OPTION_STATE,
  OPTION_ALL,
  OPTION_LIMIT,
  OPTION_MAX_PER_SECOND,
  OPTION_FROM_TOPIC,
  OPTION_FROM,
  OPTION_TO,
  OPTION_TOPIC,
  OPTION_TOPIC_SUFFIX,
  OPTION_AGAIN,
  OPTION_REASON,
  OPTION_LOST,
  OPTION_SNAPSHOT,
  OPTION_SOURCE,
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
                                             {"id", required_argument, NULL, OPTION_ID},
                                             {"type", required_argument, NULL, OPTION_TYPE},
                                             {"code", required_argument, NULL, OPTION_CODE},
                                             {"since", required_argument, NULL, OPTION_SINCE},
                                             {"state", required_argument, NULL, OPTION_STATE},
                                             {"all", no_argument, NULL, OPTION_ALL},
                                             {"limit", required_argument, NULL, OPTION_LIMIT},
                                             {"max-per-second", required_argument, NULL, OPTION_MAX_PER_SECOND},
                                             {"from-topic", required_argument, NULL, OPTION_FROM_TOPIC},
                                             {"from", required_argument, NULL, OPTION_FROM},
                                             {"to", required_argument, NULL, OPTION_TO},
                                             {"topic", required_argument, NULL, OPTION_TOPIC},
                                             {"topic-suffix", required_argument, NULL, OPTION_TOPIC_SUFFIX},
                                             {"again", no_argument, NULL, OPTION_AGAIN},
                                             {"reason", required_argument, NULL, OPTION_REASON},
                                             {"lost", no_argument, NULL, OPTION_LOST},
                                             {"snapshot", no_argument, NULL, OPTION_SNAPSHOT},
                                             {"source", required_argument, NULL, OPTION_SOURCE},
                                             {NULL, 0, NULL, 0}};

/* Which command takes which option, besides those that all take. */
static const struct {
  enum option_id option;
  enum command command;
} taken_by[] = {
    {OPTION_UNTIL, COMMAND_RELAY},      {OPTION_UNTIL_END, COMMAND_INBOX},
    {OPTION_ADOPT, COMMAND_RELAY},      {OPTION_SINK, COMMAND_RELAY},
    {OPTION_DRY_RUN, COMMAND_RELAY},    {OPTION_PRINT, COMMAND_INIT},
    {OPTION_ADMIN, COMMAND_INIT},       {OPTION_JSON, COMMAND_CHECK},
    {OPTION_JSON, COMMAND_STATUS},      {OPTION_CONFIRM, COMMAND_DROP},
    {OPTION_UNTIL, COMMAND_DLQ},        {OPTION_DRY_RUN, COMMAND_DLQ},
    {OPTION_JSON, COMMAND_DLQ},         {OPTION_CONFIRM, COMMAND_DLQ},
    {OPTION_ID, COMMAND_DLQ},           {OPTION_TYPE, COMMAND_DLQ},
    {OPTION_CODE, COMMAND_DLQ},         {OPTION_SINCE, COMMAND_DLQ},
    {OPTION_STATE, COMMAND_DLQ},        {OPTION_ALL, COMMAND_DLQ},
    {OPTION_LIMIT, COMMAND_DLQ},        {OPTION_MAX_PER_SECOND, COMMAND_DLQ},
    {OPTION_FROM_TOPIC, COMMAND_DLQ},   {OPTION_FROM, COMMAND_REPLAY},
    {OPTION_TO, COMMAND_REPLAY},        {OPTION_TYPE, COMMAND_REPLAY},
    {OPTION_TOPIC, COMMAND_REPLAY},     {OPTION_TOPIC_SUFFIX, COMMAND_REPLAY},
    {OPTION_SINK, COMMAND_REPLAY},      {OPTION_DRY_RUN, COMMAND_REPLAY},
    {OPTION_AGAIN, COMMAND_REPLAY},     {OPTION_MAX_PER_SECOND, COMMAND_REPLAY},
    {OPTION_JSON, COMMAND_REPLAY},      {OPTION_JSON, COMMAND_POSITION},
    {OPTION_CONFIRM, COMMAND_POSITION}, {OPTION_REASON, COMMAND_POSITION},
    {OPTION_LOST, COMMAND_STATUS},      {OPTION_SNAPSHOT, COMMAND_RELAY},
    {OPTION_SNAPSHOT, COMMAND_INIT},    {OPTION_SOURCE, COMMAND_REPLAY},
};

#define BIT(option) (1u << (option))
/* The same for the verbs of dlq. */
static const struct {
  const char *name;
  enum dlq_verb verb;
  unsigned takes;
} verbs[] = {
    {"list", DLQ_LIST,
     BIT(OPTION_ID) | BIT(OPTION_TYPE) | BIT(OPTION_CODE) | BIT(OPTION_SINCE) | BIT(OPTION_UNTIL) | BIT(OPTION_STATE) |
         BIT(OPTION_ALL) | BIT(OPTION_JSON)},
    {"show", DLQ_SHOW, BIT(OPTION_ID) | BIT(OPTION_JSON)},
    {"replay", DLQ_REPLAY,
     BIT(OPTION_ID) | BIT(OPTION_TYPE) | BIT(OPTION_CODE) | BIT(OPTION_SINCE) | BIT(OPTION_UNTIL) | BIT(OPTION_LIMIT) |
         BIT(OPTION_MAX_PER_SECOND) | BIT(OPTION_FROM_TOPIC) | BIT(OPTION_DRY_RUN) | BIT(OPTION_JSON)},
    {"discard", DLQ_DISCARD,
     BIT(OPTION_ID) | BIT(OPTION_TYPE) | BIT(OPTION_CODE) | BIT(OPTION_SINCE) | BIT(OPTION_UNTIL) | BIT(OPTION_ALL) |
         BIT(OPTION_CONFIRM) | BIT(OPTION_MAX_PER_SECOND) | BIT(OPTION_DRY_RUN) | BIT(OPTION_JSON)},
};

static bool usage(struct error *err, const char *what, const char *word) {
  error_set(err, ERROR_CONFIG, "%s: %s", what, word);
  return error_remedy(err, "see walferry --help");
}

static bool take_time(const char *text, int64_t *unix_us) {
  return moment_parse(text, clock_wall_us(), unix_us);
}

static bool bad_time(struct error *err, const char *option, const char *value) {
  error_set(err, ERROR_CONFIG, "%s takes a time, not: %s", option, value);
  return error_remedy(err, "write 2026-11-21T08:00:00Z, 2026-11-21, or so long ago: 90s, 15m, 2h, 7d");
}

static bool take_state(const char *name, enum letter_state *state) {
  for (int i = LETTER_OPEN; i < LETTER_ANY; i++) {
    if (strcmp(letter_state_name((enum letter_state)i), name) != 0)
      continue;
    *state = (enum letter_state)i;
    return true;
  }
  return false;
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
  case OPTION_UNTIL:
    cli->until = value;
    return true;
  case OPTION_UNTIL_END:
    cli->until_end = true;
    return true;
  case OPTION_ADOPT:
    cli->adopt_slot = true;
    return true;
  case OPTION_SINK:
    cli->sink_stdout = strcmp(value, "stdout") == 0;
    return cli->sink_stdout || strcmp(value, "kafka") == 0 || usage(err, "--sink is kafka or stdout, not", value);
  case OPTION_SOURCE:
    cli->replay.request.source = strcmp(value, "table") == 0 ? REPLAY_TABLE : REPLAY_SLOT;
    return cli->replay.request.source == REPLAY_TABLE || strcmp(value, "slot") == 0 ||
           usage(err, "--source is slot or table, not", value);
  case OPTION_DRY_RUN:
    cli->dlq.dry_run = true;
    return value == NULL || number_parse(slice_of(value), 1, INT64_MAX, &cli->dry_run) ||
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
  case OPTION_ID:
    return number_parse(slice_of(value), 1, INT64_MAX, &cli->dlq.filter.id) ||
           usage(err, "--id takes the number of a dead letter, not", value);
  case OPTION_TYPE:
    cli->dlq.filter.type = value;
    if (cli->replay.request.type_count == CLI_TYPES_MAX)
      return usage(err, "so many types cannot be given; one pattern may stand for many", "--type");
    cli->types[cli->replay.request.type_count++] = value;
    return true;
  case OPTION_CODE:
    cli->dlq.filter.code = value;
    return true;
  case OPTION_SINCE:
    cli->dlq.filter.has_since = true;
    return take_time(value, &cli->dlq.filter.since_us) || bad_time(err, "--since", value);
  case OPTION_STATE:
    return take_state(value, &cli->dlq.filter.state) ||
           usage(err, "--state is open, replayed or discarded, not", value);
  case OPTION_ALL:
    cli->all = true;
    return true;
  case OPTION_LIMIT:
    return number_parse(slice_of(value), 1, INT64_MAX, &cli->dlq.limit) ||
           usage(err, "--limit takes a number from 1 on, not", value);
  case OPTION_MAX_PER_SECOND:
    return number_parse(slice_of(value), 1, 1000000, &cli->dlq.max_per_second) ||
           usage(err, "--max-per-second takes a number from 1 to 1000000, not", value);
  case OPTION_FROM_TOPIC:
    cli->dlq.from_topic = value;
    return (topic_name_legal(slice_of(value)) && !topic_name_reserved(slice_of(value))) ||
           usage(err, "--from-topic takes the name of a dead-letter topic, not", value);
  case OPTION_FROM:
    cli->from = value;
    return true;
  case OPTION_TO:
    cli->to = value;
    return true;
  case OPTION_TOPIC:
    cli->replay.request.topic = value;
    return (topic_name_legal(slice_of(value)) && !topic_name_reserved(slice_of(value))) ||
           usage(err, "--topic takes the name of a topic for events, not", value);
  case OPTION_TOPIC_SUFFIX:
    cli->replay.request.topic_suffix = value;
    return topic_name_legal(slice_of(value)) || strcmp(value, ".") == 0 || strcmp(value, "..") == 0 ||
           usage(err, "--topic-suffix takes what may stand in a topic's name, not", value);
  case OPTION_AGAIN:
    cli->replay.request.again = true;
    return true;
  case OPTION_REASON:
    cli->position.reason = value;
    return (strlen(value) <= POSITION_REASON_MAX && utf8_valid(slice_of(value))) ||
           usage(err, "--reason takes up to 255 bytes of UTF-8, not", value);
  case OPTION_LOST:
    cli->lost = true;
    return true;
  case OPTION_SNAPSHOT:
    cli->snapshot = true;
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

static bool check_until(const struct cli *cli, struct error *err) {
  lsn_t ignored;
  return cli->until == NULL || strcmp(cli->until, "now") == 0 || lsn_parse(slice_of(cli->until), &ignored) ||
         usage(err, "--until takes now or an LSN such as 0/16B3748, not", cli->until);
}

/* What the verbs of dlq want and do not want. */
static bool check_dlq(struct cli *cli, unsigned given, struct error *err) {
  struct dlq_settings *dlq = &cli->dlq;
  for (int id = OPTION_HELP; id < OPTION_END; id++) {
    if ((given & BIT(id)) == 0 || takes(COMMAND_VERSION, (enum option_id)id) ||
        (verbs[dlq->verb - 1].takes & BIT(id)) != 0)
      continue;
    error_set(err, ERROR_CONFIG, "dlq %s does not take --%s", verbs[dlq->verb - 1].name, long_options[id - 1].name);
    return error_remedy(err, "see walferry dlq --help");
  }
  struct letter_filter *filter = &dlq->filter;
  filter->has_until = cli->until != NULL;
  if (filter->has_until && !take_time(cli->until, &filter->until_us))
    return bad_time(err, "--until", cli->until);
  dlq->json = cli->json;
  dlq->confirm = -1;
  if (cli->confirm != NULL && !number_parse(slice_of(cli->confirm), 1, INT64_MAX, &dlq->confirm))
    return usage(err, "--confirm takes the number of dead letters to discard, not", cli->confirm);
  if (cli->all && filter->state != 0)
    return usage(err, "--all is of any state, and does not go with", "--state");
  if (dlq->from_topic != NULL && filter->id != 0)
    return usage(err, "the letters of a topic have no numbers; --from-topic does not go with", "--id");
  if (dlq->verb == DLQ_SHOW && filter->id == 0)
    return usage(err, "show needs", "--id ID");
  if (dlq->verb == DLQ_DISCARD && !cli->all && !letter_filter_narrows(filter))
    return usage(err, "discard needs a filter; for every open dead letter say", "--all");
  if (dlq->verb == DLQ_DISCARD && cli->all && letter_filter_narrows(filter))
    return usage(err, "filters do not go with", "--all");
  bool any = dlq->verb == DLQ_SHOW || (dlq->verb == DLQ_LIST && (cli->all || (filter->id != 0 && filter->state == 0)));
  if (any)
    filter->state = LETTER_ANY;
  else if (filter->state == 0)
    filter->state = LETTER_OPEN;
  return true;
}

static bool take_point(const char *option, const char *value, struct replay_point *point, struct error *err) {
  if (replay_point_parse(value, clock_wall_us(), point))
    return true;
  error_set(err, ERROR_CONFIG, "%s takes an LSN or a time, not: %s", option, value);
  return error_remedy(err, "write 0/16B3748, 2026-11-21T08:00:00Z, 2026-11-21, or so long ago: 90s, 15m, 2h, 7d");
}

/* What replay wants, and what does not go together. */
static bool check_replay(struct cli *cli, struct error *err) {
  struct replay_request *request = &cli->replay.request;
  bool dry_run = cli->dlq.dry_run;
  request->types = cli->types;
  request->sink = dry_run ? REPLAY_COUNT : cli->sink_stdout ? REPLAY_STDOUT : REPLAY_KAFKA;
  cli->replay.json = cli->json;
  cli->replay.max_per_second = cli->dlq.max_per_second;
  bool table = request->source == REPLAY_TABLE;
  request->source = table ? REPLAY_TABLE : REPLAY_SLOT;
  if (cli->from == NULL && !table)
    return usage(err, "replay needs where to begin", "--from LSN|TIME");
  if ((cli->from != NULL && !take_point("--from", cli->from, &request->from, err)) ||
      (cli->to != NULL && !take_point("--to", cli->to, &request->to, err)))
    return false;
  if (table && (request->from.lsn != 0 || request->to.lsn != 0)) {
    error_set(err, ERROR_CONFIG, "the rows of the outbox have no LSN: --source table takes times, not %s",
              request->from.lsn != 0 ? cli->from : cli->to);
    return error_remedy(err, "give a time; `walferry position CONFIG history` says which LSN was published when");
  }
  if ((request->to.lsn != 0 && request->from.lsn > request->to.lsn) ||
      (request->to.us != 0 && request->from.us > request->to.us))
    return usage(err, "--from is behind --to", cli->to);
  if (request->topic != NULL && request->topic_suffix != NULL)
    return usage(err, "one of the two: --topic or", "--topic-suffix");
  if (dry_run && cli->sink_stdout)
    return usage(err, "a dry run counts, and does not print the records of", "--sink stdout");
  if (cli->json && cli->sink_stdout)
    return usage(err, "records are lines of JSON, and come without a summary:", "--sink stdout");
  if (request->sink != REPLAY_KAFKA && request->again)
    return usage(err, "nothing is remembered of a run that publishes nothing, so it needs no", "--again");
  return request->sink == REPLAY_KAFKA || cli->replay.max_per_second == 0 ||
         usage(err, "a run that publishes nothing needs no", "--max-per-second");
}

/* What the verbs of position do not want. */
static bool check_position(struct cli *cli, unsigned given, struct error *err) {
  bool set = cli->position.verb == POSITION_VERB_SET;
  cli->position.json = cli->json;
  cli->position.confirm = cli->confirm;
  if (set)
    return !cli->json || usage(err, "position set does not take", "--json");
  return (given & (BIT(OPTION_CONFIRM) | BIT(OPTION_REASON))) == 0 ||
         usage(err, "--confirm and --reason go with set, not with", "position show or history");
}

/* Options that the command does not take, and those that do not go together. */
static bool check_options(struct cli *cli, unsigned given, struct error *err) {
  for (int id = OPTION_HELP; id < OPTION_END; id++) {
    if ((given & 1u << id) == 0 || takes(cli->command, (enum option_id)id))
      continue;
    error_set(err, ERROR_CONFIG, "%s does not take --%s", cli_command_name(cli->command), long_options[id - 1].name);
    return error_remedy(err, "see walferry %s --help", cli_command_name(cli->command));
  }
  if (cli->command == COMMAND_DLQ)
    return check_dlq(cli, given, err);
  if (cli->command == COMMAND_REPLAY)
    return check_replay(cli, err);
  if (cli->command == COMMAND_POSITION)
    return check_position(cli, given, err);
  if (!check_until(cli, err))
    return false;
  if (cli->adopt_slot && (cli->sink_stdout || cli->dry_run > 0))
    return usage(err, "nothing is adopted by a run that only prints", "--adopt-slot");
  if (cli->snapshot && (cli->sink_stdout || cli->dry_run > 0))
    return usage(err, "a run that only prints reads a slot that is there, and takes no", "--snapshot");
  if (cli->snapshot && cli->adopt_slot)
    return usage(err, "a slot that is there has no snapshot; --adopt-slot does not go with", "--snapshot");
  if (cli->dry_run > 0 && (given & 1u << OPTION_SINK) != 0 && !cli->sink_stdout)
    return usage(err, "a dry run sends nothing to Kafka", "--sink kafka");
  if (cli->command == COMMAND_DROP && cli->confirm == NULL) {
    error_set(err, ERROR_CONFIG, "drop removes slot, publication and position for good: --confirm is missing");
    return error_remedy(err, "repeat the config's name: walferry drop %s --confirm NAME", cli->config_path);
  }
  return true;
}

static bool take_verb(struct cli *cli, const char *word, struct error *err) {
  for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
    if (strcmp(verbs[i].name, word) == 0)
      cli->dlq.verb = verbs[i].verb;
  return cli->dlq.verb != 0 || usage(err, "dlq does list, show, replay or discard, not", word);
}

/* Behind the config file of position: show, history, or set and where to. */
static bool take_position(struct cli *cli, int count, char **words, struct error *err) {
  static const char *const names[] = {"show", "history", "set"};
  struct position_request *p = &cli->position;
  if (count == 0)
    return usage(err, "what to do is missing behind the config file", "show, history or set");
  for (int i = 0; i < 3; i++)
    if (strcmp(names[i], words[0]) == 0)
      p->verb = (enum position_verb)(POSITION_VERB_SHOW + i);
  if (p->verb == 0)
    return usage(err, "position does show, history or set, not", words[0]);
  int wanted = p->verb == POSITION_VERB_SET ? 2 : 1;
  if (count > wanted)
    return usage(err, "not understood", words[wanted]);
  if (count < wanted)
    return usage(err, "set needs to know where to", "an LSN such as 0/16B3748, or new");
  p->target = wanted == 2 ? words[1] : NULL;
  return wanted == 1 || strcmp(p->target, "new") == 0 || (lsn_parse(slice_of(p->target), &p->lsn) && p->lsn != 0) ||
         usage(err, "set takes an LSN such as 0/16B3748, or new, not", p->target);
}

/* What stands behind the command: a config file, for dlq then what to do, or for explain a code. */
static bool take_operand(struct cli *cli, int count, char **words, struct error *err) {
  if (cli->command == COMMAND_EXPLAIN) {
    cli->code = count > 0 ? words[0] : NULL;
    return count <= 1 || usage(err, "one code at a time; not understood", words[1]);
  }
  if (count == 0)
    return usage(err, "the config file is missing behind", cli_command_name(cli->command));
  cli->config_path = words[0];
  if (cli->command == COMMAND_DLQ) {
    if (count == 1)
      return usage(err, "what to do is missing behind the config file", "list, show, replay or discard");
    return take_verb(cli, words[1], err) && (count == 2 || usage(err, "not understood", words[2]));
  }
  if (cli->command == COMMAND_POSITION)
    return take_position(cli, count - 1, words + 1, err);
  return count == 1 || usage(err, "one config file at a time; not understood", words[1]);
}

/* The options of the command, of which one is another with dlq and replay: --dry-run, without a number. */
static void choose_options(int argc, char **argv, struct option options[OPTION_END]) {
  memcpy(options, long_options, sizeof long_options);
  optind = 0;
  while (getopt_long(argc, argv, "+:", options, NULL) != -1)
    continue;
  if (optind < argc && (strcmp(argv[optind], "dlq") == 0 || strcmp(argv[optind], "replay") == 0))
    options[OPTION_DRY_RUN - 1].has_arg = no_argument;
}

bool cli_parse(int argc, char **argv, struct cli *cli, struct error *err) {
  *cli = (struct cli){.log_format = LOG_TEXT};
  struct option options[OPTION_END];
  bool help = false;
  unsigned given = 0; /* a bit for each option_id */
  opterr = 0;
  choose_options(argc, argv, options);
  optind = 0;
  for (;;) {
    int id = getopt_long(argc, argv, ":", options, NULL);
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
    return usage(err, "a command is missing",
                 "relay, replay, inbox, init, check, status, dlq, position, drop or explain");
  return take_operand(cli, argc - optind - 1, argv + optind + 1, err) && check_options(cli, given, err);
}
