/* bridge/relay/intake.h: sequences of changes in, segments out, written as text: "commit/xid: ids, next index, end".
 * A quarantined record has a ! behind its id. */
#include "tests/unit/relay/relay_fixture.h"

#include "bridge/base/log.h"
#include "bridge/base/memory.h"
#include "bridge/relay/intake.h"

static char column_names[][16] = {"id", "type", "aggregateid", "aggregatetype", "payload"};
static struct column outbox_columns[] = {{column_names[0], 2950},
                                         {column_names[1], 25},
                                         {column_names[2], 25},
                                         {column_names[3], 25},
                                         {column_names[4], 3802}};

struct feed {
  struct table_spec tables[2];
  struct router *router;
  struct intake_rules rules;
  struct position from;
  struct intake *intake;
  struct relation outbox, audit, second;
  struct error err;
  struct buffer text;
};

static const char *const prefixes[] = {"walferry", "other_app"};

static int setup(void **state) {
  struct feed *f = calloc(1, sizeof *f);
  static char names[][8] = {"public", "outbox", "sales", "audit"};
  f->tables[0] = (struct table_spec){.schema = names[0], .table = names[1]};
  f->tables[1] = (struct table_spec){.schema = names[2], .table = names[1]};
  struct route_spec route = {.type = "*", .topic = "${aggregate}.events"};
  f->router = router_new(&route, 1, NULL);
  f->rules = (struct intake_rules){.tables = f->tables,
                                   .table_count = 2,
                                   .prefixes = prefixes,
                                   .prefix_count = 2,
                                   .record = {.instance = "shop",
                                              .layout = ENVELOPE_STANDARD,
                                              .router = f->router,
                                              .quarantine_topic = "shop.quarantine"},
                                   .segment_bytes = 1 << 20};
  f->outbox = (struct relation){
      .oid = 1, .serial = 1, .schema = names[0], .table = names[1], .column_count = 5, .columns = outbox_columns};
  f->audit = (struct relation){
      .oid = 2, .serial = 2, .schema = names[0], .table = names[3], .column_count = 5, .columns = outbox_columns};
  f->second = (struct relation){
      .oid = 3, .serial = 3, .schema = names[2], .table = names[1], .column_count = 5, .columns = outbox_columns};
  position_init(&f->from);
  f->from.state = POSITION_SET;
  f->from.complete = true;
  buffer_init(&f->text, 1 << 20);
  log_setup(LOG_ERROR, LOG_TEXT);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct feed *f = *state;
  intake_free(f->intake);
  position_clear(&f->from);
  router_free(f->router);
  buffer_free(&f->text);
  free(f);
  return 0;
}

/* A new generation from f->from. */
static void start(struct feed *f, bool expect_last) {
  intake_free(f->intake);
  f->intake = intake_new(&f->rules, &f->from, expect_last);
}

/* The last covered transaction: commit 0x1000, end 0x1100, xid 70. */
static void start_behind_last(struct feed *f, bool expect_last) {
  f->from.commit_lsn = 0x1000;
  f->from.end_lsn = 0x1100;
  f->from.xid = 70;
  f->from.commit_time_us = 7000;
  start(f, expect_last);
}

static bool give(struct feed *f, const struct change *change) {
  error_clear(&f->err);
  return intake_change(f->intake, change, &f->err);
}

static bool begin(struct feed *f, lsn_t commit_lsn, uint32_t xid) {
  struct change c = {.kind = CHANGE_BEGIN,
                     .begin = {.commit_lsn = commit_lsn, .commit_time_us = 100 * (int64_t)xid, .xid = xid}};
  return give(f, &c);
}

static struct slice of(const char *text) {
  return slice_of(text);
}

static bool insert_row(struct feed *f, const struct relation *relation, const char *id, const char *key) {
  struct value values[5] = {{id == NULL ? VALUE_NULL : VALUE_TEXT, of(id)},
                            {VALUE_TEXT, of("Reserved")},
                            {key == NULL ? VALUE_NULL : VALUE_TEXT, of(key)},
                            {VALUE_TEXT, of("Rental")},
                            {VALUE_TEXT, of("{}")}};
  struct change c = {.kind = CHANGE_INSERT, .insert = {.relation = relation, .values = values}};
  return give(f, &c);
}

static bool insert(struct feed *f, const char *id) {
  return insert_row(f, &f->outbox, id, "k");
}

static bool message(struct feed *f, bool transactional, const char *prefix, const char *content) {
  struct change c = {
      .kind = CHANGE_MESSAGE,
      .message = {.transactional = transactional, .prefix = slice_of(prefix), .content = slice_of(content)}};
  return give(f, &c);
}

static bool commit(struct feed *f, lsn_t commit_lsn, lsn_t end_lsn) {
  struct change c = {.kind = CHANGE_COMMIT, .commit = {.commit_lsn = commit_lsn, .end_lsn = end_lsn}};
  return give(f, &c);
}

/* Takes all segments that are ready, as text. Borrowed until the next call. */
static const char *segments(struct feed *f) {
  buffer_clear(&f->text);
  struct segment *s;
  while ((s = intake_next_segment(f->intake)) != NULL) {
    assert_null(s->next);
    buffer_printf(&f->text, "%s%s/%u:", s->covered ? "covered " : "", lsn_format(s->commit_lsn).text, s->xid);
    int count = 0;
    for (const struct record *r = s->first; r != NULL; r = r->next) {
      buffer_printf(&f->text, " %.*s%s", SLICE_ARG(r->id), r->quarantined ? "!" : "");
      assert_lsn(r->commit_lsn, s->commit_lsn);
      assert_int_equal(r->xid, s->xid);
      assert_string_equal(r->topic, r->quarantined ? "shop.quarantine" : "Rental.events");
      count++;
    }
    assert_int_equal(count, s->count);
    buffer_printf(&f->text, " next %d", (int)s->next_index);
    if (s->ends)
      buffer_printf(&f->text, " end %s", lsn_format(s->end_lsn).text);
    buffer_append_char(&f->text, '\n');
    segment_free(s);
  }
  buffer_append_char(&f->text, '\0');
  return f->text.data;
}

