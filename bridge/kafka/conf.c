/* See conf.h. Knows librdkafka's configuration; knows nothing of what the handles are used for. */
#include "bridge/kafka/conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bridge/base/clock.h"
#include "bridge/base/log.h"
#include "bridge/base/memory.h"
#include "bridge/base/number.h"

#define LOG_WINDOW_MS 10000
#define LOG_LINES_PER_WINDOW 10
#define ERROR_TEXT_SIZE 512

struct setting {
  const char *name;
  const char *value;
};

static const struct setting common_defaults[] = {
    {"log.connection.close", "false"},
    {"socket.nagle.disable", "true"},
    {"socket.keepalive.enable", "true"},
    {"socket.timeout.ms", "10000"},
    {"socket.connection.setup.timeout.ms", "10000"},
    {"reconnect.backoff.ms", "50"},
    {"reconnect.backoff.max.ms", "1000"},
};

/* What closes a connection is the only trace of a broker that expects another security.protocol. */
static const struct setting admin_defaults[] = {
    {"log.connection.close", "true"},
};

static const struct setting common_musts[] = {
    /* One request without an answer ends the connection, so that on_close_socket sees every doubt. */
    {"socket.max.fails", "1"},
};

static const struct setting producer_defaults[] = {
    {"acks", "all"},
    {"linger.ms", "0"},
    {"compression.codec", "lz4"}, /* faster than none: docs/performance.md */
    {"transaction.timeout.ms", "60000"},
    {"queue.buffering.max.kbytes", "8192"},
    {"queue.buffering.max.messages", "50000"},
    {"message.max.bytes", "1000000000"}, /* the broker's limits decide */
    {"retry.backoff.ms", "100"},
    {"topic.metadata.refresh.interval.ms", "60000"},
    {"topic.metadata.propagation.max.ms", "10000"},
};

static const struct setting producer_musts[] = {
    {"enable.idempotence", "true"},
    /* Topics are made by admin calls. librdkafka's default for producers is true. */
    {"allow.auto.create.topics", "false"},
};

static const struct setting consumer_defaults[] = {
    {"fetch.wait.max.ms", "1"}, /* readers read up to an end that is there: being told so must not wait */
    {"fetch.error.backoff.ms", "50"},
    {"queued.max.messages.kbytes", "4096"}, /* librdkafka bounds fetch.max.bytes by it too */
    {"topic.metadata.refresh.interval.ms", "-1"},
};

static const struct setting member_defaults[] = {
    {"fetch.wait.max.ms", "100"},                    /* it waits for what is still to be written */
    {"topic.metadata.refresh.interval.ms", "10000"}, /* topics made later, partitions added */
    /* librdkafka 2.0 looks once a second whether a full queue has room: it must hold what is processed in a second. */
    {"queued.max.messages.kbytes", "8192"},
    {"fetch.message.max.bytes", "131072"}, /* of each partition, compressed: what may come beyond that */
};

static const struct setting consumer_musts[] = {
    {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"},
    {"enable.partition.eof", "true"},
    {"allow.auto.create.topics", "false"},
};

static const struct setting reader_musts[] = {
    {"auto.offset.reset", "earliest"},
};

static const struct setting member_musts[] = {
    /* Each partition is started at an offset that the caller gave; whatever else librdkafka would choose is a gap. */
    {"auto.offset.reset", "error"},
    {"partition.assignment.strategy", "cooperative-sticky"},
};

void kafka_link_init(struct kafka_link *link, enum kafka_role role) {
  memset(link, 0, sizeof *link);
  link->role = role;
}

static const char *role_name(enum kafka_role role) {
  switch (role) {
  case KAFKA_ROLE_PRODUCER:
    return "producer";
  case KAFKA_ROLE_READER:
    return "reader";
  case KAFKA_ROLE_MEMBER:
    return "member";
  case KAFKA_ROLE_ADMIN:
    return "admin";
  }
  return "unknown";
}

static bool is_producer(const struct kafka_link *link) {
  return link->role == KAFKA_ROLE_PRODUCER;
}

/* A broker that is away makes librdkafka repeat itself from several threads: a few lines per window, the rest counted.
 * The counts may be off by a line when threads meet; that is fine. */
static bool may_log(struct kafka_link *link, int *suppressed) {
  *suppressed = 0;
  if (link->quiet)
    return false;
  int64_t now = clock_monotonic_ms();
  if (now - atomic_load(&link->window) >= LOG_WINDOW_MS) {
    atomic_store(&link->window, now);
    atomic_store(&link->lines, 0);
    *suppressed = atomic_exchange(&link->suppressed, 0);
  }
  if (atomic_fetch_add(&link->lines, 1) < LOG_LINES_PER_WINDOW)
    return true;
  atomic_fetch_add(&link->suppressed, 1);
  return false;
}

/* Called by librdkafka's threads. */
static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text) {
  struct kafka_link *link = rd_kafka_opaque(rk);
  int suppressed;
  kafka_refusals_note_log(&link->refusals, facility, text);
  /* CONFWARN is about our own settings: allow.auto.create.topics is called a consumer property, but producers obey. */
  bool worth = level <= 4 && strcmp(facility, "CONFWARN") != 0;
  if (!worth) {
    if (!link->quiet)
      log_debug("kafka.log", log_string("handle", role_name(link->role)), log_string("facility", facility),
                log_string("text", text));
    return;
  }
  if (may_log(link, &suppressed))
    log_warn("kafka.log", log_string("handle", role_name(link->role)), log_string("facility", facility),
             log_string("text", text), log_int("suppressed", suppressed));
}

