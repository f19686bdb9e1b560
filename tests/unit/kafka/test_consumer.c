/* A member of a group against the mock cluster, which makes a first member wait for three seconds: so each test has a
 * process and a cluster of its own, and they wait together. What transactions do to what is read is tested against a
 * real broker: the mock cluster shows aborted records. */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bridge/base/clock.h"
#include "bridge/base/log.h"
#include "bridge/kafka/conf.h"
#include "bridge/kafka/consumer.h"
#include "tests/unit/kafka/mock_cluster.h"
#include "tests/unit/kafka/mock_records.h"

#define WAIT_MS 15000

static const char *const quick[] = {"session.timeout.ms=3000", "heartbeat.interval.ms=200"};

static struct consumer *join(const char *group, const char *topic, int64_t held_bytes_max) {
  struct error err = {0};
  struct kafka_settings settings = mock.settings;
  settings.properties = quick;
  settings.property_count = 2;
  struct consumer *c = consumer_new(
      &(struct consumer_settings){
          .kafka = &settings, .group = group, .topics = &topic, .topic_count = 1, .held_bytes_max = held_bytes_max},
      &err);
  if (c == NULL)
    fail_msg("%s", err.message);
  return c;
}

/* The next event but for CONSUMER_NOTHING; fails where none comes. */
static struct consumer_event next(struct consumer *c) {
  int64_t deadline = clock_monotonic_ms() + WAIT_MS;
  while (clock_monotonic_ms() < deadline) {
    struct consumer_event event;
    struct error err = {0};
    if (!consumer_poll(c, 100, &event, &err))
      fail_msg("%s", err.message);
    if (event.kind != CONSUMER_NOTHING)
      return event;
  }
  fail_msg("no event");
  abort();
}

static struct error next_error(struct consumer *c) {
  int64_t deadline = clock_monotonic_ms() + WAIT_MS;
  while (clock_monotonic_ms() < deadline) {
    struct consumer_event event;
    struct error err = {0};
    if (!consumer_poll(c, 100, &event, &err))
      return err;
  }
  fail_msg("no error");
  abort();
}

static void assign(struct consumer *c, const char *topic, int32_t partition, int64_t offset) {
  struct error err = {0};
  if (!consumer_assign(c, &(struct consumer_start){topic, partition, offset}, 1, &err))
    fail_msg("%s", err.message);
}

/* Joins, and starts partition 0 there. */
static struct consumer *join_at(const char *group, const char *topic, int64_t offset, int64_t held_bytes_max) {
  struct consumer *c = join(group, topic, held_bytes_max);
  assert_int_equal(next(c).kind, CONSUMER_ASSIGNED);
  assign(c, topic, 0, offset);
  return c;
}

static void assert_message(struct consumer *c, int64_t offset) {
  struct consumer_event event = next(c);
  assert_int_equal(event.kind, CONSUMER_MESSAGE);
  assert_int_equal(event.message->offset, offset);
  consumer_message_free(c, event.message);
}

static void assert_end(struct consumer *c, int64_t offset) {
  struct consumer_event event = next(c);
  assert_int_equal(event.kind, CONSUMER_END);
  assert_int_equal(event.offset, offset);
}

static void assert_quiet(struct consumer *c, int ms) {
  struct consumer_event event;
  struct error err;
  assert_true(consumer_poll(c, ms, &event, &err));
  assert_int_equal(event.kind, CONSUMER_NOTHING);
}

static void partitions_start_where_the_caller_says(void **state) {
  (void)state;
  rd_kafka_mock_topic_create(mock.cluster, "start", 2, 1);
  mock_produce("start", 0, 10, 0);
  mock_produce("start", 1, 10, 0);
  struct consumer *c = join("start", "start", 1 << 20);
  struct consumer_event event = next(c);
  assert_int_equal(event.kind, CONSUMER_ASSIGNED);
  assert_int_equal(event.partition_count, 2);
  assert_string_equal(event.partitions[0].topic, "start");
  assert_int_equal(event.partitions[0].partition + event.partitions[1].partition, 1);
  assert_quiet(c, 300); /* nothing comes before the answer, and it is asked for once */
  struct consumer_start starts[] = {{"start", 0, 7}, {"start", 1, 9}};
  struct error err;
  assert_true(consumer_assign(c, starts, 2, &err));
  int64_t expected[] = {7, 9};
  for (int ends = 0; ends < 2;) {
    event = next(c);
    int32_t partition = event.kind == CONSUMER_END ? event.partitions[0].partition : event.message->partition;
    assert_int_equal(event.kind == CONSUMER_END ? event.offset : event.message->offset, expected[partition]);
    if (event.kind == CONSUMER_END) {
      assert_int_equal(event.offset, 10);
      ends++;
    } else {
      expected[partition]++;
      consumer_message_free(c, event.message);
    }
  }
  struct consumer_partition at = {"start", 0};
  assert_int_equal(consumer_lag(c, &at, 4), 6);
  assert_int_equal(consumer_lag(c, &at, 10), 0);
  assert_int_equal(consumer_lag(c, &(struct consumer_partition){"start", 5}, 0), -1);
  consumer_free(c, 5000);
}

