/* See tidy.h. */
#include "bridge/relay/tidy.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bridge/base/backoff.h"
#include "bridge/base/clock.h"
#include "bridge/base/failpoint.h"
#include "bridge/base/log.h"
#include "bridge/base/memory.h"
#include "bridge/relay/tidy_table.h"

#define BACKLOG_BYTES (1 << 20) /* publishing waits when it is more; a batch's ids may come on top */
#define STATEMENT_ROWS 5000     /* locks are held for so many */
#define STATEMENT_BYTES (256 << 10)
#define LOCK_TIMEOUT_MS 5000 /* so that nobody queues behind us for longer */
#define STATEMENT_MS                                                                                                   \
  600000 /* triggers and many partitions take their time; a statement cut short is tried again whole */
#define BACKOFF_MAX_MS 10000
#define WARN_INTERVAL_MS 10000
#define GATHER_MS 50 /* small transactions share a statement */
#define SLICE_MS 50

/* Rows, packed: table u32, length u32, id. */
struct chunk {
  struct chunk *next;
  struct buffer rows;
  int count;
  lsn_t end; /* 0: none yet */
};

struct tidy {
  struct tidy_table *tables;
  struct buffer *statements; /* by table */
  const struct table_spec *specs;
  int table_count;
  struct progress *progress;
  void (*done)(void *ctx, lsn_t end);
  void *done_ctx;
  struct chunk *gathering; /* the relay thread's */

  struct connection *conn; /* the thread's, as is what follows */
  struct buffer ids;
  struct backoff backoff;
  int64_t warned_ms;

  int socket; /* the connection's once more, to cut it from outside */
  pthread_t thread;
  bool started;

  pthread_mutex_t lock; /* of all below */
  pthread_cond_t filled;
  pthread_cond_t emptied;
  struct chunk *first;
  struct chunk *last;
  size_t bytes; /* queued or in hand */
  int64_t rows;
  bool busy; /* a chunk is in hand */
  bool finishing;
  bool stopping;
  bool failed;
  struct error why;
};

bool tidy_wanted(const struct table_spec *tables, int count) {
  for (int i = 0; i < count; i++)
    if (table_is_tidied(&tables[i]))
      return true;
  return false;
}

static struct chunk *chunk_new(void) {
  struct chunk *chunk = memory_alloc(sizeof *chunk);
  buffer_init(&chunk->rows, BUFFER_MAX_ROW);
  return chunk;
}

static void chunk_free(struct chunk *chunk) {
  if (chunk == NULL)
    return;
  buffer_free(&chunk->rows);
  free(chunk);
}

/* The next row of a chunk at *at, moved on. */
static bool next_row(const struct chunk *chunk, size_t *at, uint32_t *table, struct slice *id) {
  if (*at >= chunk->rows.len)
    return false;
  uint32_t head[2];
  memcpy(head, chunk->rows.data + *at, sizeof head);
  *table = head[0];
  *id = slice_from(chunk->rows.data + *at + sizeof head, head[1]);
  *at += sizeof head + head[1];
  return true;
}

static bool is_stopping(struct tidy *t) {
  pthread_mutex_lock(&t->lock);
  bool stopping = t->stopping;
  pthread_mutex_unlock(&t->lock);
  return stopping;
}

static void report(struct tidy *t, int64_t done, const struct error *failure) {
  pthread_mutex_lock(&t->lock);
  progress_tidied(t->progress, done, t->rows, failure);
  pthread_mutex_unlock(&t->lock);
}

/* Whatever it is, it is worth another try: a lock, a right that was taken, a disk that is full. */
static void wait_to_retry(struct tidy *t, const struct error *why) {
  int64_t now_ms = clock_monotonic_ms();
  if (t->warned_ms == 0 || now_ms - t->warned_ms >= WARN_INTERVAL_MS) {
    log_error_event(LOG_WARN, "tidy.failed", why);
    t->warned_ms = now_ms;
  }
  report(t, 0, why);
  struct timespec due = clock_deadline(backoff_next_ms(&t->backoff));
  pthread_mutex_lock(&t->lock);
  while (!t->stopping && pthread_cond_timedwait(&t->filled, &t->lock, &due) == 0)
    ;
  pthread_mutex_unlock(&t->lock);
}

static bool connection_is_lost(const struct connection *conn) {
  const char *state = connection_sqlstate(conn);
  return strncmp(state, "08", 2) == 0 || strncmp(state, "57P", 3) == 0;
}

/* Columns and their types are not always those that they were when we began. */
static void look_again(struct tidy *t, int table) {
  struct error ignored = {.kind = ERROR_NONE};
  struct tidy_table now;
  if (!tidy_table_look(t->conn, &t->specs[table], &now, &ignored) || !now.exists)
    return;
  t->tables[table] = now;
  buffer_clear(&t->statements[table]);
  tidy_table_sql(&t->tables[table], &t->statements[table]);
}