/* A broker may close an idle connection at any time: no more than a hint to whoever gets no answer. */
static bool is_failure(rd_kafka_resp_err_t code, const char *reason) {
  return code != RD_KAFKA_RESP_ERR__TRANSPORT || strstr(reason, ": Disconnected (after ") == NULL;
}

/* Called by broker threads, for each certificate of a broker's chain. */
static int on_certificate(rd_kafka_t *rk, const char *broker_name, int32_t broker_id, int *x509_error, int depth,
                          const char *buf, size_t size, char *errstr, size_t errstr_size, void *opaque) {
  (void)rk, (void)broker_name, (void)broker_id, (void)depth, (void)buf, (void)size;
  struct kafka_link *link = opaque;
  return kafka_refusals_verify(&link->refusals, *x509_error, errstr, errstr_size);
}

/* Called from rd_kafka_poll and the calls that poll inside, so by the handle's own thread. */
static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque) {
  (void)rk;
  struct kafka_link *link = opaque;
  kafka_refusals_note(&link->refusals, (rd_kafka_resp_err_t)code, reason);
  /* "all brokers down" would hide why. librdkafka's "(after 3ms in state ...)" tells an operator nothing. */
  if (code != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || link->last_error[0] == '\0') {
    snprintf(link->last_error, sizeof link->last_error, "%s", reason);
    char *end = strstr(link->last_error, " (after ");
    if (end != NULL)
      *end = '\0';
  }
  int suppressed;
  if (is_failure((rd_kafka_resp_err_t)code, reason) && may_log(link, &suppressed))
    log_warn("kafka.error", log_string("handle", role_name(link->role)),
             log_string("name", rd_kafka_err2name((rd_kafka_resp_err_t)code)), log_string("text", reason),
             log_int("suppressed", suppressed));
}

/* Called by broker threads; every end of a connection comes through here, whoever ended it. */
static int on_close_socket(int fd, void *opaque) {
  struct kafka_link *link = opaque;
  if (kafka_socket_was_used(fd))
    atomic_fetch_add(&link->trouble, 1);
  return close(fd);
}

bool kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value, struct error *err) {
  char text[ERROR_TEXT_SIZE];
  if (rd_kafka_conf_set(conf, name, value, text, sizeof text) == RD_KAFKA_CONF_OK)
    return true;
  return error_set(err, ERROR_CONFIG, "kafka.properties: %s: %s", name, text);
}

bool kafka_conf_set_int(rd_kafka_conf_t *conf, const char *name, int64_t value, struct error *err) {
  char text[24];
  snprintf(text, sizeof text, "%lld", (long long)value);
  return kafka_conf_set(conf, name, text, err);
}

int64_t kafka_conf_get_int(const rd_kafka_conf_t *conf, const char *name, int64_t fallback) {
  char text[32];
  size_t size = sizeof text;
  int64_t value = fallback;
  if (rd_kafka_conf_get(conf, name, text, &size) == RD_KAFKA_CONF_OK)
    number_parse(slice_of(text), INT64_MIN, INT64_MAX, &value);
  return value;
}

static bool set_all(rd_kafka_conf_t *conf, const struct setting *settings, size_t count, struct error *err) {
  for (size_t i = 0; i < count; i++)
    if (!kafka_conf_set(conf, settings[i].name, settings[i].value, err))
      return false;
  return true;
}
#define SET_ALL(conf, settings, err) set_all(conf, settings, sizeof(settings) / sizeof((settings)[0]), err)

/* librdkafka's own table of its properties: "name | C/P | range | default | ...", where C/P is C, P or *. The only
 * public place that says for which kind of handle a property is, for whichever version of the library runs. */
static char *properties_table(void) {
  char *table = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&table, &size);
  if (out == NULL)
    return NULL;
  rd_kafka_conf_properties_show(out);
  fclose(out);
  return table;
}

/* False only when the table has the property for the other kind of handle alone: librdkafka takes it there too, but
 * warns about it. (A property may stand there twice, as a global and as a topic property.) */