static void a_message_is_a_whole_copy(void **state) {
  (void)state;
  mock_produce("copy", 0, 1, 0);
  struct consumer *c = join_at("copy", "copy", 0, 1 << 20);
  struct consumer_event event = next(c);
  assert_int_equal(event.kind, CONSUMER_MESSAGE);
  const struct consumer_message *m = event.message;
  assert_string_equal(m->topic, "copy");
  assert_int_equal(m->timestamp_ms, MOCK_RECORD_TIME_MS);
  assert_true(slice_is(m->key, "key-0"));
  assert_true(slice_is(m->value, "value-0"));
  assert_int_equal(m->header_count, 1);
  assert_string_equal(m->headers[0].name, "id");
  assert_true(slice_is(m->headers[0].value, "id-0"));
  consumer_message_free(c, event.message);
  consumer_message_free(c, NULL);
  assert_end(c, 1);
  mock_produce("copy", 0, 1, 0);
  assert_message(c, 1); /* what is written later comes, too */
  consumer_free(c, 5000);
}

static void a_paused_partition_goes_on_where_it_was(void **state) {
  (void)state;
  rd_kafka_mock_topic_create(mock.cluster, "pause", 2, 1);
  mock_produce("pause", 0, 6, 0);
  struct consumer *c = join_at("pause", "pause", 0, 1 << 20);
  struct consumer_partition at = {"pause", 0}, other = {"pause", 1};
  assert_message(c, 0);
  assert_message(c, 1);
  consumer_pause(c, &at);
  consumer_pause(c, &at);
  consumer_pause(c, &other); /* not being read: no matter */
  assert_quiet(c, 500);
  assign(c, "pause", 1, 0); /* the other goes on meanwhile */
  assert_end(c, 0);
  consumer_resume(c, &at);
  consumer_resume(c, &at);
  for (int64_t offset = 2; offset < 6; offset++)
    assert_message(c, offset);
  assert_end(c, 6);
  consumer_free(c, 5000);
}

static void what_the_caller_holds_is_bounded(void **state) {
  (void)state;
  mock_produce("bound", 0, 30, 10000);
  struct consumer *c = join_at("bound", "bound", 0, 50000);
  struct consumer_message *held[6];
  int count = 0;
  for (struct consumer_event event = next(c); count < 5; event = next(c)) {
    assert_int_equal(event.kind, CONSUMER_MESSAGE);
    assert_int_equal(event.message->offset, count);
    held[count++] = event.message;
    if (count == 5)
      break;
  }
  assert_quiet(c, 500);
  consumer_message_free(c, held[0]);
  assert_quiet(c, 500); /* not for every single one */
  for (int i = 1; i < 5; i++)
    consumer_message_free(c, held[i]);
  for (int64_t offset = 5; offset < 30; offset++)
    assert_message(c, offset);
  assert_end(c, 30);
  consumer_free(c, 5000);
}

static void an_offset_that_is_not_there_stops_its_partition(void **state) {
  (void)state;
  mock_produce("range", 0, 3, 0);
  struct consumer *c = join_at("range", "range", 100, 1 << 20);
  struct consumer_event event = next(c);
  assert_int_equal(event.kind, CONSUMER_OUT_OF_RANGE);
  assert_int_equal(event.offset, 100);
  assert_string_equal(event.partitions[0].topic, "range");
  assert_quiet(c, 500);
  struct error err;
  assert_true(consumer_stop(c, &(struct consumer_partition){"range", 0}, &err));
  assert_true(consumer_stop(c, &(struct consumer_partition){"range", 0}, &err));
  assign(c, "range", 0, 2);
  assert_message(c, 2);
  assert_end(c, 3);
  consumer_free(c, 5000);
}