/* One statement, until it succeeds. ERROR_RETRY once the connection is lost, ERROR_STOPPED when asked to end. */
static bool execute(struct tidy *t, int table, int count, struct error *err) {
  buffer_append_text(&t->ids, "}");
  buffer_append_char(&t->ids, '\0');
  const char *params[] = {t->ids.data};
  FAILPOINT("tidy.before_statement");
  for (;;) {
    struct rows *rows = connection_query(t->conn, t->statements[table].data, 1, params, err);
    bool ok = rows != NULL;
    rows_free(rows);
    if (ok)
      break;
    error_wrap(err, "after_publish of %s.%s", t->specs[table].schema, t->specs[table].table);
    if (connection_is_lost(t->conn)) {
      err->kind = ERROR_RETRY;
      return false;
    }
    const char *state = connection_sqlstate(t->conn); /* 22: an id that is too large for the type of before */
    bool is_outdated = strncmp(state, "42", 2) == 0 || strncmp(state, "22", 2) == 0;
    wait_to_retry(t, err);
    if (is_stopping(t))
      return error_set(err, ERROR_STOPPED, "stopped");
    if (is_outdated)
      look_again(t, table);
  }
  FAILPOINT("tidy.after_statement");
  backoff_reset(&t->backoff);
  t->warned_ms = 0;
  buffer_reuse(&t->ids);
  report(t, count, NULL);
  return true;
}

/* The rows of one table. */
static bool tidy_table_rows(struct tidy *t, const struct chunk *chunk, uint32_t table, struct error *err) {
  size_t at = 0;
  int count = 0;
  uint32_t of;
  struct slice id;
  while (next_row(chunk, &at, &of, &id)) {
    if (of != table)
      continue;
    tidy_table_append_id(&t->ids, id);
    count++;
    if (count < STATEMENT_ROWS && t->ids.len < STATEMENT_BYTES)
      continue;
    if (!execute(t, (int)table, count, err))
      return false;
    count = 0;
  }
  return count == 0 || execute(t, (int)table, count, err);
}

/* Called with the lock held; false when it is time to end. */
static bool take_chunk(struct tidy *t, struct chunk **chunk) {
  while (t->first == NULL && !t->stopping)
    pthread_cond_wait(&t->filled, &t->lock);
  struct timespec due = clock_deadline(GATHER_MS);
  while (!t->stopping && !t->finishing && t->first->count < STATEMENT_ROWS &&
         pthread_cond_timedwait(&t->filled, &t->lock, &due) == 0)
    ;
  if (t->stopping)
    return false;
  *chunk = t->first;
  t->first = t->first->next;
  if (t->first == NULL)
    t->last = NULL;
  t->busy = true;
  return true;
}

static void *run(void *arg) {
  struct tidy *t = arg;
  struct chunk *chunk;
  pthread_mutex_lock(&t->lock);
  while (!t->failed && take_chunk(t, &chunk)) {
    pthread_mutex_unlock(&t->lock);
    struct error err = {.kind = ERROR_NONE};
    bool ok = true;
    for (int i = 0; ok && i < t->table_count; i++)
      ok = tidy_table_rows(t, chunk, (uint32_t)i, &err);
    pthread_mutex_lock(&t->lock);
    t->busy = false;
    t->bytes -= chunk->rows.len;
    t->rows -= chunk->count;
    t->failed = !ok;
    t->why = err;
    progress_tidied(t->progress, 0, t->rows, ok ? NULL : &err);
    if (ok && chunk->end != 0)
      t->done(t->done_ctx, chunk->end);
    pthread_cond_broadcast(&t->emptied);
    chunk_free(chunk);
  }
  pthread_mutex_unlock(&t->lock);
  return NULL;
}

/* Statements and settings. A table that is mostly empty would be read whole for want of statistics; the index is what
 * finds a few rows. A commit that a crash may undo must not move the slot: what it did would not come again. */
static bool prepare(struct tidy *t, struct error *err) {
  for (int i = 0; i < t->table_count; i++) {
    buffer_init(&t->statements[i], BUFFER_MAX_ROW);
    if (!table_is_tidied(&t->specs[i]))
      continue;
    if (!tidy_table_look(t->conn, &t->specs[i], &t->tables[i], err))
      return false;
    tidy_table_sql(&t->tables[i], &t->statements[i]);
  }
  char *settings = memory_format("SELECT pg_catalog.set_config(name, CASE setting WHEN 'off' THEN 'local' ELSE setting "
                                 "END, false) FROM pg_catalog.pg_settings WHERE name = 'synchronous_commit'; "
                                 "SET lock_timeout = %d; SET enable_seqscan = off",
                                 LOCK_TIMEOUT_MS);
  bool ok = tidy_tables_check(t->conn, t->specs, t->table_count, err) &&
            connection_set_timeout(t->conn, STATEMENT_MS, err) && connection_run(t->conn, settings, err);
  free(settings);
  return ok;
}