static bool property_applies(const char *table, struct slice name, bool producer) {
  bool listed = false;
  for (const char *line = table; line != NULL && *line != '\0';) {
    const char *end = strchr(line, '\n');
    const char *bar = strchr(line, '|');
    size_t name_len = strcspn(line, " |\n");
    if (bar != NULL && (end == NULL || bar < end) && name_len == name.len && memcmp(line, name.data, name.len) == 0) {
      listed = true;
      const char *scope = bar + 1 + strspn(bar + 1, " ");
      if (*scope == '*' || *scope == (producer ? 'P' : 'C'))
        return true;
    }
    line = end == NULL ? NULL : end + 1;
  }
  return !listed;
}

static bool set_user_properties(rd_kafka_conf_t *conf, const struct kafka_settings *settings, bool producer,
                                struct error *err) {
  if (settings->property_count == 0)
    return true;
  char *table = properties_table();
  bool ok = true;
  for (int i = 0; ok && i < settings->property_count; i++) {
    const char *property = settings->properties[i];
    const char *equals = strchr(property, '=');
    if (equals == NULL || equals == property) {
      /* Not the text: it may hold a secret. */
      ok = error_set(err, ERROR_CONFIG, "kafka.properties: entry %d is not of the form name=value", i + 1);
      break;
    }
    struct slice name = slice_from(property, (size_t)(equals - property));
    if (!property_applies(table, name, producer))
      continue;
    char *name_text = memory_copy(name.data, name.len);
    ok = kafka_conf_set(conf, name_text, equals + 1, err);
    if (!ok)
      error_remedy(err,
                   "correct the property %s, or remove it: librdkafka's CONFIGURATION.md lists all, with their values",
                   name_text);
    free(name_text);
  }
  free(table);
  return ok;
}

static bool fill(rd_kafka_conf_t *conf, const struct kafka_settings *settings, const struct kafka_link *link,
                 struct error *err) {
  bool producer = is_producer(link), member = link->role == KAFKA_ROLE_MEMBER;
  char *client_id = memory_format("walferry/%s", settings->instance);
  bool ok = kafka_conf_set(conf, "client.id", client_id, err) && SET_ALL(conf, common_defaults, err);
  free(client_id);
  if (settings->brokers != NULL)
    ok = ok && kafka_conf_set(conf, "bootstrap.servers", settings->brokers, err);
  ok = ok && (producer ? SET_ALL(conf, producer_defaults, err) : SET_ALL(conf, consumer_defaults, err));
  if (link->role == KAFKA_ROLE_ADMIN)
    ok = ok && SET_ALL(conf, admin_defaults, err);
  if (member)
    ok = ok && SET_ALL(conf, member_defaults, err);
  ok = ok && set_user_properties(conf, settings, producer, err) && SET_ALL(conf, common_musts, err);
  if (!producer)
    return ok && SET_ALL(conf, consumer_musts, err) &&
           (member ? SET_ALL(conf, member_musts, err) : SET_ALL(conf, reader_musts, err)) &&
           kafka_conf_set(conf, "isolation.level",
                          link->role == KAFKA_ROLE_ADMIN ? "read_uncommitted" : "read_committed", err);
  char *transactional_id = kafka_transactional_id(settings->instance);
  ok = ok && SET_ALL(conf, producer_musts, err) && kafka_conf_set(conf, "transactional.id", transactional_id, err);
  free(transactional_id);
  return ok;
}

rd_kafka_conf_t *kafka_conf_new(const struct kafka_settings *settings, struct kafka_link *link, struct error *err) {
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  rd_kafka_conf_set_opaque(conf, link);
  rd_kafka_conf_set_log_cb(conf, on_log);
  rd_kafka_conf_set_error_cb(conf, on_error);
  rd_kafka_conf_set_closesocket_cb(conf, on_close_socket);
  rd_kafka_conf_set_ssl_cert_verify_cb(conf, on_certificate); /* fails in a librdkafka without TLS: no matter */
  if (fill(conf, settings, link, err))
    return conf;
  rd_kafka_conf_destroy(conf);
  return NULL;
}

rd_kafka_t *kafka_handle_new(rd_kafka_conf_t *conf, struct kafka_link *link, struct error *err) {
  char text[ERROR_TEXT_SIZE];
  rd_kafka_t *rk = rd_kafka_new(is_producer(link) ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER, conf, text, sizeof text);
  if (rk != NULL)
    return rk;
  rd_kafka_conf_destroy(conf);
  error_set(err, ERROR_CONFIG, "kafka.properties: librdkafka refuses them: %s", text);
  error_remedy(err, "check that the properties go together, and that walferry may read the files that they name");
  return NULL;
}

struct kafka_hint kafka_link_hint(rd_kafka_t *rk, const struct kafka_link *link) {
  struct kafka_hint hint = {.text = ""};
  rd_kafka_poll(rk, 0);
  if (link->last_error[0] != '\0')
    snprintf(hint.text, sizeof hint.text, " (%s)", link->last_error);
  return hint;
}

bool kafka_error_is_authorization(rd_kafka_resp_err_t code) {
  return code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED || code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED ||
         code == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED ||
         code == RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
}
