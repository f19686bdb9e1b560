/* bridge/relay/handover.h: what a batch holds, when a push is turned away and told of space, and two threads at it.
 * Batches are written as text: a transaction's number per segment, "." behind its last one, "~" for idle progress. */
#include "tests/unit/relay/relay_fixture.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bridge/base/clock.h"
#include "bridge/relay/handover.h"

static struct segment *segment(lsn_t transaction, size_t bytes, bool ends) {
  struct segment *s = segment_new();
  s->commit_lsn = transaction;
  s->bytes = bytes;
  s->ends = ends;
  s->end_lsn = ends ? transaction + 1 : 0;
  return s;
}

static struct segment *idle(lsn_t end) {
  struct segment *s = segment_new();
  s->end_lsn = end;
  return s;
}

struct fixture {
  struct handover *h;
  int space_fd;
  struct handover_levels *levels;
};

static struct fixture open_queue(size_t queue, size_t soft, size_t hard) {
  struct fixture f = {.space_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  f.levels = calloc(1, sizeof *f.levels);
  f.h = handover_new(&(struct handover_limits){.queue_bytes = queue, .soft_bytes = soft, .hard_bytes = hard},
                     f.space_fd, f.levels);
  return f;
}

static void close_queue(struct fixture *f) {
  handover_free(f->h);
  close(f->space_fd);
  free(f->levels);
}

static bool told_of_space(const struct fixture *f) {
  eventfd_t count;
  return eventfd_read(f->space_fd, &count) == 0;
}

/* Pushes text such as "1 1. 2.": each of `bytes`; all must be taken. */
static void push_all(struct fixture *f, const char *text, size_t bytes) {
  for (const char *c = text; *c != '\0'; c++) {
    if (*c == ' ' || *c == '.')
      continue;
    assert_true(handover_push(f->h, *c == '~' ? idle(900) : segment((lsn_t)(*c - '0'), bytes, c[1] == '.')));
  }
}

/* The next batch as text, "empty" or "closed"; freed at once. Borrowed until the next call. */
static const char *take(struct fixture *f) {
  static char text[4096];
  struct segment *first = NULL;
  struct error why;
  switch (handover_take(f->h, 0, &first, &why)) {
  case HANDOVER_EMPTY:
    return "empty";
  case HANDOVER_CLOSED:
    snprintf(text, sizeof text, "closed: %s", why.message);
    return text;
  case HANDOVER_BATCH:
    break;
  }
  size_t len = 0;
  for (const struct segment *s = first; s != NULL; s = s->next) {
    if (segment_is_idle(s))
      len += (size_t)snprintf(text + len, sizeof text - len, "~");
    else
      len += (size_t)snprintf(text + len, sizeof text - len, "%d%s", (int)s->commit_lsn, s->ends ? "." : "");
    if (s->next != NULL)
      len += (size_t)snprintf(text + len, sizeof text - len, " ");
  }
  segment_free_list(first);
  return text;
}

#define BATCHES_MAX 6

static void batches_hold_whole_transactions_within_bounds(void **state) {
  (void)state;
  static const struct {
    const char *name;
    size_t soft, hard; /* each segment is 10 */
    const char *pushed;
    const char *batches[BATCHES_MAX];
  } cases[] = {
      {"nothing", 100, 100, "", {"empty"}},
      {"one", 100, 100, "1.", {"1.", "empty"}},
      {"all that gathered", 100, 100, "1. 2. 3 3. 4.", {"1. 2. 3 3. 4.", "empty"}},
      {"unfinished", 100, 100, "1 1", {"empty"}},
      {"whole ones before an unfinished", 100, 100, "1. 2. 3 3", {"1. 2.", "empty"}},
      {"soft bound ends at the next commit", 20, 100, "1. 2. 3. 4 4. 5.", {"1. 2.", "3. 4 4.", "5.", "empty"}},
      {"soft bound inside a transaction", 20, 100, "1. 2 2 2. 3.", {"1. 2 2 2.", "3.", "empty"}},
      {"hard bound keeps the next whole", 100, 30, "1. 2 2. 3.", {"1. 2 2.", "3.", "empty"}},
      {"hard bound, the next would pass it", 100, 30, "1 1. 2 2. 3.", {"1 1.", "2 2. 3.", "empty"}},
      {"exactly the hard bound is no split", 100, 30, "1 1 1. 2.", {"1 1 1.", "2.", "empty"}},
      {"huge one is split", 100, 30, "1 1 1 1 1 1 1. 2.", {"1 1 1", "1 1 1", "1. 2.", "empty"}},
      {"huge one, unfinished", 100, 30, "1 1 1 1", {"1 1 1", "empty"}},
      {"huge one behind a small one", 100, 30, "1. 2 2 2 2 2.", {"1.", "2 2 2", "2 2.", "empty"}},
      {"idle alone", 100, 100, "~", {"~", "empty"}},
      {"idle behind transactions", 100, 200, "1. ~ 2. ~", {"1. ~", "2. ~", "empty"}},
      {"idle progress coalesces", 100, 100, "~ ~ ~", {"~", "empty"}},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct fixture f = open_queue(1 << 20, cases[i].soft, cases[i].hard);
    push_all(&f, cases[i].pushed, 10);
    for (int b = 0; b < BATCHES_MAX && cases[i].batches[b] != NULL; b++) {
      const char *batch = take(&f);
      if (strcmp(batch, cases[i].batches[b]) != 0)
        fail_msg("%s, batch %d: expected \"%s\", got \"%s\"", cases[i].name, b, cases[i].batches[b], batch);
    }
    assert_false(told_of_space(&f)); /* nobody was turned away */
    close_queue(&f);
  }
}

static void full_queue_turns_away_and_tells_of_space(void **state) {
  (void)state;
  struct fixture f = open_queue(30, 20, 30);
  push_all(&f, "1. 2. 3.", 10);
  struct segment *fourth = segment(4, 1, true);
  assert_false(handover_push(f.h, fourth));
  assert_false(handover_push(f.h, fourth)); /* still the caller's */
  assert_false(told_of_space(&f));
  assert_string_equal(take(&f), "1. 2.");
  assert_true(told_of_space(&f));
  assert_true(handover_push(f.h, fourth));
  assert_string_equal(take(&f), "3. 4.");
  assert_false(told_of_space(&f)); /* once */
  assert_string_equal(take(&f), "empty");
  close_queue(&f);
}

static void queue_full_of_one_unfinished_transaction_is_split(void **state) {
  (void)state;
  struct fixture f = open_queue(35, 100, 35);
  push_all(&f, "1 1 1", 10);
  assert_string_equal(take(&f), "empty"); /* it may end yet */
  struct segment *more = segment(1, 10, true);
  assert_false(handover_push(f.h, more));
  assert_string_equal(take(&f), "1 1 1");
  assert_true(told_of_space(&f));
  assert_true(handover_push(f.h, more));
  assert_string_equal(take(&f), "1.");
  close_queue(&f);
}

static void queue_full_with_a_whole_one_in_front_gives_that_one(void **state) {
  (void)state;
  struct fixture f = open_queue(35, 100, 35);
  push_all(&f, "1. 2 2", 10);
  struct segment *more = segment(2, 10, true);
  assert_false(handover_push(f.h, more));
  assert_string_equal(take(&f), "1.");
  assert_true(told_of_space(&f));
  assert_true(handover_push(f.h, more));
  assert_string_equal(take(&f), "2 2 2.");
  close_queue(&f);
}

static void busy_until_what_was_taken_is_published(void **state) {
  (void)state;
  struct fixture f = open_queue(30, 20, 30);
  assert_false(handover_busy(f.h));
  push_all(&f, "1.", 1000);
  assert_true(handover_busy(f.h)); /* queued */
  assert_string_equal(take(&f), "1.");
  assert_true(told_of_space(&f));
  assert_true(handover_busy(f.h)); /* taken */
  assert_false(told_of_space(&f));
  assert_string_equal(take(&f), "empty"); /* who asks for more is through with it */
  assert_true(told_of_space(&f));
  assert_false(handover_busy(f.h));
  assert_string_equal(take(&f), "empty");
  assert_false(told_of_space(&f));
  close_queue(&f);
}

static void unfinished_transaction_ahead_of_a_busy_source_is_split(void **state) {
  (void)state;
  struct fixture f = open_queue(30, 20, 30);
  push_all(&f, "1", 10);
  assert_string_equal(take(&f), "empty");
  assert_true(handover_busy(f.h)); /* the source reads no further, so that nothing would end it */
  assert_string_equal(take(&f), "1");
  close_queue(&f);
}

static void oversize_segment_passes_an_empty_queue_only(void **state) {
  (void)state;
  struct fixture f = open_queue(30, 20, 30);
  assert_true(handover_push(f.h, segment(1, 10, true)));
  struct segment *big = segment(2, 1000, true);
  assert_false(handover_push(f.h, big));
  assert_string_equal(take(&f), "1.");
  assert_true(handover_push(f.h, big));
  struct segment *next = segment(3, 1, true);
  assert_false(handover_push(f.h, next));
  assert_string_equal(take(&f), "2.");
  assert_true(handover_push(f.h, next));
  struct segment *piece = segment(4, 1000, false);
  assert_false(handover_push(f.h, piece));
  assert_string_equal(take(&f), "3.");
  assert_true(handover_push(f.h, piece));
  assert_string_equal(take(&f), "4"); /* above the hard bound by itself */
  close_queue(&f);
}

static void idle_progress_takes_the_place_of_earlier_idle_progress(void **state) {
  (void)state;
  struct fixture f = open_queue(2 * sizeof(struct segment), 1, 1);
  assert_true(handover_push(f.h, idle(100)));
  assert_true(handover_push(f.h, idle(200)));
  assert_true(handover_push(f.h, segment(300, 10, true)));
  struct segment *later = idle(400);
  assert_false(handover_push(f.h, later)); /* full: 2 * sizeof, and 10 too many */
  struct segment *first;
  struct error why;
  assert_int_equal(handover_take(f.h, 0, &first, &why), HANDOVER_BATCH);
  assert_lsn(first->end_lsn, 200);
  assert_null(first->next);
  segment_free_list(first);
  assert_true(handover_push(f.h, later));
  assert_true(handover_push(f.h, idle(500)));
  assert_string_equal(take(&f), "300.");
  assert_int_equal(handover_take(f.h, 0, &first, &why), HANDOVER_BATCH);
  assert_lsn(first->end_lsn, 500);
  segment_free_list(first);
  close_queue(&f);
}

static void what_is_whole_is_handed_out_before_closed(void **state) {
  (void)state;
  struct fixture f = open_queue(1000, 10, 1000);
  push_all(&f, "1. 2. 3 3", 10);
  struct error why = {.kind = ERROR_RETRY};
  snprintf(why.message, sizeof why.message, "the server left");
  handover_close(f.h, &why);
  assert_string_equal(take(&f), "1.");
  assert_string_equal(take(&f), "2.");
  assert_string_equal(take(&f), "closed: the server left"); /* 3 will never end */
  assert_string_equal(take(&f), "closed: the server left");
  close_queue(&f); /* and frees 3 */
}

static void empty_queue_waits_as_long_as_told(void **state) {
  (void)state;
  struct fixture f = open_queue(1000, 10, 1000);
  struct timespec before, after;
  struct segment *first;
  struct error why;
  clock_gettime(CLOCK_MONOTONIC, &before);
  assert_int_equal(handover_take(f.h, 999, &first, &why), HANDOVER_EMPTY); /* its nanoseconds nearly always carry */
  clock_gettime(CLOCK_MONOTONIC, &after);
  int64_t waited_ms = (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
  assert_true(waited_ms >= 990 && waited_ms < 30000);
  close_queue(&f);
}

static void push_dated(struct fixture *f, lsn_t transaction, int records, int64_t commit_time_us) {
  struct segment *s = segment(transaction, 10, true);
  s->count = records;
  s->commit_time_us = commit_time_us;
  assert_true(handover_push(f->h, s));
}

static void assert_levels(const struct fixture *f, int64_t bytes, int64_t unpublished, int64_t oldest_us) {
  assert_int_equal(atomic_load(&f->levels->bytes), bytes);
  assert_int_equal(atomic_load(&f->levels->unpublished), unpublished);
  assert_int_equal(atomic_load(&f->levels->oldest_commit_us), oldest_us);
}

static void levels_count_a_batch_until_the_next_is_asked_for(void **state) {
  (void)state;
  struct fixture f = open_queue(30, 10, 20);
  assert_int_equal(atomic_load(&f.levels->bytes_max), 30);
  assert_levels(&f, 0, 0, 0);
  push_dated(&f, 1, 4, 111);
  push_dated(&f, 2, 5, 222);
  push_dated(&f, 3, 6, 333);
  assert_levels(&f, 30, 15, 111);
  struct segment *refused = segment(4, 10, true);
  assert_false(handover_push(f.h, refused));
  segment_free(refused);
  assert_levels(&f, 30, 15, 111);
  assert_string_equal(take(&f), "1.");
  assert_levels(&f, 20, 15, 111);
  assert_string_equal(take(&f), "2.");
  assert_levels(&f, 10, 11, 222);
  assert_string_equal(take(&f), "3.");
  assert_levels(&f, 0, 6, 333);
  assert_string_equal(take(&f), "empty");
  assert_levels(&f, 0, 0, 0);
  close_queue(&f);
}

static void idle_progress_has_no_age(void **state) {
  (void)state;
  struct fixture f = open_queue(1000, 1000, 1000);
  push_all(&f, "~", 10);
  assert_int_equal(atomic_load(&f.levels->oldest_commit_us), 0);
  push_dated(&f, 1, 4, 111);
  assert_int_equal(atomic_load(&f.levels->oldest_commit_us), 111);
  handover_free(f.h);
  assert_levels(&f, 0, 0, 0);
  assert_int_equal(atomic_load(&f.levels->bytes_max), 0);
  close(f.space_fd);
  free(f.levels);
}

static void nothing_is_freed_for_a_queue_that_never_was(void **state) {
  (void)state;
  handover_free(NULL);
}

/* The soak: transactions of 1 to 60 segments of 1 to 400 bytes with idle progress in between, through a small queue. */
#define SOAK_SEGMENTS 100000
#define SOAK_QUEUE 4000
#define SOAK_SOFT 1000
#define SOAK_HARD 3000

struct soak {
  struct fixture f;
  unsigned seed;
  int waits;
};

static unsigned next_random(unsigned *seed) {
  *seed = *seed * 1664525u + 1013904223u;
  return *seed >> 8;
}

static void push_waiting(struct soak *soak, struct segment *s) {
  while (!handover_push(soak->f.h, s)) {
    soak->waits++;
    struct pollfd fd = {.fd = soak->f.space_fd, .events = POLLIN};
    if (poll(&fd, 1, 60000) != 1)
      abort(); /* nobody told of space */
    eventfd_t ignored;
    eventfd_read(soak->f.space_fd, &ignored);
  }
}

/* commit_lsn: the transaction's number; next_index: of the segment in it, from 1. Nothing here may touch cmocka. */
static void *soak_source(void *arg) {
  struct soak *soak = arg;
  unsigned seed = soak->seed;
  lsn_t transaction = 0;
  for (int pushed = 0; pushed < SOAK_SEGMENTS;) {
    transaction++;
    unsigned count = next_random(&seed) % 10 == 0 ? 1 + next_random(&seed) % 60 : 1 + next_random(&seed) % 3;
    for (unsigned i = 1; i <= count; i++) {
      struct segment *s = segment(transaction, 1 + next_random(&seed) % 400, i == count);
      s->next_index = i;
      push_waiting(soak, s);
      pushed++;
    }
    if (next_random(&seed) % 8 == 0)
      push_waiting(soak, idle(transaction));
  }
  struct error why = {.kind = ERROR_STOPPED, .code = "soak_done"};
  handover_close(soak->f.h, &why);
  return NULL;
}

struct soak_seen {
  lsn_t transaction;
  uint64_t index;
  bool ended;
  int segments, batches, splits;
};

static void check_batch(struct soak_seen *seen, const struct segment *first) {
  size_t bytes = 0;
  bool began_new = first->commit_lsn == 0 || first->next_index == 1;
  int transactions = 0;
  for (const struct segment *s = first; s != NULL; s = s->next) {
    bytes += s->bytes;
    if (segment_is_idle(s)) {
      assert_true(seen->ended);
      assert_lsn(s->end_lsn, seen->transaction);
      transactions++;
      continue;
    }
    if (seen->ended) {
      assert_lsn(s->commit_lsn, seen->transaction + 1);
      assert_int_equal(s->next_index, 1);
    } else {
      assert_lsn(s->commit_lsn, seen->transaction);
      assert_int_equal(s->next_index, seen->index + 1);
    }
    seen->transaction = s->commit_lsn;
    seen->index = s->next_index;
    seen->ended = s->ends;
    transactions += s->ends;
    seen->segments++;
  }
  seen->batches++;
  if (!seen->ended) { /* a split: nothing else in it, and as much as a bound allows */
    assert_int_equal(transactions, 0);
    assert_true(bytes >= SOAK_HARD || bytes + 400 > SOAK_QUEUE);
    assert_true(began_new || seen->splits > 0);
    seen->splits++;
  }
  assert_true(bytes <= SOAK_QUEUE);
}

static void two_threads_pass_everything_in_order(void **state) {
  (void)state;
  struct soak soak = {.f = open_queue(SOAK_QUEUE, SOAK_SOFT, SOAK_HARD), .seed = 20261121};
  print_message("seed %u\n", soak.seed);
  pthread_t source;
  assert_int_equal(pthread_create(&source, NULL, soak_source, &soak), 0);
  struct soak_seen seen = {.ended = true};
  struct error why = {.kind = ERROR_NONE};
  for (;;) {
    struct segment *first;
    enum handover_result result = handover_take(soak.f.h, 60000, &first, &why);
    if (result == HANDOVER_CLOSED)
      break;
    assert_int_equal(result, HANDOVER_BATCH);
    check_batch(&seen, first);
    segment_free_list(first);
  }
  pthread_join(source, NULL);
  assert_true(seen.ended);
  assert_true(seen.segments >= SOAK_SEGMENTS);
  assert_true(seen.splits > 0);
  assert_true(soak.waits > 0);
  assert_string_equal(why.code, "soak_done");
  print_message("%d segments in %d batches, %d of them splits; the source waited %d times\n", seen.segments,
                seen.batches, seen.splits, soak.waits);
  close_queue(&soak.f);
}

#define PATIENCE_MS 20000

static void *take_patiently(void *queue) {
  struct segment *first;
  struct error why;
  bool taken = handover_take(queue, PATIENCE_MS, &first, &why) == HANDOVER_BATCH;
  if (taken)
    segment_free_list(first);
  return taken ? queue : NULL;
}

static void whoever_waits_hears_that_the_source_reads_no_further(void **state) {
  (void)state;
  struct fixture f = open_queue(1000, 600, 800);
  pthread_t taker;
  int64_t began = clock_monotonic_ms();
  assert_int_equal(pthread_create(&taker, NULL, take_patiently, f.h), 0);
  assert_true(handover_push(f.h, segment(1, 500, false)));
  clock_sleep_ms(50); /* it has looked, and waits again: this is no batch yet */
  assert_true(handover_busy(f.h));
  void *taken;
  pthread_join(taker, &taken);
  assert_non_null(taken);
  assert_true(clock_monotonic_ms() - began < PATIENCE_MS / 2);
  close_queue(&f);
}

static void covered_rows_are_a_batch_and_no_lag(void **state) {
  (void)state;
  struct fixture f = open_queue(1000, 800, 900);
  struct segment *covered = segment(1, 100, false), *first = NULL;
  covered->covered = true;
  covered->commit_time_us = 5;
  struct error why;
  assert_true(handover_push(f.h, covered));
  assert_int_equal(atomic_load(&f.levels->oldest_commit_us), 0);
  assert_int_equal(handover_take(f.h, 0, &first, &why), HANDOVER_BATCH);
  assert_ptr_equal(first, covered);
  segment_free_list(first);
  close_queue(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(batches_hold_whole_transactions_within_bounds),
      cmocka_unit_test(full_queue_turns_away_and_tells_of_space),
      cmocka_unit_test(queue_full_of_one_unfinished_transaction_is_split),
      cmocka_unit_test(queue_full_with_a_whole_one_in_front_gives_that_one),
      cmocka_unit_test(busy_until_what_was_taken_is_published),
      cmocka_unit_test(unfinished_transaction_ahead_of_a_busy_source_is_split),
      cmocka_unit_test(oversize_segment_passes_an_empty_queue_only),
      cmocka_unit_test(idle_progress_takes_the_place_of_earlier_idle_progress),
      cmocka_unit_test(what_is_whole_is_handed_out_before_closed),
      cmocka_unit_test(empty_queue_waits_as_long_as_told),
      cmocka_unit_test(levels_count_a_batch_until_the_next_is_asked_for),
      cmocka_unit_test(idle_progress_has_no_age),
      cmocka_unit_test(nothing_is_freed_for_a_queue_that_never_was),
      cmocka_unit_test(whoever_waits_hears_that_the_source_reads_no_further),
      cmocka_unit_test(covered_rows_are_a_batch_and_no_lag),
      cmocka_unit_test(two_threads_pass_everything_in_order),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
