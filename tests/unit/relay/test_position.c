/* bridge/relay/position.h: what is stored comes back, nothing malformed does, and covered is told by commit LSN only.
 */
#include "tests/unit/relay/relay_fixture.h"

#include "bridge/base/memory.h"
#include "bridge/relay/position.h"

/* Every member set; the caller clears it. */
static struct position full_position(void) {
  struct position p;
  position_init(&p);
  p.state = POSITION_SET;
  strcpy(p.system_id, "7312345678901234567");
  p.database_oid = 16384;
  strcpy(p.slot, "walferry_shop");
  strcpy(p.plugin, "pgoutput");
  p.timeline = 3;
  p.publication_oid = 16400;
  p.table_count = 2;
  p.tables = memory_alloc(2 * sizeof *p.tables);
  p.tables[0] = (struct position_table){.origin = memory_string("public.outbox"), .entry_oid = 16410};
  p.tables[1] = (struct position_table){.origin = memory_string("odd.\"na\\me\""), .entry_oid = 4294967295, .since = 9};
  p.commit_lsn = UINT64_C(0x16B374D848);
  p.end_lsn = UINT64_C(0x16B374D000);
  p.idle_end_lsn = UINT64_C(0x1600000001);
  p.xid = 4294967295;
  p.commit_time_us = INT64_C(1795248120000000);
  p.complete = false;
  p.next_index = 12;
  p.hash = UINT64_C(0x00f0000000000001);
  p.fingerprint = UINT64_MAX;
  p.floor = UINT64_C(0x16B374D000);
  p.word = (struct position_word){
      .at_us = 5, .lsn = UINT64_C(0x1600000000), .by = "ann@host", .role = "r\"", .reason = "why\n"};
  p.written_us = 7;
  p.history_since_us = 60000000;
  position_pin(&p, "fleet.rentals", 3);
  position_pin(&p, "shop.quarantine", 2147483647);
  return p;
}

static char *encoded(const struct position *p) {
  struct buffer json;
  buffer_init(&json, BUFFER_MAX_ROW);
  position_encode(p, &json);
  assert_false(json.overflow);
  buffer_append_char(&json, '\0');
  return json.data;
}

static void position_survives_encoding(void **state) {
  (void)state;
  struct position before = full_position();
  char *json = encoded(&before);
  struct position after;
  position_init(&after);
  position_pin(&after, "left.over", 1); /* what out held is freed */
  struct error err = {.kind = ERROR_NONE};
  assert_true(position_decode(slice_of(json), &after, &err));
  assert_int_equal(after.state, POSITION_SET);
  assert_string_equal(after.system_id, before.system_id);
  assert_int_equal(after.database_oid, before.database_oid);
  assert_string_equal(after.slot, before.slot);
  assert_string_equal(after.plugin, before.plugin);
  assert_int_equal(after.timeline, before.timeline);
  assert_int_equal(after.publication_oid, before.publication_oid);
  assert_int_equal(after.table_count, 2);
  for (int i = 0; i < 2; i++) {
    assert_string_equal(after.tables[i].origin, before.tables[i].origin);
    assert_int_equal(after.tables[i].entry_oid, before.tables[i].entry_oid);
    assert_lsn(after.tables[i].since, before.tables[i].since);
  }
  assert_lsn(position_table_since(&after, "odd", "\"na\\me\""), 9);
  assert_lsn(position_table_since(&after, "public", "outbox"), 0);
  assert_lsn(position_table_since(&after, "odd", "other"), 0);
  assert_lsn(after.commit_lsn, before.commit_lsn);
  assert_lsn(after.end_lsn, before.end_lsn);
  assert_lsn(after.idle_end_lsn, before.idle_end_lsn);
  assert_int_equal(after.xid, before.xid);
  assert_int_equal(after.commit_time_us, before.commit_time_us);
  assert_false(after.complete);
  assert_int_equal(after.next_index, 12);
  assert_true(after.hash == before.hash);
  assert_true(after.fingerprint == before.fingerprint);
  assert_lsn(after.floor, before.floor);
  assert_int_equal(after.word.at_us, 5);
  assert_lsn(after.word.lsn, before.word.lsn);
  assert_string_equal(after.word.by, "ann@host");
  assert_string_equal(after.word.role, "r\"");
  assert_string_equal(after.word.reason, "why\n");
  assert_int_equal(after.written_us, 7);
  assert_int_equal(after.history_since_us, 60000000);
  assert_int_equal(after.topic_count, 2);
  assert_int_equal(position_partitions(&after, "fleet.rentals"), 3);
  assert_int_equal(position_partitions(&after, "shop.quarantine"), 2147483647);
  char *again = encoded(&after);
  assert_string_equal(again, json);
  free(again);
  free(json);
  position_clear(&before);
  position_clear(&after);
}