static void a_partition_may_stay_idle(void **state) {
  (void)state;
  mock_produce("idle", 0, 2, 0);
  struct consumer *c = join("idle", "idle", 1 << 20);
  assert_int_equal(next(c).kind, CONSUMER_ASSIGNED);
  struct error err;
  assert_true(consumer_assign(c, NULL, 0, &err));
  assert_quiet(c, 500);
  assign(c, "idle", 0, 1);
  assert_message(c, 1);
  consumer_free(c, 5000);
}

static void starts_that_make_no_sense_are_refused(void **state) {
  (void)state;
  struct consumer *c = join("senseless", "senseless", 1 << 20);
  struct consumer_start starts[] = {{"another", 0, 0}, {"senseless", -1, 0}, {"senseless", 0, -2}};
  for (int i = 0; i < 3; i++) {
    struct error err = {0};
    assert_false(consumer_assign(c, &starts[i], 1, &err));
    assert_int_equal(err.kind, ERROR_FATAL);
  }
  consumer_free(c, 5000);
}

/* Polls both members until a holds `a_count` partitions and b holds `b_count`. */
static void poll_both(struct consumer *a, struct consumer *b, const char *topic, int *a_count, int *b_count,
                      int a_wanted, int b_wanted) {
  int64_t deadline = clock_monotonic_ms() + 2 * WAIT_MS;
  while ((*a_count != a_wanted || *b_count != b_wanted) && clock_monotonic_ms() < deadline) {
    for (int i = 0; i < 2; i++) {
      struct consumer *c = i == 0 ? a : b;
      int *count = i == 0 ? a_count : b_count;
      struct consumer_event event;
      struct error err = {0};
      if (c == NULL)
        continue;
      if (!consumer_poll(c, 50, &event, &err))
        fail_msg("%s", err.message);
      if (event.kind == CONSUMER_ASSIGNED) {
        struct consumer_start starts[4];
        int added = event.partition_count;
        for (int j = 0; j < added; j++)
          starts[j] = (struct consumer_start){topic, event.partitions[j].partition, 0};
        assert_true(consumer_assign(c, starts, added, &err));
        *count += added;
      } else if (event.kind == CONSUMER_REVOKED || event.kind == CONSUMER_LOST) {
        *count -= event.partition_count;
        assert_true(consumer_release(c, &err));
      } else if (event.kind == CONSUMER_MESSAGE) {
        consumer_message_free(c, event.message);
      }
    }
  }
  assert_int_equal(*a_count, a_wanted);
  assert_int_equal(*b_count, b_wanted);
}

static void members_share_partitions_and_take_over(void **state) {
  (void)state;
  rd_kafka_mock_topic_create(mock.cluster, "share", 4, 1);
  int a_count = 0, b_count = 0;
  struct consumer *a = join("share", "share", 1 << 20);
  poll_both(a, NULL, "share", &a_count, &b_count, 4, 0);
  struct consumer *b = join("share", "share", 1 << 20);
  poll_both(a, b, "share", &a_count, &b_count, 2, 2);
  consumer_free(b, 5000);
  b_count = 0;
  poll_both(a, NULL, "share", &a_count, &b_count, 4, 0);
  consumer_free(a, 5000);
}

/* Both partitions of a are paused, or were and go on, when b takes one of them. */
static void pauses_outlive_a_rebalance(void **state) {
  (void)state;
  rd_kafka_mock_topic_create(mock.cluster, "outlive", 2, 1);
  mock_produce("outlive", 0, 20, 0);
  mock_produce("outlive", 1, 20, 0);
  struct consumer *a = join("outlive", "outlive", 1 << 20);
  struct error err;
  struct consumer_start starts[] = {{"outlive", 0, 0}, {"outlive", 1, 0}};
  assert_int_equal(next(a).kind, CONSUMER_ASSIGNED);
  assert_true(consumer_assign(a, starts, 2, &err));
  int64_t expected[2] = {0};
  while (expected[0] == 0 || expected[1] == 0) {
    struct consumer_event event = next(a);
    if (event.kind != CONSUMER_MESSAGE)
      continue;
    struct consumer_partition at = {"outlive", event.message->partition};
    assert_int_equal(event.message->offset, expected[at.partition]++);
    consumer_pause(a, &at);
    consumer_message_free(a, event.message);
  }
  struct consumer *b = join("outlive", "outlive", 1 << 20);
  int a_count = 2, b_count = 0;
  poll_both(a, b, "outlive", &a_count, &b_count, 1, 1); /* what it drops of a would be missed */
  for (int partition = 0; partition < 2; partition++)
    consumer_resume(a, &(struct consumer_partition){"outlive", partition});
  int32_t kept = -1;
  for (struct consumer_event event = next(a); event.kind != CONSUMER_END; event = next(a)) {
    if (event.kind == CONSUMER_ASSIGNED) { /* the second round of a cooperative rebalance */
      assert_true(consumer_assign(a, NULL, 0, &err));
      continue;
    }
    assert_int_equal(event.kind, CONSUMER_MESSAGE);
    kept = event.message->partition;
    assert_int_equal(event.message->offset, expected[kept]++); /* none while it was paused, none twice */
    consumer_message_free(a, event.message);
  }
  assert_int_equal(expected[kept], 20);
  consumer_free(b, 5000);
  consumer_free(a, 5000);
}

