/* bridge/ops/check_report.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "bridge/ops/check_report.h"

static void add_failure(struct check_report *report, enum error_kind kind, const char *code) {
  struct error err;
  error_set(&err, kind, "broken \"so\"");
  err.code = code;
  error_remedy(&err, "mend it");
  check_fail(report, "thing", &err);
}

static char *print(const struct check_report *report, void (*form)(const struct check_report *, const char *, FILE *)) {
  char *text = NULL;
  size_t len = 0;
  FILE *out = open_memstream(&text, &len);
  form(report, "shop", out);
  fclose(out);
  return text;
}

static void lines_have_their_remedy_below(void **state) {
  (void)state;
  struct check_report report = {.group = "postgres"};
  check_ok(&report, "wal_level", "%s", "logical");
  check_warn(&report, "role", "use another", "a superuser");
  check_skip(&report, "position", "skipped: no connection");
  add_failure(&report, ERROR_REFUSED, "slot_missing");
  char *text = print(&report, check_print_text);
  assert_string_equal(text, "ok    wal_level  logical\n"
                            "warn  role       a superuser\n"
                            "      use another\n"
                            "--    position   skipped: no connection\n"
                            "FAIL  thing      broken \"so\"\n"
                            "      mend it\n"
                            "      (walferry explain slot_missing)\n"
                            "\nshop: 1 ok, 1 to look at, 1 failed, 1 skipped. As it is, the relay cannot run.\n");
  free(text);
  check_report_free(&report);
}

static void json_holds_the_same(void **state) {
  (void)state;
  struct check_report report = {.group = "kafka"};
  check_ok(&report, "brokers", "3");
  add_failure(&report, ERROR_CONFIG, NULL);
  char *text = print(&report, check_print_json);
  json_t *json = json_loads(text, 0, NULL);
  assert_non_null(json);
  const char *instance, *name, *group, *status, *message, *remedy;
  int ok, ok_count, fail_count, warn_count, skipped_count;
  assert_int_equal(json_unpack(json, "{s:s,s:b,s:[{},{s:s,s:s,s:s,s:s,s:s!}],s:{s:i,s:i,s:i,s:i!}!}", "instance",
                               &instance, "ok", &ok, "checks", "name", &name, "group", &group, "status", &status,
                               "message", &message, "remedy", &remedy, "counts", "ok", &ok_count, "warn", &warn_count,
                               "fail", &fail_count, "skipped", &skipped_count),
                   0);
  assert_false(ok);
  assert_string_equal(group, "kafka");
  assert_string_equal(status, "fail");
  assert_string_equal(message, "broken \"so\"");
  assert_string_equal(remedy, "mend it");
  assert_int_equal(ok_count + fail_count, 2);
  json_decref(json);
  free(text);
  check_report_free(&report);
}

static void what_a_person_must_do_decides_the_outcome(void **state) {
  (void)state;
  static const struct {
    enum error_kind kinds[3];
    int exit_code;
  } cases[] = {
      {{ERROR_NONE}, 0},
      {{ERROR_RETRY}, 1},
      {{ERROR_FATAL}, 1},
      {{ERROR_RETRY, ERROR_REFUSED}, 3},
      {{ERROR_REFUSED, ERROR_RETRY}, 3},
      {{ERROR_REFUSED, ERROR_CONFIG, ERROR_RETRY}, 2},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct check_report report = {.group = "postgres"};
    check_ok(&report, "a", "fine");
    check_warn(&report, "b", "do", "less so");
    for (int k = 0; k < 3 && cases[i].kinds[k] != ERROR_NONE; k++)
      add_failure(&report, cases[i].kinds[k], NULL);
    struct error err = {.kind = ERROR_NONE};
    assert_int_equal(check_outcome(&report, &err), cases[i].exit_code == 0);
    assert_int_equal(error_exit_code(&err), cases[i].exit_code);
    check_report_free(&report);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(lines_have_their_remedy_below),
      cmocka_unit_test(json_holds_the_same),
      cmocka_unit_test(what_a_person_must_do_decides_the_outcome),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