static void a_run_survives_encoding(void **state) {
  (void)state;
  struct position before = full_position();
  before.run = (struct position_run){.id = "00ff-2",
                                     .list = UINT64_C(0x800660D70C36A1AD),
                                     .from = UINT64_C(0x1600000001),
                                     .to = UINT64_MAX,
                                     .from_us = INT64_C(1795248120000000),
                                     .to_us = 1,
                                     .records = 7,
                                     .finished = true};
  char *json = encoded(&before);
  struct position after;
  position_init(&after);
  struct error err = {.kind = ERROR_NONE};
  assert_true(position_decode(slice_of(json), &after, &err));
  assert_string_equal(after.run.id, "00ff-2");
  assert_true(after.run.list == before.run.list);
  assert_lsn(after.run.from, before.run.from);
  assert_lsn(after.run.to, before.run.to);
  assert_true(after.run.from_us == before.run.from_us && after.run.to_us == 1);
  assert_int_equal(after.run.records, 7);
  assert_true(after.run.finished);
  free(json);
  position_clear(&before);
  position_clear(&after);
}

static void intent_survives_encoding(void **state) {
  (void)state;
  struct position p;
  position_init(&p);
  p.state = POSITION_INTENT;
  strcpy(p.system_id, "1");
  strcpy(p.slot, "s");
  strcpy(p.plugin, "pgoutput");
  char *json = encoded(&p);
  struct position after;
  position_init(&after);
  struct error err = {.kind = ERROR_NONE};
  assert_true(position_decode(slice_of(json), &after, &err));
  assert_int_equal(after.state, POSITION_INTENT);
  assert_int_equal(after.table_count, 0);
  assert_int_equal(after.topic_count, 0);
  assert_lsn(position_ack_lsn(&after), 0);
  free(json);
  position_clear(&after);
}

/* json with the first `find` replaced by `with`. */
static char *bent(const char *json, const char *find, const char *with) {
  const char *at = strstr(json, find);
  if (at == NULL)
    fail_msg("%s is not in %s", find, json);
  return memory_format("%.*s%s%s", (int)(at - json), json, with, at + strlen(find));
}

static void expect_unreadable(const char *json) {
  struct position out;
  position_init(&out);
  out.xid = 77;
  struct error err = {.kind = ERROR_NONE};
  if (position_decode(slice_of(json), &out, &err))
    fail_msg("decoded: %s", json);
  expect_refusal(json, &err, "position_unreadable");
  assert_int_equal(out.state, POSITION_NONE); /* untouched */
  assert_int_equal(out.xid, 77);
}

