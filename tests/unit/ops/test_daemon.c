/* bridge/ops/daemon.h: what is told of which moment, and that it arrives at the socket that systemd would listen at. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "bridge/ops/daemon.h"
#include "bridge/ops/watched_relay.h"

static struct daemon_message message;

static void look(struct daemon_told *told, const struct progress_snapshot *moment, bool stopping,
                 int64_t watchdog_every_ms, int64_t now_ms) {
  struct vitals vitals;
  watched_relay_class.judge(moment, &vitals);
  daemon_message(told, &vitals, stopping, watchdog_every_ms, now_ms, &message);
}

/* What is told of this moment at now_ms, with a watchdog fed every 1000 ms. */
static const char *tell(struct daemon_told *told, const struct progress_snapshot *moment, int64_t now_ms) {
  look(told, moment, false, 1000, now_ms);
  return message.text;
}

static struct progress_snapshot in_state(enum progress_state state) {
  return (struct progress_snapshot){
      .state = state, .peer = PROGRESS_NOBODY, .generation = 1, .source_turned_ago_ms = -1, .turned_ago_ms = 1000000};
}

static void a_relay_is_ready_once_it_streams_and_only_once(void **state) {
  (void)state;
  struct daemon_told told = {.ready = false};
  struct progress_snapshot moment = in_state(PROGRESS_STARTING);
  assert_string_equal(tell(&told, &moment, 0), "STATUS=starting");
  assert_string_equal(tell(&told, &moment, 10), "");
  moment = in_state(PROGRESS_STREAMING);
  moment.position_ack_lsn = 0x16B3748;
  assert_string_equal(tell(&told, &moment, 20), "READY=1\nSTATUS=streaming, published up to 0/16B3748");
  assert_string_equal(tell(&told, &moment, 30), "");
}

static void a_standby_is_ready(void **state) {
  (void)state;
  struct daemon_told told = {.ready = false};
  struct progress_snapshot moment = in_state(PROGRESS_STANDBY);
  assert_string_equal(tell(&told, &moment, 0), "READY=1\nSTATUS=standby: another instance holds the slot");
}

static struct progress_snapshot failed(enum error_kind kind, const char *text) {
  struct progress_snapshot moment = in_state(PROGRESS_RECOVERING);
  moment.failed_kind = kind;
  snprintf(moment.failed_message, sizeof moment.failed_message, "%s", text);
  return moment;
}

static void a_relay_that_retries_is_ready_and_says_why(void **state) {
  (void)state;
  static const enum error_kind kinds[] = {ERROR_RETRY, ERROR_START_OVER, ERROR_FENCED};
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    struct daemon_told told = {.ready = false};
    struct progress_snapshot moment = failed(kinds[i], "no broker answers");
    assert_string_equal(tell(&told, &moment, 0), "READY=1\nSTATUS=recovering: no broker answers");
    moment.generation++;
    snprintf(moment.failed_message, sizeof moment.failed_message, "no server answers");
    assert_string_equal(tell(&told, &moment, 10), "STATUS=recovering: no server answers");
  }
}

static void a_relay_whose_first_attempt_was_its_last_is_never_ready(void **state) {
  (void)state;
  static const enum error_kind kinds[] = {ERROR_REFUSED, ERROR_CONFIG, ERROR_FATAL};
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    struct daemon_told told = {.ready = false};
    struct progress_snapshot moment = failed(kinds[i], "no such slot");
    assert_string_equal(tell(&told, &moment, 0), "STATUS=recovering: no such slot");
  }
}

static void a_line_break_in_an_error_is_no_line_of_the_protocol(void **state) {
  (void)state;
  struct daemon_told told = {.ready = false};
  struct progress_snapshot moment = failed(ERROR_RETRY, "FATAL:  no\nMAINPID=1\r\nX=1");
  assert_string_equal(tell(&told, &moment, 0), "READY=1\nSTATUS=recovering: FATAL:  no MAINPID=1  X=1");
}

