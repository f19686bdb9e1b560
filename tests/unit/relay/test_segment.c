/* bridge/relay/segment.h: a segment counts its records, keeps their order and frees them. */
#include "tests/unit/relay/relay_fixture.h"

#include "bridge/event/assemble.h"
#include "bridge/relay/segment.h"

static struct record *record(struct segment *s, const char *value) {
  return record_assemble(&s->memory, &(struct record_draft){.topic = slice_of("t"),
                                                            .origin = "public.outbox",
                                                            .id = slice_of("1"),
                                                            .value = {slice_of(value)}});
}

static void records_are_counted_and_keep_their_order(void **state) {
  (void)state;
  struct segment *s = segment_new();
  assert_true(s->bytes >= sizeof *s); /* an empty one costs something too, or a queue of them had no bound */
  size_t bytes = s->bytes;
  struct record *records[] = {record(s, "a"), record(s, "bb"), record(s, "")};
  records[0]->next = records[2]; /* whoever held them before */
  for (size_t i = 0; i < COUNT_OF(records); i++) {
    segment_append(s, records[i]);
    assert_null(records[i]->next);
  }
  assert_int_equal(s->count, 3);
  assert_true(s->message_bytes > 0); /* what they will cost elsewhere counts */
  assert_int_equal(s->bytes, bytes + s->memory.bytes + s->message_bytes);
  assert_ptr_equal(s->first, records[0]);
  assert_ptr_equal(records[0]->next, records[1]);
  assert_ptr_equal(records[1]->next, records[2]);
  assert_ptr_equal(s->last, records[2]);
  segment_free(s);
}

static void lists_are_freed_whole(void **state) {
  (void)state;
  struct segment *first = segment_new();
  segment_append(first, record(first, "a"));
  first->next = segment_new();
  segment_append(first->next, record(first->next, "b"));
  segment_free_list(first);
  segment_free_list(NULL);
  segment_free(NULL);
}

static void a_segment_without_transaction_is_idle(void **state) {
  (void)state;
  struct segment *s = segment_new();
  assert_true(segment_is_idle(s));
  s->commit_lsn = 1;
  assert_false(segment_is_idle(s));
  segment_free(s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(records_are_counted_and_keep_their_order),
      cmocka_unit_test(lists_are_freed_whole),
      cmocka_unit_test(a_segment_without_transaction_is_idle),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
