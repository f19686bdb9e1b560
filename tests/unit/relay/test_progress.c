/* bridge/relay/progress.h: when a relay is ready or hangs, and what is told of lag, slot and failures. */
#include "tests/unit/relay/relay_fixture.h"

#include "bridge/base/clock.h"
#include "bridge/relay/progress.h"

/* A relay that streams and heard of its server just now; each case adds what its name says. */
#define STREAMING .state = PROGRESS_STREAMING, .failed_peer = PROGRESS_NOBODY, .silence_max_ms = 25000
#define WITHOUT_SOURCE .source_turned_ago_ms = -1, .heard_ago_ms = -1

static void readiness_follows_the_servers(void **state) {
  (void)state;
  static const struct {
    const char *name;
    struct progress_snapshot s;
    const char *reason; /* "streaming": ready */
    const char *details;
  } cases[] = {
      {"well", {STREAMING, .peer = PROGRESS_NOBODY}, "streaming", ""},
      {"a commit that takes a while", {STREAMING, .peer = PROGRESS_KAFKA, .peer_ms = 5000}, "streaming", ""},
      {"a commit that takes long", {STREAMING, .peer = PROGRESS_KAFKA, .peer_ms = 5001}, "kafka_away", "waited for"},
      {"a query that takes long",
       {STREAMING, .peer = PROGRESS_POSTGRES, .peer_ms = 5001},
       "postgres_away",
       "waited for"},
      {"busy with itself for long", {STREAMING, .peer = PROGRESS_NOBODY, .peer_ms = 100000}, "streaming", ""},
      {"a server that says nothing",
       {STREAMING, .peer = PROGRESS_NOBODY, .heard_ago_ms = 25001},
       "postgres_away",
       "waited for"},
      {"a source that is gone", {STREAMING, .peer = PROGRESS_NOBODY, WITHOUT_SOURCE}, "postgres_away", "waited for"},
      {"a probe that failed",
       {STREAMING, .peer = PROGRESS_NOBODY, .kafka_away = true, .kafka_error = "no broker"},
       "kafka_away",
       "no broker"},
      {"the rows from before the slot",
       {.state = PROGRESS_SNAPSHOT, .peer = PROGRESS_KAFKA, .peer_ms = 100, WITHOUT_SOURCE},
       "snapshot",
       ""},
      {"rows that Kafka does not take",
       {.state = PROGRESS_SNAPSHOT, .peer = PROGRESS_KAFKA, .peer_ms = 9000, WITHOUT_SOURCE},
       "kafka_away",
       "waited for"},
      {"rows that cannot be marked",
       {STREAMING, .peer = PROGRESS_NOBODY, .tidy = {.failing_ms = 90000, .waiting_ms = 5000, .error = "locked"}},
       "streaming",
       "locked"},
      {"publishing that waits for them",
       {STREAMING, .peer = PROGRESS_NOBODY, .tidy = {.failing_ms = 90000, .waiting_ms = 5001, .error = "locked"}},
       "after_publish_stuck",
       "locked"},
      {"starting", {.state = PROGRESS_STARTING, .peer = PROGRESS_POSTGRES, WITHOUT_SOURCE}, "starting", ""},
      {"starting in vain",
       {.state = PROGRESS_STARTING, .peer = PROGRESS_KAFKA, .peer_ms = 9000, WITHOUT_SOURCE},
       "kafka_away",
       "waited for"},
      {"standby", {.state = PROGRESS_STANDBY, .peer = PROGRESS_NOBODY, .peer_ms = 9000, WITHOUT_SOURCE}, "standby", ""},
      {"stopping", {.state = PROGRESS_STOPPING, .peer = PROGRESS_NOBODY, WITHOUT_SOURCE}, "stopping", ""},
      {"Postgres refused",
       {.state = PROGRESS_RECOVERING,
        .peer = PROGRESS_NOBODY,
        .failed_kind = ERROR_RETRY,
        .failed_peer = PROGRESS_POSTGRES,
        .failed_message = "refused"},
       "postgres_away",
       "refused"},
      {"Kafka timed out",
       {.state = PROGRESS_RECOVERING,
        .peer = PROGRESS_POSTGRES,
        .failed_kind = ERROR_START_OVER,
        .failed_peer = PROGRESS_KAFKA,
        .failed_message = "timed out"},
       "kafka_away",
       "timed out"},
      {"fenced",
       {.state = PROGRESS_RECOVERING,
        .peer = PROGRESS_NOBODY,
        .failed_kind = ERROR_FENCED,
        .failed_peer = PROGRESS_KAFKA,
        .failed_message = "taken over"},
       "recovering",
       "taken over"},
      {"the slot was lost to another",
       {.state = PROGRESS_RECOVERING,
        .peer = PROGRESS_NOBODY,
        .failed_kind = ERROR_START_OVER,
        .failed_peer = PROGRESS_POSTGRES,
        .failed_message = "no longer held"},
       "recovering",
       "no longer held"},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct progress_readiness r;
    progress_readiness(&cases[i].s, &r);
    if (strcmp(r.reason, cases[i].reason) != 0 ||
        r.ready != (strcmp(cases[i].reason, progress_state_name(cases[i].s.state)) == 0 &&
                    (cases[i].s.state == PROGRESS_STREAMING || cases[i].s.state == PROGRESS_SNAPSHOT)))
      fail_msg("%s: %s, ready %d", cases[i].name, r.reason, r.ready);
    if (cases[i].details[0] == '\0' ? r.details[0] != '\0' : strstr(r.details, cases[i].details) == NULL)
      fail_msg("%s: details \"%s\"", cases[i].name, r.details);
  }
}

