/* Fail points: a no-op in ordinary builds; with WALFERRY_FAILPOINTS they kill or hold the process where they are told.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bridge/base/failpoint.h"

#ifdef WALFERRY_FAILPOINTS

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bridge/base/clock.h"

/* In a child, with its log thrown away: hits the fail point up to `hits` times and exits with 0 if it lived through
 * all. Returns 128 plus the signal that ended it, or the exit code. The child writes each hit it survived to a pipe. */
static int run_child(const char *setting, const char *name, int hits, int *survived) {
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  fflush(NULL);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(null, STDERR_FILENO);
    if (setting == NULL)
      unsetenv("WALFERRY_FAILPOINT");
    else
      setenv("WALFERRY_FAILPOINT", setting, 1);
    for (int i = 0; i < hits; i++) {
      FAILPOINT(name);
      if (write(ends[1], ".", 1) != 1)
        _exit(9);
    }
    _exit(0);
  }
  close(ends[1]);
  char dots[64];
  *survived = 0;
  for (ssize_t got; (got = read(ends[0], dots, sizeof dots)) > 0;)
    *survived += (int)got;
  close(ends[0]);
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void the_process_is_killed_at_the_hit_that_was_asked_for(void **state) {
  (void)state;
  static const struct {
    const char *setting;
    int survived; /* of 5 */
  } cases[] = {
      {NULL, 5},         {"", 5},           {"a.b", 5},        {"a.c=kill", 5},          {"a.b=kill", 0},
      {"a.b=kill@1", 0}, {"a.b=kill@3", 2}, {"a.b=kill@6", 5}, {"x=kill,a.b=kill@2", 1}, {"a.b=nonsense", 5},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    int survived;
    int end = run_child(cases[i].setting, "a.b", 5, &survived);
    assert_int_equal(survived, cases[i].survived);
    assert_int_equal(end, cases[i].survived == 5 ? 0 : 128 + SIGKILL);
  }
}

static void a_pause_waits_until_its_file_is_removed(void **state) {
  (void)state;
  char path[64], setting[128];
  snprintf(path, sizeof path, "/tmp/walferry-test-pause-%d", (int)getpid());
  snprintf(setting, sizeof setting, "a.b=pause:%s", path);
  pid_t remover = fork();
  assert_true(remover >= 0);
  if (remover == 0) {
    for (int i = 0; i < 1000 && access(path, F_OK) != 0; i++)
      clock_sleep_ms(10);
    clock_sleep_ms(50);
    _exit(unlink(path) == 0 ? 0 : 1);
  }
  int64_t from = clock_monotonic_ms();
  int survived;
  assert_int_equal(run_child(setting, "a.b", 3, &survived), 0);
  assert_int_equal(survived, 3);
  assert_true(clock_monotonic_ms() - from >= 50);
  int status = 0;
  assert_int_equal(waitpid(remover, &status, 0), remover);
  assert_int_equal(status, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_process_is_killed_at_the_hit_that_was_asked_for),
      cmocka_unit_test(a_pause_waits_until_its_file_is_removed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

#include <stdlib.h>

static void an_ordinary_build_has_no_fail_points(void **state) {
  (void)state;
  setenv("WALFERRY_FAILPOINT", "a.b=kill", 1);
  int evaluated = 0;
  FAILPOINT((evaluated++, "a.b"));
  assert_int_equal(evaluated, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(an_ordinary_build_has_no_fail_points)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