struct tidy *tidy_start(const struct table_spec *tables, int count, struct connection *conn, struct progress *progress,
                        void (*done)(void *ctx, lsn_t end), void *ctx, struct error *err) {
  struct tidy *t = memory_alloc(sizeof *t);
  t->specs = tables;
  t->table_count = count;
  t->tables = memory_alloc((size_t)count * sizeof *t->tables);
  t->statements = memory_alloc((size_t)count * sizeof *t->statements);
  t->progress = progress;
  t->done = done;
  t->done_ctx = ctx;
  t->gathering = chunk_new();
  t->conn = conn;
  buffer_init(&t->ids, BUFFER_MAX_ROW);
  backoff_init(&t->backoff, 100, BACKOFF_MAX_MS, (uint64_t)clock_wall_us());
  pthread_mutex_init(&t->lock, NULL);
  clock_condition_init(&t->filled);
  clock_condition_init(&t->emptied);
  t->socket = dup(connection_socket(conn));
  bool ok = prepare(t, err);
  if (ok) {
    t->started = t->socket >= 0 && pthread_create(&t->thread, NULL, run, t) == 0;
    ok = t->started || error_set(err, ERROR_RETRY, "no thread or file descriptor is left for marking rows");
  }
  if (!ok) {
    tidy_stop(t);
    return NULL;
  }
  progress_tidied(progress, 0, 0, NULL);
  return t;
}

void tidy_stop(struct tidy *t) {
  if (t == NULL)
    return;
  pthread_mutex_lock(&t->lock);
  t->stopping = true;
  pthread_cond_broadcast(&t->filled);
  if (t->busy)
    shutdown(t->socket, SHUT_RDWR);
  pthread_mutex_unlock(&t->lock);
  if (t->started) {
    pthread_join(t->thread, NULL);
    progress_tidied(t->progress, 0, 0, NULL);
  }
  if (t->socket >= 0)
    close(t->socket);
  connection_close(t->conn);
  while (t->first != NULL) {
    struct chunk *next = t->first->next;
    chunk_free(t->first);
    t->first = next;
  }
  chunk_free(t->gathering);
  for (int i = 0; i < t->table_count; i++)
    buffer_free(&t->statements[i]);
  buffer_free(&t->ids);
  pthread_cond_destroy(&t->filled);
  pthread_cond_destroy(&t->emptied);
  pthread_mutex_destroy(&t->lock);
  free(t->tables);
  free(t->statements);
  free(t);
}

void tidy_row(struct tidy *t, const struct table_spec *table, struct slice id) {
  uint32_t head[2] = {(uint32_t)(table - t->specs), (uint32_t)id.len};
  buffer_append(&t->gathering->rows, head, sizeof head);
  buffer_append_slice(&t->gathering->rows, id);
  t->gathering->count++;
}

void tidy_committed(struct tidy *t, lsn_t end) {
  struct chunk *chunk = t->gathering;
  pthread_mutex_lock(&t->lock);
  t->bytes += chunk->rows.len;
  t->rows += chunk->count;
  if (t->first == NULL && !t->busy && !t->failed && chunk->count == 0) {
    if (end != 0)
      t->done(t->done_ctx, end);
  } else if (t->last != NULL && t->last->count + chunk->count <= STATEMENT_ROWS) {
    buffer_append_slice(&t->last->rows, buffer_slice(&chunk->rows));
    t->last->count += chunk->count;
    t->last->end = end != 0 ? end : t->last->end;
    buffer_reuse(&chunk->rows);
    chunk->count = 0;
    pthread_cond_broadcast(&t->filled);
  } else {
    chunk->end = end;
    if (t->last == NULL)
      t->first = chunk;
    else
      t->last->next = chunk;
    t->last = chunk;
    t->gathering = chunk_new();
    pthread_cond_broadcast(&t->filled);
  }
  pthread_mutex_unlock(&t->lock);
}

/* Until no more than that is left to do. */
static bool wait_for(struct tidy *t, size_t bytes_max, int64_t timeout_ms, bool *reached, struct error *err) {
  struct timespec deadline = clock_deadline(timeout_ms);
  pthread_mutex_lock(&t->lock);
  while (!t->failed && t->bytes > bytes_max && pthread_cond_timedwait(&t->emptied, &t->lock, &deadline) == 0)
    ;
  *reached = t->bytes <= bytes_max;
  bool ok = !t->failed;
  if (!ok)
    *err = t->why;
  pthread_mutex_unlock(&t->lock);
  progress_tidy_waits(t->progress, !*reached);
  return ok;
}

bool tidy_room(struct tidy *t, int64_t timeout_ms, bool *room, struct error *err) {
  return wait_for(t, BACKLOG_BYTES, timeout_ms, room, err);
}

bool tidy_settled(struct tidy *t, int64_t timeout_ms, bool *settled, struct error *err) {
  return wait_for(t, 0, timeout_ms, settled, err);
}

void tidy_finish(struct tidy *t, const struct stop *stop) {
  pthread_mutex_lock(&t->lock);
  t->finishing = true;
  pthread_cond_broadcast(&t->filled);
  while (!t->failed && (t->first != NULL || t->busy) && !atomic_load(&stop->now)) {
    struct timespec slice = clock_deadline(SLICE_MS);
    pthread_cond_timedwait(&t->emptied, &t->lock, &slice);
  }
  pthread_mutex_unlock(&t->lock);
}
