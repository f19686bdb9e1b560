/* bridge/cli.h: command lines, good and bad. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bridge/cli.h"

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))
#define ARGS_MAX 8

/* getopt reorders the vector and wants it writable. */
static bool parse(const char *const *args, struct cli *cli, struct error *err) {
  static char texts[ARGS_MAX + 1][64];
  static char *argv[ARGS_MAX + 2];
  int argc = 0;
  strcpy(texts[argc], "walferry");
  argv[argc] = texts[argc];
  for (argc++; args[argc - 1] != NULL; argc++)
    argv[argc] = strcpy(texts[argc], args[argc - 1]);
  argv[argc] = NULL;
  *err = (struct error){.kind = ERROR_NONE};
  return cli_parse(argc, argv, cli, err);
}

static void good_lines_are_understood(void **state) {
  (void)state;
  static const struct {
    const char *args[ARGS_MAX];
    struct cli cli;
  } cases[] = {
      {{"relay", "shop.yaml"}, {.command = COMMAND_RELAY, .config_path = "shop.yaml"}},
      {{"inbox", "shop.yaml"}, {.command = COMMAND_INBOX, .config_path = "shop.yaml"}},
      {{"init", "shop.yaml"}, {.command = COMMAND_INIT, .config_path = "shop.yaml"}},
      {{"relay", "c", "--until", "now"}, {.command = COMMAND_RELAY, .config_path = "c", .until = "now"}},
      {{"relay", "c", "--until=16/B374D848"}, {.command = COMMAND_RELAY, .config_path = "c", .until = "16/B374D848"}},
      {{"--until", "0/1", "relay", "c"}, {.command = COMMAND_RELAY, .config_path = "c", .until = "0/1"}},
      {{"relay", "--snapshot", "c"}, {.command = COMMAND_RELAY, .config_path = "c", .snapshot = true}},
      {{"init", "c", "--snapshot"}, {.command = COMMAND_INIT, .config_path = "c", .snapshot = true}},
      {{"relay", "--adopt-slot", "c"}, {.command = COMMAND_RELAY, .config_path = "c", .adopt_slot = true}},
      {{"init", "c", "--print"}, {.command = COMMAND_INIT, .config_path = "c", .print = true}},
      {{"init", "c", "--admin", "host=db1 user=postgres"},
       {.command = COMMAND_INIT, .config_path = "c", .admin = "host=db1 user=postgres"}},
      {{"relay", "c", "--log-format", "json"},
       {.command = COMMAND_RELAY, .config_path = "c", .log_format_given = true, .log_format = LOG_JSON}},
      {{"init", "c", "--log-format=text"}, {.command = COMMAND_INIT, .config_path = "c", .log_format_given = true}},
      {{"relay", "c", "--sink", "stdout"}, {.command = COMMAND_RELAY, .config_path = "c", .sink_stdout = true}},
      {{"relay", "c", "--sink", "kafka"}, {.command = COMMAND_RELAY, .config_path = "c"}},
      {{"relay", "c", "--dry-run", "10"}, {.command = COMMAND_RELAY, .config_path = "c", .dry_run = 10}},
      {{"check", "c", "--json"}, {.command = COMMAND_CHECK, .config_path = "c", .json = true}},
      {{"status", "--json", "c"}, {.command = COMMAND_STATUS, .config_path = "c", .json = true}},
      {{"status", "c", "--lost", "--json"},
       {.command = COMMAND_STATUS, .config_path = "c", .json = true, .lost = true}},
      {{"drop", "c", "--confirm", "shop"}, {.command = COMMAND_DROP, .config_path = "c", .confirm = "shop"}},
      {{"explain"}, {.command = COMMAND_EXPLAIN}},
      {{"explain", "slot_missing"}, {.command = COMMAND_EXPLAIN, .code = "slot_missing"}},
      {{"relay", "--", "--odd.yaml"}, {.command = COMMAND_RELAY, .config_path = "--odd.yaml"}},
      {{"--help"}, {.command = COMMAND_HELP}},
      {{"relay", "--help"}, {.command = COMMAND_HELP, .help_for = COMMAND_RELAY}},
      {{"--help", "inbox"}, {.command = COMMAND_HELP, .help_for = COMMAND_INBOX}},
      {{"init", "c", "--print", "--help"}, {.command = COMMAND_HELP, .help_for = COMMAND_INIT, .print = true}},
      {{"--version"}, {.command = COMMAND_VERSION}},
      {{"relay", "--version"}, {.command = COMMAND_VERSION}},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    const struct cli *expected = &cases[i].cli;
    struct cli cli;
    struct error err;
    if (!parse(cases[i].args, &cli, &err))
      fail_msg("%zu: %s", i, err.message);
    assert_int_equal(cli.command, expected->command);
    assert_int_equal(cli.help_for, expected->help_for);
    assert_int_equal(cli.adopt_slot, expected->adopt_slot);
    assert_int_equal(cli.snapshot, expected->snapshot);
    assert_int_equal(cli.print, expected->print);
    assert_int_equal(cli.sink_stdout, expected->sink_stdout);
    assert_int_equal(cli.dry_run, expected->dry_run);
    assert_int_equal(cli.json, expected->json);
    assert_int_equal(cli.log_format_given, expected->log_format_given);
    assert_int_equal(cli.log_format, expected->log_format == LOG_JSON ? LOG_JSON : LOG_TEXT);
    const char *const texts[][2] = {{cli.config_path, expected->config_path},
                                    {cli.until, expected->until},
                                    {cli.admin, expected->admin},
                                    {cli.confirm, expected->confirm},
                                    {cli.code, expected->code}};
    for (size_t t = 0; t < COUNT_OF(texts); t++) {
      if (cli.command == COMMAND_HELP)
        break;
      if ((texts[t][0] == NULL) != (texts[t][1] == NULL) ||
          (texts[t][0] != NULL && strcmp(texts[t][0], texts[t][1]) != 0))
        fail_msg("%zu: %s, expected %s", i, texts[t][0], texts[t][1]);
    }
  }
}

