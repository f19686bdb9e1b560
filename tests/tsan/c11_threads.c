/* For ThreadSanitizer builds only: librdkafka uses the threads of C11, which the sanitizer does not intercept, so that
 * it crashes in their first allocation. Here they are put on top of the pthread functions, which it does; glibc's own
 * types are the same underneath (nptl/mtx_*.c, cnd_*.c). */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t) && sizeof(cnd_t) == sizeof(pthread_cond_t), "same layout");

struct start {
  thrd_start_t function;
  void *arg;
};

static void *run(void *arg) {
  struct start start = *(struct start *)arg;
  free(arg);
  return (void *)(intptr_t)start.function(start.arg);
}

static int outcome(int code) {
  return code == 0 ? thrd_success : thrd_error;
}

int thrd_create(thrd_t *thread, thrd_start_t function, void *arg) {
  struct start *start = malloc(sizeof *start);
  if (start == NULL)
    return thrd_nomem;
  *start = (struct start){.function = function, .arg = arg};
  return outcome(pthread_create(thread, NULL, run, start));
}

int thrd_join(thrd_t thread, int *result) {
  void *value;
  int code = pthread_join(thread, &value);
  if (code == 0 && result != NULL)
    *result = (int)(intptr_t)value;
  return outcome(code);
}

int thrd_detach(thrd_t thread) {
  return outcome(pthread_detach(thread));
}

void thrd_exit(int result) {
  pthread_exit((void *)(intptr_t)result);
}

int mtx_init(mtx_t *mutex, int type) {
  pthread_mutexattr_t attr;
  pthread_mutexattr_init(&attr);
  if (type & mtx_recursive)
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
  int code = pthread_mutex_init((pthread_mutex_t *)mutex, &attr);
  pthread_mutexattr_destroy(&attr);
  return outcome(code);
}

void mtx_destroy(mtx_t *mutex) {
  pthread_mutex_destroy((pthread_mutex_t *)mutex);
}

int mtx_lock(mtx_t *mutex) {
  return outcome(pthread_mutex_lock((pthread_mutex_t *)mutex));
}

int mtx_trylock(mtx_t *mutex) {
  return pthread_mutex_trylock((pthread_mutex_t *)mutex) == 0 ? thrd_success : thrd_busy;
}

int mtx_unlock(mtx_t *mutex) {
  return outcome(pthread_mutex_unlock((pthread_mutex_t *)mutex));
}

int cnd_init(cnd_t *condition) {
  return outcome(pthread_cond_init((pthread_cond_t *)condition, NULL));
}

void cnd_destroy(cnd_t *condition) {
  pthread_cond_destroy((pthread_cond_t *)condition);
}

int cnd_signal(cnd_t *condition) {
  return outcome(pthread_cond_signal((pthread_cond_t *)condition));
}

int cnd_broadcast(cnd_t *condition) {
  return outcome(pthread_cond_broadcast((pthread_cond_t *)condition));
}

int cnd_wait(cnd_t *condition, mtx_t *mutex) {
  return outcome(pthread_cond_wait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex));
}

int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *until) {
  int code = pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, until);
  if (code == ETIMEDOUT)
    return thrd_timedout;
  return outcome(code);
}
