/* See session.h. */
#include "bridge/postgres/session.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "bridge/base/clock.h"
#include "bridge/base/memory.h"

const char session_text_style[] = "SET datestyle = 'ISO'; SET intervalstyle = 'postgres'; SET timezone = 'UTC'; "
                                  "SET extra_float_digits = 3; SET bytea_output = 'hex'; SET search_path = ''";

/* Those that the server has. */
const char session_unlimited[] = "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings "
                                 "WHERE name IN ('statement_timeout', 'transaction_timeout', "
                                 "'idle_in_transaction_session_timeout', 'idle_session_timeout')";

/* Parameters for PQconnectStartParams: borrowed texts, NULL-terminated. libpq knows about 40 keywords. */
enum { PARAMS_MAX = 80 };
struct params {
  const char *keys[PARAMS_MAX + 1];
  const char *values[PARAMS_MAX + 1];
  int count;
};

static void params_add(struct params *params, const char *key, const char *value) {
  if (params->count == PARAMS_MAX)
    return;
  params->keys[params->count] = key;
  params->values[params->count] = value;
  params->count++;
}

static bool option_set(const PQconninfoOption *options, const char *key) {
  for (const PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++)
    if (strcmp(o->keyword, key) == 0)
      return o->val != NULL && o->val[0] != '\0';
  return false;
}

/* libpq's complaint about a conninfo quotes pieces of it, which may be pieces of a password with a blank in it. */
static bool fail_conninfo(const char *conninfo, const char *complaint, struct error *err) {
  bool may_hold_secret = strstr(conninfo, "pass") != NULL || strstr(conninfo, "://") != NULL;
  size_t len = complaint == NULL ? 0 : strcspn(complaint, "\n");
  if (may_hold_secret || len == 0)
    error_set(err, ERROR_CONFIG, "the Postgres conninfo is not valid");
  else
    error_set(err, ERROR_CONFIG, "the Postgres conninfo is not valid: %.*s", (int)len, complaint);
  return error_remedy(err,
                      "write it as keyword=value pairs or as a postgresql:// URI; a value with blanks needs single "
                      "quotes, and in a URI %%-encoding");
}

static bool is_config_state(const char *state) {
  static const char *const states[] = {"3D000", "42501", "42704", "22023"};
  for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
    if (memcmp(state, states[i], 5) == 0)
      return true;
  return memcmp(state, "28", 2) == 0; /* invalid authorisation, password, or no pg_hba.conf entry */
}

/* The SQLSTATE in "FATAL:  28P01: password ..." as verbose messages have it, or NULL. The severity is translated by the
 * server, so the place is known by its shape. */