static void the_longest_error_fits(void **state) {
  (void)state;
  struct daemon_told told = {.ready = false};
  struct progress_snapshot moment = failed(ERROR_RETRY, "");
  memset(moment.failed_message, 'x', sizeof moment.failed_message - 1);
  moment.turned_ago_ms = 0;
  assert_string_equal(tell(&told, &moment, 100000) + strlen(message.text) - 12, "x\nWATCHDOG=1");
}

static void the_lsn_is_told_when_it_moved_and_not_more_often_than_every_two_seconds(void **state) {
  (void)state;
  struct daemon_told told = {.ready = false};
  struct progress_snapshot moment = in_state(PROGRESS_STREAMING);
  tell(&told, &moment, 0);
  moment.position_ack_lsn = 0x10;
  assert_string_equal(tell(&told, &moment, 1999), "");
  assert_string_equal(tell(&told, &moment, 2000), "STATUS=streaming, published up to 0/10");
  assert_string_equal(tell(&told, &moment, 9000), "");
}

static void the_watchdog_is_fed_as_often_as_asked_for_while_steps_are_made(void **state) {
  (void)state;
  struct daemon_told told = {.ready = false};
  struct progress_snapshot moment = in_state(PROGRESS_STREAMING);
  tell(&told, &moment, 0);
  moment.turned_ago_ms = 100;
  assert_string_equal(tell(&told, &moment, 1000), "WATCHDOG=1");
  assert_string_equal(tell(&told, &moment, 1999), "");
  assert_string_equal(tell(&told, &moment, 2000), "WATCHDOG=1");
}

static void the_watchdog_starves_when_no_step_is_made(void **state) {
  (void)state;
  struct daemon_told told = {.ready = false};
  struct progress_snapshot moment = in_state(PROGRESS_STREAMING);
  moment.turned_ago_ms = 100;
  tell(&told, &moment, 1000);
  moment.turned_ago_ms = 1100; /* at 1000 + 0: not since it was fed */
  assert_string_equal(tell(&told, &moment, 2100), "");
  moment.turned_ago_ms = 1099;
  assert_string_equal(tell(&told, &moment, 2100), "WATCHDOG=1");
}

static void the_watchdog_starves_when_the_source_thread_hangs(void **state) {
  (void)state;
  struct daemon_told told = {.ready = false};
  struct progress_snapshot moment = in_state(PROGRESS_STREAMING);
  tell(&told, &moment, 0);
  moment.turned_ago_ms = 0;
  moment.source_turned_ago_ms = 3600000;
  assert_false(progress_alive(&moment));
  assert_string_equal(tell(&told, &moment, 1000), "");
}

static void the_watchdog_is_fed_in_a_call_that_has_a_limit_of_its_own(void **state) {
  (void)state;
  struct daemon_told told = {.ready = true};
  struct vitals vitals = {.state = "streaming", .alive = true, .waiting = true, .turned_ago_ms = 90000};
  daemon_message(&told, &vitals, false, 1000, 100000, &message);
  assert_non_null(strstr(message.text, "WATCHDOG=1"));
  vitals.alive = false;
  daemon_message(&told, &vitals, false, 1000, 200000, &message);
  assert_string_equal(message.text, "");
}

static void nothing_is_fed_that_nobody_watches(void **state) {
  (void)state;
  struct daemon_told told = {.ready = false};
  struct progress_snapshot moment = in_state(PROGRESS_STREAMING);
  moment.turned_ago_ms = 0;
  look(&told, &moment, false, 0, 1000000);
  assert_null(strstr(message.text, "WATCHDOG"));
}

