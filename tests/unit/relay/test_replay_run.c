/* bridge/relay/replay_run.h: what a run is known by, where it begins and ends, and what is too old for it. */
#include "tests/unit/relay/relay_fixture.h"

#include <stdio.h>

#include "bridge/relay/replay.h"

#define NOW_US INT64_C(1795219200000000) /* 2026-11-21T00:00:00Z */

static const struct position_run never = {.id = ""};

static struct replay_point point(const char *text) {
  struct replay_point p;
  if (!replay_point_parse(text, NOW_US, &p))
    fail_msg("%s is no bound", text);
  return p;
}

static void bounds_are_lsns_or_times(void **state) {
  (void)state;
  assert_lsn(point("16/B374D848").lsn, UINT64_C(0x16B374D848));
  assert_true(point("2026-11-20").us == NOW_US - INT64_C(86400000000) && point("2026-11-20").relative == NULL);
  assert_true(point("2h").us == NOW_US - INT64_C(7200000000));
  assert_string_equal(point("2h").relative, "2h");
  struct replay_point ignored;
  static const char *const bad[] = {"", "0/0", "now", "16/", "yesterday"};
  for (size_t i = 0; i < COUNT_OF(bad); i++)
    assert_false(replay_point_parse(bad[i], NOW_US, &ignored));
}

static void a_run_is_known_by_what_was_asked_for(void **state) {
  (void)state;
  static const char *const types[] = {"A", "B"}, *const turned[] = {"B", "A"};
  struct replay_request base = {.sink = REPLAY_KAFKA, .from = point("0/10"), .types = types, .type_count = 2};
  char key[REPLAY_KEY_SIZE], other[REPLAY_KEY_SIZE];
  replay_run_key(&base, "shop", "s", key);
  assert_int_equal(strlen(key), 16);

  struct replay_request same = base;
  same.types = turned;
  same.again = true;
  same.sink = REPLAY_COUNT;
  replay_run_key(&same, "shop", "s", other);
  assert_string_equal(key, other);

  struct replay_request others[7] = {base, base, base, base, base, base, base};
  others[0].from = point("0/11");
  others[1].to = point("0/10");
  others[2].type_count = 1;
  others[3].topic = "t";
  others[4].topic_suffix = "t";
  others[5].from = point("2026-11-20");
  others[6].from = point("24h"); /* the same moment, but another one when it is asked for again */
  char seen[7][REPLAY_KEY_SIZE];
  for (size_t i = 0; i < COUNT_OF(others); i++) {
    replay_run_key(&others[i], "shop", "s", seen[i]);
    assert_string_not_equal(seen[i], key);
    for (size_t k = 0; k < i; k++)
      assert_string_not_equal(seen[i], seen[k]);
  }
  replay_run_key(&base, "shop", NULL, other); /* of rows */
  assert_string_not_equal(other, key);
  replay_run_key(&base, "shop2", "s", other);
  assert_string_not_equal(key, other);
  replay_run_key(&base, "shop", "s2", other);
  assert_string_not_equal(key, other);

  struct replay_request ago = base;
  ago.from = point("24h");
  ago.from.us += 60; /* asked for again a minute later */
  replay_run_key(&ago, "shop", "s", other);
  assert_string_equal(other, seen[6]);
}

static void a_run_has_the_bounds_asked_for_within_what_there_is(void **state) {
  (void)state;
  struct replay_window window = {.retained = 0x100, .published = 0x900};
  struct replay_request request = {.from = point("0/200")};
  struct position_run run;
  struct error err = {.kind = ERROR_NONE};
  bool unproven;
  assert_true(replay_run_begin(&request, &window, "k", &never, &run, &unproven, &err));
  assert_lsn(run.from, 0x200);
  assert_lsn(run.to, 0x900);
  assert_false(unproven);
  request.to = point("0/300");
  assert_true(replay_run_begin(&request, &window, "k", &never, &run, &unproven, &err));
  assert_lsn(run.to, 0x300);
  request.to = point("0/FFFF");
  assert_true(replay_run_begin(&request, &window, "k", &never, &run, &unproven, &err));
  assert_lsn(run.to, 0x900);
  request.from = point("0/100");
  assert_true(replay_run_begin(&request, &window, "k", &never, &run, &unproven, &err));
  request.from = point("0/FF");
  assert_false(replay_run_begin(&request, &window, "k", &never, &run, &unproven, &err));
  assert_non_null(strstr(err.message, "0/100 (its time is not known)"));
  expect_refusal("too old", &err, "replay_too_old");
  request.from = point("0/901");
  assert_false(replay_run_begin(&request, &window, "k", &never, &run, &unproven, &err));
  assert_int_equal(err.kind, ERROR_CONFIG);
}

static void a_time_begins_where_the_history_knows_or_has_to_prove_itself(void **state) {
  (void)state;
  struct replay_window window = {.retained = 0x100, .start = 0x400, .published = 0x900};
  struct replay_request request = {.from = point("2h")};
  struct position_run run;
  struct error err = {.kind = ERROR_NONE};
  bool unproven;
  assert_true(replay_run_begin(&request, &window, "k", &never, &run, &unproven, &err));
  assert_lsn(run.from, 0x400);
  assert_false(unproven);
  window.start = 0;
  assert_true(replay_run_begin(&request, &window, "k", &never, &run, &unproven, &err));
  assert_lsn(run.from, 0x100);
  assert_true(unproven && run.from_us == request.from.us);
  assert_false(replay_run_refuse_unproven(&run, 0, &err));
  expect_refusal("nothing came", &err, "replay_too_old");
  assert_false(replay_run_refuse_unproven(&run, run.from_us, &err));
  assert_non_null(strstr(err.remedy, "--from 0/100"));
  expect_refusal("a later one came", &err, "replay_too_old");
}