static char *find_state(char *text) {
  for (char *at = strstr(text, ":  "); at != NULL; at = strstr(at + 1, ":  ")) {
    char *state = at + 3;
    if (strspn(state, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 && strncmp(state + 5, ": ", 2) == 0)
      return state;
  }
  return NULL;
}

/* One line, without the server's source location; malloc'ed. */
static char *tidy_message(const char *text) {
  char *tidy = memory_alloc(2 * strlen(text) + 1); /* each newline may become two characters */
  char *to = tidy;
  for (const char *line = text; *line != '\0';) {
    line += strspn(line, "\t\n");
    size_t len = strcspn(line, "\n");
    if (len > 0 && strncmp(line, "LOCATION:", 9) != 0) {
      if (to != tidy) {
        *to++ = ';';
        *to++ = ' ';
      }
      memcpy(to, line, len);
      to += len;
    }
    line += len;
  }
  return tidy;
}

static void remedy_for_state(const char *state, const PGconn *conn, enum session_kind kind, struct error *err) {
  const char *user = PQuser(conn) == NULL ? "" : PQuser(conn);
  const char *database = PQdb(conn) == NULL ? "" : PQdb(conn);
  if (memcmp(state, "42501", 5) == 0 && kind == SESSION_REPLICATION)
    error_remedy(err,
                 "as a superuser: ALTER ROLE \"%s\" REPLICATION; and GRANT CONNECT ON DATABASE \"%s\" TO \"%s\" if it "
                 "lacks that (on managed services: grant the provider's replication role)",
                 user, database, user);
  else if (memcmp(state, "42501", 5) == 0)
    error_remedy(err, "GRANT CONNECT ON DATABASE \"%s\" TO \"%s\"", database, user);
  else if (memcmp(state, "28", 2) == 0)
    error_remedy(err,
                 "check the role \"%s\", its password (conninfo, postgres.password_file, PGPASSWORD or PGPASSFILE) or "
                 "client certificate (sslcert and sslkey in the conninfo), sslmode, and the server's pg_hba.conf; a "
                 "replication connection with a database needs an entry for that database",
                 user);
  else if (memcmp(state, "3D000", 5) == 0)
    error_remedy(err, "create the database or correct dbname in the conninfo");
  else
    error_remedy(err, "check the options in the conninfo and in PGOPTIONS");
}

/* libpq's own words where TLS fails for a reason that trying again does not mend. */
static const struct {
  const char *words;
  const char *remedy;
} tls_failures[] = {
    {"certificate verify failed", "sslrootcert in the conninfo must name the authority that signed the server's "
                                  "certificate, and that certificate must be valid today"},
    {"does not match host name", "connect to a name that is in the server's certificate (host=NAME hostaddr=ADDRESS, "
                                 "where DNS does not know it), or give the server a certificate with this name"},
    {"root certificate file", "name the file with the authority that signed the server's certificate: sslrootcert in "
                              "the conninfo"},
    {"server does not support SSL", "turn ssl on at the server (ssl_cert_file, ssl_key_file), or connect to the right "
                                    "one"},
    {"certificate file \"", "check sslcert and sslkey in the conninfo: files that walferry may read"},
    {"private key file \"", "check sslkey in the conninfo: a file that belongs to walferry's user, mode 0600, and fits "
                            "sslcert"},
    {"alert unknown ca", "give a client certificate that the server's ssl_ca_file has signed: sslcert and sslkey"},
    {"alert bad certificate", "give a client certificate that the server accepts: sslcert and sslkey"},
    {"alert certificate", "give a client certificate that the server accepts: sslcert and sslkey"},
};
#define TLS_FAILURE_COUNT (sizeof tls_failures / sizeof tls_failures[0])

/* How many attempts failed so; the remedy for the one found last. */
static int count_tls_failures(const char *text, const char **remedy) {
  int count = 0;
  for (const char *line = text; *line != '\0'; line += strcspn(line, "\n"), line += *line == '\n') {
    char *attempt = memory_copy(line, strcspn(line, "\n"));
    for (size_t i = 0; i < TLS_FAILURE_COUNT; i++) {
      if (strstr(attempt, tls_failures[i].words) == NULL)
        continue;
      *remedy = tls_failures[i].remedy;
      count++;
      break;
    }
    free(attempt);
  }
  return count;
}

/* libpq 15 does not hand out the SQLSTATE of a failed connection; the connection was made verbose, so it stands in the
 * text. Several hosts, addresses or encryption modes may each have failed: credentials are to blame only if every
 * attempt says so. libpq's own texts are English here, since nobody calls setlocale. */
static bool fail_connect(PGconn *conn, enum session_kind kind, struct error *err) {
  char *raw = memory_string(PQerrorMessage(conn));
  int attempts = 0;
  for (const char *at = strstr(raw, "connection to server "); at != NULL; at = strstr(at + 1, "connection to server "))
    attempts++;
  int refused = 0;
  char last_state[6] = "";
  for (char *state = find_state(raw); state != NULL; state = find_state(state)) {
    memcpy(last_state, state, 5);
    refused += is_config_state(last_state) ? 1 : 0;
    memmove(state, state + 7, strlen(state + 7) + 1);
  }
  const char *tls_remedy = NULL;
  int untrusted = count_tls_failures(raw, &tls_remedy);
  char *text = tidy_message(raw);
  free(raw);
  if (PQconnectionNeedsPassword(conn)) {
    error_set(err, ERROR_CONFIG, "%s", text);
    error_remedy(err, "the server asks for a password: give it in postgres.password_file, PGPASSWORD, PGPASSFILE or "
                      "the conninfo");
  } else if (untrusted > 0 && untrusted + refused >= attempts) {
    error_set(err, ERROR_CONFIG, "%s", text);
    error_remedy(err, "%s", tls_remedy);
  } else if (refused > 0 && refused >= attempts) {
    error_set(err, ERROR_CONFIG, "%s", text);
    remedy_for_state(last_state, conn, kind, err);
  } else {
    error_set(err, ERROR_RETRY, "%s", text[0] == '\0' ? "connecting to Postgres failed" : text);
    if (strcmp(last_state, "53300") == 0)
      error_remedy(err, "raise %s on the server", kind == SESSION_REPLICATION ? "max_wal_senders" : "max_connections");
  }
  free(text);
  return false;
}

/* PQconnectdbParams offers no moment at which to make the coming messages verbose, and polling a PQconnectStartParams
 * ourselves would lose libpq's per-address time-out. So: start, set, and PQreset, which connects blocking, with the
 * time-out, and keeps the verbosity. The started TCP connection is dropped before anything is sent on it. */
static PGconn *connect_verbose(const struct params *params, const char *conninfo, enum session_kind kind,
                               struct error *err) {
  PGconn *conn = PQconnectStartParams(params->keys, params->values, 0);
  if (conn == NULL) {
    error_set(err, ERROR_RETRY, "libpq is out of memory");
    return NULL;
  }
  char *complaint = memory_string(PQerrorMessage(conn));
  PQsetErrorVerbosity(conn, PQERRORS_VERBOSE);
  PQreset(conn);
  bool connected = PQstatus(conn) == CONNECTION_OK;
  /* Only options that libpq rejects make PQreset fail without a word. */
  if (!connected && PQerrorMessage(conn)[0] == '\0')
    fail_conninfo(conninfo, complaint, err);
  else if (!connected)
    fail_connect(conn, kind, err);
  free(complaint);
  if (!connected) {
    PQfinish(conn);
    return NULL;
  }
  PQsetErrorVerbosity(conn, PQERRORS_DEFAULT);
  return conn;
}

/* NOTICEs would go to stderr, which belongs to the log. */
static void drop_notice(void *arg, const PGresult *result) {
  (void)arg;
  (void)result;
}

PGconn *session_open(const char *conninfo, const char *name, enum session_kind kind, struct error *err) {
  char *complaint = NULL;
  PQconninfoOption *options = PQconninfoParse(conninfo, &complaint);
  if (options == NULL) {
    fail_conninfo(conninfo, complaint, err);
    PQfreemem(complaint);
    return NULL;
  }
  struct params params = {.count = 0};
  for (const PQconninfoOption *o = options; o->keyword != NULL; o++)
    if (o->val != NULL && o->val[0] != '\0' && strcmp(o->keyword, "replication") != 0 &&
        strcmp(o->keyword, "client_encoding") != 0)
      params_add(&params, o->keyword, o->val);

  static const char *const defaults[][2] = {
      {"keepalives_idle", "10"},
      {"keepalives_interval", "5"},
      {"keepalives_count", "3"},
      {"tcp_user_timeout", "30000"},
  };
  for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++)
    if (!option_set(options, defaults[i][0]))
      params_add(&params, defaults[i][0], defaults[i][1]);
  if (!option_set(options, "connect_timeout") && getenv("PGCONNECT_TIMEOUT") == NULL)
    params_add(&params, "connect_timeout", "10");
  char *application = memory_format("walferry/%s", name);
  if (!option_set(options, "fallback_application_name"))
    params_add(&params, "fallback_application_name", application);
  params_add(&params, "client_encoding", "UTF8");
  if (kind == SESSION_REPLICATION)
    params_add(&params, "replication", "database");

  PGconn *conn = connect_verbose(&params, conninfo, kind, err);
  free(application);
  PQconninfoFree(options);
  if (conn == NULL)
    return NULL;
  PQsetNoticeReceiver(conn, drop_notice, NULL);
  PQsetnonblocking(conn, 1);
  return conn;
}

