/* pgoutput frames: each message, what a hostile or broken server could send, and what DDL does to the relations.
 * Every frame is fed from its own heap block, so that the sanitizer sees any read beyond its end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bridge/base/clock.h"
#include "bridge/base/memory.h"
#include "decoders/decoder.h"
#include "tests/unit/decoders/frames.h"
#include "tests/unit/decoders/stream.h"

#define TABLE 7u
#define SECRET "SECRET-OF-A-ROW"

static struct stream open_stream(void) {
  return stream_of("pgoutput");
}

static bool feed(struct stream *s, struct frame f) {
  return feed_bytes(s, f.bytes, f.len);
}

static void must(struct stream *s, struct frame f, enum change_kind kind) {
  if (!feed(s, f))
    fail_msg("%s", s->err.message);
  assert_int_equal(s->change.kind, kind);
}

static void refused(struct stream *s, struct frame f, const char *words) {
  assert_false(feed(s, f));
  assert_int_equal(s->err.kind, ERROR_FATAL);
  if (strstr(s->err.message, words) == NULL)
    fail_msg("\"%s\" does not say \"%s\"", s->err.message, words);
  char letter[16];
  snprintf(letter, sizeof letter, "message '%c'", f.bytes[0]);
  assert_non_null(strstr(s->err.message, letter));
  assert_non_null(strstr(s->err.message, "byte "));
  assert_null(strstr(s->err.message, SECRET));
}

/* A stream inside a transaction that knows a table of three columns. */
static struct stream open_transaction(void) {
  struct stream s = open_stream();
  must(&s, frame_relation(TABLE, "public", "outbox", LIST("id", "payload", "note")), CHANGE_NONE);
  must(&s, frame_begin(0x100, 0, 1), CHANGE_BEGIN);
  return s;
}

static const struct value *insert_into(struct stream *s, const char *const *values) {
  must(s, frame_row('I', TABLE, 'N', values), CHANGE_INSERT);
  return s->change.insert.values;
}

static void a_begin_yields_lsn_time_and_xid(void **state) {
  (void)state;
  struct stream s = open_stream();
  must(&s, frame_begin(0x16B374D848, 1, 0xfffffffe), CHANGE_BEGIN);
  assert_true(s.change.begin.commit_lsn == 0x16B374D848);
  assert_true(s.change.begin.commit_time_us == CLOCK_POSTGRES_EPOCH_US + 1);
  assert_true(s.change.begin.xid == 0xfffffffe);
  close_stream(&s);
}

static void a_commit_yields_both_lsns_and_the_time(void **state) {
  (void)state;
  struct stream s = open_stream();
  must(&s, frame_begin(0x100, -5, 1), CHANGE_BEGIN);
  must(&s, frame_commit(0, 0x100, 0x130, -5), CHANGE_COMMIT);
  assert_true(s.change.commit.commit_lsn == 0x100);
  assert_true(s.change.commit.end_lsn == 0x130);
  assert_true(s.change.commit.commit_time_us == CLOCK_POSTGRES_EPOCH_US - 5);
  /* The next commit record may start where the last one ended. */
  must(&s, frame_begin(0x130, 0, 2), CHANGE_BEGIN);
  close_stream(&s);
}

static void the_time_of_a_commit_must_fit(void **state) {
  (void)state;
  const int64_t limit = INT64_MAX - CLOCK_POSTGRES_EPOCH_US;
  struct stream s = open_stream();
  must(&s, frame_begin(1, limit, 1), CHANGE_BEGIN);
  assert_true(s.change.begin.commit_time_us == INT64_MAX);
  refused(&s, frame_commit(0, 1, 2, limit + 1), "timestamp is out of range");
  close_stream(&s);
  s = open_stream();
  refused(&s, frame_begin(1, INT64_MAX, 1), "byte 9 of 21: the timestamp is out of range");
  close_stream(&s);
  s = open_stream();
  must(&s, frame_begin(1, INT64_MIN, 1), CHANGE_BEGIN);
  close_stream(&s);
}

