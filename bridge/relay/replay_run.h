/* A run of `walferry replay`: what it is known by, and where it begins and ends. Pure: no I/O. */
#ifndef WALFERRY_RELAY_REPLAY_RUN_H
#define WALFERRY_RELAY_REPLAY_RUN_H

#include "bridge/base/error.h"
#include "bridge/relay/position.h"

enum replay_sink { REPLAY_KAFKA = 1, REPLAY_STDOUT, REPLAY_COUNT };
enum replay_source {
  REPLAY_SLOT = 1, /* what the held-back slot streams */
  REPLAY_TABLE     /* the rows that are in the outbox tables */
};

/* A bound as people write it; all zero: none. */
struct replay_point {
  lsn_t lsn;            /* of a commit, as records have it in wf_lsn; 0: it is a time */
  int64_t us;           /* Unix */
  const char *relative; /* the time as it was written, where that counts from now ("24h"); else NULL */
};
/* An LSN, or a time as moment_parse takes it. */
bool replay_point_parse(const char *text, int64_t now_us, struct replay_point *point);

/* What was asked for. */
struct replay_request {
  enum replay_sink sink;
  enum replay_source source;
  struct replay_point from, to; /* with REPLAY_TABLE times, or none */
  const char *const *types;     /* patterns as routes have them; type_count 0: all */
  int type_count;
  const char *topic;        /* NULL: where the events went at first */
  const char *topic_suffix; /* NULL: none */
  bool again;               /* once more, where it is finished already, or cannot go on */
};

#define REPLAY_KEY_SIZE 17
/* What the same request of the same instance is known by: 16 hex digits. The sink and `again` make no difference, nor
 * does the order of the types. slot: the held-back one; NULL with REPLAY_TABLE. */
void replay_run_key(const struct replay_request *request, const char *instance, const char *slot,
                    char key[REPLAY_KEY_SIZE]);

/* What the held-back slot has, and what the relay has published. */
struct replay_window {
  lsn_t retained;      /* transactions that commit here or later are streamed */
  int64_t retained_us; /* as are those committed at this time or later; 0: not known */
  lsn_t start;         /* behind it; those committed at request.from.us or later come from here on; 0: not known */
  lsn_t published;     /* the last transaction that the relay has published whole */
};
/* Of a relay's position: `published` of the window. */
lsn_t replay_published(const struct position *relay);

/* The run of a key that was not run yet, or once more (previous: the last one; its id "": none; one that is not
 * finished and has published nothing gives its id). ERROR_CONFIG where there is nothing between its bounds,
 * ERROR_REFUSED "replay_too_old". A time that the window does not know is taken: *unproven then, and the first
 * transaction that comes has to be of before. */
bool replay_run_begin(const struct replay_request *request, const struct replay_window *window, const char *key,
                      const struct position_run *previous, struct position_run *run, bool *unproven, struct error *err);
/* The run of the rows of a work list, as of a WAL position; key and previous as above. */
void replay_run_begin_table(const struct replay_request *request, const char *key, const struct position_run *previous,
                            uint64_t list, lsn_t lsn, struct position_run *run);
/* A run that was interrupted at this position: is what is left of it still there? ERROR_REFUSED "replay_too_old". */
bool replay_run_resume(const struct position *at, const struct replay_window *window, struct error *err);
/* From where the stream has to start: with the last transaction that was published, which is compared. */
lsn_t replay_run_start(const struct position *at);
/* The first transaction that came says that those of before are not retained, or none came (0). */
bool replay_run_refuse_unproven(const struct position_run *run, int64_t commit_time_us, struct error *err);

#endif
