/* What runs, as those see it that watch it: HTTP, metrics and the service manager. The seam between them and the two
 * halves of the way, the relay and the inbox, each of which is one class (watched_relay.h, watched_inbox.h). */
#ifndef WALFERRY_OPS_WATCHED_H
#define WALFERRY_OPS_WATCHED_H

#include "bridge/base/buffer.h"
#include "bridge/base/error.h"

/* How it is doing at one moment. Texts are static unless they are kept here. */
struct vitals {
  bool ready;            /* events flow, or would */
  const char *reason;    /* the state's name when ready, else why not */
  char details[1280];    /* the error; "" where there is none */
  const char *state;     /* its name */
  int64_t state_ms;      /* for so long */
  int64_t attempt;       /* another one is news, also in the same state */
  bool started;          /* the first start sequence came to an end; never where the run ends with it */
  bool stopping;         /* as asked */
  char summary[1280];    /* the state and what there is to say of it, in a line */
  bool alive;            /* else only a restart would help */
  bool waiting;          /* in a call for whose length `alive` is the judge, not how long ago the last step was */
  int64_t turned_ago_ms; /* the last step of its main thread, in ms */

  struct {
    enum error_kind kind;
    uint64_t count;
  } recoveries[3];   /* attempts that failed, by the kinds of error that it recovers from */
  int64_t failed_us; /* the last of them, Unix; 0: none */
  enum error_kind failed_kind;
  const char *failed_code; /* NULL: none */
  char failed_message[1024];
};

struct metrics;

struct watched_class {
  const char *process;           /* "relay": what runs */
  const char *summary_of_status; /* for the list of pages: what /status has besides the state */

  /* A moment of the source, which any thread may take; freed with forget. */
  void *(*look)(void *source);
  void (*forget)(void *moment);

  void (*judge)(const void *moment, struct vitals *out);
  /* Members that only this half has, in an object that is open. source: for what does not change. */
  void (*write_steps)(const void *moment, struct buffer *json);     /* when its threads made their last steps */
  void (*write_readiness)(const void *moment, struct buffer *json); /* of its parts; NULL: it is ready as a whole */
  void (*write_status)(const void *source, const void *moment, struct buffer *json);
  void (*write_metrics)(const void *moment, const struct metrics *metrics);
};

struct watched {
  const struct watched_class *class;
  void *source;       /* of the class */
  const char *name;   /* of the instance */
  int64_t started_us; /* the process, Unix */
};

#endif