static void a_replay_is_understood(void **state) {
  (void)state;
  struct cli cli;
  struct error err;
  const char *const args[] = {"replay", "c", "--from=0/1F", "--type", "Order*", "--type=Refund", NULL};
  assert_true(parse(args, &cli, &err));
  const struct replay_request *request = &cli.replay.request;
  assert_int_equal(request->from.lsn, 0x1F);
  assert_int_equal(request->type_count, 2);
  assert_string_equal(request->types[0], "Order*");
  assert_string_equal(request->types[1], "Refund");
  assert_int_equal(request->sink, REPLAY_KAFKA);
  const char *const counted[] = {"replay", "c", "--from=2h", "--to=1h", "--dry-run", "--json", NULL};
  assert_true(parse(counted, &cli, &err));
  assert_int_equal(request->sink, REPLAY_COUNT);
  assert_string_equal(request->from.relative, "2h");
  assert_true(request->to.us > request->from.us && cli.replay.json);
  const char *const printed[] = {"replay", "c", "--from=2026-11-21", "--sink=stdout", "--topic-suffix=.b", NULL};
  assert_true(parse(printed, &cli, &err));
  assert_int_equal(request->sink, REPLAY_STDOUT);
  assert_string_equal(request->topic_suffix, ".b");
}

static void bad_lines_are_refused_with_the_word_that_is_wrong(void **state) {
  (void)state;
  static const struct {
    const char *args[ARGS_MAX];
    const char *said;
  } cases[] = {
      {{NULL}, "a command is missing"},
      {{"relay"}, "the config file is missing behind: relay"},
      {{"relays", "c"}, "unknown command: relays"},
      {{"", "c"}, "unknown command: "},
      {{"--help", "nothing"}, "unknown command: nothing"},
      {{"relay", "c", "d"}, "not understood: d"},
      {{"relay", "c", "--until", "--x"}, "--until takes now or an LSN such as 0/16B3748, not: --x"},
      {{"relay", "c", "--nothing"}, "unknown option: --nothing"},
      {{"relay", "c", "-x"}, "unknown option: -x"},
      {{"relay", "c", "-until", "now"}, "unknown option: -u"},
      {{"relay", "c", "--until"}, "a value is missing behind: --until"},
      {{"relay", "c", "--until", "later"}, "not: later"},
      {{"relay", "c", "--until", ""}, "--until takes now or an LSN"},
      {{"relay", "c", "--until", "NOW"}, "not: NOW"},
      {{"relay", "c", "--until", "0/16B3748x"}, "not: 0/16B3748x"},
      {{"relay", "c", "--log-format", "xml"}, "--log-format is text or json, not: xml"},
      {{"relay", "c", "--log-format"}, "a value is missing behind: --log-format"},
      {{"relay", "c", "--print"}, "relay does not take --print"},
      {{"relay", "c", "--admin", "host=a"}, "relay does not take --admin"},
      {{"init", "c", "--until", "now"}, "init does not take --until"},
      {{"init", "c", "--adopt-slot"}, "init does not take --adopt-slot"},
      {{"inbox", "c", "--print"}, "inbox does not take --print"},
      {{"relay", "c", "--sink", "file"}, "--sink is kafka or stdout, not: file"},
      {{"relay", "c", "--dry-run", "0"}, "--dry-run takes a number of events from 1 on, not: 0"},
      {{"relay", "c", "--dry-run", "1", "--sink", "kafka"}, "a dry run sends nothing to Kafka"},
      {{"relay", "c", "--dry-run", "1", "--adopt-slot"}, "nothing is adopted"},
      {{"relay", "c", "--dry-run", "1", "--snapshot"}, "takes no"},
      {{"relay", "c", "--sink", "stdout", "--snapshot"}, "takes no"},
      {{"relay", "c", "--adopt-slot", "--snapshot"}, "--adopt-slot does not go with"},
      {{"check", "c", "--snapshot"}, "check does not take --snapshot"},
      {{"relay", "c", "--json"}, "relay does not take --json"},
      {{"drop", "c"}, "--confirm is missing"},
      {{"position", "c"}, "what to do is missing behind the config file: show, history or set"},
      {{"position", "c", "get"}, "position does show, history or set, not: get"},
      {{"position", "c", "show", "0/1"}, "not understood: 0/1"},
      {{"position", "c", "set"}, "set needs to know where to"},
      {{"position", "c", "set", "now"}, "set takes an LSN such as 0/16B3748, or new, not: now"},
      {{"position", "c", "set", "0/0"}, "set takes an LSN"},
      {{"position", "c", "set", "0/1", "0/2"}, "not understood: 0/2"},
      {{"position", "c", "set", "0/1", "--json"}, "position set does not take: --json"},
      {{"position", "c", "show", "--confirm", "c"}, "--confirm and --reason go with set"},
      {{"position", "c", "history", "--reason", "c"}, "--confirm and --reason go with set"},
      {{"position", "c", "set", "0/1", "--reason", "\xff"}, "--reason takes up to 255 bytes of UTF-8"},
      {{"status", "c", "--reason", "x"}, "status does not take --reason"},
      {{"explain", "a", "b"}, "one code at a time; not understood: b"},
      {{"explain", "a", "--json"}, "explain does not take --json"},
      {{"relay", "c", "--adopt-slot=yes"}, "--adopt-slot=yes"},
      {{"relay", "c", "--dry-run"}, "a value is missing behind: --dry-run"},
      {{"relay", "c", "--id", "1"}, "relay does not take --id"},
      {{"replay", "c"}, "replay needs where to begin: --from LSN|TIME"},
      {{"replay", "c", "--from", "later"}, "--from takes an LSN or a time, not: later"},
      {{"replay", "c", "--from", "2h", "--to", "0/x"}, "--to takes an LSN or a time, not: 0/x"},
      {{"replay", "c", "--from", "0/20", "--to", "0/10"}, "--from is behind --to"},
      {{"replay", "c", "--from", "1h", "--to", "2h"}, "--from is behind --to"},
      {{"replay", "c", "--from", "1h", "--topic", "a b"}, "--topic takes the name of a topic for events, not: a b"},
      {{"replay", "c", "--from", "1h", "--topic", "walferry.position.x"}, "--topic takes the name"},
      {{"replay", "c", "--from", "1h", "--topic-suffix", ""}, "--topic-suffix takes"},
      {{"replay", "c", "--from=1h", "--topic", "a", "--topic-suffix", "b"}, "one of the two: --topic"},
      {{"replay", "c", "--from=1h", "--dry-run", "--sink", "stdout"}, "a dry run counts"},
      {{"replay", "c", "--from=1h", "--json", "--sink", "stdout"}, "come without a summary"},
      {{"replay", "c", "--from=1h", "--dry-run", "--again"}, "nothing is remembered"},
      {{"replay", "c", "--from=1h", "--sink=stdout", "--max-per-second=9"}, "needs no: --max-per-second"},
      {{"relay", "c", "--from", "1h"}, "relay does not take --from"},
      {{"dlq", "c"}, "what to do is missing"},
      {{"dlq", "c", "lost"}, "dlq does list, show, replay or discard, not: lost"},
      {{"dlq", "c", "list", "d"}, "not understood: d"},
      {{"dlq", "c", "list", "--limit", "3"}, "dlq list does not take --limit"},
      {{"dlq", "c", "replay", "--all"}, "dlq replay does not take --all"},
      {{"dlq", "c", "show"}, "--id ID"},
      {{"dlq", "c", "show", "--id", "1", "--type", "a"}, "dlq show does not take --type"},
      {{"dlq", "c", "discard"}, "discard needs a filter"},
      {{"dlq", "c", "discard", "--all", "--type", "a"}, "filters do not go with: --all"},
      {{"dlq", "c", "discard", "--all", "--confirm", "all"}, "--confirm takes the number"},
      {{"dlq", "c", "list", "--all", "--state", "open"}, "--state"},
      {{"dlq", "c", "list", "--state", "any"}, "--state is open, replayed or discarded, not: any"},
      {{"dlq", "c", "list", "--since", "now"}, "--since takes a time, not: now"},
      {{"dlq", "c", "list", "--until", "now"}, "--until takes a time, not: now"},
      {{"dlq", "c", "replay", "--id", "0"}, "--id takes the number"},
      {{"dlq", "c", "replay", "--limit", "0"}, "--limit takes a number"},
      {{"dlq", "c", "replay", "--max-per-second", "x"}, "--max-per-second takes a number"},
      {{"dlq", "c", "replay", "--dry-run", "3"}, "not understood: 3"},
      {{"dlq", "c", "list", "--from-topic", "t.dlq"}, "dlq list does not take --from-topic"},
      {{"dlq", "c", "discard", "--from-topic", "t.dlq"}, "dlq discard does not take --from-topic"},
      {{"dlq", "c", "replay", "--from-topic", ""}, "--from-topic takes the name of a dead-letter topic"},
      {{"dlq", "c", "replay", "--from-topic", "a b"}, "--from-topic takes the name of a dead-letter topic, not: a b"},
      {{"dlq", "c", "replay", "--from-topic", "__consumer_offsets"}, "--from-topic takes the name"},
      {{"dlq", "c", "replay", "--from-topic", "t.dlq", "--id", "3"}, "--from-topic does not go with: --id"},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct cli cli;
    struct error err;
    if (parse(cases[i].args, &cli, &err))
      fail_msg("%zu was understood", i);
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_int_equal(error_exit_code(&err), 2);
    if (strstr(err.message, cases[i].said) == NULL)
      fail_msg("%zu: \"%s\" is not in \"%s\"", i, cases[i].said, err.message);
    assert_true(err.remedy[0] != '\0');
  }
}