static void a_member_that_the_group_forgot_loses_its_partitions(void **state) {
  (void)state;
  rd_kafka_mock_topic_create(mock.cluster, "lost", 1, 1);
  mock_produce("lost", 0, 1, 0);
  struct consumer *c = join_at("lost", "lost", 0, 1 << 20);
  assert_message(c, 0);
  assert_end(c, 1);
  mock_fail_next(API_HEARTBEAT, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID);
  struct consumer_event event = next(c);
  assert_int_equal(event.kind, CONSUMER_LOST);
  assert_int_equal(event.partition_count, 1);
  struct error err;
  assert_true(consumer_release(c, &err));
  assert_true(consumer_release(c, &err)); /* nothing waits any more */
  event = next(c);
  assert_int_equal(event.kind, CONSUMER_ASSIGNED); /* it joins again */
  assign(c, "lost", 0, 0);
  assert_message(c, 0);
  consumer_free(c, 5000);
}

static void offsets_are_told_to_the_group(void **state) {
  (void)state;
  mock_produce("told", 0, 3, 0);
  struct consumer *c = join_at("told", "told", 0, 1 << 20);
  for (int64_t offset = 0; offset < 3; offset++)
    assert_message(c, offset);
  consumer_commit(c, &(struct consumer_start){"told", 0, 3}, 1);
  consumer_free(c, 5000); /* waits for it */

  char text[256];
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  rd_kafka_conf_set(conf, "bootstrap.servers", mock.settings.brokers, text, sizeof text);
  rd_kafka_conf_set(conf, "group.id", "told", text, sizeof text);
  rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
  rd_kafka_topic_partition_list_add(list, "told", 0);
  assert_int_equal(rd_kafka_committed(rk, list, 10000), RD_KAFKA_RESP_ERR_NO_ERROR);
  assert_int_equal(list->elems[0].offset, 3);
  rd_kafka_topic_partition_list_destroy(list);
  rd_kafka_destroy(rk);
}

static void errors_name_what_is_missing(void **state) {
  (void)state;
  static const struct {
    int16_t api;
    rd_kafka_resp_err_t code;
    enum error_kind kind;
    const char *message, *remedy;
  } cases[] = {
      {API_FIND_COORDINATOR, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, ERROR_RETRY, "group errors: not authorised",
       "grant Read on group errors"},
      {API_JOIN_GROUP, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, ERROR_RETRY, "group errors: not authorised",
       "grant Read on group errors"},
      {API_JOIN_GROUP, RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL, ERROR_RETRY, "members of another kind",
       "or name another group"},
      {API_JOIN_GROUP, RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT, ERROR_CONFIG, "group errors", "session.timeout.ms"},
  };
  rd_kafka_mock_topic_create(mock.cluster, "errors", 1, 1);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    mock_fail_next(cases[i].api, cases[i].code);
    struct consumer *c = join("errors", "errors", 1 << 20);
    struct error err = next_error(c);
    assert_int_equal(err.kind, cases[i].kind);
    assert_non_null(strstr(err.message, cases[i].message));
    assert_non_null(strstr(err.remedy, cases[i].remedy));
    consumer_free(c, 5000);
    rd_kafka_mock_clear_request_errors(mock.cluster, cases[i].api);
  }
}