static void null_unchanged_and_empty_are_three_things(void **state) {
  (void)state;
  struct stream s = open_transaction();
  const struct value *v = insert_into(&s, LIST(SQL_NULL, UNCHANGED, ""));
  assert_int_equal(v[0].kind, VALUE_NULL);
  assert_false(slice_present(v[0].text));
  assert_int_equal(v[1].kind, VALUE_UNCHANGED);
  assert_false(slice_present(v[1].text));
  assert_int_equal(v[2].kind, VALUE_TEXT);
  assert_true(slice_present(v[2].text));
  assert_int_equal(v[2].text.len, 0);
  close_stream(&s);
}

static void an_insert_yields_its_relation_and_texts(void **state) {
  (void)state;
  struct stream s = open_transaction();
  const struct value *v = insert_into(&s, LIST("17", "{\"a\": 1}", "\xc3\xa4"));
  const struct relation *relation = s.change.insert.relation;
  assert_int_equal(relation->oid, TABLE);
  assert_string_equal(relation->schema, "public");
  assert_string_equal(relation->table, "outbox");
  assert_int_equal(relation->column_count, 3);
  assert_string_equal(relation->columns[1].name, "payload");
  assert_int_equal(relation->columns[2].type_oid, 102);
  assert_true(slice_is(v[0].text, "17"));
  assert_true(slice_is(v[1].text, "{\"a\": 1}"));
  assert_true(slice_is(v[2].text, "\xc3\xa4"));
  assert_true(v[0].text.data > s.block && v[0].text.data < s.block + 32); /* of the frame, not a copy */
  close_stream(&s);
}

static void a_text_may_hold_any_byte(void **state) {
  (void)state;
  struct stream s = open_transaction();
  struct frame f = frame_of('I');
  put(&f, TABLE, 4);
  put(&f, 'N', 1);
  put(&f, 3, 2);
  put(&f, 'n', 1);
  put(&f, 'n', 1);
  put(&f, 't', 1);
  put(&f, 3, 4);
  put(&f, 0x00ff74, 3);
  must(&s, f, CHANGE_INSERT);
  assert_int_equal(s.change.insert.values[2].text.len, 3);
  assert_memory_equal(s.change.insert.values[2].text.data, "\x00\xff\x74", 3);
  close_stream(&s);
}

static void a_table_without_columns_takes_inserts(void **state) {
  (void)state;
  struct stream s = open_transaction();
  must(&s, frame_relation(TABLE, "", "keyless", LIST(NULL)), CHANGE_NONE);
  insert_into(&s, LIST(NULL));
  assert_string_equal(s.change.insert.relation->schema, "");
  assert_int_equal(s.change.insert.relation->column_count, 0);
  close_stream(&s);
}

static void messages_carry_flag_lsn_prefix_and_content(void **state) {
  (void)state;
  struct stream s = open_stream();
  must(&s, frame_message(0, 0x90, "walferry", ""), CHANGE_MESSAGE);
  assert_false(s.change.message.transactional);
  assert_true(slice_present(s.change.message.content));
  assert_int_equal(s.change.message.content.len, 0);
  must(&s, frame_begin(0x100, 0, 1), CHANGE_BEGIN);
  must(&s, frame_message(1, 0x95, "walferry", "{}"), CHANGE_MESSAGE);
  assert_true(s.change.message.transactional);
  assert_true(s.change.message.lsn == 0x95);
  assert_true(slice_is(s.change.message.prefix, "walferry"));
  assert_true(slice_is(s.change.message.content, "{}"));
  close_stream(&s);
}

static struct frame origin_frame(void) {
  struct frame f = frame_of('O');
  put(&f, 0x1234, 8);
  put_string(&f, "elsewhere");
  return f;
}

static struct frame type_frame(void) {
  struct frame f = frame_of('Y');
  put(&f, 16385, 4);
  put_string(&f, "public");
  put_string(&f, "mood");
  return f;
}

static struct frame truncate_frame(uint32_t count, int oids) {
  struct frame f = frame_of('T');
  put(&f, count, 4);
  put(&f, 3, 1);
  for (int i = 0; i < oids; i++)
    put(&f, TABLE, 4);
  return f;
}

static struct frame update_frame(char old) {
  struct frame f = frame_of('U');
  put(&f, TABLE, 4);
  if (old != 0)
    put_tuple(&f, old, LIST("1", SQL_NULL, SECRET));
  put_tuple(&f, 'N', LIST("1", UNCHANGED, SECRET));
  return f;
}

static struct frame delete_frame(char old) {
  return frame_row('D', TABLE, old, LIST("1", SQL_NULL, SECRET));
}

