/* What `status` knows, and its two forms. Pure: no I/O but the stream given. */
#ifndef WALFERRY_OPS_STATUS_PRINT_H
#define WALFERRY_OPS_STATUS_PRINT_H

#include <stdio.h>

#include "bridge/ops/status_inbox.h"
#include "bridge/postgres/catalog.h"
#include "bridge/postgres/health.h"
#include "bridge/relay/position.h"

#define STATUS_CODES_MAX 32

struct status_code { /* quarantined records with one error code */
  char code[64];
  int64_t records;
  int64_t first_ms, last_ms; /* Unix milliseconds */
};

struct status {
  const char *instance;
  const char *slot_name; /* NULL: the config has no relay */
  const char *held_name; /* the held-back slot; NULL: none */
  const char *quarantine_topic;
  const struct status_inbox *inbox; /* NULL: the config has no inbox */

  bool postgres_read; /* else only postgres_error */
  struct error postgres_error;
  struct catalog_server server;
  struct health_server health;
  struct catalog_slot slot;
  struct catalog_slot held;
  struct error held_trouble; /* ERROR_NONE: it is one that can be replayed from */
  struct health_slot slot_use;
  struct health_reader *readers; /* active and standby; reader_count of them */
  int reader_count;

  bool position_read; /* else kafka_error */
  struct position position;
  bool quarantine_read; /* else kafka_error */
  bool quarantine_exists;
  bool quarantine_whole; /* false: there are older records that were not counted */
  struct status_code codes[STATUS_CODES_MAX];
  int code_count;
  int64_t quarantined;
  struct error kafka_error;
};

/* Counts a record of the quarantine. */
void status_count_code(struct status *status, struct slice code, int64_t timestamp_ms);

/* Whether all that was asked for could be read. */
bool status_whole(const struct status *status);

void status_print_text(const struct status *status, FILE *out);
void status_print_json(const struct status *status, FILE *out);

#endif