static void malformed_members_are_refused(void **state) {
  (void)state;
  static const struct {
    const char *find, *with;
  } cases[] = {
      {"\"format\":1", "\"format\":2"},
      {"\"format\":1", "\"format\":0"},
      {"\"format\":1", "\"format\":\"1\""},
      {"\"state\":\"position\"", "\"state\":\"none\""},
      {"\"state\":\"position\"", "\"state\":\"\""},
      {"\"state\":\"position\"", "\"state\":1"},
      {"\"7312345678901234567\"", "7312345678901234567"},
      {"\"7312345678901234567\"", "\"731234567890123456789012\""}, /* 24 characters */
      {"\"7312345678901234567\"", "null"},
      {"\"timeline\":3", "\"timeline\":-1"},
      {"\"timeline\":3", "\"timeline\":4294967296"},
      {"\"timeline\":3", "\"timeline\":3.0"},
      {"\"timeline\":3", "\"timeline\":\"3\""},
      {"\"database_oid\":16384", "\"database_oid\":4294967296"},
      {"\"database_oid\":16384", "\"database_oid\":true"},
      {"\"walferry_shop\"", "\"0123456789012345678901234567890123456789012345678901234567890123\""},
      {"\"walferry_shop\"", "[]"},
      {"\"walferry_shop\"", "\"a\\u0000b\""},
      {"\"pgoutput\"", "\"0123456789012345678901234567890123456789012345678901234567890123\""},
      {"\"pgoutput\"", "1"},
      {"\"publication_oid\":16400", "\"publication_oid\":-5"},
      {"\"publication_oid\":16400", "\"publication_oid\":null"},
      {"\"tables\":{", "\"tables\":[],\"ignored\":{"},
      {"\"public.outbox\":16410", "\"public.outbox\":-1"},
      {"\"public.outbox\":16410", "\"public.outbox\":\"16410\""},
      {"\"public.outbox\":16410", "\"public.outbox\":4294967296"},
      {"\"public.outbox\":16410", "\"public.outbox\":1,\"public.outbox\":2"},
      {"\"16/B374D848\"", "\"16-B374D848\""},
      {"\"16/B374D848\"", "\"\""},
      {"\"16/B374D848\"", "97500000000"},
      {"\"16/B374D000\"", "\"16/B374D000 \""},
      {"\"16/B374D000\"", "\"116/B374D0000\""},
      {"\"16/1\"", "\"16/G\""},
      {"\"xid\":4294967295", "\"xid\":4294967296"},
      {"\"xid\":4294967295", "\"xid\":-1"},
      {"\"commit_time_us\":1795248120000000", "\"commit_time_us\":1e15"},
      {"\"commit_time_us\":1795248120000000", "\"commit_time_us\":99999999999999999999"},
      {"\"complete\":false", "\"complete\":0"},
      {"\"complete\":false", "\"complete\":\"false\""},
      {"\"complete\":false", "\"complete\":true"}, /* complete, and yet an index */
      {"\"next_index\":12", "\"next_index\":0"},   /* incomplete, and yet none */
      {"\"next_index\":12", "\"next_index\":-12"},
      {"\"next_index\":12", "\"next_index\":\"12\""},
      {"\"00f0000000000001\"", "\"f0000000000001\""},
      {"\"00f0000000000001\"", "\"000f0000000000001\""},
      {"\"00f0000000000001\"", "\"00f000000000000g\""},
      {"\"00f0000000000001\"", "\"0x00f00000000001\""},
      {"\"00f0000000000001\"", "\"-0f0000000000001\""},
      {"\"00f0000000000001\"", "\" 0f0000000000001\""},
      {"\"00f0000000000001\"", "1"},
      {"\"ffffffffffffffff\"", "\"+fffffffffffffff\""},
      {"\"ffffffffffffffff\"", "\"fffffffffffffff \""},
      {"\"ffffffffffffffff\"", "null"},
      {"\"floor\":\"16/B374D000\"", "\"floor\":\"16\""},
      {"\"floor\":\"16/B374D000\"", "\"floor\":5"},
      {"\"written_us\":7", "\"written_us\":\"7\""},
      {"\"at_us\":5", "\"at_us\":0"},
      {"\"lsn\":\"16/0\"", "\"lsn\":null"},
      {"\"by\":\"ann@host\"", "\"by\":null"},
      {"\"set\":{", "\"set\":[],\"ignored\":{"},
      {"\"topics\":{", "\"topics\":null,\"ignored\":{"},
      {"\"fleet.rentals\":3", "\"fleet.rentals\":0"},
      {"\"fleet.rentals\":3", "\"fleet.rentals\":-3"},
      {"\"fleet.rentals\":3", "\"fleet.rentals\":2147483648"},
      {"\"fleet.rentals\":3", "\"fleet.rentals\":null"},
  };
  struct position p = full_position();
  char *json = encoded(&p);
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    char *bad = bent(json, cases[i].find, cases[i].with);
    expect_unreadable(bad);
    free(bad);
  }
  free(json);
  position_clear(&p);
}

