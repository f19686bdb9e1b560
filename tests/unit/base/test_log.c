/* Log lines as they leave on stderr, in both formats. */
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bridge/base/log.h"

#define TIME "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{6})?Z"

static char captured[65536];
static int saved_stderr, capture_end;

static void capture_begin(void) {
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  fflush(stderr);
  saved_stderr = dup(STDERR_FILENO);
  dup2(ends[1], STDERR_FILENO);
  close(ends[1]);
  capture_end = ends[0];
}

/* What was written since capture_begin; at most what a pipe holds. */
static const char *capture_finish(void) {
  dup2(saved_stderr, STDERR_FILENO);
  close(saved_stderr);
  size_t len = 0;
  ssize_t got;
  while ((got = read(capture_end, captured + len, sizeof captured - 1 - len)) > 0)
    len += (size_t)got;
  close(capture_end);
  captured[len] = '\0';
  return captured;
}

static void assert_line(const char *line, const char *start, const char *rest) {
  regex_t regex;
  char pattern[200];
  snprintf(pattern, sizeof pattern, "^%s", start);
  assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED), 0);
  regmatch_t match;
  int found = regexec(&regex, line, 1, &match, 0);
  regfree(&regex);
  if (found != 0)
    fail_msg("no time in: %s", line);
  assert_string_equal(line + match.rm_eo, rest);
}

static void assert_text(const char *line, const char *rest) {
  assert_line(line, TIME " ", rest);
}

static void assert_json(const char *line, const char *rest) {
  assert_line(line, "\\{\"ts\":\"" TIME "\",", rest);
}

static void an_event_without_fields_is_a_line(void **state) {
  (void)state;
  log_setup(LOG_DEBUG, LOG_TEXT);
  capture_begin();
  log_info("relay.streaming");
  assert_text(capture_finish(), "info  relay.streaming\n");
  log_setup(LOG_DEBUG, LOG_JSON);
  capture_begin();
  log_error("relay.refused");
  assert_json(capture_finish(), "\"level\":\"error\",\"event\":\"relay.refused\"}\n");
}

static void fields_are_typed(void **state) {
  (void)state;
  log_setup(LOG_DEBUG, LOG_TEXT);
  capture_begin();
  log_warn("e", log_string("s", "plain"), log_int("n", INT64_MIN), log_bool("yes", true), log_bool("no", false),
           log_lsn("lsn", 0x16B374D848));
  assert_text(capture_finish(), "warn  e s=plain n=-9223372036854775808 yes=true no=false lsn=16/B374D848\n");
  log_setup(LOG_DEBUG, LOG_JSON);
  capture_begin();
  log_debug("e", log_string("s", "plain"), log_int("n", 7), log_bool("yes", true), log_bool("no", false),
            log_lsn("lsn", UINT64_MAX));
  assert_json(capture_finish(), "\"level\":\"debug\",\"event\":\"e\",\"s\":\"plain\",\"n\":7,\"yes\":true,\"no\":false,"
                                "\"lsn\":\"FFFFFFFF/FFFFFFFF\"}\n");
}

static void texts_that_would_break_the_line_are_quoted(void **state) {
  (void)state;
  static const struct {
    const char *in, *text, *json;
  } cases[] = {
      {"a b", "\"a b\"", "\"a b\""},
      {"a=b", "\"a=b\"", "\"a=b\""},
      {"", "\"\"", "\"\""},
      {NULL, "\"\"", "\"\""},
      {"a\nlevel=error", "\"a\\nlevel=error\"", "\"a\\nlevel=error\""},
      {"\"q\"", "\"\\\"q\\\"\"", "\"\\\"q\\\"\""},
      {"back\\slash", "\"back\\\\slash\"", "\"back\\\\slash\""},
      {"\x1b[31m", "\"\\u001b[31m\"", "\"\\u001b[31m\""},
      {"\xc3\xa4", "\"\xc3\xa4\"", "\"\xc3\xa4\""},
      {"shop.outbox/1", "shop.outbox/1", "\"shop.outbox/1\""},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char expected[200];
    log_setup(LOG_INFO, LOG_TEXT);
    capture_begin();
    log_info("e", log_string("s", cases[i].in));
    snprintf(expected, sizeof expected, "info  e s=%s\n", cases[i].text);
    assert_text(capture_finish(), expected);
    log_setup(LOG_INFO, LOG_JSON);
    capture_begin();
    log_info("e", log_string("s", cases[i].in));
    snprintf(expected, sizeof expected, "\"level\":\"info\",\"event\":\"e\",\"s\":%s}\n", cases[i].json);
    assert_json(capture_finish(), expected);
  }
}