static void leaving_is_told_once_and_is_the_last_status(void **state) {
  (void)state;
  struct daemon_told told = {.ready = false};
  struct progress_snapshot moment = in_state(PROGRESS_STREAMING);
  tell(&told, &moment, 0);
  look(&told, &moment, true, 0, 10);
  assert_string_equal(message.text, "STOPPING=1\nSTATUS=stopping");
  moment = in_state(PROGRESS_RECOVERING);
  look(&told, &moment, true, 0, 5000);
  assert_string_equal(message.text, "");

  told = (struct daemon_told){.ready = true}; /* nobody asked: an `until` was reached */
  moment = in_state(PROGRESS_STOPPING);
  assert_string_equal(tell(&told, &moment, 0), "STOPPING=1\nSTATUS=stopping");
}

/* The socket; an abstract address, so that no file is left behind. */
static int listen_as_systemd(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int len = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "walferry-test-%d", (int)getpid());
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
  assert_int_equal(bind(fd, (const struct sockaddr *)&address, size), 0);
  struct timeval patience = {.tv_sec = 10};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  address.sun_path[0] = '@';
  setenv("NOTIFY_SOCKET", address.sun_path, 1);
  return fd;
}

static const char *next(int fd) {
  static char text[4096];
  ssize_t got = recv(fd, text, sizeof text - 1, 0);
  text[got < 0 ? 0 : got] = '\0';
  return text;
}

static void what_is_told_arrives_and_the_end_with_its_code(void **state) {
  (void)state;
#ifndef WALFERRY_SYSTEMD
  skip();
#endif
  int fd = listen_as_systemd();
  struct stop stop = {.requested = false};
  struct progress *progress = progress_new();
  struct watched_relay source = {.progress = progress};
  const struct watched watched = {.class = &watched_relay_class, .source = &source};
  struct daemon *daemon = daemon_start(&watched, &stop);
  assert_string_equal(next(fd), "STATUS=starting");
  progress_enter(progress, PROGRESS_STANDBY);
  assert_string_equal(next(fd), "READY=1\nSTATUS=standby: another instance holds the slot");
  struct error why;
  error_refuse(&why, "slot_missing", "slot walferry_shop does not exist");
  daemon_end(daemon, &why);
  assert_string_equal(next(fd), "STOPPING=1\nSTATUS=refused, slot_missing: slot walferry_shop does not exist");

  daemon = daemon_start(&watched, &stop);
  assert_string_equal(next(fd), "READY=1\nSTATUS=standby: another instance holds the slot");
  daemon_end(daemon, NULL);
  assert_string_equal(next(fd), "STOPPING=1\nSTATUS=done");
  progress_free(progress);
  unsetenv("NOTIFY_SOCKET");
  close(fd);
}

static void where_nobody_listens_nothing_is_started(void **state) {
  (void)state;
  struct stop stop = {.requested = false};
  unsetenv("NOTIFY_SOCKET");
  assert_null(daemon_start(NULL, &stop));
  daemon_end(NULL, NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_relay_is_ready_once_it_streams_and_only_once),
      cmocka_unit_test(a_standby_is_ready),
      cmocka_unit_test(a_relay_that_retries_is_ready_and_says_why),
      cmocka_unit_test(a_relay_whose_first_attempt_was_its_last_is_never_ready),
      cmocka_unit_test(a_line_break_in_an_error_is_no_line_of_the_protocol),
      cmocka_unit_test(the_longest_error_fits),
      cmocka_unit_test(the_lsn_is_told_when_it_moved_and_not_more_often_than_every_two_seconds),
      cmocka_unit_test(the_watchdog_is_fed_as_often_as_asked_for_while_steps_are_made),
      cmocka_unit_test(the_watchdog_starves_when_no_step_is_made),
      cmocka_unit_test(the_watchdog_starves_when_the_source_thread_hangs),
      cmocka_unit_test(the_watchdog_is_fed_in_a_call_that_has_a_limit_of_its_own),
      cmocka_unit_test(nothing_is_fed_that_nobody_watches),
      cmocka_unit_test(leaving_is_told_once_and_is_the_last_status),
      cmocka_unit_test(what_is_told_arrives_and_the_end_with_its_code),
      cmocka_unit_test(where_nobody_listens_nothing_is_started),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