static lsn_t idle(struct feed *f, lsn_t wal_end) {
  lsn_t idle_end = 1;
  error_clear(&f->err);
  if (!intake_keepalive(f->intake, wal_end, &idle_end, &f->err))
    fail_msg("%s", f->err.message);
  return idle_end;
}

static void rows_of_a_transaction_are_rolled_into_one_segment(void **state) {
  struct feed *f = *state;
  start(f, false);
  assert_true(begin(f, 0x200, 5));
  assert_true(insert(f, "a"));
  assert_true(insert_row(f, &f->second, "b", "k"));
  assert_true(insert(f, "c"));
  assert_string_equal(segments(f), ""); /* not before its commit */
  assert_lsn(intake_last_end(f->intake), 0);
  assert_true(commit(f, 0x200, 0x240));
  assert_lsn(intake_last_end(f->intake), 0x240);
  assert_lsn(intake_decoded_to(f->intake), 0x240);
  assert_true(begin(f, 0x240, 6)); /* starts where the last one ended */
  assert_true(insert(f, "d"));
  assert_true(commit(f, 0x240, 0x280));
  assert_string_equal(segments(f), "0/200/5: a b c next 3 end 0/240\n0/240/6: d next 1 end 0/280\n");
  assert_null(intake_next_segment(f->intake));
}

static void changes_of_no_interest_are_passed_over(void **state) {
  struct feed *f = *state;
  start(f, false);
  struct change none = {.kind = CHANGE_NONE};
  struct change unknown = {.kind = (enum change_kind)99};
  assert_true(give(f, &none));
  assert_true(begin(f, 0x200, 5));
  assert_true(give(f, &none));
  assert_true(insert_row(f, &f->audit, "x", "k")); /* a table of the publication that is not ours */
  assert_true(insert(f, "a"));
  assert_true(insert_row(f, &f->audit, NULL, NULL));
  assert_true(insert(f, "b"));
  assert_true(commit(f, 0x200, 0x240));
  assert_string_equal(segments(f), "0/200/5: a b next 2 end 0/240\n");
  assert_false(give(f, &unknown));
  assert_int_equal(f->err.kind, ERROR_FATAL);
}

/* The next index of a split transaction counts what the filter passes over, so that any run can go on with it. */
static void what_a_filter_passes_over_is_counted(void **state) {
  struct feed *f = *state;
  static const char *const none[] = {"Paid", "Can*"}, *const one[] = {"Paid", "Res*"};
  f->rules.filter = (struct intake_filter){.types = none, .type_count = 2};
  f->rules.segment_bytes = 1;
  start(f, false);
  assert_true(begin(f, 0x200, 5));
  assert_true(insert(f, "a"));
  assert_true(commit(f, 0x200, 0x240));
  assert_string_equal(segments(f), "0/200/5: next 1 end 0/240\n");
  f->rules.filter.types = one;
  assert_true(begin(f, 0x300, 6));
  assert_true(insert(f, "b"));
  f->rules.filter.types = none;
  assert_true(insert(f, "c"));
  f->rules.filter.types = one;
  assert_true(insert(f, "d"));
  assert_string_equal(segments(f), "0/300/6: b next 1\n0/300/6: d next 3\n");
  assert_true(commit(f, 0x300, 0x340));
}

static void bounds_in_time_are_inclusive(void **state) {
  struct feed *f = *state;
  f->rules.filter = (struct intake_filter){.from_us = 600, .to_us = 700}; /* 100 us for each xid */
  start(f, false);
  for (uint32_t xid = 5; xid <= 8; xid++) {
    assert_true(begin(f, 0x100 * xid, xid));
    assert_true(insert(f, "a"));
    assert_true(commit(f, 0x100 * xid, 0x100 * xid + 0x10));
  }
  assert_string_equal(segments(f), "0/500/5: next 1 end 0/510\n0/600/6: a next 1 end 0/610\n"
                                   "0/700/7: a next 1 end 0/710\n0/800/8: next 1 end 0/810\n");
}

#define CONTENT(id) "{\"id\":\"" id "\",\"type\":\"Reserved\",\"aggregate\":\"Rental\",\"key\":\"k\",\"payload\":{}}"

/* public.audit is a partition of public.outbox when it is asked first and second, then it is none, then it is gone. */
static bool find_audit(void *ctx, const struct relation *relation, lsn_t commit_lsn, uint32_t xid, int *table,
                       struct error *err) {
  int *asked = ctx;
  assert_lsn(commit_lsn, 0x200);
  assert_int_equal(xid, 5);
  assert_string_equal(relation->table, "audit");
  if (++*asked == 4)
    return error_refuse(err, "partition_unknown", "gone");
  *table = *asked == 3 ? -1 : 0;
  return true;
}

static void rows_of_a_partition_are_those_of_its_table(void **state) {
  struct feed *f = *state;
  start(f, false);
  int asked = 0;
  intake_set_resolver(f->intake, (struct intake_resolver){.find = find_audit, .ctx = &asked});
  assert_true(begin(f, 0x200, 5));
  assert_true(insert(f, "a"));
  assert_int_equal(asked, 0); /* the config names it */
  assert_true(insert_row(f, &f->audit, "b", "k"));
  assert_true(insert_row(f, &f->audit, "c", "k"));
  assert_int_equal(asked, 1); /* not for every row of a run */
  assert_true(insert(f, "d"));
  assert_true(insert_row(f, &f->audit, "e", "k"));
  assert_true(insert(f, "f"));
  assert_true(insert_row(f, &f->audit, "none", "k"));
  assert_false(insert_row(f, &f->audit, "gone", "k"));
  assert_int_equal(f->err.kind, ERROR_REFUSED);
  assert_true(commit(f, 0x200, 0x240));
  struct segment *s = intake_next_segment(f->intake);
  assert_int_equal(s->count, 6);
  uint64_t hash = s->hash;
  segment_free(s);

  start(f, false); /* under the table's own name they count and hash alike */
  assert_true(begin(f, 0x200, 5));
  static const char *const ids[] = {"a", "b", "c", "d", "e", "f"};
  for (size_t i = 0; i < COUNT_OF(ids); i++)
    assert_true(insert(f, ids[i]));
  assert_true(commit(f, 0x200, 0x240));
  s = intake_next_segment(f->intake);
  assert_true(s->hash == hash);
  segment_free(s);
}

