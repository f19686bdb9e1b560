/* bridge/relay/slot_risk.h: when a warning is due, and how often. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bridge/base/log.h"
#include "bridge/relay/slot_risk.h"

#define MB (1 << 20)

static struct catalog_slot slot(const char *status, int64_t safe_mb, int64_t limit_mb) {
  struct catalog_slot s = {.exists = true,
                           .safe_wal_known = limit_mb >= 0,
                           .safe_wal_bytes = safe_mb * MB,
                           .wal_keep_bytes_max = limit_mb < 0 ? -1 : limit_mb * MB};
  snprintf(s.wal_status, sizeof s.wal_status, "%s", status);
  return s;
}

static void less_than_a_quarter_of_the_limit_is_a_risk(void **state) {
  (void)state;
  static const struct {
    const char *status;
    int64_t safe_mb, limit_mb;
    bool risk;
  } cases[] = {
      {"reserved", 1000, 1024, false}, {"extended", 256, 1024, false},
      {"extended", 255, 1024, true},   {"unreserved", -3, 1024, true},
      {"unreserved", 0, -1, true},     {"reserved", 0, -1, false},
      {"lost", 0, 1024, false},        {"", 0, -1, false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct catalog_slot s = slot(cases[i].status, cases[i].safe_mb, cases[i].limit_mb);
    assert_int_equal(slot_risk_seen(&s), cases[i].risk);
  }
}

static void what_is_invalidated_or_missing_is_no_risk_any_more(void **state) {
  (void)state;
  struct catalog_slot s = slot("unreserved", 0, 1024);
  snprintf(s.invalidation_reason, sizeof s.invalidation_reason, "idle_timeout");
  assert_false(slot_risk_seen(&s));
  assert_false(slot_risk_seen(&(struct catalog_slot){.exists = false}));
}

static char captured[4096];

/* What is logged of a slot seen at these times. */
static const char *log_of(struct slot_risk *risk, struct catalog_slot s, int64_t now_ms) {
  fflush(stderr);
  FILE *file = tmpfile();
  int saved = dup(STDERR_FILENO);
  dup2(fileno(file), STDERR_FILENO);
  slot_risk_note(risk, "walferry_shop", &s, now_ms);
  fflush(stderr);
  dup2(saved, STDERR_FILENO);
  close(saved);
  rewind(file);
  captured[fread(captured, 1, sizeof captured - 1, file)] = '\0';
  fclose(file);
  return captured;
}

static void a_risk_is_said_at_once_then_every_minute_and_its_end(void **state) {
  (void)state;
  struct slot_risk risk = {.at_risk = false};
  assert_string_equal(log_of(&risk, slot("reserved", 900, 1024), 1000), "");
  const char *said = log_of(&risk, slot("extended", 100, 1024), 4000);
  assert_non_null(strstr(said, "relay.slot_at_risk"));
  assert_non_null(strstr(said, "walferry_shop"));
  assert_non_null(strstr(said, "104857600"));
  assert_string_equal(log_of(&risk, slot("unreserved", 0, 1024), 63999), "");
  assert_non_null(strstr(log_of(&risk, slot("unreserved", 0, 1024), 64000), "relay.slot_at_risk"));
  assert_non_null(strstr(log_of(&risk, slot("reserved", 900, 1024), 65000), "relay.slot_safe"));
  assert_string_equal(log_of(&risk, slot("reserved", 900, 1024), 66000), "");
  assert_non_null(strstr(log_of(&risk, slot("extended", 100, 1024), 67000), "relay.slot_at_risk"));
  assert_string_equal(log_of(&risk, slot("lost", 0, 1024), 68000), ""); /* the refusal says it */
}

int main(void) {
  log_setup(LOG_INFO, LOG_JSON);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(less_than_a_quarter_of_the_limit_is_a_risk),
      cmocka_unit_test(what_is_invalidated_or_missing_is_no_risk_any_more),
      cmocka_unit_test(a_risk_is_said_at_once_then_every_minute_and_its_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
