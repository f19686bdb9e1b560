/* bridge/ops/position_print.h: how slot and position stand to each other, in words; and the JSON forms are JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "bridge/ops/position_print.h"

static struct position position_at(lsn_t lsn) {
  struct position p = {.state = POSITION_SET, .complete = true, .end_lsn = lsn, .timeline = 1};
  strcpy(p.system_id, "7");
  return p;
}

static void distance_is_told_in_words(void **state) {
  (void)state;
  struct position none = {.state = POSITION_NONE}, ours = position_at(0x500), other = position_at(0x500);
  strcpy(other.system_id, "8");
  struct catalog_slot missing = {.exists = false}, at = {.exists = true, .confirmed_flush_lsn = 0x500},
                      behind = {.exists = true, .confirmed_flush_lsn = 0x4F0},
                      ahead = {.exists = true, .confirmed_flush_lsn = 0x501};
  const struct {
    const struct position *position;
    const struct catalog_slot *slot;
    const char *words;
  } cases[] = {
      {&none, &missing, "nothing was published yet"},
      {&none, &at, "(slot_unknown)"},
      {&ours, &missing, "(slot_missing)"},
      {&ours, &at, "stand at the same place"},
      {&ours, &behind, "16 bytes of WAL behind the position"},
      {&ours, &ahead, "1 bytes of WAL ahead of the position: a start is refused (slot_advanced)"},
      {&other, &at, "of another cluster (8; this is 7): a start is refused (cluster_changed)"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct position_view view = {.position = cases[i].position, .slot = *cases[i].slot, .system_id = "7"};
    char *words = position_view_distance(&view);
    if (strstr(words, cases[i].words) == NULL)
      fail_msg("\"%s\" lacks \"%s\"", words, cases[i].words);
    free(words);
  }
}

static char *shown(const struct position_view *view, void (*form)(const struct position_view *, FILE *)) {
  char *text = NULL;
  size_t len = 0;
  FILE *out = open_memstream(&text, &len);
  form(view, out);
  fclose(out);
  return text;
}

static void what_an_operator_said_is_shown(void **state) {
  (void)state;
  struct position p = position_at(0x500);
  p.word =
      (struct position_word){.at_us = 1000000, .lsn = 0x500, .by = "ann@host", .role = "r", .reason = "say \"so\""};
  struct position_view view = {.instance = "shop", .position = &p, .slot_name = "s", .system_id = "7"};
  char *text = shown(&view, position_show_text);
  assert_non_null(strstr(text, "by ann@host, database role r, at 1970-01-01T00:00:01Z, to 0/500"));
  assert_non_null(strstr(text, "say \"so\""));
  free(text);
  text = shown(&view, position_show_json);
  json_t *json = json_loads(text, 0, NULL);
  assert_non_null(json);
  json_t *set = json_object_get(json_object_get(json, "position"), "set");
  assert_string_equal(json_string_value(json_object_get(set, "reason")), "say \"so\"");
  assert_true(json_is_null(json_object_get(json, "held_back")));
  json_decref(json);
  free(text);
}

static void the_newest_entry_before_a_time_is_found(void **state) {
  (void)state;
  struct history_entry entries[] = {{.at_us = 10, .lsn = 1, .system_id = "7"},
                                    {.at_us = 20, .lsn = 2, .system_id = "7"},
                                    {.at_us = 30, .lsn = 3, .system_id = "8"}};
  struct history history = {.entries = entries, .count = 3};
  assert_null(history_before(&history, 9, "7"));
  assert_int_equal(history_before(&history, 10, "7")->lsn, 1);
  assert_int_equal(history_before(&history, 29, "7")->lsn, 2);
  assert_int_equal(history_before(&history, 99, "7")->lsn, 2);
  assert_int_equal(history_before(&history, 99, NULL)->lsn, 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(distance_is_told_in_words),
      cmocka_unit_test(what_an_operator_said_is_shown),
      cmocka_unit_test(the_newest_entry_before_a_time_is_found),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