static void only_transactional_messages_of_our_prefixes_are_taken(void **state) {
  struct feed *f = *state;
  start(f, false);
  assert_true(message(f, false, "walferry", CONTENT("outside")));
  assert_true(begin(f, 0x200, 5));
  assert_true(message(f, true, "walferry", CONTENT("a")));
  assert_true(message(f, false, "walferry", CONTENT("not-transactional")));
  assert_true(message(f, true, "walferr", CONTENT("shorter")));
  assert_true(message(f, true, "walferryy", CONTENT("longer")));
  assert_true(message(f, true, "", CONTENT("none")));
  assert_true(insert(f, "b"));
  assert_true(message(f, true, "other_app", CONTENT("c")));
  assert_true(commit(f, 0x200, 0x240));
  assert_string_equal(segments(f), "0/200/5: a b c next 3 end 0/240\n");
}

static void empty_transactions_are_idle_progress_only(void **state) {
  struct feed *f = *state;
  start(f, false);
  assert_true(begin(f, 0x200, 5));
  assert_true(commit(f, 0x200, 0x240));
  assert_true(begin(f, 0x300, 6));
  assert_true(insert_row(f, &f->audit, "x", "k"));
  assert_true(message(f, true, "nobody", "hello"));
  assert_true(commit(f, 0x300, 0x340));
  assert_string_equal(segments(f), "");
  assert_lsn(intake_last_end(f->intake), 0);
  assert_lsn(intake_decoded_to(f->intake), 0x340);
  assert_lsn(idle(f, 0x330), 0x340);
}

static void covered_transaction_is_skipped(void **state) {
  struct feed *f = *state;
  start_behind_last(f, true);
  assert_true(begin(f, 0x900, 69));
  assert_true(insert(f, "earlier"));
  assert_true(insert_row(f, &f->outbox, NULL, NULL)); /* not even looked at */
  assert_true(message(f, true, "walferry", "broken"));
  assert_true(commit(f, 0x900, 0x940));
  assert_true(begin(f, 0x1000, 70));
  assert_true(insert(f, "last"));
  assert_true(commit(f, 0x1000, 0x1100));
  assert_true(begin(f, 0x1100, 71)); /* at the end of the last one: new */
  assert_true(insert(f, "new"));
  assert_true(commit(f, 0x1100, 0x1200));
  assert_string_equal(segments(f), "0/1100/71: new next 1 end 0/1200\n");
  assert_lsn(intake_last_end(f->intake), 0x1200);
}

static void rows_of_a_work_list_are_counted_from_where_they_go_on(void **state) {
  struct feed *f = *state;
  start(f, false);
  struct change c = {.kind = CHANGE_BEGIN, .begin = {.commit_lsn = 0x2000, .first_index = 40}};
  assert_true(give(f, &c) && insert(f, "a") && insert(f, "b"));
  assert_null(intake_next_segment(f->intake));
  intake_cut(f->intake);
  struct segment *s = intake_next_segment(f->intake);
  assert_non_null(s);
  assert_false(s->ends);
  assert_int_equal(s->first->index, 40);
  assert_int_equal(s->next_index, 42);
  assert_lsn(s->commit_lsn, 0x2000);
  segment_free(s);
  intake_cut(f->intake); /* nothing is open */
  assert_null(intake_next_segment(f->intake));
}

static void large_transaction_is_cut_at_segment_bytes(void **state) {
  struct feed *f = *state;
  f->rules.segment_bytes = 1; /* each record fills one */
  start(f, false);
  assert_true(begin(f, 0x200, 5));
  assert_true(insert(f, "a"));
  assert_string_equal(segments(f), "0/200/5: a next 1\n");
  assert_true(insert(f, "b"));
  assert_true(insert(f, "c"));
  assert_lsn(intake_last_end(f->intake), 0);
  assert_true(commit(f, 0x200, 0x240));
  assert_string_equal(segments(f), "0/200/5: b next 2\n0/200/5: c next 3\n0/200/5: next 3 end 0/240\n");
}

static void segment_is_closed_by_the_record_that_reaches_the_bound(void **state) {
  struct feed *f = *state;
  start(f, false);
  assert_true(begin(f, 0x200, 5));
  assert_true(insert(f, "a"));
  assert_true(commit(f, 0x200, 0x240));
  struct segment *one = intake_next_segment(f->intake);
  f->rules.segment_bytes = one->bytes + 1;
  segment_free(one);
  start(f, false);
  assert_true(begin(f, 0x200, 5));
  for (int i = 0; i < 5; i++)
    assert_true(insert(f, "a"));
  assert_true(commit(f, 0x200, 0x240));
  assert_string_equal(segments(f), "0/200/5: a a next 2\n0/200/5: a a next 4\n0/200/5: a next 5 end 0/240\n");
}

/* Feeds rows a, b, c of transaction 0x2000 and makes f->from the position behind the first `published` of them. */
static void split_behind(struct feed *f, int published) {
  static const char *const ids[] = {"a", "b", "c"};
  f->rules.segment_bytes = 1;
  f->from = (struct position){.state = POSITION_SET, .complete = true};
  start(f, false);
  assert_true(begin(f, 0x2000, 80));
  for (int i = 0; i < 3; i++)
    assert_true(insert(f, ids[i]));
  for (int i = 0; i < published; i++) {
    struct segment *s = intake_next_segment(f->intake);
    f->from.commit_lsn = s->commit_lsn;
    f->from.xid = s->xid;
    f->from.commit_time_us = s->commit_time_us;
    f->from.next_index = s->next_index;
    f->from.hash = s->hash;
    f->from.complete = false;
    segment_free(s);
  }
  f->from.end_lsn = 0x1100;
  f->rules.segment_bytes = 1 << 20;
  start(f, true);
}

