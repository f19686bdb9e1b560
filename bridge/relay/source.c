/* See source.h. */
#include "bridge/relay/source.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bridge/base/clock.h"
#include "bridge/base/failpoint.h"
#include "bridge/base/log.h"
#include "bridge/base/memory.h"

#define FEEDBACK_MAX_MS 10000
#define FEEDBACK_UNTIL_MS 20  /* with an end in sight, ask the server how far it is this often */
#define ACK_DELAY_MS 20       /* a new ack is reported at most so much later, so that many share one report */
#define IDLE_INTERVAL_MS 5000 /* idle progress costs a Kafka transaction: no more often than this */
#define SILENCE_MAX_MS 60000  /* a server that answers nothing for so long, or its own time-out, is gone */
#define RELEASE_MS 5000       /* such a one with a full queue behind it: the slot is of no use to us */
#define ANSWER_MAX_MS 5000    /* a server that is well has answered by then */
#define STALLED_MS 2000       /* a Kafka transaction that takes longer will not end soon */
#define GATHER_FRAMES 32      /* so many without a pause of PAUSE_US make a busy server, */
#define PAUSE_US 500          /* whose next frames are left to gather for GATHER_US: */
#define GATHER_US 200         /* too short to fill a socket's buffer */

#define LARGE_BYTES (4 << 20) /* a segment of this much, so a row, is held several times over: it travels alone */

const char SOURCE_KAFKA_STALLED[] = "kafka_stalled";

/* A Kafka transaction costs brokers and librdkafka several ms of work, whatever is in it. */
static const struct handover_limits queue_limits = {
    .queue_bytes = 14 << 20,
    .soft_bytes = 12 << 20,
    .hard_bytes = 14 << 20,
};

enum feedback_reason {
  FEEDBACK_TIMER = 1, /* also asks the server for a keepalive */
  FEEDBACK_ACK,
  FEEDBACK_ASKED /* the server's keepalive wants an answer now */
};

struct source {
  struct replication *rep;
  struct handover *handover;
  struct progress *progress;
  lsn_t until;
  int wake_fd; /* eventfd: space in the queue, a new ack, go, stop */
  pthread_t thread;

  _Atomic(bool) going;
  _Atomic(bool) passing_over;
  _Atomic(bool) stopping;
  _Atomic(int64_t) publishing_since_ms; /* 0: not */
  _Atomic(lsn_t) safe_ack;
  _Atomic(lsn_t) sent_flush;

  /* Set before `going`; then the thread's own, as is all below. */
  struct decoder *decoder;
  struct intake *intake;
  lsn_t received;          /* highest WAL position seen on the wire */
  struct segment *waiting; /* did not fit into the queue */
  bool alone;              /* what was queued last is large: nothing is read until it is published */
  int64_t feedback_interval_ms;
  int64_t silence_max_ms;
  int64_t feedback_due_ms;
  int64_t feedback_sent_ms;
  int64_t heard_ms;    /* when the server last said anything, or we last were not listening */
  int frames_in_a_row; /* since the last pause */
  lsn_t idle_pushed;
  int64_t idle_pushed_ms;
};

static void wake(struct source *s) {
  eventfd_write(s->wake_fd, 1);
}

/* For so long the Kafka transaction under way has taken; 0 if none is. */
static int64_t publishing_ms(const struct source *s) {
  int64_t since = atomic_load(&s->publishing_since_ms);
  return since == 0 ? 0 : clock_monotonic_ms() - since;
}

/* Courtesy: a server that shuts down waits until its last keepalive is confirmed, and pings for it. Where nothing of
 * what it sent is unpublished, or Kafka cannot take it now, it is answered with write = received and flush = 0: that
 * lets it finish and leaves the slot where it is. */
static bool send_feedback(struct source *s, enum feedback_reason reason, struct error *err) {
  FAILPOINT("source.before_feedback");
  lsn_t ack = atomic_load(&s->safe_ack);
  bool nothing_open = atomic_load(&s->going) && intake_last_end(s->intake) <= ack && s->waiting == NULL;
  bool courtesy = reason == FEEDBACK_ASKED && s->received > ack && (nothing_open || publishing_ms(s) > STALLED_MS);
  lsn_t flush = courtesy ? 0 : ack;
  int64_t now = clock_monotonic_ms();
  s->feedback_sent_ms = now;
  s->feedback_due_ms = now + s->feedback_interval_ms;
  if (!replication_feedback(s->rep, s->received > flush ? s->received : flush, flush, reason == FEEDBACK_TIMER, err))
    return false;
  if (flush != 0)
    atomic_store(&s->sent_flush, flush);
  return true;
}

