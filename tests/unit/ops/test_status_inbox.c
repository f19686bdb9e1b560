/* bridge/ops/status_inbox.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "bridge/base/jsonobject.h"
#include "bridge/ops/status_inbox.h"

static char topic[] = "rentals", updated[] = "2026-11-21T08:00:00Z", code[] = "handler_failed";

/* One partition with two to go, one that was never read, one whose records were deleted. */
static struct inbox_view_partition partitions[] = {
    {.topic = topic,
     .partition = 0,
     .stored = {.exists = true, .next_offset = 3, .record_offset = 2},
     .dirty = true,
     .updated_at = updated,
     .log_known = true,
     .low = 0,
     .end = 5},
    {.topic = topic, .partition = 1, .log_known = true, .low = 4, .end = 10},
    {.topic = topic,
     .partition = 2,
     .stored = {.exists = true, .next_offset = 3, .record_offset = -1},
     .updated_at = updated,
     .log_known = true,
     .low = 7,
     .end = 7},
};
static struct inbox_view_letters letters[] = {{.code = code, .count = 2, .oldest = updated}};

static struct status_inbox whole(void) {
  return (struct status_inbox){.consumer = "accounting",
                               .tables_read = true,
                               .set_up = true,
                               .view = {.partitions = partitions,
                                        .partition_count = 3,
                                        .letters = letters,
                                        .letter_count = 1,
                                        .held_keys = 1,
                                        .parked = 4,
                                        .attempts = 1},
                               .logs_read = true,
                               .group_read = true,
                               .group = {.state = "Stable", .members = 2}};
}

static char *as_text(const struct status_inbox *status) {
  char *text = NULL;
  size_t len = 0;
  FILE *out = open_memstream(&text, &len);
  status_inbox_text(status, out);
  fclose(out);
  return text;
}

static json_t *as_json(const struct status_inbox *status) {
  struct buffer buf;
  buffer_init(&buf, 1 << 20);
  jsonobject_open(&buf, NULL);
  status_inbox_json(status, &buf);
  jsonobject_close(&buf);
  json_t *json = json_loadb(buf.data, buf.len, 0, NULL);
  if (json == NULL)
    fail_msg("no JSON: %.*s", (int)buf.len, buf.data);
  buffer_free(&buf);
  return json;
}

static void expect_text(const struct status_inbox *status, const char *const *lines) {
  char *text = as_text(status);
  for (; *lines != NULL; lines++)
    if (strstr(text, *lines) == NULL)
      fail_msg("\"%s\" is missing in\n%s", *lines, text);
  free(text);
}

static void each_partition_has_its_line(void **state) {
  (void)state;
  struct status_inbox status = whole();
  static const char *const lines[] = {
      "inbox         accounting: Stable, 2 members\n",
      "  rentals/0  next offset 3, lag 2, moved 2026-11-21T08:00:00Z, in use\n",
      "  rentals/1  not read yet, lag 6\n",
      "  rentals/2  next offset 3, lag 4, moved 2026-11-21T08:00:00Z, REFUSED: offset_deleted\n",
      "  lag in all  12 offsets\n",
      "  retrying    1 message\n",
      "dead letters  2 open\n",
      "  handler_failed            2  oldest 2026-11-21T08:00:00Z\n",
      "held keys     1, with 4 messages parked behind it\n",
      NULL};
  expect_text(&status, lines);
}

static void the_same_as_json(void **state) {
  (void)state;
  struct status_inbox status = whole();
  json_t *json = as_json(&status);
  const char *group, *group_state, *refused;
  int members, lag, open, held, parked, retrying, second_lag, set_up;
  json_t *offset;
  assert_int_equal(json_unpack(json, "{s:{s:s, s:s, s:i, s:b, s:i, s:{s:i}, s:i, s:i, s:i}}", "inbox", "group", &group,
                               "state", &group_state, "members", &members, "set_up", &set_up, "lag", &lag,
                               "dead_letters", "open", &open, "held_keys", &held, "parked", &parked, "retrying",
                               &retrying),
                   0);
  assert_string_equal(group, "accounting");
  assert_string_equal(group_state, "Stable");
  assert_true(members == 2 && set_up && lag == 12 && open == 2 && held == 1 && parked == 4 && retrying == 1);
  json_t *list = json_object_get(json_object_get(json, "inbox"), "partitions");
  assert_int_equal(json_array_size(list), 3);
  assert_int_equal(json_unpack(json_array_get(list, 1), "{s:i, s:o}", "lag", &second_lag, "next_offset", &offset), 0);
  assert_true(second_lag == 6 && json_is_null(offset));
  assert_int_equal(json_unpack(json_array_get(list, 2), "{s:s}", "code", &refused), 0);
  assert_string_equal(refused, "offset_deleted");
  json_decref(json);
}

static void what_is_not_known_is_not_told(void **state) {
  (void)state;
  struct status_inbox status = whole();
  struct inbox_view_partition silent = {.topic = topic, .stored = {.exists = true, .next_offset = 3}};
  status.view.partitions = &silent;
  status.view.partition_count = 1;
  status.logs_read = status.group_read = false;
  error_set(&status.logs_error, ERROR_RETRY, "no answer");
  static const char *const lines[] = {"inbox         accounting\n", "  rentals/0  next offset 3\n",
                                      "  kafka       MISSING: no answer\n", NULL};
  expect_text(&status, lines);
  json_t *json = as_json(&status), *inbox = json_object_get(json, "inbox");
  assert_true(json_is_null(json_object_get(inbox, "state")) && json_is_null(json_object_get(inbox, "members")));
  assert_true(json_is_null(json_object_get(inbox, "lag")));
  assert_string_equal(json_string_value(json_object_get(inbox, "kafka_error")), "no answer");
  json_decref(json);
}

static void tables_that_are_missing_are_a_finding(void **state) {
  (void)state;
  struct status_inbox status = {.consumer = "accounting", .tables_read = true, .logs_read = true, .group_read = true};
  error_refuse(&status.not_set_up, "inbox_not_set_up", "no tables");
  error_remedy(&status.not_set_up, "make them");
  static const char *const lines[] = {"  tables      no tables\n              make them\n", NULL};
  expect_text(&status, lines);
  json_t *json = as_json(&status), *inbox = json_object_get(json, "inbox");
  assert_true(json_is_false(json_object_get(inbox, "set_up")));
  assert_null(json_object_get(inbox, "partitions"));
  json_decref(json);
  status.tables_read = false; /* Postgres is away */
  json = as_json(&status);
  assert_true(json_is_null(json_object_get(json_object_get(json, "inbox"), "set_up")));
  json_decref(json);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_partition_has_its_line),
      cmocka_unit_test(the_same_as_json),
      cmocka_unit_test(what_is_not_known_is_not_told),
      cmocka_unit_test(tables_that_are_missing_are_a_finding),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
