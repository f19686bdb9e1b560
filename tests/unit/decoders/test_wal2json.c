/* wal2json frames: each action, values as Postgres' own text, when a relation is new, and what a hostile or broken
 * server could send. Every frame is fed from its own heap block, so that the sanitizer sees any read beyond its end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bridge/base/memory.h"
#include "tests/unit/decoders/stream.h"

#define SECRET "SECRET-OF-A-ROW"
#define TIME "\"timestamp\":\"2026-11-21 11:53:41.276897+00\""
#define BOUNDS "\"xid\":728," TIME ",\"lsn\":\"0/152C6C8\",\"nextlsn\":\"0/152C6F8\"}"
#define BEGIN "{\"action\":\"B\"," BOUNDS
#define COMMIT "{\"action\":\"C\"," BOUNDS
#define INSERT "{\"action\":\"I\",\"xid\":728," TIME ",\"lsn\":\"0/152C570\","
#define ROW(columns) INSERT "\"schema\":\"public\",\"table\":\"outbox\",\"columns\":[" columns "]}"
#define COLUMN(name, oid, value) "{\"name\":\"" name "\",\"typeoid\":" oid ",\"value\":" value "}"
#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

static struct stream open_stream(void) {
  return stream_of("wal2json");
}

static void must(struct stream *s, const char *frame, enum change_kind kind) {
  if (!feed_bytes(s, frame, strlen(frame)))
    fail_msg("%s", s->err.message);
  assert_int_equal(s->change.kind, kind);
}

static struct stream open_transaction(void) {
  struct stream s = open_stream();
  must(&s, BEGIN, CHANGE_BEGIN);
  return s;
}

static void assert_text(struct slice s, const char *text) {
  if (!slice_is(s, text))
    fail_msg("\"%.*s\" is not \"%s\"", SLICE_ARG(s), text);
}

static void begin_and_commit_yield_lsns_time_and_xid(void **state) {
  (void)state;
  struct stream s = open_transaction();
  assert_true(s.change.begin.commit_lsn == 0x152C6C8);
  assert_true(s.change.begin.commit_time_us == INT64_C(1795262021276897));
  assert_int_equal(s.change.begin.xid, 728);
  must(&s, COMMIT, CHANGE_COMMIT);
  assert_true(s.change.commit.commit_lsn == 0x152C6C8);
  assert_true(s.change.commit.end_lsn == 0x152C6F8);
  assert_true(s.change.commit.commit_time_us == INT64_C(1795262021276897));
  must(&s, BEGIN, CHANGE_BEGIN);
  close_stream(&s);
}

static void values_are_the_texts_that_postgres_writes(void **state) {
  (void)state;
  static const struct {
    const char *oid, *written, *text; /* text NULL: SQL NULL */
  } cases[] = {
      {"25", "null", NULL},
      {"25", "\"\"", ""},
      {"25", "\"null\"", "null"},
      {"25", "\"q\\\"\\\\b\\n\\t\\u0001\\u007f/\U0001F600\"", "q\"\\b\n\t\x01\x7f/\U0001F600"},
      {"23", "-1", "-1"},
      {"20", "9223372036854775807", "9223372036854775807"},
      {"1700", "1.230000000000000000000000000000000000001", "1.230000000000000000000000000000000000001"},
      {"1700", "0.10", "0.10"},
      {"701", "1e+300", "1e+300"},
      {"16", "true", "t"},
      {"16", "false", "f"},
      {"17", "\"dead00\"", "\\xdead00"},
      {"17", "\"\"", "\\x"},
      {"17", "null", NULL},
      {"114", "\" {\\\"a\\\":1, \\\"a\\\":2}\"", " {\"a\":1, \"a\":2}"},
      {"25", "\"\xff\xfe\"", "\xff\xfe"},
  };
  struct stream s = open_transaction();
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    char *frame = memory_format(ROW("{\"name\":\"v\",\"typeoid\":%s,\"value\":%s}"), cases[i].oid, cases[i].written);
    must(&s, frame, CHANGE_INSERT);
    const struct value *value = &s.change.insert.values[0];
    assert_int_equal(value->kind, cases[i].text == NULL ? VALUE_NULL : VALUE_TEXT);
    assert_true(slice_present(value->text) == (cases[i].text != NULL));
    if (cases[i].text != NULL)
      assert_text(value->text, cases[i].text);
    free(frame);
  }
  close_stream(&s);
}

