/* The inbox: Kafka to SQL handlers. Offset, mark and all that a handler does are one Postgres transaction
 * (docs/architecture.md, "The inbox"). */
#ifndef WALFERRY_INBOX_INBOX_H
#define WALFERRY_INBOX_INBOX_H

#include "bridge/base/error.h"
#include "bridge/base/stop.h"
#include "bridge/inbox/registry.h"
#include "bridge/inbox/report.h"
#include "bridge/kafka/client.h"

struct inbox_settings {
  const char *name;
  const char *conninfo;
  struct kafka_settings kafka;
  const char *group; /* of the Kafka consumers, and the consumer in the tables */
  const char *const *topics;
  int topic_count;
  const struct handler_spec *handlers;
  size_t handler_count;
  enum registry_action unmatched;

  int max_attempts;
  int64_t backoff_ms, backoff_max_ms;
  int timeout_ms;     /* of one handler call */
  int retention_days; /* of the marks */

  const char *dead_letter_suffix;
  bool hold_key;
  bool dead_letter_records; /* a relay of this database publishes them; else they are rows only */

  bool until_end;
};

/* Runs until stopped (true); with until_end until each partition was handled up to the end that it had at the start
 * (true), or cannot be (false). Servers that stay away are waited for, with until_end for 60 s. report: where it says
 * how it is doing. */
bool inbox_run(const struct inbox_settings *settings, const struct stop *stop, struct inbox_report *report,
               struct error *err);

#endif