static void push_idle(struct source *s, lsn_t idle_end) {
  int64_t now = clock_monotonic_ms();
  bool reached = s->until != 0 && idle_end >= s->until && s->idle_pushed < s->until;
  if (idle_end <= s->idle_pushed || (!reached && now - s->idle_pushed_ms < IDLE_INTERVAL_MS))
    return;
  if (idle_end <= atomic_load(&s->safe_ack))
    return;
  struct segment *segment = segment_new();
  segment->end_lsn = idle_end;
  s->idle_pushed = idle_end;
  s->idle_pushed_ms = now;
  if (!handover_push(s->handover, segment))
    s->waiting = segment;
}

/* Queues what the intake has ready; what the queue does not take stays in s->waiting. */
static void push_ready(struct source *s) {
  while (s->waiting != NULL || (s->waiting = intake_next_segment(s->intake)) != NULL) {
    bool large = s->waiting->bytes > LARGE_BYTES;
    if (!handover_push(s->handover, s->waiting))
      return;
    s->waiting = NULL;
    s->alone = s->alone || large;
  }
}

static bool take_frame(struct source *s, const struct frame *frame, struct error *err) {
  if (frame->wal_end > s->received)
    s->received = frame->wal_end;
  if (frame->kind == FRAME_DATA) {
    if (frame->wal_start > s->received)
      s->received = frame->wal_start;
    struct change change;
    if (!decoder_decode(s->decoder, frame->bytes, &change, err))
      return error_wrap(err, "decoding at %s", lsn_format(frame->wal_start).text);
    if (!intake_change(s->intake, &change, err))
      return false;
    push_ready(s);
    return true;
  }
  lsn_t idle_end;
  if (!intake_keepalive(s->intake, frame->wal_end, &idle_end, err))
    return false;
  if (idle_end != 0 && s->waiting == NULL)
    push_idle(s, idle_end);
  return !frame->reply_now || send_feedback(s, FEEDBACK_ASKED, err);
}

/* Waits for the socket, a wake-up or the feedback timer. */
static bool wait_for_work(struct source *s, bool listen, struct error *err) {
  struct pollfd fds[2] = {{.fd = s->wake_fd, .events = POLLIN},
                          {.fd = replication_socket(s->rep), .events = listen ? POLLIN : 0}};
  int64_t from_us = clock_monotonic_us();
  int64_t wait_ms = s->feedback_due_ms - from_us / 1000;
  if (wait_ms < 0)
    wait_ms = 0;
  int ready = poll(fds, 2, (int)wait_ms);
  if (ready < 0 && errno != EINTR)
    return error_set(err, ERROR_FATAL, "poll: error %d", errno);
  if (ready > 0 && (fds[0].revents & POLLIN) != 0) {
    eventfd_t ignored;
    eventfd_read(s->wake_fd, &ignored);
  }
  if (ready > 0 && !listen && (fds[1].revents & (POLLERR | POLLHUP)) != 0)
    return error_set(err, ERROR_RETRY, "the replication connection was closed by the server");
  if (clock_monotonic_us() - from_us > PAUSE_US)
    s->frames_in_a_row = 0;
  return true;
}

/* Nothing of the stream was taken, and it has ended: what the server said last stands behind all that it had sent. */
static bool pass_over(struct source *s, struct error *err) {
  struct frame frame;
  return replication_read(s->rep, &frame, err) && (frame.kind != FRAME_NONE || wait_for_work(s, true, err));
}

/* The server sends each row by itself: at full speed, waking up for each would cost more than what is done with it. */
static void let_frames_gather(struct source *s) {
  s->frames_in_a_row = 0;
  clock_sleep_us(GATHER_US);
}

static bool fail_stalled(struct error *err) {
  error_set(err, ERROR_RETRY, "Kafka takes nothing and the queue is full: the slot is released");
  err->code = SOURCE_KAFKA_STALLED;
  return false;
}