static void a_row_of_many_texts_keeps_them_apart(void **state) {
  (void)state;
  struct stream s = open_transaction();
  must(&s,
       ROW(COLUMN("a\\\"", "25", "\"\\\\1\"") "," COLUMN("b", "17", "\"01\"") "," COLUMN(
           "c", "25", "\"plain\"") "," COLUMN("d", "17", "\"02\"") "," COLUMN("e", "-5", "\"\\t\"")),
       CHANGE_INSERT);
  const struct relation *relation = s.change.insert.relation;
  assert_int_equal(relation->column_count, 5);
  assert_string_equal(relation->schema, "public");
  assert_string_equal(relation->table, "outbox");
  assert_string_equal(relation->columns[0].name, "a\"");
  assert_int_equal(relation->columns[1].type_oid, 17);
  assert_true(relation->columns[4].type_oid == UINT32_MAX - 4); /* written as a signed number */
  static const char *const texts[] = {"\\1", "\\x01", "plain", "\\x02", "\t"};
  for (int i = 0; i < 5; i++)
    assert_text(s.change.insert.values[i].text, texts[i]);
  close_stream(&s);
}

static void a_serial_is_new_only_when_the_columns_are(void **state) {
  (void)state;
  static const struct {
    const char *frame;
    int relation; /* the same number: the same serial */
  } cases[] = {
      {ROW(COLUMN("id", "23", "1")), 1},
      {ROW(COLUMN("id", "23", "2")), 1},
      {INSERT "\"schema\":\"public\",\"table\":\"other\",\"columns\":[]}", 2},
      {ROW(COLUMN("id", "23", "3")), 1},
      {ROW(COLUMN("id", "20", "3")), 3},
      {ROW(COLUMN("id", "20", "3") "," COLUMN("b", "25", "null")), 4},
      {ROW(COLUMN("ID", "20", "3") "," COLUMN("b", "25", "null")), 5},
      {INSERT "\"schema\":\"public\",\"table\":\"other\",\"columns\":[]}", 2},
      {INSERT "\"schema\":\"publ\",\"table\":\"icother\",\"columns\":[]}", 6},
  };
  uint64_t serials[10] = {0};
  struct stream s = open_transaction();
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    must(&s, cases[i].frame, CHANGE_INSERT);
    uint64_t serial = s.change.insert.relation->serial;
    uint64_t *known = &serials[cases[i].relation];
    if (*known == 0)
      for (int k = 0; k < 10; k++)
        assert_true(serials[k] != serial);
    assert_true(*known == 0 || *known == serial);
    *known = serial;
  }
  close_stream(&s);
}

/* A database may have any number of tables that nobody asked for. */
static void very_many_tables_are_forgotten_but_no_serial_comes_twice(void **state) {
  (void)state;
  struct stream s = open_transaction();
  uint64_t last = 0;
  for (int i = 0; i < 2500; i++) {
    char *frame = memory_format(INSERT "\"schema\":\"public\",\"table\":\"t%d\",\"columns\":[]}", i);
    must(&s, frame, CHANGE_INSERT);
    assert_true(s.change.insert.relation->serial > last);
    last = s.change.insert.relation->serial;
    free(frame);
  }
  close_stream(&s);
}

