/* The pages of what can be wrong with a message that the inbox reads, see explain.h. */
#include "bridge/ops/explain.h"

#define LETTERS(code)                                                                                                  \
  "  SELECT id, topic, partition, record_offset, type, message, details, attempts\n"                                   \
  "  FROM walferry.inbox_dead_letters WHERE code = '" code "' AND state = 'open';\n"
#define REPLAY(code) "  walferry dlq shop.yaml replay --code " code "\n"

const struct explain_page explain_messages[] = {
    {"envelope_invalid", EXPLAIN_MESSAGE, "a member of the envelope stands there twice or is not of its kind",
     "The value looks like an event, but it is not certain what it says: a member\n"
     "such as id or type is there twice, id, type, source and the other texts are an\n"
     "object or an array or hold a NUL character, actor or metadata is no object, or a\n"
     "CloudEvent has both data and data_base64.\n",
     "  kcat -b $KAFKA_BROKERS -C -e -q -t TOPIC -p PARTITION -o OFFSET -c 1 -J\n",
     "Correct the program that writes to the topic. To have this event handled after\n"
     "all, let it write a corrected one.\n",
     OPERATIONS("dead-letters")},
    {"handler_failed", EXPLAIN_MESSAGE, "the handler raised an error that would come again",
     "The SQLSTATE of the error is none that passes by itself (a violated constraint,\n"
     "a wrong type, a RAISE of the handler's own, a missing right), so it was not\n"
     "tried again. Nothing of what the handler did remains.\n",
     LETTERS("handler_failed"),
     "Correct the handler or the data that it stumbles over, then call it again:\n" REPLAY("handler_failed"),
     OPERATIONS("dead-letters")},
    {"handler_timeout", EXPLAIN_MESSAGE, "each call took longer than inbox.timeout_ms, or was cancelled",
     "The server ended the calls (57014), inbox.retry.max_attempts of them. A slow\n"
     "query, a lock that is waited for, or more work than a handler should do in one\n"
     "event.\n",
     LETTERS("handler_timeout") "  SELECT pid, wait_event_type, query FROM pg_stat_activity WHERE application_name "
                                "LIKE 'walferry/%';\n",
     "Make the handler faster (an index, a smaller piece), or raise inbox.timeout_ms.\n"
     "Then call it again:\n" REPLAY("handler_timeout"),
     OPERATIONS("dead-letters")},
    {"handler_crashed", EXPLAIN_MESSAGE, "the server or the connection died in each call",
     "Every attempt was counted before the call, and ended with the connection broken\n"
     "or the inbox gone; so the message is taken for the cause. A function in C that\n"
     "crashes, a backend killed for its memory, a proxy that cuts long calls.\n",
     LETTERS("handler_crashed") "  the server's log, around last_failure\n",
     "Correct the cause. If it was not the message, but a server that broke down again\n"
     "and again, nothing is wrong with it:\n" REPLAY("handler_crashed"),
     OPERATIONS("dead-letters")},
    {"retries_exhausted", EXPLAIN_MESSAGE, "an error that should pass came inbox.retry.max_attempts times",
     "A deadlock, a serialization failure, a lock that could not be had, no memory, no\n"
     "disk: each was tried again after a while, up to the last attempt.\n",
     LETTERS("retries_exhausted"),
     "Look at what holds the locks, or at the server's resources. If it needs more\n"
     "time, raise max_attempts or backoff_max_ms of inbox.retry. Then call it again:\n" REPLAY("retries_exhausted"),
     OPERATIONS("dead-letters")},
    {"unmatched_type", EXPLAIN_MESSAGE, "no handler is for the type of the event",
     "None of inbox.handlers matches it, and inbox.unmatched is dead_letter. An event\n"
     "without a type is matched by `*` alone.\n",
     LETTERS("unmatched_type"),
     "Add a handler and call it; or add the type with `ignore: true`, or set\n"
     "inbox.unmatched: skip, and discard what is there:\n" REPLAY(
         "unmatched_type") "  walferry dlq shop.yaml discard --code unmatched_type --confirm COUNT\n",
     OPERATIONS("dead-letters")},
};
const size_t explain_message_count = sizeof explain_messages / sizeof explain_messages[0];