static void snapshot_survives_encoding_and_keeps_older_versions_out(void **state) {
  (void)state;
  static const struct {
    enum position_state state;
    struct position_snapshot snapshot;
    const char *format; /* NULL: as without one */
  } cases[] = {
      {POSITION_INTENT, {.state = POSITION_SNAPSHOT_ASKED}, "\"format\":2,"},
      {POSITION_SET, {.state = POSITION_SNAPSHOT_OPEN, .next = 7, .rows = 12, .taken_us = 99}, "\"format\":2,"},
      {POSITION_SET, {.state = POSITION_SNAPSHOT_DONE, .next = 12, .rows = 12, .taken_us = 99}, "\"format\":1,"},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct position before = full_position(), after;
    before.state = cases[i].state;
    before.snapshot = cases[i].snapshot;
    char *json = encoded(&before);
    assert_non_null(strstr(json, cases[i].format));
    position_init(&after);
    struct error err = {.kind = ERROR_NONE};
    assert_true(position_decode(slice_of(json), &after, &err));
    assert_memory_equal(&after.snapshot, &cases[i].snapshot, sizeof after.snapshot);
    assert_true(position_same_progress(&before, &after));
    after.snapshot.next++;
    assert_false(position_same_progress(&before, &after));
    char *of_older = bent(json, cases[i].format, "\"format\":3,");
    expect_unreadable(of_older);
    free(of_older);
    free(json);
    position_clear(&before);
    position_clear(&after);
  }
}

static void malformed_snapshots_are_refused(void **state) {
  (void)state;
  static const struct {
    const char *find, *with;
  } cases[] = {
      {"\"format\":2", "\"format\":1"},
      {"\"open\"", "\"none\""},
      {"\"open\"", "\"asked\""},
      {"\"open\"", "1"},
      {"\"next\":7", "\"next\":13"},
      {"\"next\":7", "\"next\":-1"},
      {"\"state\":\"position\"", "\"state\":\"intent\""},
      {",\"taken_us\":99", ""},
      {"\"snapshot\":{", "\"snap\":{"},
  };
  struct position p = full_position();
  p.snapshot = (struct position_snapshot){.state = POSITION_SNAPSHOT_OPEN, .next = 7, .rows = 12, .taken_us = 99};
  char *json = encoded(&p);
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    char *text = bent(json, cases[i].find, cases[i].with);
    expect_unreadable(text);
    free(text);
  }
  free(json);
  position_clear(&p);
}

static void missing_members_are_refused(void **state) {
  (void)state;
  static const char *const names[] = {"format",     "state",    "system_id",       "timeline",      "database_oid",
                                      "slot",       "plugin",   "publication_oid", "tables",        "xid",
                                      "commit_lsn", "end_lsn",  "idle_end_lsn",    "hash",          "fingerprint",
                                      "next_index", "complete", "topics",          "commit_time_us"};
  struct position p = full_position();
  char *json = encoded(&p);
  for (size_t i = 0; i < COUNT_OF(names); i++) {
    char *find = memory_format("\"%s\":", names[i]);
    char *with = memory_format("\"%s_\":", names[i]);
    char *bad = bent(json, find, with);
    expect_unreadable(bad);
    free(bad);
    free(with);
    free(find);
  }
  free(json);
  position_clear(&p);
}

