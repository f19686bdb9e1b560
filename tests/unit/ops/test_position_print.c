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
  struct position idle = ours;
  idle.idle_end_lsn = 0x600;
  struct catalog_slot missing = {.exists = false}, at = {.exists = true, .confirmed_flush_lsn = 0x500},
                      behind = {.exists = true, .confirmed_flush_lsn = 0x4F0},
                      ahead = {.exists = true, .confirmed_flush_lsn = 0x501};
  struct admit_facts all = {.identity = {.system_id = "7", .timeline = 1, .flush_lsn = 0x700}}, restored = all,
                     promoted = all, another = all;
  restored.identity.flush_lsn = 0x4FF;
  promoted.identity.timeline = another.identity.timeline = 2;
  promoted.ancestor_found = true;
  promoted.ancestor_end = 0x4FF;
  struct admit_facts kept = promoted;
  kept.ancestor_end = 0x500;
  const struct {
    const struct position *position;
    const struct catalog_slot *slot;
    const struct admit_facts *server;
    const char *words;
  } cases[] = {
      {&none, &missing, &all, "nothing was published yet"},
      {&none, &at, &all, "(slot_unknown)"},
      {&ours, &missing, &all, "(slot_missing)"},
      {&ours, &at, &all, "stand at the same place"},
      {&ours, &behind, &all, "16 bytes of WAL behind the position"},
      {&ours, &ahead, &all, "1 bytes of WAL ahead of the position: a start is refused (slot_advanced)"},
      {&other, &at, &all, "of another cluster (8; this is 7): a start is refused (cluster_changed)"},
      {&ours, &behind, &restored,
       "the server's WAL ends at 0/4FF, but the position is at 0/500: a start is refused (server_behind)"},
      {&ours, &missing, &restored, "a start is refused (server_behind)"},
      {&ours, &behind, &promoted,
       "the server left timeline 1 at 0/4FF, but events up to 0/500 of it are in Kafka: a start is refused "
       "(timeline_diverged)"},
      {&ours, &behind, &another,
       "not in the history of this server (timeline 2): a start is refused "
       "(timeline_diverged)"},
      {&idle, &at, &all, "256 bytes of WAL behind the position"},
      {&idle, &at, &kept, "stand at the same place"}, /* idle progress on the timeline that was left does not count */
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct position_view view = {.position = cases[i].position, .server = *cases[i].server, .slot = *cases[i].slot};
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
  struct position_view view = {
      .instance = "shop", .position = &p, .slot_name = "s", .server = {.identity = {.system_id = "7"}}};
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

static void one_that_cannot_be_read_leaves_the_slot_to_be_shown(void **state) {
  (void)state;
  struct position none = {.state = POSITION_NONE};
  struct position_view view = {.instance = "shop",
                               .position = &none,
                               .unreadable = true,
                               .slot_name = "walferry_shop",
                               .slot = {.exists = true, .confirmed_flush_lsn = 0x100}};
  char *text = shown(&view, position_show_text);
  assert_non_null(strstr(text, "not one that this version can read"));
  assert_non_null(strstr(text, "walferry_shop at 0/100"));
  assert_non_null(strstr(text, "a start is refused (position_unreadable)"));
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(distance_is_told_in_words),
      cmocka_unit_test(what_an_operator_said_is_shown),
      cmocka_unit_test(one_that_cannot_be_read_leaves_the_slot_to_be_shown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