static void only_a_thread_that_hangs_is_not_alive(void **state) {
  (void)state;
  static const struct {
    const char *name;
    struct progress_snapshot s;
    bool alive;
  } cases[] = {
      {"well", {STREAMING, .peer = PROGRESS_NOBODY}, true},
      {"Kafka is away", {STREAMING, .peer = PROGRESS_KAFKA, .turned_ago_ms = 120000}, true},
      {"nobody is waited for", {STREAMING, .peer = PROGRESS_NOBODY, .turned_ago_ms = 60001}, false},
      {"just in time", {STREAMING, .peer = PROGRESS_NOBODY, .turned_ago_ms = 60000}, true},
      {"a call without end", {STREAMING, .peer = PROGRESS_KAFKA, .turned_ago_ms = 180001}, false},
      {"the source hangs", {STREAMING, .peer = PROGRESS_NOBODY, .source_turned_ago_ms = 60001}, false},
      {"no source",
       {.state = PROGRESS_RECOVERING, .peer = PROGRESS_NOBODY, WITHOUT_SOURCE, .turned_ago_ms = 11000},
       true},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    if (progress_alive(&cases[i].s) != cases[i].alive)
      fail_msg("%s: alive is %d", cases[i].name, !cases[i].alive);
}

static struct progress_snapshot look(struct progress *p) {
  struct progress_snapshot s;
  progress_look(p, &s);
  return s;
}

static void a_new_relay_is_starting_and_alive(void **state) {
  (void)state;
  struct progress *p = progress_new();
  struct progress_snapshot s = look(p);
  assert_int_equal(s.state, PROGRESS_STARTING);
  assert_int_equal(s.source_turned_ago_ms, -1);
  assert_int_equal(s.heard_ago_ms, -1);
  assert_true(s.slot_read_us == 0 && s.failed_us == 0);
  assert_true(progress_alive(&s));
  progress_free(p);
  progress_free(NULL);
}

static void lag_is_the_age_of_the_oldest_unpublished_transaction(void **state) {
  (void)state;
  struct progress *p = progress_new();
  atomic_store(&progress_queue(p)->oldest_commit_us, clock_wall_us() - 5000000);
  assert_int_equal(look(p).lag_us, 0); /* not streaming: not known */
  progress_enter(p, PROGRESS_STREAMING);
  int64_t lag_us = look(p).lag_us;
  assert_true(lag_us >= 5000000 && lag_us < 65000000);
  atomic_store(&progress_queue(p)->oldest_commit_us, clock_wall_us() + 5000000); /* their clock is ahead */
  assert_int_equal(look(p).lag_us, 0);
  atomic_store(&progress_queue(p)->oldest_commit_us, 0);
  assert_int_equal(look(p).lag_us, 0);
  progress_free(p);
}

static void wal_that_the_server_has_not_sent_is_lag(void **state) {
  (void)state;
  struct progress *p = progress_new();
  progress_generation(p, 1);
  progress_source_started(p, 25000);
  progress_slot(p, &(struct catalog_slot){.exists = true, .wal_lsn = 500});
  progress_enter(p, PROGRESS_STREAMING);
  clock_sleep_ms(30);
  progress_slot(p, &(struct catalog_slot){.exists = true, .wal_lsn = 900}); /* the older target is not reached yet */
  assert_true(look(p).lag_us >= 30000);
  progress_heard(p, 499, clock_monotonic_ms());
  assert_true(look(p).lag_us >= 30000);
  progress_heard(p, 500, clock_monotonic_ms());
  assert_int_equal(look(p).lag_us, 0);
  progress_slot(p, &(struct catalog_slot){.exists = true, .wal_lsn = 900});
  clock_sleep_ms(5);
  assert_true(look(p).lag_us >= 4000 && look(p).lag_us < 30000000);
  progress_free(p);
}

static void what_is_committed_counts_as_reached(void **state) {
  (void)state;
  struct progress *p = progress_new();
  progress_slot(p, &(struct catalog_slot){.exists = true, .wal_lsn = 500});
  struct position position;
  position_init(&position);
  position.commit_lsn = 480;
  position.end_lsn = 500;
  struct totals totals = {.records = 7};
  progress_published(p, &totals, &position);
  progress_enter(p, PROGRESS_STREAMING);
  clock_sleep_ms(5);
  struct progress_snapshot s = look(p);
  assert_int_equal(s.lag_us, 0);
  assert_lsn(s.position_ack_lsn, 500);
  assert_int_equal(s.published.records, 7);
  progress_enter(p, PROGRESS_STANDBY); /* another one's position may be elsewhere now */
  s = look(p);
  assert_lsn(s.position_ack_lsn, 0);
  assert_lsn(s.position_commit_lsn, 0);
  progress_free(p);
}

static void a_failure_is_counted_by_kind_and_put_down_to_who_was_talked_to(void **state) {
  (void)state;
  struct progress *p = progress_new();
  struct error err;
  progress_enter(p, PROGRESS_STREAMING);
  progress_talk(p, PROGRESS_KAFKA);
  error_set(&err, ERROR_RETRY, "no broker");
  progress_kafka_silent(p, &err);
  assert_true(look(p).kafka_away);
  progress_failed(p, &err);
  struct progress_snapshot s = look(p);
  assert_int_equal(s.state, PROGRESS_RECOVERING);
  assert_int_equal(s.failed_peer, PROGRESS_KAFKA);
  assert_string_equal(s.failed_message, "no broker");
  assert_false(s.kafka_away);
  error_set(&err, ERROR_START_OVER, "doubt");
  progress_failed(p, &err);
  progress_failed(p, &err);
  error_set(&err, ERROR_FENCED, "taken");
  progress_failed(p, &err);
  s = look(p);
  assert_int_equal(s.recoveries_retry, 1);
  assert_int_equal(s.recoveries_start_over, 2);
  assert_int_equal(s.recoveries_fenced, 1);
  assert_int_equal(s.failed_kind, ERROR_FENCED);
  assert_int_equal(s.failed_peer, PROGRESS_NOBODY);
  progress_free(p);
}

static void a_source_comes_and_goes(void **state) {
  (void)state;
  struct progress *p = progress_new();
  progress_source_started(p, 25000);
  atomic_store(&progress_queue(p)->unpublished, 9);
  progress_enter(p, PROGRESS_STREAMING);
  progress_heard(p, 700, clock_monotonic_ms());
  struct progress_snapshot s = look(p);
  assert_true(s.source_turned_ago_ms >= 0 && s.heard_ago_ms >= 0);
  assert_lsn(s.received, 700);
  assert_int_equal(s.silence_max_ms, 25000);
  assert_int_equal(s.unpublished_events, 9);
  progress_enter(p, PROGRESS_RECOVERING); /* what is left in the queue will be dropped */
  s = look(p);
  assert_lsn(s.received, 0);
  assert_int_equal(s.unpublished_events, 0);
  progress_enter(p, PROGRESS_STREAMING);
  progress_source_ended(p);
  s = look(p);
  assert_int_equal(s.source_turned_ago_ms, -1);
  assert_int_equal(s.heard_ago_ms, -1);
  assert_lsn(s.received, 0);
  progress_free(p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(readiness_follows_the_servers),
      cmocka_unit_test(only_a_thread_that_hangs_is_not_alive),
      cmocka_unit_test(a_new_relay_is_starting_and_alive),
      cmocka_unit_test(lag_is_the_age_of_the_oldest_unpublished_transaction),
      cmocka_unit_test(wal_that_the_server_has_not_sent_is_lag),
      cmocka_unit_test(what_is_committed_counts_as_reached),
      cmocka_unit_test(a_failure_is_counted_by_kind_and_put_down_to_who_was_talked_to),
      cmocka_unit_test(a_source_comes_and_goes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