static void split_transaction_is_resumed_behind_what_was_published(void **state) {
  struct feed *f = *state;
  split_behind(f, 2);
  assert_true(begin(f, 0x900, 69)); /* before the split one: covered */
  assert_true(insert(f, "earlier"));
  assert_true(commit(f, 0x900, 0x940));
  assert_lsn(idle(f, 0x1100), 0); /* nothing before it came again */
  assert_true(begin(f, 0x2000, 80));
  assert_true(insert(f, "a"));
  assert_true(insert_row(f, &f->audit, "x", "k"));
  assert_true(insert(f, "b"));
  assert_true(insert(f, "c"));
  assert_true(insert(f, "d"));
  assert_true(commit(f, 0x2000, 0x2100));
  assert_string_equal(segments(f), "0/2000/80: c d next 4 end 0/2100\n");
  assert_lsn(idle(f, 0x2200), 0x2200);
}

static void hash_of_a_resumed_transaction_is_that_of_the_whole(void **state) {
  struct feed *f = *state;
  f->rules.segment_bytes = 1;
  start(f, false);
  assert_true(begin(f, 0x2000, 80));
  assert_true(insert(f, "a") && insert(f, "b") && insert(f, "c"));
  segment_free(intake_next_segment(f->intake));
  segment_free(intake_next_segment(f->intake));
  struct segment *third = intake_next_segment(f->intake);
  uint64_t hash = third->hash;
  segment_free(third);
  split_behind(f, 1);
  f->rules.segment_bytes = 1;
  assert_true(begin(f, 0x2000, 80));
  assert_true(insert(f, "a") && insert(f, "b") && insert(f, "c"));
  segment_free(intake_next_segment(f->intake));
  third = intake_next_segment(f->intake);
  assert_int_equal(third->next_index, 3);
  assert_true(third->hash == hash);
  segment_free(third);
}

static void resumed_transaction_with_only_its_commit_left_is_ended(void **state) {
  struct feed *f = *state;
  split_behind(f, 3);
  assert_true(begin(f, 0x2000, 80));
  assert_true(insert(f, "a") && insert(f, "b") && insert(f, "c"));
  assert_string_equal(segments(f), "");
  assert_true(commit(f, 0x2000, 0x2100));
  struct segment *s = intake_next_segment(f->intake);
  assert_non_null(s);
  assert_int_equal(s->count, 0);
  assert_int_equal(s->next_index, 3);
  assert_true(s->hash == f->from.hash);
  assert_true(s->ends);
  assert_lsn(s->end_lsn, 0x2100);
  assert_false(segment_is_idle(s));
  segment_free(s);
}

static void transaction_behind_a_resumed_one_is_taken_whole(void **state) {
  struct feed *f = *state;
  split_behind(f, 2);
  assert_true(begin(f, 0x2000, 80));
  assert_true(insert(f, "a") && insert(f, "b") && insert(f, "c"));
  assert_true(commit(f, 0x2000, 0x2100));
  assert_true(begin(f, 0x2100, 81));
  assert_true(insert(f, "other") && insert(f, "rows"));
  assert_true(commit(f, 0x2100, 0x2200));
  assert_string_equal(segments(f), "0/2000/80: c next 3 end 0/2100\n0/2100/81: other rows next 2 end 0/2200\n");
}

static void resumed_transaction_with_other_rows_is_refused(void **state) {
  struct feed *f = *state;
  static const char *const cases[][3] = {{"a", "x", "c"}, {"x", "b", "c"},  {"b", "a", "c"},
                                         {"a", "", "c"},  {"a", NULL, "c"}, {"a", "b ", NULL}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    split_behind(f, 2);
    assert_true(begin(f, 0x2000, 80));
    assert_true(insert(f, cases[i][0]));
    assert_false(insert(f, cases[i][1]));
    expect_refusal("other rows", &f->err, "resume_mismatch");
    assert_string_equal(segments(f), "");
  }
}

static void resumed_row_from_another_table_is_refused(void **state) {
  struct feed *f = *state;
  split_behind(f, 2);
  assert_true(begin(f, 0x2000, 80));
  assert_true(insert(f, "a"));
  assert_false(insert_row(f, &f->second, "b", "k"));
  expect_refusal("other table", &f->err, "resume_mismatch");
}

static void resumed_transaction_that_is_shorter_is_refused(void **state) {
  struct feed *f = *state;
  for (int rows = 0; rows < 2; rows++) {
    split_behind(f, 2);
    assert_true(begin(f, 0x2000, 80));
    for (int i = 0; i < rows; i++)
      assert_true(insert(f, "a"));
    assert_false(commit(f, 0x2000, 0x2100));
    expect_refusal("shorter", &f->err, "resume_mismatch");
    assert_string_equal(segments(f), "");
  }
}

static void rolled_back_database_is_refused(void **state) {
  struct feed *f = *state;
  start_behind_last(f, true);
  assert_false(begin(f, 0x1001, 71));
  assert_non_null(strstr(f->err.message, "0/1001"));
  expect_refusal("a later one first", &f->err, "history_rewritten");

  start_behind_last(f, true);
  assert_true(begin(f, 0x900, 69));
  assert_true(commit(f, 0x900, 0x940));
  assert_false(begin(f, UINT64_C(0xFFFFFFFFFFFFFFFF), 71));
  assert_non_null(strstr(f->err.message, "FFFFFFFF/FFFFFFFF"));
  expect_refusal("a later one behind an earlier one", &f->err, "history_rewritten");

  start_behind_last(f, true);
  assert_false(begin(f, 0x1000, 72));
  expect_refusal("the same commit LSN, another xid", &f->err, "history_rewritten");

  start_behind_last(f, true);
  f->from.commit_time_us = 7001;
  start(f, true);
  assert_false(begin(f, 0x1000, 70));
  expect_refusal("the same commit LSN and xid, another time", &f->err, "history_rewritten");

  start_behind_last(f, true);
  f->from.xid = 69;
  start(f, true);
  assert_false(begin(f, 0x1000, 70));
  expect_refusal("the same commit LSN and time, another xid", &f->err, "history_rewritten");

  start_behind_last(f, false); /* checked even where it need not come */
  assert_false(begin(f, 0x1000, 72));
  expect_refusal("not expected, another xid", &f->err, "history_rewritten");

  split_behind(f, 2);
  assert_false(begin(f, 0x2000, 81));
  expect_refusal("split, another xid", &f->err, "history_rewritten");

  split_behind(f, 2);
  assert_false(begin(f, 0x2100, 81));
  expect_refusal("split, a later one first", &f->err, "history_rewritten");
}

