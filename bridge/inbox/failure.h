/* What a failed transaction means for the message that it was about. Pure. */
#ifndef WALFERRY_INBOX_FAILURE_H
#define WALFERRY_INBOX_FAILURE_H

#include "bridge/base/buffer.h"
#include "bridge/postgres/pipeline.h"

enum failure_class {
  FAILURE_POISON = 1, /* the event will fail again: a dead letter at once */
  FAILURE_TRANSIENT,  /* it may pass the next time: counted, tried again after a while */
  FAILURE_LOST,       /* the connection broke or the server crashed: the message may be what it died of; counted */
  FAILURE_NOT_COUNTED /* the server was shut down or starts, or it is a read-only standby: not the message's doing */
};

/* By SQLSTATE (Postgres, appendix A); "08006" stands for a connection that broke without a word. */
enum failure_class failure_classify(const char *sqlstate);

/* The code of the dead letter that a message of this last failure becomes: static, known to `walferry explain`. */
const char *failure_code(enum failure_class failure, const char *sqlstate);

/* What is kept of it: {"sqlstate","message","detail","hint","context"}, as known, appended; and the message. What a
 * handler raises may be of any size: of each text as much as tells, in whole characters. */
void failure_details(struct buffer *json, const struct pipeline_failure *failure);
struct slice failure_message(const struct pipeline_failure *failure);

/* The code of an event that no handler is for, where such events are dead letters. */
extern const char CODE_UNMATCHED_TYPE[];

#endif