static void each_run_again_has_an_id_of_its_own(void **state) {
  (void)state;
  struct replay_window window = {.retained = 0x100, .published = 0x900};
  struct replay_request request = {.from = point("0/200")};
  static const struct {
    struct position_run previous;
    const char *id;
  } cases[] = {{{.id = ""}, "0123456789abcdef"},
               {{.id = "0123456789abcdef", .finished = true}, "0123456789abcdef-2"},
               {{.id = "0123456789abcdef-2", .finished = true}, "0123456789abcdef-3"},
               {{.id = "0123456789abcdef-99", .finished = true}, "0123456789abcdef-100"},
               {{.id = "0123456789abcdef"}, "0123456789abcdef"},
               {{.id = "0123456789abcdef-7"}, "0123456789abcdef-7"}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct position_run run;
    bool unproven;
    assert_true(replay_run_begin(&request, &window, "0123456789abcdef", &cases[i].previous, &run, &unproven, NULL));
    assert_string_equal(run.id, cases[i].id);
  }
}

static void a_run_of_rows_has_its_list_and_a_new_id_where_the_list_was_lost(void **state) {
  (void)state;
  struct replay_request request = {.source = REPLAY_TABLE, .from = point("2026-11-20"), .to = point("2026-11-21")};
  static const struct {
    struct position_run previous;
    const char *id;
  } cases[] = {{{.id = ""}, "k"},
               {{.id = "k"}, "k"}, /* has published nothing */
               {{.id = "0123456789abcdef", .records = 1}, "k-2"},
               {{.id = "0123456789abcdef-2", .records = 1, .finished = true}, "k-3"}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct position_run run;
    replay_run_begin_table(&request, "k", &cases[i].previous, 7, 0x300, &run);
    assert_string_equal(run.id, cases[i].id);
    assert_true(run.list == 7 && run.from == 0x300 && run.to == 0x300 && run.records == 0 && !run.finished);
    assert_true(run.from_us == request.from.us && run.to_us == request.to.us);
  }
}

static void what_was_interrupted_goes_on_with_its_last_transaction(void **state) {
  (void)state;
  struct replay_window window = {.retained = 0x300, .retained_us = NOW_US};
  struct position at = {.state = POSITION_SET, .run = {.id = "k", .from = 0x200, .to = 0x900}};
  struct error err = {.kind = ERROR_NONE};
  assert_lsn(replay_run_start(&at), 0x200);
  assert_false(replay_run_resume(&at, &window, &err));
  assert_non_null(strstr(err.message, "0/300 (from 2026-11-21T00:00:00Z on)"));
  expect_refusal("lost", &err, "replay_too_old");
  at.commit_lsn = 0x300;
  assert_lsn(replay_run_start(&at), 0x300);
  assert_true(replay_run_resume(&at, &window, &err));
}

static void a_replay_ends_with_the_last_whole_transaction_of_the_relay(void **state) {
  (void)state;
  struct position relay = {.commit_lsn = 0x500, .end_lsn = 0x540, .complete = true};
  assert_lsn(replay_published(&relay), 0x500);
  relay.complete = false;
  assert_lsn(replay_published(&relay), 0x4FF);
  relay.commit_lsn = 0;
  assert_lsn(replay_published(&relay), 0x53F);
}

static void each_held_back_slot_has_a_copy_of_its_own(void **state) {
  (void)state;
  static const char stem[] = "a_slot_whose_name_is_as_long_as_postgres_lets_it_be_and_longer"; /* 62 */
  char name[REPLAY_COPY_SIZE], one[REPLAY_COPY_SIZE], other[REPLAY_COPY_SIZE];
  replay_copy_name("shop_replay", name);
  assert_string_equal(name, "shop_replay_run");
  snprintf(name, sizeof name, "%s1", stem);
  replay_copy_name(name, one);
  snprintf(name, sizeof name, "%s2", stem);
  replay_copy_name(name, other);
  assert_int_equal(strlen(one), REPLAY_COPY_SIZE - 1);
  assert_string_not_equal(one, other);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bounds_are_lsns_or_times),
      cmocka_unit_test(a_run_is_known_by_what_was_asked_for),
      cmocka_unit_test(a_run_has_the_bounds_asked_for_within_what_there_is),
      cmocka_unit_test(a_time_begins_where_the_history_knows_or_has_to_prove_itself),
      cmocka_unit_test(each_run_again_has_an_id_of_its_own),
      cmocka_unit_test(a_run_of_rows_has_its_list_and_a_new_id_where_the_list_was_lost),
      cmocka_unit_test(what_was_interrupted_goes_on_with_its_last_transaction),
      cmocka_unit_test(a_replay_ends_with_the_last_whole_transaction_of_the_relay),
      cmocka_unit_test(each_held_back_slot_has_a_copy_of_its_own),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