static struct frame insert_frame(void) {
  return frame_row('I', TABLE, 'N', LIST("1", SQL_NULL, SECRET));
}

static void what_an_outbox_does_not_need_yields_nothing(void **state) {
  (void)state;
  struct stream s = open_transaction();
  const struct frame frames[] = {
      origin_frame(),    type_frame(),      update_frame(0),      update_frame('K'),    update_frame('O'),
      delete_frame('K'), delete_frame('O'), truncate_frame(2, 2), truncate_frame(0, 0),
  };
  for (size_t i = 0; i < sizeof frames / sizeof frames[0]; i++)
    must(&s, frames[i], CHANGE_NONE);
  close_stream(&s);
}

static void a_relation_is_replaced_by_its_next_description(void **state) {
  (void)state;
  static const char *const shapes[][5] = {
      {"id", "payload", "note", "tenant", NULL}, /* added */
      {"id", "payload", NULL},                   /* dropped */
      {"payload", "id", NULL},                   /* reordered */
      {"payload", "id", NULL},                   /* said again */
  };
  static const char *const rows[][5] = {
      {"1", "2", "3", "4", NULL}, {"1", "2", NULL}, {"1", "2", NULL}, {"1", "2", NULL}};
  struct stream s = open_transaction();
  insert_into(&s, LIST("1", "2", "3"));
  uint64_t serial = s.change.insert.relation->serial;
  assert_true(serial > 0);
  for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
    must(&s, frame_relation(TABLE, "public", "outbox", shapes[i]), CHANGE_NONE);
    insert_into(&s, rows[i]);
    const struct relation *relation = s.change.insert.relation;
    assert_true(relation->serial > serial);
    serial = relation->serial;
    for (int c = 0; c < relation->column_count; c++)
      assert_string_equal(relation->columns[c].name, shapes[i][c]);
    assert_null(shapes[i][relation->column_count]);
  }
  refused(&s, frame_row('I', TABLE, 'N', LIST("1", "2", SECRET)), "3 values for the 2 columns");
  close_stream(&s);
}

static void a_serial_is_kept_while_nothing_is_described_anew(void **state) {
  (void)state;
  struct stream s = open_transaction();
  insert_into(&s, LIST("1", "2", "3"));
  uint64_t serial = s.change.insert.relation->serial;
  must(&s, frame_relation(TABLE + 1, "public", "other", LIST("a")), CHANGE_NONE);
  must(&s, frame_row('I', TABLE + 1, 'N', LIST("x")), CHANGE_INSERT);
  assert_true(s.change.insert.relation->serial != serial);
  insert_into(&s, LIST("1", "2", "3"));
  assert_true(s.change.insert.relation->serial == serial);
  close_stream(&s);
}

static void many_tables_are_told_apart(void **state) {
  (void)state;
  enum { TABLES = 2000 };
  struct stream s = open_transaction();
  for (uint32_t oid = 1; oid <= TABLES; oid++) {
    char name[16];
    snprintf(name, sizeof name, "t%u", oid);
    must(&s, frame_relation(oid * 65536, "public", name, LIST("a")), CHANGE_NONE);
  }
  for (uint32_t oid = TABLES; oid >= 1; oid--) {
    char name[16];
    snprintf(name, sizeof name, "t%u", oid);
    must(&s, frame_row('I', oid * 65536, 'N', LIST("x")), CHANGE_INSERT);
    assert_string_equal(s.change.insert.relation->table, name);
  }
  close_stream(&s);
}

static struct frame columns_frame(uint32_t declared) {
  struct frame f = frame_of('R');
  put(&f, TABLE, 4);
  put_string(&f, "public");
  put_string(&f, "outbox");
  put(&f, 'd', 1);
  put(&f, declared, 2);
  put(&f, 1, 1);
  put_string(&f, "id");
  put(&f, 20, 4);
  put(&f, 0, 4);
  return f;
}

static struct frame value_frame(char kind, uint32_t len) {
  struct frame f = frame_of('I');
  put(&f, TABLE, 4);
  put(&f, 'N', 1);
  put(&f, 3, 2);
  put_text(&f, SECRET);
  put(&f, 'n', 1);
  put(&f, (unsigned char)kind, 1);
  put(&f, len, 4);
  put(&f, 0x5345435245543131, 8);
  return f;
}