static void keepalive_past_a_transaction_that_did_not_come_again_is_refused(void **state) {
  struct feed *f = *state;
  start_behind_last(f, true);
  assert_lsn(idle(f, 0x900), 0);
  assert_lsn(idle(f, 0x1000), 0);
  lsn_t idle_end = 1;
  assert_false(intake_keepalive(f->intake, 0x1001, &idle_end, &f->err));
  assert_lsn(idle_end, 0);
  expect_refusal("keepalive", &f->err, "history_rewritten");
}

static void later_transaction_is_taken_where_none_is_expected(void **state) {
  struct feed *f = *state;
  start_behind_last(f, false);
  assert_true(begin(f, 0x1300, 71));
  assert_true(insert(f, "a"));
  assert_true(commit(f, 0x1300, 0x1340));
  assert_string_equal(segments(f), "0/1300/71: a next 1 end 0/1340\n");
}

static void idle_progress_follows_keepalives(void **state) {
  struct feed *f = *state;
  f->from.idle_end_lsn = 0x1800;
  start_behind_last(f, false);
  assert_lsn(idle(f, 0x1700), 0); /* what the position already has */
  assert_lsn(idle(f, 0x1800), 0x1800);
  assert_lsn(idle(f, 0x1900), 0x1900);
  assert_lsn(idle(f, 0x1850), 0x1900); /* never back */
  assert_true(begin(f, 0x1A00, 71));
  assert_lsn(idle(f, 0x1A00), 0); /* says nothing about the open transaction */
  assert_true(insert(f, "a"));
  assert_lsn(idle(f, 0x1B00), 0);
  assert_true(commit(f, 0x1A00, 0x1A40));
  assert_lsn(intake_decoded_to(f->intake), 0x1A40); /* a keepalive inside counted for nothing */
  assert_lsn(idle(f, 0x1A00), 0x1A40);
  assert_lsn(idle(f, 0x1B00), 0x1B00);
  assert_string_equal(segments(f), "0/1A00/71: a next 1 end 0/1A40\n");
}

static void no_idle_progress_before_the_expected_transaction_came(void **state) {
  struct feed *f = *state;
  start_behind_last(f, true);
  assert_lsn(idle(f, 0x800), 0);
  assert_true(begin(f, 0x900, 69));
  assert_lsn(idle(f, 0x900), 0);
  assert_true(commit(f, 0x900, 0x940));
  assert_lsn(idle(f, 0x940), 0);
  assert_true(begin(f, 0x1000, 70));
  assert_lsn(idle(f, 0x1000), 0);
  assert_true(commit(f, 0x1000, 0x1100));
  assert_lsn(idle(f, 0x1100), 0x1100);
  assert_string_equal(segments(f), "");
}

static void invalid_rows_are_quarantined_in_their_place(void **state) {
  struct feed *f = *state;
  log_set_level(LOG_ERROR);
  start(f, false);
  assert_true(begin(f, 0x200, 5));
  assert_true(insert(f, "a"));
  assert_true(insert_row(f, &f->outbox, "b", NULL));
  assert_true(insert_row(f, &f->outbox, NULL, "k"));
  assert_true(message(f, true, "walferry", "no JSON"));
  assert_true(insert(f, "c"));
  assert_true(commit(f, 0x200, 0x240));
  assert_string_equal(segments(f), "0/200/5: a b! ! ! c next 5 end 0/240\n");
}

static void invalid_rows_stop_the_relay_where_it_is_told_so(void **state) {
  struct feed *f = *state;
  f->rules.stop_on_invalid = true;
  start(f, false);
  assert_true(begin(f, 0x200, 5));
  assert_true(insert(f, "a"));
  assert_false(insert_row(f, &f->outbox, "b-17", NULL));
  assert_non_null(strstr(f->err.message, "public.outbox id b-17 at 0/200 (xid 5, change 1): missing_key"));
  expect_refusal("row", &f->err, "row_invalid");

  start(f, false);
  assert_true(begin(f, 0x200, 5));
  assert_false(insert_row(f, &f->outbox, NULL, "k"));
  assert_non_null(strstr(f->err.message, "(none)"));
  expect_refusal("row without id", &f->err, "row_invalid");

  start(f, false);
  assert_true(begin(f, 0x200, 5));
  assert_false(message(f, true, "walferry", "no JSON"));
  assert_non_null(strstr(f->err.message, "walferry id (none) at 0/200"));
  expect_refusal("message", &f->err, "row_invalid");
}

static void invalid_row_that_was_published_does_not_stop_a_resumed_transaction(void **state) {
  struct feed *f = *state;
  f->rules.segment_bytes = 1;
  start(f, false);
  assert_true(begin(f, 0x2000, 80));
  assert_true(insert_row(f, &f->outbox, "bad", NULL));
  struct segment *s = intake_next_segment(f->intake);
  f->from = (struct position){.state = POSITION_SET,
                              .commit_lsn = 0x2000,
                              .xid = 80,
                              .commit_time_us = 8000,
                              .next_index = s->next_index,
                              .hash = s->hash};
  segment_free(s);
  f->rules.stop_on_invalid = true;
  start(f, true);
  assert_true(begin(f, 0x2000, 80));
  assert_true(insert_row(f, &f->outbox, "bad", NULL));
  assert_true(insert(f, "good"));
  assert_true(commit(f, 0x2000, 0x2100));
  assert_string_equal(segments(f), "0/2000/80: good next 2\n0/2000/80: next 2 end 0/2100\n");
}