static void topics_that_cannot_be_read_are_named(void **state) {
  (void)state;
  static const struct {
    rd_kafka_resp_err_t code;
    const char *message, *remedy;
  } cases[] = {
      {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, "topic absent: does not exist", "create topic absent"},
      {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, "topic absent: not authorised", "on topic absent"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    rd_kafka_mock_topic_set_error(mock.cluster, "absent", cases[i].code);
    struct consumer *c = join("absent", "absent", 1 << 20);
    struct error err = next_error(c);
    assert_int_equal(err.kind, ERROR_RETRY);
    assert_non_null(strstr(err.message, cases[i].message));
    assert_non_null(strstr(err.remedy, cases[i].remedy));
    consumer_free(c, 5000);
  }
}

static void patterns_are_no_topics(void **state) {
  (void)state;
  static const char *const names[] = {"^all.*", ""};
  for (int i = 0; i < 2; i++) {
    struct error err = {0};
    assert_null(consumer_new(
        &(struct consumer_settings){.kafka = &mock.settings, .group = "g", .topics = &names[i], .topic_count = 1},
        &err));
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_non_null(strstr(err.message, "no name for a topic"));
  }
  consumer_free(NULL, 0);
}

static void a_member_leaves_in_time_whatever_it_waits_for(void **state) {
  (void)state;
  static const char *const away_topic = "leave";
  mock_produce("leave", 0, 1, 0);
  consumer_free(join("leave", "leave", 1 << 20), 8000); /* at once */

  struct consumer *c = join("leave", "leave", 1 << 20);
  struct consumer_event event;
  struct error err;
  consumer_poll(c, 500, &event, &err); /* while it joins */
  int64_t started = clock_monotonic_ms();
  consumer_free(c, 8000);
  assert_in_range(clock_monotonic_ms() - started, 0, 7000);

  c = join("leave", "leave", 1 << 20);
  assert_int_equal(next(c).kind, CONSUMER_ASSIGNED); /* and gets no answer */
  started = clock_monotonic_ms();
  consumer_free(c, 8000);
  assert_in_range(clock_monotonic_ms() - started, 0, 3000);

  struct kafka_settings away = {.brokers = "127.0.0.1:1", .instance = "t"};
  c = consumer_new(
      &(struct consumer_settings){
          .kafka = &away, .group = "away", .topics = &away_topic, .topic_count = 1, .held_bytes_max = 1},
      &err);
  assert_true(consumer_poll(c, 300, &event, &err));
  assert_int_equal(event.kind, CONSUMER_NOTHING);
  started = clock_monotonic_ms();
  consumer_free(c, 8000);
  assert_in_range(clock_monotonic_ms() - started, 0, 3000);
}

/* Before there is a thread. */
static pid_t start(const struct CMUnitTest *test) {
  pid_t pid = fork();
  if (pid != 0)
    return pid;
  const struct CMUnitTest tests[] = {*test};
  exit(cmocka_run_group_tests_name(test->name, tests, mock_start, mock_stop));
}

int main(void) {
  log_setup(LOG_ERROR, LOG_TEXT);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(partitions_start_where_the_caller_says),
      cmocka_unit_test(a_message_is_a_whole_copy),
      cmocka_unit_test(a_paused_partition_goes_on_where_it_was),
      cmocka_unit_test(what_the_caller_holds_is_bounded),
      cmocka_unit_test(an_offset_that_is_not_there_stops_its_partition),
      cmocka_unit_test(a_partition_may_stay_idle),
      cmocka_unit_test(starts_that_make_no_sense_are_refused),
      cmocka_unit_test(members_share_partitions_and_take_over),
      cmocka_unit_test(pauses_outlive_a_rebalance),
      cmocka_unit_test(a_member_that_the_group_forgot_loses_its_partitions),
      cmocka_unit_test(offsets_are_told_to_the_group),
      cmocka_unit_test(errors_name_what_is_missing),
      cmocka_unit_test(topics_that_cannot_be_read_are_named),
      cmocka_unit_test(patterns_are_no_topics),
      cmocka_unit_test(a_member_leaves_in_time_whatever_it_waits_for),
  };
  enum { COUNT = sizeof tests / sizeof tests[0] };
  pid_t pids[COUNT];
  int failed = 0;
  for (int i = 0; i < COUNT; i++)
    pids[i] = start(&tests[i]);
  for (int i = 0; i < COUNT; i++) {
    int status;
    failed += pids[i] < 0 || waitpid(pids[i], &status, 0) != pids[i] || !WIFEXITED(status) || WEXITSTATUS(status) != 0;
  }
  return failed;
}