short session_poll(const PGconn *conn, short events, int64_t deadline_ms) {
  for (;;) {
    int64_t left = deadline_ms - clock_monotonic_ms();
    if (left <= 0)
      return 0;
    struct pollfd pfd = {.fd = PQsocket(conn), .events = events};
    int n = poll(&pfd, 1, left > 60000 ? 60000 : (int)left);
    if (n > 0)
      return pfd.revents;
    if (n < 0 && errno != EINTR)
      return POLLERR;
  }
}

bool session_wait(PGconn *conn, int64_t deadline_ms) {
  for (;;) {
    int unsent = PQflush(conn);
    if (unsent < 0 || !PQisBusy(conn))
      return true;
    short ready = session_poll(conn, unsent > 0 ? POLLIN | POLLOUT : POLLIN, deadline_ms);
    if (ready == 0)
      return false;
    if ((ready & ~POLLOUT) != 0 && !PQconsumeInput(conn))
      return true;
  }
}

void session_break(PGconn *conn) {
  shutdown(PQsocket(conn), SHUT_RDWR);
  PQconsumeInput(conn); /* libpq sees the end */
}

static bool is_copy(const PGresult *result) {
  ExecStatusType status = PQresultStatus(result);
  return status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;
}

static bool has_failed(const PGresult *result) {
  ExecStatusType status = PQresultStatus(result);
  return status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE;
}