static void texts_that_are_no_object_are_refused(void **state) {
  (void)state;
  static const char *const cases[] = {"", " ", "null", "[]", "{", "{}", "{} {}", "\"position\"", "0", "\xff"};
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    expect_unreadable(cases[i]);
  struct position p = full_position();
  char *json = encoded(&p);
  char *trailing = memory_format("%s,", json);
  char *cut = memory_format("%.*s", (int)strlen(json) - 1, json);
  expect_unreadable(trailing);
  expect_unreadable(cut);
  free(cut);
  free(trailing);
  free(json);
  position_clear(&p);
}

static void members_of_a_later_version_are_passed_over(void **state) {
  (void)state;
  struct position p = full_position();
  char *json = encoded(&p);
  char *more = bent(json, "\"format\":1", "\"format\":1,\"later\":{\"a\":[1]}");
  struct position after;
  position_init(&after);
  struct error err = {.kind = ERROR_NONE};
  assert_true(position_decode(slice_of(more), &after, &err));
  assert_true(position_same_progress(&p, &after));
  free(more);
  free(json);
  position_clear(&after);
  position_clear(&p);
}

/* What an operator set: the commit record's start decides, here too. */
static void covered_is_what_starts_before_the_floor(void **state) {
  (void)state;
  struct position p = {.state = POSITION_SET, .complete = true, .end_lsn = 0x500, .floor = 0x500};
  assert_true(position_covers(&p, 0x4FF));
  assert_false(position_covers(&p, 0x500));
  assert_lsn(position_ack_lsn(&p), 0x500);
  p.commit_lsn = 0x600;
  assert_true(position_covers(&p, 0x5FF));
  struct position other = p;
  assert_true(position_same_progress(&p, &other));
  other.floor = 0x501;
  assert_false(position_same_progress(&p, &other));
}

static void covered_is_told_by_the_commit_lsn_only(void **state) {
  (void)state;
  static const struct {
    const char *name;
    lsn_t commit_lsn, end_lsn, idle_end_lsn;
    bool complete;
    lsn_t asked;
    bool covered;
  } cases[] = {
      {"nothing published yet", 0, 0x500, 0, true, 0x100, false},
      {"nothing published yet, at its end", 0, 0x500, 0, true, 0x500, false},
      {"earlier", 0x100, 0x140, 0, true, 0xFF, true},
      {"the last one", 0x100, 0x140, 0, true, 0x100, true},
      {"just behind", 0x100, 0x140, 0, true, 0x101, false},
      {"starts where the last one ended", 0x100, 0x140, 0, true, 0x140, false},
      {"starts at the idle end", 0x100, 0x140, 0x900, true, 0x900, false},
      {"below the idle end", 0x100, 0x140, 0x900, true, 0x200, false},
      {"the incomplete one", 0x100, 0x90, 0, false, 0x100, false},
      {"before the incomplete one", 0x100, 0x90, 0, false, 0xF0, true},
      {"behind the incomplete one", 0x100, 0x90, 0, false, 0x140, false},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct position p = {.state = POSITION_SET,
                         .commit_lsn = cases[i].commit_lsn,
                         .end_lsn = cases[i].end_lsn,
                         .idle_end_lsn = cases[i].idle_end_lsn,
                         .complete = cases[i].complete};
    if (position_covers(&p, cases[i].asked) != cases[i].covered)
      fail_msg("%s", cases[i].name);
  }
}

