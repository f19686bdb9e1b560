/* For tests of what the inbox serves: its pages at a free port, and what systemd hears, over a report that is filled
 * here; until it is asked to stop. Its log is walferry's, which has the port ("http.listening").
 *   inbox_pages held_up --log-format json      two partitions, one of which backs off, and some of everything counted
 *   inbox_pages stopped --log-format json      the other is stopped too */
#include <stdio.h>
#include <string.h>

#include "bridge/base/clock.h"
#include "bridge/base/log.h"
#include "bridge/ops/daemon.h"
#include "bridge/ops/http.h"
#include "bridge/ops/signals.h"
#include "bridge/ops/watched_inbox.h"

static const struct handler_spec handlers[] = {{"RentalReserved", "accounting.on_rental_reserved"},
                                               {"Odd \"type\" \\ of\nevent*", "accounting.on_odd"}};

static void count_events(struct inbox_report *report) {
  for (int i = 0; i < 3; i++) {
    inbox_report_called(report, 0, 1500);
    inbox_report_outcome(report, 0, INBOX_PROCESSED, NULL);
  }
  inbox_report_outcome(report, 0, INBOX_DUPLICATE, NULL);
  inbox_report_retry(report, 1);
  inbox_report_outcome(report, 1, INBOX_DEAD_LETTERED, "handler_failed");
  inbox_report_outcome(report, -1, INBOX_DEAD_LETTERED, "unmatched");
  inbox_report_batch(report, 6, 20000);
}

static void fill(struct inbox_report *report, bool stopped) {
  struct error err;
  inbox_report_call_limit(report, 30000);
  inbox_report_talk(report, INBOX_POSTGRES);
  error_set(&err, ERROR_RETRY, "connection refused");
  inbox_report_failed(report, &err);
  inbox_report_enter(report, INBOX_STREAMING);
  struct inbox_partition_view reading = {
      .topic = "fleet.rentals", .partition = 0, .state = INBOX_PARTITION_READING, .next_offset = 100, .lag = 0};
  struct inbox_partition_view backing_off = {.topic = "fleet.rentals",
                                             .partition = 1,
                                             .state = INBOX_PARTITION_BACKING_OFF,
                                             .next_offset = 42,
                                             .lag = 7,
                                             .behind_ms = 5000,
                                             .attempts = 2,
                                             .code = "retries_exhausted",
                                             .message = "deadlock detected"};
  if (stopped) {
    reading.state = INBOX_PARTITION_STOPPED;
    reading.lag = -1;
    reading.code = "topic_recreated";
    snprintf(reading.message, sizeof reading.message, "the record at offset 99 is another one");
  }
  inbox_report_partition(report, &reading);
  inbox_report_partition(report, &backing_off);
  count_events(report);
}

int main(int argc, char **argv) {
  bool stopped = argc > 1 && strcmp(argv[1], "stopped") == 0;
  if (argc != 4 || (!stopped && strcmp(argv[1], "held_up") != 0)) {
    fprintf(stderr, "usage: inbox_pages held_up|stopped --log-format json\n");
    return 2;
  }
  static struct stop stop; /* the thread that waits for signals outlives every frame */
  signals_start(&stop, 0);
  log_setup(LOG_INFO, LOG_JSON);
  struct inbox_report *report = inbox_report_new(handlers, sizeof handlers / sizeof *handlers);
  fill(report, stopped);
  struct watched_inbox source = {.report = report, .group = "accounting"};
  struct watched watched = {
      .class = &watched_inbox_class, .source = &source, .name = "shop", .started_us = clock_wall_us()};
  struct error err;
  struct daemon *daemon = daemon_start(&watched, &stop);
  struct http *http = http_start("127.0.0.1:0", &watched, &err);
  if (http == NULL)
    fprintf(stderr, "inbox_pages: %s\n", err.message);
  for (; http != NULL && !atomic_load(&stop.requested); clock_sleep_ms(20))
    inbox_report_turn(report);
  daemon_end(daemon, NULL);
  http_stop(http);
  inbox_report_free(report);
  return http == NULL ? 1 : 0;
}