PGresult *session_exec(PGconn *conn, const char *sql, int param_count, const char *const *params, int64_t timeout_ms,
                       struct error *err) {
  int64_t deadline_ms = clock_monotonic_ms() + timeout_ms;
  int sent =
      param_count < 0 ? PQsendQuery(conn, sql) : PQsendQueryParams(conn, sql, param_count, NULL, params, NULL, NULL, 0);
  if (!sent) {
    session_fail(conn, NULL, err);
    return NULL;
  }
  PGresult *kept = NULL;
  for (;;) {
    if (!session_wait(conn, deadline_ms)) {
      session_break(conn);
      PQclear(kept);
      error_set(err, ERROR_RETRY, "Postgres did not answer within %lld ms", (long long)timeout_ms);
      return NULL;
    }
    PGresult *result = PQgetResult(conn);
    if (result == NULL)
      break;
    if (kept != NULL && has_failed(kept)) {
      PQclear(result);
      continue;
    }
    PQclear(kept);
    kept = result;
    if (is_copy(kept))
      break;
  }
  if (kept == NULL)
    session_fail(conn, NULL, err);
  return kept;
}

const char *session_sqlstate(const PGconn *conn, const PGresult *result) {
  if (result != NULL && !has_failed(result))
    return "";
  const char *state = result == NULL ? NULL : PQresultErrorField(result, PG_DIAG_SQLSTATE);
  if (state != NULL)
    return state;
  return PQstatus(conn) == CONNECTION_OK ? "XX000" : "08006";
}

void session_failure(const PGconn *conn, const PGresult *result, struct pipeline_failure *failure) {
  *failure = (struct pipeline_failure){.message = "the connection to Postgres broke"};
  snprintf(failure->sqlstate, sizeof failure->sqlstate, "%s", session_sqlstate(conn, result));
  if (result == NULL)
    return;
  const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  if (message != NULL)
    failure->message = message;
  failure->detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
  failure->hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
  failure->context = PQresultErrorField(result, PG_DIAG_CONTEXT);
}

static bool state_in_class(const char *state, const char *sqlstate_class) {
  return strncmp(state, sqlstate_class, strlen(sqlstate_class)) == 0;
}

static enum error_kind kind_of_state(const char *state) {
  /* connection, lack of resources, operator intervention, serialisation and deadlock, lock time-out, read-only server
   * (a failover under way) */
  static const char *const busy[] = {"08", "53", "57", "40", "55P03", "25006"};
  for (size_t i = 0; i < sizeof busy / sizeof busy[0]; i++)
    if (state_in_class(state, busy[i]))
      return ERROR_RETRY;
  return strcmp(state, "42501") == 0 ? ERROR_CONFIG : ERROR_FATAL;
}

bool session_fail(const PGconn *conn, const PGresult *result, struct error *err) {
  const char *state = session_sqlstate(conn, result);
  const char *primary = result == NULL ? NULL : PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  if (primary == NULL) {
    char *text = tidy_message(result == NULL ? PQerrorMessage(conn) : PQresultErrorMessage(result));
    error_set(err, kind_of_state(state), "%s", text[0] == '\0' ? "the connection to Postgres is closed" : text);
    free(text);
    return false;
  }
  /* "Failing row contains (...)", "Key (id)=(...) already exists", and values that cannot be converted */
  bool may_hold_data = state_in_class(state, "22") || state_in_class(state, "23") || state_in_class(state, "P0");
  const char *detail = may_hold_data ? NULL : PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
  const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
  return error_set(err, kind_of_state(state), "%s (SQLSTATE %s)%s%s%s%s", primary, state, detail == NULL ? "" : " ",
                   detail == NULL ? "" : detail, hint == NULL ? "" : " ", hint == NULL ? "" : hint);
}