static void ack_is_the_later_of_end_and_idle_end(void **state) {
  (void)state;
  static const struct {
    lsn_t commit_lsn, end_lsn, idle_end_lsn;
    bool complete;
    lsn_t ack;
  } cases[] = {
      {0, 0, 0, true, 0},
      {0x100, 0x140, 0, true, 0x140},
      {0x100, 0x140, 0x900, true, 0x900},
      {0x100, 0x140, 0x120, true, 0x140},
      {0x200, 0x140, 0, false, 0x140}, /* incomplete: the end of the transaction before */
      {0x200, 0x140, 0x180, false, 0x180},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct position p = {.state = POSITION_SET,
                         .commit_lsn = cases[i].commit_lsn,
                         .end_lsn = cases[i].end_lsn,
                         .idle_end_lsn = cases[i].idle_end_lsn,
                         .complete = cases[i].complete};
    assert_lsn(position_ack_lsn(&p), cases[i].ack);
  }
}

static void same_progress_sees_progress_and_cluster_but_not_pins(void **state) {
  (void)state;
  struct position a = full_position(), b = full_position();
  assert_true(position_same_progress(&a, &b));
  position_pin(&b, "more", 1);
  b.timeline = 4;
  assert_true(position_same_progress(&a, &b));
#define DIFFERS(change)                                                                                                \
  do {                                                                                                                 \
    position_copy(&b, &a);                                                                                             \
    assert_true(position_same_progress(&a, &b));                                                                       \
    change;                                                                                                            \
    if (position_same_progress(&a, &b))                                                                                \
      fail_msg("the same in spite of %s", #change);                                                                    \
  } while (0)
  DIFFERS(b.state = POSITION_INTENT);
  DIFFERS(b.commit_lsn++);
  DIFFERS(b.end_lsn++);
  DIFFERS(b.xid--);
  DIFFERS(b.complete = true);
  DIFFERS(b.next_index++);
  DIFFERS(b.idle_end_lsn++);
  DIFFERS(b.system_id[0] = '8');
  position_clear(&a);
  position_clear(&b);
}

static void a_copy_stands_on_its_own(void **state) {
  (void)state;
  struct position a = full_position(), b = full_position();
  position_copy(&b, &a); /* what b held is freed */
  char *before = encoded(&a), *copy = encoded(&b);
  assert_string_equal(copy, before);
  free(copy);
  free(before);
  position_clear(&a);
  assert_string_equal(b.tables[1].origin, "odd.\"na\\me\"");
  assert_int_equal(position_partitions(&b, "fleet.rentals"), 3);
  position_clear(&b);
  assert_int_equal(b.state, POSITION_NONE);
  position_copy(&b, &a);
  assert_null(b.tables);
  position_clear(&b);
}

static void pins_are_found_by_the_whole_name(void **state) {
  (void)state;
  struct position p;
  position_init(&p);
  assert_int_equal(position_partitions(&p, "a"), 0);
  position_pin(&p, "a", 3);
  position_pin(&p, "a.b", 5);
  assert_int_equal(position_partitions(&p, "a"), 3);
  assert_int_equal(position_partitions(&p, "a.b"), 5);
  assert_int_equal(position_partitions(&p, "a."), 0);
  assert_int_equal(position_partitions(&p, "A"), 0);
  position_clear(&p);
  assert_int_equal(position_partitions(&p, "a"), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(position_survives_encoding),
      cmocka_unit_test(a_run_survives_encoding),
      cmocka_unit_test(intent_survives_encoding),
      cmocka_unit_test(snapshot_survives_encoding_and_keeps_older_versions_out),
      cmocka_unit_test(malformed_snapshots_are_refused),
      cmocka_unit_test(malformed_members_are_refused),
      cmocka_unit_test(missing_members_are_refused),
      cmocka_unit_test(texts_that_are_no_object_are_refused),
      cmocka_unit_test(members_of_a_later_version_are_passed_over),
      cmocka_unit_test(covered_is_what_starts_before_the_floor),
      cmocka_unit_test(covered_is_told_by_the_commit_lsn_only),
      cmocka_unit_test(ack_is_the_later_of_end_and_idle_end),
      cmocka_unit_test(same_progress_sees_progress_and_cluster_but_not_pins),
      cmocka_unit_test(a_copy_stands_on_its_own),
      cmocka_unit_test(pins_are_found_by_the_whole_name),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