static void wide_rows_are_taken(void **state) {
  (void)state;
  struct stream s = open_transaction();
  char *columns = memory_string(COLUMN("c0", "23", "0"));
  for (int i = 1; i < 1600; i++) {
    char *longer = memory_format("%s,{\"name\":\"c%d\",\"typeoid\":23,\"value\":%d}", columns, i, i);
    free(columns);
    columns = longer;
  }
  char *frame = memory_format(ROW("%s"), columns);
  must(&s, frame, CHANGE_INSERT);
  assert_int_equal(s.change.insert.relation->column_count, 1600);
  assert_text(s.change.insert.values[1599].text, "1599");
  free(frame);
  free(columns);
  close_stream(&s);
}

static void large_texts_are_unescaped_and_their_room_given_back(void **state) {
  (void)state;
  enum { LENGTH = 3 << 20 };
  struct stream s = open_transaction();
  char *body = memory_resize(NULL, LENGTH + 1);
  for (int i = 0; i < LENGTH; i += 2)
    memcpy(body + i, "\\n", 2);
  body[LENGTH] = '\0';
  char *frame = memory_format(ROW("{\"name\":\"v\",\"typeoid\":25,\"value\":\"%s\"}"), body);
  for (int i = 0; i < 2; i++) {
    must(&s, frame, CHANGE_INSERT);
    assert_int_equal(s.change.insert.values[0].text.len, LENGTH / 2);
    must(&s, ROW(COLUMN("v", "25", "\"a\\n\"")), CHANGE_INSERT);
    assert_text(s.change.insert.values[0].text, "a\n");
  }
  free(frame);
  free(body);
  close_stream(&s);
}

#define MESSAGE(flag, content)                                                                                         \
  "{\"action\":\"M\",\"xid\":null,\"timestamp\":null,\"lsn\":\"0/152C988\",\"transactional\":" flag                    \
  ",\"prefix\":\"wal\\\"ferry\",\"content\":\"" content "\"}"

static void messages_carry_flag_lsn_prefix_and_content(void **state) {
  (void)state;
  struct stream s = open_stream();
  must(&s, MESSAGE("false", "x"), CHANGE_MESSAGE);
  assert_false(s.change.message.transactional);
  must(&s, BEGIN, CHANGE_BEGIN);
  must(&s, MESSAGE("true", "{\\\"a\\\":1}\xff"), CHANGE_MESSAGE);
  assert_true(s.change.message.transactional);
  assert_true(s.change.message.lsn == 0x152C988);
  assert_text(s.change.message.prefix, "wal\"ferry");
  assert_text(s.change.message.content, "{\"a\":1}\xff");
  must(&s, MESSAGE("true", ""), CHANGE_MESSAGE);
  assert_true(slice_present(s.change.message.content) && s.change.message.content.len == 0);
  close_stream(&s);
}

static void members_that_are_not_needed_are_passed_over(void **state) {
  (void)state;
  struct stream s = open_stream();
  must(&s, "{\"origin\":7, \"action\":\"B\",\"new\":[{}]," BOUNDS, CHANGE_BEGIN);
  must(&s, ROW("{\"name\":\"id\",\"type\":\"integer\",\"typeoid\":23,\"value\":1,\"position\":1}"), CHANGE_INSERT);
  assert_text(s.change.insert.values[0].text, "1");
  close_stream(&s);
}

static void assert_same_row(const struct change *a, const struct change *b) {
  const struct relation *left = a->insert.relation, *right = b->insert.relation;
  assert_int_equal(left->column_count, right->column_count);
  for (int i = 0; i < left->column_count; i++) {
    assert_string_equal(left->columns[i].name, right->columns[i].name);
    assert_true(left->columns[i].type_oid == right->columns[i].type_oid);
    assert_int_equal(a->insert.values[i].kind, b->insert.values[i].kind);
    assert_true(slice_equal(a->insert.values[i].text, b->insert.values[i].text));
  }
}