static void dlq_says_which_letters_are_meant_and_what_becomes_of_them(void **state) {
  (void)state;
  static const struct {
    const char *args[ARGS_MAX];
    struct dlq_settings dlq;
  } cases[] = {
      {{"dlq", "c", "list"}, {.verb = DLQ_LIST, .filter = {.state = LETTER_OPEN}}},
      {{"dlq", "c", "list", "--all", "--json"}, {.verb = DLQ_LIST, .filter = {.state = LETTER_ANY}, .json = true}},
      {{"dlq", "c", "list", "--id", "7"}, {.verb = DLQ_LIST, .filter = {.id = 7, .state = LETTER_ANY}}},
      {{"dlq", "c", "list", "--state", "discarded"}, {.verb = DLQ_LIST, .filter = {.state = LETTER_DISCARDED}}},
      {{"dlq", "c", "show", "--id", "7"}, {.verb = DLQ_SHOW, .filter = {.id = 7, .state = LETTER_ANY}}},
      {{"dlq", "--dry-run", "c", "replay"}, {.verb = DLQ_REPLAY, .filter = {.state = LETTER_OPEN}, .dry_run = true}},
      {{"dlq", "c", "replay", "--type", "a*", "--code", "x"},
       {.verb = DLQ_REPLAY, .filter = {.type = "a*", .code = "x", .state = LETTER_OPEN}}},
      {{"dlq", "c", "replay", "--limit", "3", "--max-per-second", "5"},
       {.verb = DLQ_REPLAY, .filter = {.state = LETTER_OPEN}, .limit = 3, .max_per_second = 5}},
      {{"dlq", "c", "replay", "--since", "2026-11-21"},
       {.verb = DLQ_REPLAY,
        .filter = {.has_since = true, .since_us = INT64_C(1795219200000000), .state = LETTER_OPEN}}},
      {{"dlq", "c", "replay", "--until=1970-01-01T00:00:01Z"},
       {.verb = DLQ_REPLAY, .filter = {.has_until = true, .until_us = 1000000, .state = LETTER_OPEN}}},
      {{"dlq", "c", "replay", "--from-topic", "t.dlq", "--limit", "3"},
       {.verb = DLQ_REPLAY, .filter = {.state = LETTER_OPEN}, .from_topic = "t.dlq", .limit = 3}},
      {{"dlq", "c", "discard", "--all", "--confirm", "12"},
       {.verb = DLQ_DISCARD, .filter = {.state = LETTER_OPEN}, .confirm = 12}},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    const struct dlq_settings *expected = &cases[i].dlq;
    struct cli cli;
    struct error err;
    if (!parse(cases[i].args, &cli, &err))
      fail_msg("%zu: %s", i, err.message);
    assert_int_equal(cli.command, COMMAND_DLQ);
    assert_string_equal(cli.config_path, "c");
    assert_int_equal(cli.dlq.verb, expected->verb);
    assert_int_equal(cli.dlq.filter.id, expected->filter.id);
    assert_int_equal(cli.dlq.filter.state, expected->filter.state);
    assert_int_equal(cli.dlq.filter.has_since, expected->filter.has_since);
    assert_int_equal(cli.dlq.filter.since_us, expected->filter.since_us);
    assert_int_equal(cli.dlq.filter.has_until, expected->filter.has_until);
    assert_int_equal(cli.dlq.filter.until_us, expected->filter.until_us);
    assert_int_equal(cli.dlq.json, expected->json);
    assert_int_equal(cli.dlq.dry_run, expected->dry_run);
    assert_int_equal(cli.dlq.limit, expected->limit);
    assert_int_equal(cli.dlq.max_per_second, expected->max_per_second);
    assert_int_equal(cli.dlq.confirm, expected->confirm == 0 ? -1 : expected->confirm);
    assert_int_equal(cli.dlq.from_topic != NULL, expected->from_topic != NULL);
    if (expected->from_topic != NULL)
      assert_string_equal(cli.dlq.from_topic, expected->from_topic);
    if (expected->filter.type != NULL) {
      assert_string_equal(cli.dlq.filter.type, expected->filter.type);
      assert_string_equal(cli.dlq.filter.code, expected->filter.code);
    }
  }
}