static struct frame with_byte(struct frame f, size_t at, int byte) {
  f.bytes[at] = (char)byte;
  return f;
}

static struct frame content_frame(uint32_t len) {
  struct frame f = frame_of('M');
  put(&f, 1, 1);
  put(&f, 0x90, 8);
  put_string(&f, "p");
  put(&f, len, 4);
  put_string(&f, "abc");
  return f;
}

static void impossible_bytes_inside_a_transaction_are_refused(void **state) {
  (void)state;
  const struct {
    struct frame frame;
    const char *words;
  } cases[] = {
      {frame_begin(0x200, 0, 2), "byte 0 of 21: a begin inside a transaction"},
      {frame_commit(1, 0x100, 0x130, 0), "byte 1 of 26: unknown flags 0x01"},
      {frame_commit(0, 0x101, 0x130, 0), "byte 2 of 26: commits at 0/101 what was begun for 0/100"},
      {frame_commit(0, 0x100, 0x100, 0), "byte 10 of 26: the commit record at 0/100 ends at 0/100"},
      {frame_message(0, 0x90, "p", SECRET), "a non-transactional message inside a transaction"},
      {frame_message(2, 0x90, "p", SECRET), "unknown flags 0x02"},
      {content_frame(5), "ends too early"},
      {content_frame(3), "byte 19 of 20: 1 bytes behind the end"},
      {content_frame(0x80000000), "ends too early"},
      {content_frame(0xffffffff), "ends too early"},
      {columns_frame(2), "2 columns do not fit"},
      {columns_frame(0), "bytes behind the end"},
      {columns_frame(0x7fff), "32767 columns do not fit"},
      {columns_frame(0xffff), "65535 columns do not fit"},
      {with_byte(columns_frame(1), 19, 'z'), "byte 19 of 34: unknown replica identity 0x7a"},
      {with_byte(type_frame(), 16, 'd'), "byte 12 of 17: the message has a string without its NUL"},
      {value_frame('t', 9), "ends too early"},
      {value_frame('t', 7), "bytes behind the end"},
      {value_frame('t', 0x7fffffff), "ends too early"},
      {value_frame('t', 0xffffffff), "ends too early"},
      {value_frame('b', 8), "option binary is on"},
      {value_frame('x', 8), "a value of unknown kind"},
      {value_frame('\0', 8), "a value of unknown kind"},
      {frame_row('I', 8, 'N', LIST("1", "2", SECRET)),
       "byte 1 of 40: no relation message has described the table with OID 8"},
      {frame_row('U', 8, 'N', LIST("1", "2", SECRET)), "no relation message"},
      {frame_row('D', 8, 'K', LIST("1", "2", SECRET)), "no relation message"},
      {frame_row('I', TABLE, 'N', LIST("1", SECRET)),
       "byte 6 of 34: 2 values for the 3 columns of the table with OID 7"},
      {frame_row('I', TABLE, 'N', LIST("1", "2", "3", SECRET)), "4 values for the 3 columns"},
      {frame_row('I', TABLE, 'N', LIST(NULL)), "0 values for the 3 columns"},
      {frame_row('I', TABLE, 'K', LIST("1", "2", SECRET)), "byte 5 of 40: expected one of \"N\""},
      {frame_row('I', TABLE, '\0', LIST("1", "2", SECRET)), "expected one of \"N\""},
      {frame_row('U', TABLE, 'X', LIST("1", "2", SECRET)), "expected one of \"KON\""},
      {frame_row('U', TABLE, 'K', LIST("1", "2", SECRET)), "ends too early"},
      {frame_row('D', TABLE, 'N', LIST("1", "2", SECRET)), "expected one of \"KO\""},
      {truncate_frame(3, 2), "byte 1 of 14: 3 tables do not fit"},
      {truncate_frame(1, 2), "4 bytes behind the end"},
      {truncate_frame(0xffffffff, 2), "4294967295 tables do not fit"},
      {with_byte(truncate_frame(2, 2), 13, 9), "byte 10 of 14: no relation message has described the table with OID 9"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct stream s = open_transaction();
    refused(&s, cases[i].frame, cases[i].words);
    close_stream(&s);
  }
}

static void what_belongs_into_a_transaction_is_refused_outside(void **state) {
  (void)state;
  const struct {
    struct frame frame;
    const char *words;
  } cases[] = {
      {frame_commit(0, 0x100, 0x130, 0), "not between a begin and a commit"},
      {insert_frame(), "not between a begin and a commit"},
      {update_frame(0), "not between a begin and a commit"},
      {delete_frame('K'), "not between a begin and a commit"},
      {truncate_frame(1, 1), "not between a begin and a commit"},
      {origin_frame(), "not between a begin and a commit"},
      {frame_message(1, 0x90, "p", SECRET), "a transactional message outside of a transaction"},
      {frame_begin(0, 0, 1), "the commit LSN is 0/0"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct stream s = open_transaction();
    must(&s, frame_commit(0, 0x100, 0x130, 0), CHANGE_COMMIT);
    refused(&s, cases[i].frame, cases[i].words);
    close_stream(&s);
  }
}

static void messages_of_unwanted_options_are_refused_by_name(void **state) {
  (void)state;
  const struct {
    char letter;
    const char *words;
  } cases[] = {
      {'S', "the option streaming on"},
      {'E', "the option streaming on"},
      {'c', "the option streaming on"},
      {'A', "the option streaming on"},
      {'b', "the option two_phase on"},
      {'P', "the option two_phase on"},
      {'K', "the option two_phase on"},
      {'r', "the option two_phase on"},
      {'p', "the options streaming and two_phase on"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct stream s = open_stream();
    refused(&s, frame_of(cases[i].letter), cases[i].words);
    assert_true(s.err.remedy[0] != '\0');
    close_stream(&s);
  }
}

static void every_other_letter_is_refused(void **state) {
  (void)state;
  for (int letter = 0; letter < 256; letter++) {
    if (letter != 0 && strchr("BCORYIUDTMSEcAbPKrp", letter) != NULL)
      continue;
    struct stream s = open_stream();
    assert_false(feed(&s, frame_of((char)letter)));
    assert_int_equal(s.err.kind, ERROR_FATAL);
    assert_non_null(strstr(s.err.message, "unknown message"));
    close_stream(&s);
  }
}

static void an_empty_frame_is_refused(void **state) {
  (void)state;
  struct stream s = open_stream();
  assert_false(feed_bytes(&s, "", 0));
  assert_int_equal(s.err.kind, ERROR_FATAL);
  close_stream(&s);
}

/* One valid frame of each message. Those that belong into a transaction expect that of open_transaction. */
struct sample {
  bool inside;
  struct frame frame;
};

static size_t all_samples(struct sample *samples, size_t room) {
  const struct sample all[] = {
      {false, frame_begin(0x100, 1, 1)},
      {false, frame_message(0, 0x90, "walferry", SECRET)},
      {true, frame_commit(0, 0x100, 0x130, 1)},
      {true, origin_frame()},
      {true, type_frame()},
      {true, frame_relation(TABLE, "public", "outbox", LIST("id", "payload", "note"))},
      {true, insert_frame()},
      {true, update_frame(0)},
      {true, update_frame('K')},
      {true, update_frame('O')},
      {true, delete_frame('K')},
      {true, delete_frame('O')},
      {true, truncate_frame(2, 2)},
      {true, frame_message(1, 0x90, "walferry", SECRET)},
  };
  size_t count = sizeof all / sizeof all[0];
  assert_true(count <= room);
  memcpy(samples, all, sizeof all);
  return count;
}

static void every_truncation_of_every_message_is_refused(void **state) {
  (void)state;
  struct sample samples[20];
  size_t count = all_samples(samples, 20);
  for (size_t i = 0; i < count; i++) {
    for (size_t len = 1; len < samples[i].frame.len; len++) {
      struct stream s = samples[i].inside ? open_transaction() : open_stream();
      struct frame cut = samples[i].frame;
      cut.len = len;
      refused(&s, cut, ""); /* also sees to it that the error names the message and tells nothing of the row */
      close_stream(&s);
    }
  }
}

static void bytes_behind_every_message_are_refused(void **state) {
  (void)state;
  struct sample samples[20];
  size_t count = all_samples(samples, 20);
  for (size_t i = 0; i < count; i++) {
    struct stream s = samples[i].inside ? open_transaction() : open_stream();
    struct frame longer = samples[i].frame;
    put(&longer, 0, 1);
    refused(&s, longer, "1 bytes behind the end");
    close_stream(&s);
  }
}

static void any_changed_byte_is_survived(void **state) {
  (void)state;
  static const int bytes[] = {0x00, 0x01, 0x7f, 0x80, 0xff, 'n', 't'};
  struct sample samples[20];
  size_t count = all_samples(samples, 20);
  for (size_t i = 0; i < count; i++) {
    for (size_t at = 0; at < samples[i].frame.len; at++) {
      for (size_t b = 0; b < sizeof bytes / sizeof bytes[0]; b++) {
        struct stream s = samples[i].inside ? open_transaction() : open_stream();
        if (!feed(&s, with_byte(samples[i].frame, at, bytes[b])))
          assert_int_equal(s.err.kind, ERROR_FATAL);
        assert_null(strstr(s.err.message, SECRET));
        close_stream(&s);
      }
    }
  }
}

static void a_refusal_leaves_the_change_alone_and_the_decoder_useless(void **state) {
  (void)state;
  struct stream s = open_transaction();
  insert_into(&s, LIST("1", "2", "3"));
  struct change before = s.change;
  refused(&s, frame_begin(0x200, 0, 2), "a begin inside");
  assert_memory_equal(&s.change, &before, sizeof before);
  assert_false(feed(&s, insert_frame()));
  assert_int_equal(s.err.kind, ERROR_FATAL);
  close_stream(&s);
}

static void an_error_may_be_unwanted(void **state) {
  (void)state;
  struct stream s = open_stream();
  struct change change;
  char frame[] = "S";
  assert_false(decoder_decode(s.dec, (struct span){.data = frame, .len = 1}, &change, NULL));
  close_stream(&s);
}

static void only_known_plugins_are_found(void **state) {
  (void)state;
  assert_string_equal(decoder_class_find("pgoutput")->plugin, "pgoutput");
  static const char *const unknown[] = {"", "PGOUTPUT", "pgoutput ", "test_decoding"};
  for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
    assert_null(decoder_class_find(unknown[i]));
  decoder_free(NULL);
}

static void its_options_name_the_publication_and_ask_for_messages(void **state) {
  (void)state;
  struct decoder_options options;
  decoder_options_init(&options, decoder_class_find("pgoutput"), "Shop pub");
  static const char *const expected[] = {"proto_version", "1", "publication_names", "\"Shop pub\"", "messages", "true"};
  assert_int_equal(options.count, 3);
  for (int i = 0; i < 6; i++)
    assert_string_equal(options.texts[i], expected[i]);
  decoder_options_free(&options);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(its_options_name_the_publication_and_ask_for_messages),
      cmocka_unit_test(a_begin_yields_lsn_time_and_xid),
      cmocka_unit_test(a_commit_yields_both_lsns_and_the_time),
      cmocka_unit_test(the_time_of_a_commit_must_fit),
      cmocka_unit_test(null_unchanged_and_empty_are_three_things),
      cmocka_unit_test(an_insert_yields_its_relation_and_texts),
      cmocka_unit_test(a_text_may_hold_any_byte),
      cmocka_unit_test(a_table_without_columns_takes_inserts),
      cmocka_unit_test(messages_carry_flag_lsn_prefix_and_content),
      cmocka_unit_test(what_an_outbox_does_not_need_yields_nothing),
      cmocka_unit_test(a_relation_is_replaced_by_its_next_description),
      cmocka_unit_test(a_serial_is_kept_while_nothing_is_described_anew),
      cmocka_unit_test(many_tables_are_told_apart),
      cmocka_unit_test(impossible_bytes_inside_a_transaction_are_refused),
      cmocka_unit_test(what_belongs_into_a_transaction_is_refused_outside),
      cmocka_unit_test(messages_of_unwanted_options_are_refused_by_name),
      cmocka_unit_test(every_other_letter_is_refused),
      cmocka_unit_test(an_empty_frame_is_refused),
      cmocka_unit_test(every_truncation_of_every_message_is_refused),
      cmocka_unit_test(bytes_behind_every_message_are_refused),
      cmocka_unit_test(any_changed_byte_is_survived),
      cmocka_unit_test(a_refusal_leaves_the_change_alone_and_the_decoder_useless),
      cmocka_unit_test(an_error_may_be_unwanted),
      cmocka_unit_test(only_known_plugins_are_found),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