/* What is known of a table from the row before must not show in how a row is read. */
static void a_row_is_read_alike_whatever_row_came_before(void **state) {
  (void)state;
  static const char *const rows[] = {
      ROW(COLUMN("a", "25", "\"x\"") "," COLUMN("b", "23", "1")),
      ROW(COLUMN("a", "25", "\"q\\\"\"") "," COLUMN("b", "23", "null")),
      ROW(COLUMN("b", "23", "1") "," COLUMN("a", "25", "\"x\"")),
      ROW(COLUMN("a", "17", "\"00\"") "," COLUMN("b", "23", "1")),
      ROW(COLUMN("a", "25", "\"x\"")),
      ROW(COLUMN("a", "25", "\"x\"") "," COLUMN("b", "23", "1") "," COLUMN("c", "-5", "true")),
      ROW(COLUMN("a", "25", "\"x\"") "," COLUMN("bb", "23", "1")),
      ROW(COLUMN("a\\b", "25", "\"x\"") "," COLUMN("b", "23", "1")),
      ROW("{\"name\":\"a\",\"typeoid\":25,\"value\": \"x\" } , {\"value\":1,\"name\":\"b\",\"typeoid\":23}"),
      ROW("{\"name\":\"a\",\"typeoid\":25,\"value\":\"x\",\"position\":1}"),
      ROW("{\"name\":\"a\",\"typeoid\":25,\"value\":\"x\",\"name\":\"b\"}"),
      ROW("{\"name\":\"a\",\"typeoid\":25,\"value\":\"x\",\"value\":1}"),
      ROW("{\"name\":\"a\",\"typeoid\":25,\"value\":{}}"),
      ROW("{\"name\":\"a\",\"typeoid\":25,\"value\":}"),
      ROW("{\"name\":\"a\",\"typeoid\":25,\"value\":1]"),
      ROW("{\"name\":\"a\",\"typeoid\":25,\"value\":1},"),
      ROW(""),
  };
  for (size_t before = 0; before < COUNT_OF(rows); before++) {
    for (size_t row = 0; row < COUNT_OF(rows); row++) {
      struct stream alone = open_transaction(), after = open_transaction();
      bool taken = feed_bytes(&alone, rows[row], strlen(rows[row]));
      if (feed_bytes(&after, rows[before], strlen(rows[before]))) {
        assert_int_equal(feed_bytes(&after, rows[row], strlen(rows[row])), taken);
        assert_string_equal(after.err.message, alone.err.message);
        if (taken)
          assert_same_row(&alone.change, &after.change);
      }
      close_stream(&alone);
      close_stream(&after);
    }
  }
}

