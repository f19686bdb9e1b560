/* How this folder's handles are configured, and how librdkafka's own words reach our log. Internal to bridge/kafka. */
#ifndef WALFERRY_KAFKA_CONF_H
#define WALFERRY_KAFKA_CONF_H

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>

#include "bridge/kafka/client.h"
#include "bridge/kafka/refusal.h"

enum kafka_role {
  KAFKA_ROLE_PRODUCER = 1, /* transactional */
  KAFKA_ROLE_READER,       /* consumer handle without a group, read_committed */
  KAFKA_ROLE_MEMBER,       /* consumer handle that is a member of a group, read_committed */
  KAFKA_ROLE_ADMIN /* as a reader, since a producer's metadata requests could create topics; read_uncommitted, so
                      that it is told the end of a log as it is */
};

/* What the callbacks of one handle write to; the handle's opaque. Must outlive the handle. */
struct kafka_link {
  enum kafka_role role;
  _Atomic(bool) quiet;     /* no logging: a handle made only to check the settings, one being dropped, or one
                              whose failures are expected */
  void *owner;             /* for dr_msg_cb and rebalance_cb */
  _Atomic(int) trouble;    /* connections closed that had carried data of ours; broker threads add */
  _Atomic(int64_t) window; /* rate limit of the log: start of the current window, lines in it, lines left out */
  _Atomic(int) lines;
  _Atomic(int) suppressed;
  struct kafka_refusals refusals;
  char last_error[256]; /* of the error callback; the thread that polls the handle alone reads and writes it */
};

void kafka_link_init(struct kafka_link *link, enum kafka_role role);

/* Defaults of the role, then the user's properties as far as they are for this kind of handle, then what the role's
 * correctness hangs on. ERROR_CONFIG names the property that librdkafka does not take. NULL on failure. */
rd_kafka_conf_t *kafka_conf_new(const struct kafka_settings *settings, struct kafka_link *link, struct error *err);

/* name=value of our own: what no property may say, or what only the caller knows; a refusal is a mistake in this
 * program or a library too old: ERROR_CONFIG. */
bool kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value, struct error *err);
bool kafka_conf_set_int(rd_kafka_conf_t *conf, const char *name, int64_t value, struct error *err);
/* An integer property as it now stands; fallback when it is not one. */
int64_t kafka_conf_get_int(const rd_kafka_conf_t *conf, const char *name, int64_t fallback);

/* Consumes conf, also on failure. ERROR_CONFIG when librdkafka refuses the combination. */
rd_kafka_t *kafka_handle_new(rd_kafka_conf_t *conf, struct kafka_link *link, struct error *err);

/* Serves the handle's error callback, then says what is known about the brokers: "" or " (<last error>)". */
struct kafka_hint {
  char text[300];
};
struct kafka_hint kafka_link_hint(rd_kafka_t *rk, const struct kafka_link *link);

/* Is it about a missing permission? */
bool kafka_error_is_authorization(rd_kafka_resp_err_t code);

/* Has this connected socket carried data of ours? (TCP_INFO; when the kernel does not say: yes.) In a file of its own,
 * since <linux/tcp.h> and <netinet/tcp.h> do not go together. */
bool kafka_socket_was_used(int fd);

#endif
