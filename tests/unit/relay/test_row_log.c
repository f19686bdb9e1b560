/* bridge/relay/row_log.h: what stands on stderr after so many bad rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "bridge/relay/row_log.h"

static char captured[8192];
static FILE *stderr_file;
static int saved_stderr;

static void capture_begin(void) {
  fflush(stderr);
  stderr_file = tmpfile();
  assert_non_null(stderr_file);
  saved_stderr = dup(STDERR_FILENO);
  dup2(fileno(stderr_file), STDERR_FILENO);
}

static const char *capture_finish(void) {
  fflush(stderr);
  dup2(saved_stderr, STDERR_FILENO);
  close(saved_stderr);
  rewind(stderr_file);
  size_t len = fread(captured, 1, sizeof captured - 1, stderr_file);
  captured[len] = '\0';
  fclose(stderr_file);
  return captured;
}

static int count_of(const char *text, const char *what) {
  int found = 0;
  for (const char *at = strstr(text, what); at != NULL; at = strstr(at + 1, what))
    found++;
  return found;
}

static struct record_header headers[2];

static struct record bad(const char *code, const char *origin) {
  headers[0] = (struct record_header){.name = RECORD_HEADER_ERROR_CODE, .value = slice_of(code)};
  headers[1] = (struct record_header){.name = RECORD_HEADER_ERROR_MESSAGE, .value = slice_of("the reason")};
  return (struct record){.quarantined = true,
                         .origin = origin,
                         .id = slice_of("e-1"),
                         .commit_lsn = 0x16B374D848,
                         .headers = headers,
                         .header_count = 2};
}

static void only_the_first_row_of_a_cause_is_named(void **state) {
  (void)state;
  struct row_log *log = row_log_new();
  capture_begin();
  for (int i = 0; i < 1000; i++) {
    struct record record = bad("payload_not_json", "public.outbox");
    row_log_note(log, &record, i);
    record = bad("missing_type", "public.outbox");
    row_log_note(log, &record, i);
    record = bad("missing_type", "sales.outbox");
    row_log_note(log, &record, i);
    record = (struct record){.origin = "public.outbox"};
    row_log_note(log, &record, i);
  }
  const char *text = capture_finish();
  assert_int_equal(count_of(text, "relay.quarantined"), 3);
  assert_int_equal(count_of(text, "payload_not_json"), 1);
  assert_int_equal(count_of(text, "sales.outbox"), 1);
  assert_int_equal(count_of(text, "e-1"), 3);
  assert_int_equal(count_of(text, "16/B374D848"), 3);
  assert_int_equal(count_of(text, "the reason"), 3);
  capture_begin();
  row_log_free(log); /* what is left is counted */
  text = capture_finish();
  assert_int_equal(count_of(text, "more=999"), 3);
  assert_int_equal(count_of(text, "e-1"), 0);
}

static void later_rows_are_counted_once_a_minute(void **state) {
  (void)state;
  struct row_log *log = row_log_new();
  struct record record = bad("missing_id", "public.outbox");
  capture_begin();
  row_log_note(log, &record, 1000);
  row_log_note(log, &record, 2000);
  row_log_flush(log, 60999, false);
  assert_int_equal(count_of(capture_finish(), "relay.quarantined"), 1);
  capture_begin();
  row_log_note(log, &record, 61000);
  assert_int_equal(count_of(capture_finish(), "more=2"), 1);
  capture_begin();
  row_log_flush(log, 200000, false); /* nothing came since */
  row_log_note(log, &record, 120999);
  assert_string_equal(capture_finish(), "");
  capture_begin();
  row_log_flush(log, 121000, false);
  assert_int_equal(count_of(capture_finish(), "more=1"), 1);
  capture_begin();
  row_log_free(log);
  row_log_free(NULL);
  assert_string_equal(capture_finish(), "");
}

static void a_lost_traceparent_is_a_cause_of_its_own(void **state) {
  (void)state;
  struct row_log *log = row_log_new();
  struct record record = {.origin = "public.outbox", .id = slice_of("e-1"), .trace_dropped = true};
  capture_begin();
  row_log_note(log, &record, 0);
  row_log_note(log, &record, 1);
  const char *text = capture_finish();
  assert_int_equal(count_of(text, "relay.traceparent_dropped"), 1);
  assert_int_equal(count_of(text, "traceparent_invalid"), 1);
  capture_begin();
  row_log_free(log);
  assert_int_equal(count_of(capture_finish(), "more=1"), 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(only_the_first_row_of_a_cause_is_named),
      cmocka_unit_test(later_rows_are_counted_once_a_minute),
      cmocka_unit_test(a_lost_traceparent_is_a_cause_of_its_own),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