static void impossible_frames_are_refused_with_message_and_offset(void **state) {
  (void)state;
  static const struct {
    bool inside; /* a transaction */
    const char *frame, *words;
  } cases[] = {
      {false, "", "message, byte 0 of 0: an empty frame"},
      {false, "{\"action\":\"B\"", "'B', byte 13 of 13: the message is not JSON"},
      {false, "{} x", "'?', byte 3 of 4: the message is not JSON"},
      {false, "{\"origin\":tru}", "'?', byte 10 of 14: the message is not JSON"},
      {false, "[]", "no JSON object"},
      {false, "{}", "the member \"action\" is missing"},
      {false, "{\"action\":1}", "'?', byte 10 of 12: the member \"action\" is of another kind"},
      {false, "{\"action\":\"X\"}", "an action that is none of"},
      {false, "{\"action\":\"\"}", "an action that is none of"},
      {false, "{\"action\":\"B\",\"action\":\"C\"}", "byte 15 of 27: the member \"action\" stands twice"},
      {false, "{\"action\":\"B\"}", "'B', byte 0 of 14: the member \"lsn\" is missing"},
      {false, "{\"action\":\"B\",\"lsn\":\"0/1\"}", "\"nextlsn\" is missing"},
      {false, "{\"action\":\"B\",\"lsn\":\"1\",\"nextlsn\":\"0/1\"}", "\"lsn\" is no LSN"},
      {false, "{\"action\":\"B\",\"lsn\":\"0/1\",\"nextlsn\":\"0/2\"}", "\"timestamp\" is missing"},
      {false, "{\"action\":\"B\",\"timestamp\":\"now\",\"lsn\":\"0/1\",\"nextlsn\":\"0/2\"}", "no timestamp"},
      {false, "{\"action\":\"B\"," TIME ",\"lsn\":\"0/0\",\"nextlsn\":\"0/2\"}", "the commit LSN is 0/0"},
      {false, "{\"action\":\"B\"," TIME ",\"lsn\":\"0/2\",\"nextlsn\":\"0/2\"}",
       "the commit record at 0/2 ends at 0/2"},
      {false, "{\"action\":\"B\"," TIME ",\"lsn\":\"0/2\",\"nextlsn\":\"0/3\"}", "\"xid\" is missing"},
      {false, "{\"action\":\"B\",\"xid\":1.5," TIME ",\"lsn\":\"0/2\",\"nextlsn\":\"0/3\"}", "no transaction id"},
      {false, "{\"action\":\"B\",\"xid\":4294967296," TIME ",\"lsn\":\"0/2\",\"nextlsn\":\"0/3\"}",
       "no transaction id"},
      {true, BEGIN, "'B', byte 0 of"},
      {false, COMMIT, "'C', byte 0 of"},
      {true, "{\"action\":\"C\"," TIME ",\"lsn\":\"0/2\",\"nextlsn\":\"0/3\"}", "commits at 0/2 what was begun for"},
      {false, ROW(""), "'I', byte 0 of"},
      {true, "{\"action\":\"I\",\"columns\":[]}", "'I', byte 0 of 27: the member \"schema\" is missing"},
      {true, "{\"action\":\"I\",\"schema\":\"a\",\"columns\":[]}", "\"table\" is missing"},
      {true, "{\"action\":\"I\",\"schema\":\"a\",\"table\":\"b\",\"columns\":{}}", "\"columns\" is of another kind"},
      {true, "{\"action\":\"I\",\"schema\":\"a\",\"table\":\"b\"}", "\"columns\" is missing"},
      {true, "{\"action\":\"I\",\"schema\":\"a\",\"table\":null,\"columns\":[]}", "\"table\" is of another kind"},
      {true, ROW("7"), "a column that is no object"},
      {true, ROW("{\"typeoid\":1,\"value\":\"" SECRET "\"}"), "a column without \"name\""},
      {true, ROW("{\"name\":\"a\",\"value\":\"" SECRET "\"}"), "a column without \"typeoid\""},
      {true, ROW("{\"name\":\"a\",\"typeoid\":1}"), "a column without \"value\""},
      {true, ROW("{\"name\":1,\"typeoid\":1,\"value\":\"" SECRET "\"}"), "\"name\" is of another kind"},
      {true, ROW(COLUMN("a", "1.0", "\"" SECRET "\"")), "\"typeoid\" is no OID"},
      {true, ROW(COLUMN("a", "4294967296", "1")), "\"typeoid\" is no OID"},
      {true, ROW(COLUMN("a", "25", "{\"" SECRET "\":1}")), "neither text, number, boolean nor null"},
      {true, ROW(COLUMN("a", "25", "[\"" SECRET "\"]")), "neither text, number, boolean nor null"},
      {true, ROW(COLUMN("a", "25", "\"" SECRET "\",\"value\":1")), "the member \"value\" stands twice"},
      {true, ROW(COLUMN("a", "25", "\"" SECRET "")), "not JSON"},
      {false, MESSAGE("true", SECRET), "outside of a transaction"},
      {true, MESSAGE("false", SECRET), "inside a transaction"},
      {true, MESSAGE("1", SECRET), "\"transactional\" is of another kind"},
      {true, "{\"action\":\"M\",\"transactional\":true}", "\"prefix\" is missing"},
      {true, "{\"action\":\"M\",\"transactional\":true,\"prefix\":\"\"}", "\"content\" is missing"},
      {true, "{\"action\":\"M\",\"transactional\":true,\"prefix\":\"\",\"content\":\"\"}", "\"lsn\" is missing"},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct stream s = cases[i].inside ? open_transaction() : open_stream();
    assert_false(feed_bytes(&s, cases[i].frame, strlen(cases[i].frame)));
    assert_int_equal(s.err.kind, ERROR_FATAL);
    if (strstr(s.err.message, cases[i].words) == NULL)
      fail_msg("\"%s\" does not say \"%s\"", s.err.message, cases[i].words);
    if (strstr(s.err.message, "SECRET") != NULL)
      fail_msg("\"%s\" holds a row's data", s.err.message);
    assert_false(feed_bytes(&s, BEGIN, strlen(BEGIN))); /* and it stays refused */
    close_stream(&s);
  }
}