static void columns_are_looked_up_again_when_the_table_changed(void **state) {
  struct feed *f = *state;
  start(f, false);
  assert_true(begin(f, 0x200, 5));
  assert_true(insert(f, "a"));
  struct relation changed = f->outbox;
  changed.serial = 10;
  changed.column_count = 4; /* without payload */
  assert_false(insert_row(f, &changed, "b", "k"));
  assert_non_null(strstr(f->err.message, "0/200"));
  expect_refusal("a required column is gone", &f->err, "column_missing");
  changed.serial = 11;
  struct column moved[5] = {outbox_columns[2], outbox_columns[1], outbox_columns[0], outbox_columns[3],
                            outbox_columns[4]};
  changed.columns = moved;
  changed.column_count = 5;
  assert_true(insert_row(f, &changed, "k", "c")); /* the id now stands third */
  assert_true(insert_row(f, &f->second, "d", "k"));
  assert_true(commit(f, 0x200, 0x240));
  assert_string_equal(segments(f), "0/200/5: a c d next 3 end 0/240\n");
}

static void row_whose_value_was_not_sent_is_fatal(void **state) {
  struct feed *f = *state;
  start(f, false);
  assert_true(begin(f, 0x200, 5));
  struct value values[5] = {{.kind = VALUE_UNCHANGED}};
  for (int i = 1; i < 5; i++)
    values[i] = (struct value){VALUE_TEXT, slice_of("x")};
  struct change c = {.kind = CHANGE_INSERT, .insert = {.relation = &f->outbox, .values = values}};
  assert_false(give(f, &c));
  assert_int_equal(f->err.kind, ERROR_FATAL);
  assert_non_null(strstr(f->err.message, "transaction 0/200: "));
}

static void messages_of_a_resumed_transaction_are_counted_too(void **state) {
  struct feed *f = *state;
  for (int other = 0; other < 2; other++) {
    f->rules.segment_bytes = 1;
    f->from = (struct position){.state = POSITION_SET, .complete = true};
    start(f, false);
    assert_true(begin(f, 0x2000, 80));
    assert_true(message(f, true, "walferry", CONTENT("a")));
    struct segment *s = intake_next_segment(f->intake);
    f->from = (struct position){.state = POSITION_SET,
                                .commit_lsn = 0x2000,
                                .xid = 80,
                                .commit_time_us = 8000,
                                .next_index = s->next_index,
                                .hash = s->hash};
    segment_free(s);
    start(f, true);
    assert_true(begin(f, 0x2000, 80));
    if (other) {
      assert_false(message(f, true, "other_app", CONTENT("a")));
      expect_refusal("another prefix", &f->err, "resume_mismatch");
      continue;
    }
    assert_true(message(f, true, "walferry", CONTENT("a")));
    assert_true(message(f, true, "walferry", CONTENT("b")));
    assert_string_equal(segments(f), "0/2000/80: b next 2\n");
  }
}

#define LETTER "{\"topic\":\"fleet.dlq\",\"id\":\"bDE=\",\"key\":null,\"headers\":[],\"value\":\"e30=\"}" /* l1 */

static void dead_letters_of_the_inbox_go_where_they_say(void **state) {
  struct feed *f = *state;
  f->rules.dead_letters = true;
  start(f, false);
  assert_true(begin(f, 0x200, 5));
  assert_true(insert(f, "a"));
  assert_true(message(f, false, "walferry.dead_letter", LETTER));
  assert_true(message(f, true, "walferry.dead_letter", LETTER));
  assert_true(message(f, true, "walferry.dead_letters", LETTER));
  assert_true(message(f, true, "walferry", LETTER)); /* what it is said by the prefix alone */
  assert_true(message(f, true, "walferry.dead_letter", CONTENT("an event")));
  assert_true(insert(f, "b"));
  assert_true(commit(f, 0x200, 0x240));
  static const struct {
    const char *topic, *id, *origin;
  } wanted[] = {{"Rental.events", "a", "public.outbox"},
                {"fleet.dlq", "l1", "walferry.dead_letter"},
                {"shop.quarantine", NULL, "walferry"},
                {"shop.quarantine", NULL, "walferry.dead_letter"},
                {"Rental.events", "b", "public.outbox"}};
  struct segment *s = intake_next_segment(f->intake);
  assert_int_equal(s->count, COUNT_OF(wanted));
  const struct record *r = s->first;
  for (size_t i = 0; i < COUNT_OF(wanted); i++, r = r->next) {
    assert_string_equal(r->topic, wanted[i].topic);
    assert_string_equal(r->origin, wanted[i].origin);
    assert_int_equal(r->index, i);
    assert_true(wanted[i].id == NULL || slice_is(r->id, wanted[i].id));
  }
  segment_free(s);
}

static void without_an_inbox_dead_letters_are_nobodys(void **state) {
  struct feed *f = *state;
  start(f, false);
  assert_true(begin(f, 0x200, 5));
  assert_true(message(f, true, "walferry.dead_letter", LETTER));
  assert_true(insert(f, "a"));
  assert_true(commit(f, 0x200, 0x240));
  assert_string_equal(segments(f), "0/200/5: a next 1 end 0/240\n");
}

static void what_claims_to_be_a_dead_letter_stops_the_relay_where_it_is_told_so(void **state) {
  struct feed *f = *state;
  f->rules.dead_letters = f->rules.stop_on_invalid = true;
  start(f, false);
  assert_true(begin(f, 0x200, 5));
  assert_true(message(f, true, "walferry.dead_letter", LETTER));
  assert_false(message(f, true, "walferry.dead_letter", "{}"));
  assert_non_null(
      strstr(f->err.message, "walferry.dead_letter id (none) at 0/200 (xid 5, change 1): message_not_json"));
  expect_refusal("letter", &f->err, "row_invalid");
}

