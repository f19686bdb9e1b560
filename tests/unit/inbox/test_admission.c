/* bridge/inbox/admission.h */
#include "tests/unit/relay/relay_fixture.h"

#include <stdint.h>
#include <string.h>

#include "bridge/inbox/admission.h"

static const struct admission_place place = {.consumer = "accounting", .topic = "fleet.rentals", .partition = 2};

/* A partition that was read up to offset 10, whose last record had the id e-9 and stands there still. */
static struct admission_stored stored_ten(void) {
  return (struct admission_stored){.exists = true,
                                   .next_offset = 10,
                                   .cluster_id = "c1",
                                   .record_offset = 9,
                                   .record_timestamp = 1000,
                                   .record_id = slice_of("e-9")};
}

static struct record_facts found(void) {
  return (struct record_facts){.presence = RECORD_FOUND, .timestamp_ms = 1000, .header = slice_of("e-9")};
}

static struct admission_log log_with(const struct record_facts *record, int64_t low, int64_t end) {
  return (struct admission_log){.cluster_id = "c1", .low = low, .end = end, .record = record};
}

static void expect_start(const struct admission_stored *stored, const struct admission_log *log, int64_t expected) {
  struct error err = {.kind = ERROR_NONE};
  int64_t start = -7;
  if (!admission_judge(&place, stored, log, &start, &err))
    fail_msg("%s: %s", err.code, err.message);
  assert_int_equal(start, expected);
}

static void expect_stop(const char *name, const struct admission_stored *stored, const struct admission_log *log,
                        const char *code) {
  struct error err = {.kind = ERROR_NONE};
  int64_t start = -7;
  assert_false(admission_judge(&place, stored, log, &start, &err));
  assert_int_equal(start, -7);
  assert_non_null(strstr(err.message, "fleet.rentals"));
  assert_non_null(strstr(err.remedy, "DELETE FROM walferry.inbox_offsets WHERE consumer = 'accounting' AND topic = "
                                     "'fleet.rentals' AND partition = 2;"));
  assert_non_null(strstr(err.remedy, code));
  expect_refusal(name, &err, code);
}

static void what_was_never_consumed_begins_where_the_log_does(void **state) {
  (void)state;
  struct admission_stored none = {.exists = false};
  struct admission_log log = log_with(NULL, 5, 50);
  expect_start(&none, &log, 5);
}

static void the_same_record_in_the_same_place_is_gone_on_with(void **state) {
  (void)state;
  struct admission_stored stored = stored_ten();
  struct record_facts record = found();
  struct admission_log log = log_with(&record, 0, 50);
  expect_start(&stored, &log, 10);
  log.end = 10; /* all is read */
  expect_start(&stored, &log, 10);
  stored.record_timestamp = record.timestamp_ms = -1;
  stored.record_id = record.header = SLICE_ABSENT;
  expect_start(&stored, &log, 10);
}

static void another_record_in_its_place_is_another_topic(void **state) {
  (void)state;
  struct admission_stored stored = stored_ten();
  struct record_facts records[] = {found(), found(), found(), found()};
  records[0].timestamp_ms = 1001;
  records[1].header = slice_of("e-8");
  records[2].header = SLICE_ABSENT;
  records[3].timestamp_ms = -1;
  for (size_t i = 0; i < COUNT_OF(records); i++) {
    struct admission_log log = log_with(&records[i], 0, 50);
    expect_stop("other record", &stored, &log, "topic_recreated");
  }
  stored.record_id = SLICE_ABSENT;
  struct record_facts with_id = found();
  struct admission_log log = log_with(&with_id, 0, 50);
  expect_stop("a record with an id, which had none", &stored, &log, "topic_recreated");
}

static void a_record_that_is_gone_proves_nothing(void **state) {
  (void)state;
  struct admission_stored stored = stored_ten();
  struct record_facts compacted = {.presence = RECORD_COMPACTED, .timestamp_ms = -1};
  struct admission_log log = log_with(&compacted, 3, 50);
  expect_start(&stored, &log, 10);
  struct record_facts deleted = {.presence = RECORD_DELETED, .timestamp_ms = -1};
  log = log_with(&deleted, 10, 50); /* the log begins exactly where reading goes on */
  expect_start(&stored, &log, 10);
}