static void a_name_beyond_all_measure_is_refused(void **state) {
  (void)state;
  struct stream s = open_transaction();
  char name[2000];
  memset(name, 'n', sizeof name - 1);
  name[sizeof name - 1] = '\0';
  char *frame = memory_format(INSERT "\"schema\":\"public\",\"table\":\"%s\",\"columns\":[]}", name);
  assert_false(feed_bytes(&s, frame, strlen(frame)));
  assert_non_null(strstr(s.err.message, "name is too long"));
  free(frame);
  close_stream(&s);
}

static void every_cut_off_frame_is_refused(void **state) {
  (void)state;
  static const char *const frames[] = {COMMIT, ROW(COLUMN("a", "17", "\"00\"") "," COLUMN("b", "25", "\"\\u00e9\"")),
                                       MESSAGE("true", "x\\n")};
  for (size_t i = 0; i < COUNT_OF(frames); i++) {
    for (size_t len = 0; len < strlen(frames[i]); len++) {
      struct stream s = open_transaction();
      assert_false(feed_bytes(&s, frames[i], len));
      assert_int_equal(s.err.kind, ERROR_FATAL);
      close_stream(&s);
    }
  }
}

static void its_options_ask_for_what_it_reads(void **state) {
  (void)state;
  const struct decoder_class *class = decoder_class_find("wal2json");
  assert_false(class->reads_publication);
  assert_true(class->sends_server_encoding);
  struct decoder_options options;
  decoder_options_init(&options, class, NULL);
  bool version = false;
  for (int i = 0; i < options.count; i++)
    version =
        version || (strcmp(options.texts[2 * i], "format-version") == 0 && strcmp(options.texts[2 * i + 1], "2") == 0);
  assert_true(version);
  decoder_options_free(&options);
  assert_int_equal(options.count, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(begin_and_commit_yield_lsns_time_and_xid),
      cmocka_unit_test(values_are_the_texts_that_postgres_writes),
      cmocka_unit_test(a_row_of_many_texts_keeps_them_apart),
      cmocka_unit_test(a_serial_is_new_only_when_the_columns_are),
      cmocka_unit_test(very_many_tables_are_forgotten_but_no_serial_comes_twice),
      cmocka_unit_test(wide_rows_are_taken),
      cmocka_unit_test(large_texts_are_unescaped_and_their_room_given_back),
      cmocka_unit_test(messages_carry_flag_lsn_prefix_and_content),
      cmocka_unit_test(members_that_are_not_needed_are_passed_over),
      cmocka_unit_test(a_row_is_read_alike_whatever_row_came_before),
      cmocka_unit_test(impossible_frames_are_refused_with_message_and_offset),
      cmocka_unit_test(a_name_beyond_all_measure_is_refused),
      cmocka_unit_test(every_cut_off_frame_is_refused),
      cmocka_unit_test(its_options_ask_for_what_it_reads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