static void dead_letters_are_the_last_of_the_prefixes(void **state) {
  struct feed *f = *state;
  static const char *const all[] = {"walferry", "other_app", "walferry.dead_letter"};
  uint64_t without = intake_fingerprint(&f->rules, "pgoutput");
  f->rules.dead_letters = true;
  uint64_t with = intake_fingerprint(&f->rules, "pgoutput");
  assert_true(with != without);
  f->rules.dead_letters = false;
  f->rules.prefixes = all;
  f->rules.prefix_count = 3;
  assert_true(intake_fingerprint(&f->rules, "pgoutput") == with);
}

static void what_was_not_handed_out_is_freed(void **state) {
  struct feed *f = *state;
  f->rules.segment_bytes = 2000;
  start(f, false);
  assert_true(begin(f, 0x200, 5));
  for (int i = 0; i < 20; i++)
    assert_true(insert(f, "a"));
  intake_free(f->intake);
  intake_free(NULL);
  f->intake = NULL;
}

static void fingerprint_tells_what_is_counted(void **state) {
  struct feed *f = *state;
  uint64_t same = intake_fingerprint(&f->rules, "pgoutput");
  assert_true(same == intake_fingerprint(&f->rules, "pgoutput"));
  assert_true(same != intake_fingerprint(&f->rules, "wal2json"));
  f->rules.prefix_count = 1;
  assert_true(same != intake_fingerprint(&f->rules, "pgoutput"));
  f->rules.prefix_count = 2;
  f->rules.table_count = 1;
  assert_true(same != intake_fingerprint(&f->rules, "pgoutput"));
  f->rules.segment_bytes++; /* what is not counted by */
  f->rules.stop_on_invalid = true;
  f->rules.table_count = 2;
  assert_true(same == intake_fingerprint(&f->rules, "pgoutput"));
}