static void a_slice_need_not_end_with_a_nul(void **state) {
  (void)state;
  log_setup(LOG_INFO, LOG_TEXT);
  capture_begin();
  log_info("e", log_slice("s", slice_from("abcdef", 3)));
  assert_text(capture_finish(), "info  e s=abc\n");
}

static void a_line_too_long_is_cut_to_its_event(void **state) {
  (void)state;
  static char text[20000];
  memset(text, 'x', sizeof text - 1);
  log_setup(LOG_INFO, LOG_TEXT);
  capture_begin();
  log_info("e", log_string("s", text));
  assert_text(capture_finish(), "info  e truncated=true\n");
  log_setup(LOG_INFO, LOG_JSON);
  capture_begin();
  log_info("e", log_string("s", text));
  assert_json(capture_finish(), "\"level\":\"info\",\"event\":\"e\",\"truncated\":true}\n");
}

static void a_long_line_that_fits_is_whole(void **state) {
  (void)state;
  static char text[16001];
  memset(text, 'x', sizeof text - 1);
  log_setup(LOG_INFO, LOG_TEXT);
  capture_begin();
  log_info("e", log_string("s", text));
  const char *line = capture_finish();
  assert_null(strstr(line, "truncated"));
  assert_int_equal(line[strlen(line) - 1], '\n');
  assert_true(strlen(line) > 16000);
}

static void events_below_the_level_are_left_out(void **state) {
  (void)state;
  log_setup(LOG_WARN, LOG_TEXT);
  capture_begin();
  log_debug("a");
  log_info("b");
  log_warn("c");
  log_set_level(LOG_ERROR);
  log_warn("d");
  log_set_level(LOG_DEBUG);
  log_debug("e");
  const char *lines = capture_finish();
  assert_null(strstr(lines, " a\n"));
  assert_null(strstr(lines, " b\n"));
  assert_non_null(strstr(lines, " c\n"));
  assert_null(strstr(lines, " d\n"));
  assert_non_null(strstr(lines, " e\n"));
}

static void an_error_is_logged_with_what_it_has(void **state) {
  (void)state;
  log_setup(LOG_INFO, LOG_JSON);
  struct error err = {.kind = ERROR_NONE};
  error_set(&err, ERROR_RETRY, "no \"server\"");
  capture_begin();
  log_error_event(LOG_WARN, "e", &err);
  assert_json(capture_finish(),
              "\"level\":\"warn\",\"event\":\"e\",\"kind\":\"retry\",\"error\":\"no \\\"server\\\"\"}\n");
  error_refuse(&err, "slot_missing", "gone");
  error_remedy(&err, "look");
  capture_begin();
  log_error_event(LOG_ERROR, "relay.refused", &err);
  assert_json(
      capture_finish(),
      "\"level\":\"error\",\"event\":\"relay.refused\",\"kind\":\"refused\","
      "\"code\":\"slot_missing\",\"error\":\"gone\",\"remedy\":\"look\",\"page\":\"walferry explain slot_missing\"}\n");
}

static void levels_are_read_by_name(void **state) {
  (void)state;
  enum log_level level = LOG_INFO;
  assert_true(log_level_parse("debug", &level) && level == LOG_DEBUG);
  assert_true(log_level_parse("info", &level) && level == LOG_INFO);
  assert_true(log_level_parse("warn", &level) && level == LOG_WARN);
  assert_true(log_level_parse("error", &level) && level == LOG_ERROR);
  static const char *const unknown[] = {"", "INFO", "warning", "info ", "0"};
  for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
    level = LOG_WARN;
    assert_false(log_level_parse(unknown[i], &level));
    assert_int_equal(level, LOG_WARN);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_event_without_fields_is_a_line),
      cmocka_unit_test(fields_are_typed),
      cmocka_unit_test(texts_that_would_break_the_line_are_quoted),
      cmocka_unit_test(a_slice_need_not_end_with_a_nul),
      cmocka_unit_test(a_line_too_long_is_cut_to_its_event),
      cmocka_unit_test(a_long_line_that_fits_is_whole),
      cmocka_unit_test(events_below_the_level_are_left_out),
      cmocka_unit_test(an_error_is_logged_with_what_it_has),
      cmocka_unit_test(levels_are_read_by_name),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