static void every_command_has_help_with_an_example(void **state) {
  (void)state;
  static const struct {
    enum command command;
    const char *said;
  } cases[] = {
      {0, "usage: walferry COMMAND"},
      {COMMAND_HELP, "usage: walferry COMMAND"},
      {COMMAND_VERSION, "usage: walferry COMMAND"},
      {COMMAND_RELAY, "usage: walferry relay"},
      {COMMAND_INBOX, "usage: walferry inbox"},
      {COMMAND_INIT, "usage: walferry init"},
      {COMMAND_CHECK, "usage: walferry check"},
      {COMMAND_STATUS, "usage: walferry status"},
      {COMMAND_DLQ, "usage: walferry dlq"},
      {COMMAND_DROP, "usage: walferry drop"},
      {COMMAND_EXPLAIN, "usage: walferry explain"},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    cli_print_help(cases[i].command, out);
    fclose(out);
    assert_non_null(strstr(text, cases[i].said));
    assert_non_null(strstr(text, "\nExample: walferry "));
    free(text);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(good_lines_are_understood),
      cmocka_unit_test(a_replay_is_understood),
      cmocka_unit_test(bad_lines_are_refused_with_the_word_that_is_wrong),
      cmocka_unit_test(dlq_says_which_letters_are_meant_and_what_becomes_of_them),
      cmocka_unit_test(every_command_has_help_with_an_example),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