static void fingerprint_tells_tables_from_prefixes(void **state) {
  struct feed *f = *state;
  static const char *const names[] = {"public", "outbox"};
  f->rules.table_count = 1;
  f->rules.prefix_count = 0;
  uint64_t table = intake_fingerprint(&f->rules, "pgoutput");
  f->rules.table_count = 0;
  f->rules.prefixes = names;
  f->rules.prefix_count = 2;
  assert_true(table != intake_fingerprint(&f->rules, "pgoutput"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Rows of public.outbox are deleted once they are published, those of sales.outbox are kept. */
static void hand_on_covered(struct feed *f) {
  f->tables[0].after_publish = AFTER_PUBLISH_DELETE;
  f->tables[1].after_publish = AFTER_PUBLISH_KEEP;
  intake_set_covered(f->intake, INTAKE_COVERED_HAND_ON);
}

static void covered_rows_are_handed_on_where_they_are_tidied(void **state) {
  struct feed *f = *state;
  start_behind_last(f, true);
  hand_on_covered(f);
  assert_true(begin(f, 0x900, 69));
  assert_true(insert(f, "a"));
  assert_true(insert_row(f, &f->second, "kept", "k"));
  assert_true(insert_row(f, &f->outbox, "quarantined", NULL)); /* as it was then */
  assert_true(message(f, true, "walferry", CONTENT("message")));
  assert_true(insert(f, "b"));
  assert_true(commit(f, 0x900, 0x940));
  assert_true(begin(f, 0x1000, 70));
  assert_true(insert_row(f, &f->second, "kept", "k"));
  assert_true(commit(f, 0x1000, 0x1100));
  assert_true(begin(f, 0x1200, 71));
  assert_true(insert(f, "new"));
  assert_true(commit(f, 0x1200, 0x1300));
  assert_string_equal(segments(f), "covered 0/900/69: a b next 0\n0/1200/71: new next 1 end 0/1300\n");
}

static void what_an_operator_passed_over_is_not_handed_on(void **state) {
  struct feed *f = *state;
  f->from.floor = 0x980;
  start_behind_last(f, true);
  hand_on_covered(f);
  assert_true(begin(f, 0x900, 69)); /* the slot is older again than `position set` has left it */
  assert_true(insert(f, "skipped"));
  assert_true(commit(f, 0x900, 0x940));
  assert_true(begin(f, 0x980, 70));
  assert_true(insert(f, "published"));
  assert_true(commit(f, 0x980, 0x9c0));
  assert_string_equal(segments(f), "covered 0/980/70: published next 0\n");
}

static void rows_from_before_their_table_was_configured_are_not_handed_on(void **state) {
  struct feed *f = *state;
  f->from.table_count = 2;
  f->from.tables = memory_alloc(2 * sizeof *f->from.tables);
  f->from.tables[0] = (struct position_table){.origin = memory_string("sales.outbox")};
  f->from.tables[1] = (struct position_table){.origin = memory_string("public.outbox"), .since = 0x980};
  start_behind_last(f, true);
  hand_on_covered(f);
  f->tables[1].after_publish = AFTER_PUBLISH_MARK;
  assert_true(begin(f, 0x900, 69));
  assert_true(insert(f, "passed over"));
  assert_true(insert_row(f, &f->second, "s", "k"));
  assert_true(commit(f, 0x900, 0x940));
  assert_true(begin(f, 0x980, 70));
  assert_true(insert(f, "published"));
  assert_true(commit(f, 0x980, 0x9c0));
  assert_string_equal(segments(f), "covered 0/900/69: s next 0\ncovered 0/980/70: published next 0\n");
}

static void a_covered_row_of_a_table_that_was_otherwise_is_no_refusal(void **state) {
  struct feed *f = *state;
  static char lacks_key[] = "no_such_column";
  f->tables[0].columns[FIELD_KEY] = lacks_key;
  start_behind_last(f, true);
  hand_on_covered(f);
  assert_true(begin(f, 0x900, 69));
  assert_true(insert(f, "a"));
  assert_true(commit(f, 0x900, 0x940));
  assert_string_equal(segments(f), "");
  assert_true(begin(f, 0x1000, 70));
  assert_true(commit(f, 0x1000, 0x1100));
  assert_true(begin(f, 0x1200, 71));
  assert_false(insert(f, "new"));
  expect_refusal("new row", &f->err, "column_missing");
}

static void what_is_published_of_a_split_transaction_is_handed_on_as_covered(void **state) {
  struct feed *f = *state;
  split_behind(f, 2);
  f->rules.segment_bytes = 1 << 20;
  start(f, true);
  hand_on_covered(f);
  assert_true(begin(f, 0x2000, 80));
  assert_true(insert(f, "a"));
  assert_true(insert(f, "b"));
  assert_true(insert(f, "c"));
  assert_true(commit(f, 0x2000, 0x2100));
  assert_string_equal(segments(f), "covered 0/2000/80: a b next 2\n0/2000/80: c next 3 end 0/2100\n");
  split_behind(f, 3);
  f->rules.segment_bytes = 1 << 20;
  start(f, true);
  hand_on_covered(f);
  assert_true(begin(f, 0x2000, 80));
  assert_true(insert(f, "a"));
  assert_true(insert(f, "b"));
  assert_true(insert(f, "c"));
  assert_true(commit(f, 0x2000, 0x2100));
  assert_string_equal(segments(f), "covered 0/2000/80: a b c next 3\n0/2000/80: next 3 end 0/2100\n");
}

static void expect_verified(struct feed *f, bool ok) {
  assert_false(ok);
  assert_int_equal(f->err.kind, ERROR_START_OVER);
  assert_ptr_equal(f->err.code, INTAKE_VERIFIED);
  assert_string_equal(segments(f), "");
}

static void verifying_ends_when_all_that_is_covered_came_again(void **state) {
  struct feed *f = *state;
  start_behind_last(f, true);
  intake_set_covered(f->intake, INTAKE_COVERED_VERIFY);
  assert_true(begin(f, 0x900, 69));
  assert_true(insert(f, "a"));
  assert_true(commit(f, 0x900, 0x940));
  assert_true(begin(f, 0x1000, 70));
  assert_true(insert(f, "b"));
  expect_verified(f, commit(f, 0x1000, 0x1100));

  start_behind_last(f, true);
  intake_set_covered(f->intake, INTAKE_COVERED_VERIFY);
  assert_false(begin(f, 0x1200, 71));
  expect_refusal("another history", &f->err, "history_rewritten");

  split_behind(f, 2);
  start(f, true);
  intake_set_covered(f->intake, INTAKE_COVERED_VERIFY);
  assert_true(begin(f, 0x2000, 80));
  assert_true(insert(f, "a"));
  expect_verified(f, insert(f, "b"));

  split_behind(f, 2);
  start(f, true);
  intake_set_covered(f->intake, INTAKE_COVERED_VERIFY);
  assert_true(begin(f, 0x2000, 80));
  assert_true(insert(f, "a"));
  assert_false(insert(f, "other"));
  expect_refusal("other rows", &f->err, "resume_mismatch");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(rows_of_a_transaction_are_rolled_into_one_segment),
      TEST(changes_of_no_interest_are_passed_over),
      TEST(what_a_filter_passes_over_is_counted),
      TEST(bounds_in_time_are_inclusive),
      TEST(rows_of_a_partition_are_those_of_its_table),
      TEST(only_transactional_messages_of_our_prefixes_are_taken),
      TEST(empty_transactions_are_idle_progress_only),
      TEST(covered_transaction_is_skipped),
      TEST(rows_of_a_work_list_are_counted_from_where_they_go_on),
      TEST(large_transaction_is_cut_at_segment_bytes),
      TEST(segment_is_closed_by_the_record_that_reaches_the_bound),
      TEST(split_transaction_is_resumed_behind_what_was_published),
      TEST(hash_of_a_resumed_transaction_is_that_of_the_whole),
      TEST(resumed_transaction_with_only_its_commit_left_is_ended),
      TEST(transaction_behind_a_resumed_one_is_taken_whole),
      TEST(resumed_transaction_with_other_rows_is_refused),
      TEST(resumed_row_from_another_table_is_refused),
      TEST(resumed_transaction_that_is_shorter_is_refused),
      TEST(rolled_back_database_is_refused),
      TEST(keepalive_past_a_transaction_that_did_not_come_again_is_refused),
      TEST(later_transaction_is_taken_where_none_is_expected),
      TEST(idle_progress_follows_keepalives),
      TEST(no_idle_progress_before_the_expected_transaction_came),
      TEST(invalid_rows_are_quarantined_in_their_place),
      TEST(invalid_rows_stop_the_relay_where_it_is_told_so),
      TEST(invalid_row_that_was_published_does_not_stop_a_resumed_transaction),
      TEST(columns_are_looked_up_again_when_the_table_changed),
      TEST(row_whose_value_was_not_sent_is_fatal),
      TEST(messages_of_a_resumed_transaction_are_counted_too),
      TEST(dead_letters_of_the_inbox_go_where_they_say),
      TEST(without_an_inbox_dead_letters_are_nobodys),
      TEST(what_claims_to_be_a_dead_letter_stops_the_relay_where_it_is_told_so),
      TEST(dead_letters_are_the_last_of_the_prefixes),
      TEST(what_was_not_handed_out_is_freed),
      TEST(fingerprint_tells_what_is_counted),
      TEST(fingerprint_tells_tables_from_prefixes),
      TEST(covered_rows_are_handed_on_where_they_are_tidied),
      TEST(what_an_operator_passed_over_is_not_handed_on),
      TEST(rows_from_before_their_table_was_configured_are_not_handed_on),
      TEST(a_covered_row_of_a_table_that_was_otherwise_is_no_refusal),
      TEST(what_is_published_of_a_split_transaction_is_handed_on_as_covered),
      TEST(verifying_ends_when_all_that_is_covered_came_again),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