/* One turn of the loop; false ends the thread with err. */
static bool turn(struct source *s, struct error *err) {
  int64_t now = clock_monotonic_ms();
  progress_source_turned(s->progress, now);
  bool ack_waits = atomic_load(&s->safe_ack) > atomic_load(&s->sent_flush);
  if (ack_waits && s->feedback_due_ms > s->feedback_sent_ms + ACK_DELAY_MS)
    s->feedback_due_ms = s->feedback_sent_ms + ACK_DELAY_MS;
  if (now >= s->feedback_due_ms && !send_feedback(s, ack_waits ? FEEDBACK_ACK : FEEDBACK_TIMER, err))
    return false;
  if (atomic_load(&s->passing_over))
    return pass_over(s, err);
  bool listen = false;
  if (atomic_load(&s->going)) {
    push_ready(s);
    s->alone = s->alone && handover_busy(s->handover);
    listen = s->waiting == NULL && !s->alone;
  }
  if (!listen) {
    s->heard_ms = now;
    progress_heard(s->progress, s->received, now); /* its silence is our doing */
    /* A server that shuts down would wait for us to read on: let go of it, a standby may have more luck. */
    if (publishing_ms(s) > RELEASE_MS)
      return fail_stalled(err);
    return wait_for_work(s, false, err);
  }
  struct frame frame;
  if (!replication_read(s->rep, &frame, err))
    return false;
  if (frame.kind != FRAME_NONE) {
    s->heard_ms = now;
    if (s->frames_in_a_row < GATHER_FRAMES)
      s->frames_in_a_row++;
    bool ok = take_frame(s, &frame, err);
    replication_forget(s->rep);
    progress_heard(s->progress, s->received, now);
    return ok;
  }
  if (now - s->heard_ms > s->silence_max_ms)
    return error_set(err, ERROR_RETRY, "the server has said nothing for %lld s", (long long)s->silence_max_ms / 1000);
  if (s->frames_in_a_row >= GATHER_FRAMES) {
    let_frames_gather(s);
    return true;
  }
  return wait_for_work(s, true, err);
}

static void *run(void *arg) {
  struct source *s = arg;
  struct error err = {.kind = ERROR_NONE};
  s->heard_ms = clock_monotonic_ms();
  bool ok = true;
  while (ok && !atomic_load(&s->stopping))
    ok = turn(s, &err);
  if (ok) {
    error_set(&err, ERROR_STOPPED, "stopped");
    if (atomic_load(&s->safe_ack) > 0) {
      struct error ignored;
      send_feedback(s, FEEDBACK_ACK, &ignored);
    }
  }
  replication_close(s->rep); /* releases the slot at once, whatever the publisher still waits for */
  s->rep = NULL;
  handover_close(s->handover, &err);
  return NULL;
}

struct source *source_start(struct replication *rep, lsn_t until, struct progress *progress) {
  struct source *s = memory_alloc(sizeof *s);
  s->rep = rep;
  s->progress = progress;
  s->until = until;
  s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  s->handover = handover_new(&queue_limits, s->wake_fd, progress_queue(progress));
  int64_t sender_timeout_ms = replication_sender_timeout_ms(rep);
  s->silence_max_ms = sender_timeout_ms > SILENCE_MAX_MS ? sender_timeout_ms : SILENCE_MAX_MS;
  s->feedback_interval_ms = until != 0 ? FEEDBACK_UNTIL_MS : FEEDBACK_MAX_MS;
  if (sender_timeout_ms > 0 && sender_timeout_ms / 4 < s->feedback_interval_ms)
    s->feedback_interval_ms = sender_timeout_ms / 4;
  /* each report on the timer asks for an answer */
  progress_source_started(progress, 2 * s->feedback_interval_ms + ANSWER_MAX_MS);
  pthread_create(&s->thread, NULL, run, s);
  return s;
}

void source_go(struct source *s, struct decoder *decoder, struct intake *intake) {
  s->decoder = decoder;
  s->intake = intake;
  atomic_store(&s->going, true);
  wake(s);
}

void source_pass_over(struct source *s) {
  atomic_store(&s->passing_over, true);
  wake(s);
}

void source_ack(struct source *s, lsn_t safe) {
  if (safe <= atomic_load(&s->safe_ack))
    return;
  atomic_store(&s->safe_ack, safe);
  wake(s);
}

void source_set_publishing(struct source *s, bool publishing) {
  atomic_store(&s->publishing_since_ms, publishing ? clock_monotonic_ms() : 0);
}

struct handover *source_handover(struct source *s) {
  return s->handover;
}

lsn_t source_sent_flush(const struct source *s) {
  return atomic_load(&s->sent_flush);
}

void source_stop(struct source *s) {
  if (s == NULL)
    return;
  atomic_store(&s->stopping, true);
  wake(s);
  pthread_join(s->thread, NULL);
  progress_source_ended(s->progress);
  segment_free(s->waiting);
  intake_free(s->intake);
  decoder_free(s->decoder);
  handover_free(s->handover);
  replication_close(s->rep);
  close(s->wake_fd);
  free(s);
}