static void a_log_that_begins_behind_the_offset_has_lost_records(void **state) {
  (void)state;
  struct admission_stored stored = stored_ten();
  struct record_facts deleted = {.presence = RECORD_DELETED, .timestamp_ms = -1};
  struct admission_log log = log_with(&deleted, 11, 50);
  expect_stop("deleted", &stored, &log, "offset_deleted");
  stored.record_offset = -1; /* nothing was handled of it yet */
  log = log_with(NULL, 11, 50);
  expect_stop("deleted before the first", &stored, &log, "offset_deleted");
}

static void a_log_that_ends_before_the_offset_is_another_topic(void **state) {
  (void)state;
  struct admission_stored stored = stored_ten();
  struct record_facts beyond = {.presence = RECORD_BEYOND_END, .timestamp_ms = -1};
  struct admission_log log = log_with(&beyond, 0, 0);
  expect_stop("empty", &stored, &log, "topic_recreated");
  struct record_facts compacted = {.presence = RECORD_COMPACTED, .timestamp_ms = -1};
  stored.next_offset = 12; /* markers of transactions lie between record and offset */
  log = log_with(&compacted, 0, 11);
  expect_stop("shorter by one", &stored, &log, "topic_recreated");
  log.end = 12;
  expect_start(&stored, &log, 12);
}

static void without_a_stored_record_the_range_alone_counts(void **state) {
  (void)state;
  struct admission_stored stored = stored_ten();
  stored.record_offset = -1;
  struct admission_log log = log_with(NULL, 10, 10);
  expect_start(&stored, &log, 10);
  log.end = 9;
  log.low = 0;
  expect_stop("shorter", &stored, &log, "topic_recreated");
}

static void another_cluster_is_refused_before_all_else(void **state) {
  (void)state;
  struct admission_stored stored = stored_ten();
  struct record_facts record = found();
  struct admission_log log = log_with(&record, 0, 50);
  log.cluster_id = "c2";
  expect_stop("cluster", &stored, &log, "kafka_cluster_changed");
  log.low = 11;
  expect_stop("cluster and range", &stored, &log, "kafka_cluster_changed");
  log.low = 0;
  stored.cluster_id = NULL; /* an operator has accepted it */
  expect_start(&stored, &log, 10);
  stored.cluster_id = "c1";
  log.cluster_id = NULL;
  expect_start(&stored, &log, 10);
}

static void names_are_quoted_in_the_remedy_and_long_ones_fit(void **state) {
  (void)state;
  char topic[250];
  memset(topic, 't', sizeof topic - 1);
  topic[sizeof topic - 1] = '\0';
  struct admission_place odd = {.consumer = "o'brien's", .topic = topic, .partition = 0};
  struct admission_stored stored = stored_ten();
  struct admission_log log = log_with(NULL, 11, 50);
  struct error err;
  int64_t start;
  assert_false(admission_judge(&odd, &stored, &log, &start, &err));
  assert_non_null(strstr(err.remedy, "consumer = 'o''brien''s'"));
  assert_non_null(strstr(err.remedy, "partition = 0;"));
  expect_refusal("long", &err, "offset_deleted");
}

static void an_id_is_what_a_text_column_takes(void **state) {
  (void)state;
  char longest[513];
  memset(longest, 'x', sizeof longest);
  static const struct {
    const char *bytes;
    size_t len;
    bool fits;
  } cases[] = {{"e-1", 3, true},   {"", 0, true},      {"\"e-1\"", 5, true}, {"\xc3\xa4", 2, true},
               {"\xff", 1, false}, {"a\0b", 3, false}, {NULL, 0, false}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct slice header = slice_from(cases[i].bytes, cases[i].len);
    assert_true(slice_equal(admission_id(header), cases[i].fits ? header : SLICE_ABSENT));
  }
  assert_true(slice_present(admission_id(slice_from(longest, 512))));
  assert_false(slice_present(admission_id(slice_from(longest, 513))));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_was_never_consumed_begins_where_the_log_does),
      cmocka_unit_test(the_same_record_in_the_same_place_is_gone_on_with),
      cmocka_unit_test(another_record_in_its_place_is_another_topic),
      cmocka_unit_test(a_record_that_is_gone_proves_nothing),
      cmocka_unit_test(a_log_that_begins_behind_the_offset_has_lost_records),
      cmocka_unit_test(a_log_that_ends_before_the_offset_is_another_topic),
      cmocka_unit_test(without_a_stored_record_the_range_alone_counts),
      cmocka_unit_test(another_cluster_is_refused_before_all_else),
      cmocka_unit_test(names_are_quoted_in_the_remedy_and_long_ones_fit),
      cmocka_unit_test(an_id_is_what_a_text_column_takes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
