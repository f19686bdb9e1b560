/* The server, the role, and whether a relay's connections can be made. See check_parts.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/clock.h"
#include "bridge/ops/check_parts.h"
#include "bridge/ops/instance.h"
#include "bridge/postgres/replication.h"

#define SENDER_TIMEOUT_MIN_MS 2000
#define SENDER_TIMEOUT_MAX_MS 300000
#define SKEW_WARN_MS 1000
#define IDLE_WARN_S 86400
#define RELAY_SENDERS 2 /* for a moment at start: the stream, and a question about timelines */

/* Runs one judgement; what it said on success is in the format. */
static void judge(struct check *c, const char *name, bool ok, const struct error *err, const char *found) {
  if (ok)
    check_ok(&c->report, name, "%s", found);
  else
    check_fail(&c->report, name, err);
}

static void check_tls(struct check *c) {
  if (c->health.tls[0] != '\0')
    check_ok(&c->report, "tls", "%s", c->health.tls);
  else if (c->health.local)
    check_ok(&c->report, "tls", "not encrypted, and does not leave this machine");
  else
    check_warn(&c->report, "tls", "set sslmode=verify-full and sslrootcert in postgres.conninfo",
               "the connection is not encrypted: rows and passwords cross the network in the clear");
}

static void check_version(struct check *c) {
  char found[48];
  snprintf(found, sizeof found, "Postgres %d.%d", c->facts.server.version / 10000, c->facts.server.version % 10000);
  struct error err;
  judge(c, "server version", facts_check_version(&c->facts, &err), &err, found);
}

static void check_wal_level(struct check *c) {
  struct error err;
  judge(c, "wal_level", facts_check_wal_level(&c->facts, &err), &err, "logical");
}

static void check_recovery(struct check *c) {
  if (!c->facts.server.in_recovery) {
    check_ok(&c->report, "primary", "the server is no standby");
  } else if (c->facts.server.version < 160000) {
    struct error err;
    error_set(&err, ERROR_REFUSED, "the server is a standby, and before Postgres 16 only a primary decodes");
    error_remedy(&err, "point postgres.conninfo at the primary: several hosts with target_session_attrs=read-write");
    check_fail(&c->report, "primary", &err);
  } else {
    check_warn(&c->report, "primary", "point postgres.conninfo at the primary, unless this is meant",
               "the server is a standby: no publication can be made here, and a slot is lost when the primary removes "
               "rows that it needs, unless hot_standby_feedback is on");
  }
}

static void check_durability(struct check *c) {
  const struct health_server *h = &c->health;
  if (h->fsync && h->full_page_writes && h->synchronous_commit)
    check_ok(&c->report, "durability", "fsync, full_page_writes and synchronous_commit are on");
  else
    check_warn(&c->report, "durability", "switch it on in postgresql.conf",
               "%s%s%soff: a crash can lose commits whose events are in Kafka already", h->fsync ? "" : "fsync ",
               h->full_page_writes ? "" : "full_page_writes ", h->synchronous_commit ? "" : "synchronous_commit ");
}

static void check_sender_timeout(struct check *c) {
  int64_t ms = c->health.sender_timeout_ms;
  if (ms == 0)
    check_warn(
        &c->report, "wal_sender_timeout", "ALTER SYSTEM SET wal_sender_timeout = '60s', then reload",
        "off: when the machine of an instance dies, the server keeps the slot for it, and no standby takes over");
  else if (ms < SENDER_TIMEOUT_MIN_MS || ms > SENDER_TIMEOUT_MAX_MS)
    check_warn(&c->report, "wal_sender_timeout", "ALTER SYSTEM SET wal_sender_timeout = '60s', then reload",
               "%" PRId64 " ms: %s", ms,
               ms < SENDER_TIMEOUT_MIN_MS ? "a short pause ends the stream" : "so long a standby waits for the slot");
  else
    check_ok(&c->report, "wal_sender_timeout", "%" PRId64 " ms", ms);
}

static void check_wal_limit(struct check *c) {
  static const char name[] = "max_slot_wal_keep_size";
  int64_t keep_mb = c->health.slot_keep_mb, retained = catalog_wal_retained(&c->facts.admit.slot);
  if (keep_mb < 0) {
    check_warn(&c->report, name,
               "set a limit well above what a day without the relay writes, or watch pg_replication_slots; a relay "
               "away for longer then loses its slot (slot_invalidated)",
               "no limit: a slot that nobody reads keeps WAL until the disk is full");
  } else if (c->slot_known && retained > keep_mb * 1024 * 1024 / 2) {
    check_warn(&c->report, name, "let the relay catch up, or raise the limit before the server drops the slot",
               "%" PRId64 " MB, of which the slot holds back %" PRId64 " MB", keep_mb, retained / 1024 / 1024);
  } else {
    check_ok(&c->report, name, "%" PRId64 " MB", keep_mb);
  }
}

/* A slot that nobody reads for so long is given up. The held-back one is touched when its window has passed, and not
 * before. */
static void check_idle_limit(struct check *c) {
  static const char name[] = "idle_replication_slot_timeout";
  const struct retain_settings *retain = &c->settings->retain;
  int64_t idle_s = c->health.slot_idle_s;
  bool holds_back = retain->slot != NULL;
  if (idle_s < 0)
    return;
  if (idle_s == 0)
    check_ok(&c->report, name, "off");
  else if (holds_back && idle_s * 1000 <= retain->keep_ms)
    check_warn(&c->report, name, "ALTER SYSTEM SET idle_replication_slot_timeout = 0, then reload",
               "%" PRId64 " s, and the held-back slot may stand still for %" PRId64
               " s (postgres.replay.keep): it would be lost",
               idle_s, retain->keep_ms / 1000);
  else if (idle_s < IDLE_WARN_S)
    check_warn(&c->report, name, "ALTER SYSTEM SET idle_replication_slot_timeout = 0, then reload",
               "%" PRId64 " s: a relay that is away for longer loses its slot (slot_invalidated)", idle_s);
  else
    check_ok(&c->report, name, "%" PRId64 " s", idle_s);
}

/* needed: how many more there have to be. */
static void check_room(struct check *c, const char *name, int64_t used, int64_t max, int64_t needed) {
  if (max - used >= needed) {
    check_ok(&c->report, name, "%" PRId64 " of %" PRId64 " in use", used, max);
    return;
  }
  struct error err;
  error_set(&err, ERROR_REFUSED, "%" PRId64 " of %" PRId64 " in use, and %" PRId64 " more %s needed", used, max, needed,
            needed == 1 ? "is" : "are");
  error_remedy(&err, "raise %s and restart the server, or end what nobody needs", name);
  check_fail(&c->report, name, &err);
}

static void check_rooms(struct check *c) {
  bool has_slot = c->slot_known && c->facts.admit.slot.exists;
  bool runs = has_slot && c->facts.admit.slot.active;
  if (c->slot_known) {
    check_room(c, "max_replication_slots", c->health.slots_used, c->health.slots_max, has_slot ? 0 : 1);
    check_room(c, "max_wal_senders", c->health.senders_used, c->health.senders_max, runs ? 0 : RELAY_SENDERS);
    return;
  }
  check_skip(&c->report, "max_replication_slots", "skipped: pg_replication_slots could not be read");
  check_skip(&c->report, "max_wal_senders", "skipped: pg_replication_slots could not be read");
}

static void check_role(struct check *c) {
  if (!c->health.replication) {
    struct error err;
    error_set(&err, ERROR_CONFIG, "%s lacks REPLICATION", c->health.role);
    error_remedy(&err, "as a superuser: ALTER ROLE \"%s\" REPLICATION", c->health.role);
    check_fail(&c->report, "role", &err);
  } else if (c->health.superuser) {
    check_warn(&c->report, "role",
               "use a role of its own with LOGIN and REPLICATION: `walferry init CONFIG --admin CONNINFO` makes it",
               "%s is a superuser, which is far more than a relay needs", c->health.role);
  } else {
    check_ok(&c->report, "role", "%s, with REPLICATION", c->health.role);
  }
}

static void check_clock(struct check *c, int64_t before_us, int64_t after_us) {
  int64_t skew_ms = (c->health.clock_us - (before_us + after_us) / 2) / 1000;
  int64_t apart = skew_ms < 0 ? -skew_ms : skew_ms;
  int64_t doubt = (after_us - before_us) / 2000;
  if (apart > SKEW_WARN_MS + doubt)
    check_warn(&c->report, "clock", "synchronise both machines (NTP)",
               "the server's clock is %" PRId64 " ms %s that of this machine: times and lags will look wrong", apart,
               skew_ms < 0 ? "behind" : "ahead of");
  else
    check_ok(&c->report, "clock", "the server's is within %" PRId64 " ms of this machine's", apart + doubt);
}

/* Opened for real: pg_hba.conf may let in the one kind of connection and not the other. */
static void check_replication(struct check *c, const char *name) {
  struct error err;
  c->rep = replication_open(c->settings->conninfo, name, &err);
  if (c->rep != NULL && !replication_identify(c->rep, &c->facts.admit.identity, &err)) {
    replication_close(c->rep);
    c->rep = NULL;
  }
  if (c->rep == NULL)
    check_fail(&c->report, "replication connection", &err);
  else
    check_ok(&c->report, "replication connection", "cluster %s, timeline %" PRIu32, c->facts.admit.identity.system_id,
             c->facts.admit.identity.timeline);
}

static void check_encoding(struct check *c) {
  struct error err;
  judge(c, "encoding", facts_check_encoding(&c->facts, &err), &err, c->facts.server.encoding);
}

static void check_plugin(struct check *c) {
  static const char name[] = "output plugin";
  const struct catalog_slot *slot = &c->facts.admit.slot;
  bool loaded = c->slot_known && slot->active && strcmp(slot->plugin, c->settings->plugin) == 0;
  struct error err;
  if (!facts_check_plugin(&c->facts, &err))
    check_fail(&c->report, name, &err);
  else if (loaded)
    check_ok(&c->report, name, "%s, in use", c->settings->plugin);
  else if (!c->health.replication || c->health.slots_used >= c->health.slots_max)
    check_skip(&c->report, name, "skipped: loading %s takes a role with REPLICATION and a free slot",
               c->settings->plugin);
  else if (facts_check_wal_level(&c->facts, &err))
    judge(c, name, health_try_plugin(c->conn, c->settings->plugin, &err), &err, "the server loads it");
  else
    check_skip(&c->report, name, "skipped: needs wal_level logical");
}

static void read_slot(struct check *c) {
  struct error ignored; /* said where the slot is judged */
  c->slot_known = catalog_slot(c->conn, c->settings->slot, &c->facts.admit.slot, &ignored) &&
                  health_slot(c->conn, c->settings->slot, &c->slot_use, &ignored);
}

/* What only a relay needs. */
static void check_streaming(struct check *c, const char *name) {
  read_slot(c);
  check_wal_level(c);
  check_recovery(c);
  check_durability(c);
  check_sender_timeout(c);
  check_wal_limit(c);
  check_idle_limit(c);
  check_rooms(c);
  check_role(c);
  check_replication(c, name);
  check_plugin(c);
  check_encoding(c);
  check_failover(c);
}

static void check_server(struct check *c, const char *name) {
  struct error err;
  int64_t before_us = clock_wall_us();
  c->server_known = c->settings != NULL ? facts_read_server(&c->facts, c->conn, c->settings, &err)
                                        : catalog_server(c->conn, &c->facts.server, &err);
  if (c->server_known) {
    before_us = clock_wall_us();
    c->server_known = health_server(c->conn, &c->health, &err);
  }
  int64_t after_us = clock_wall_us();
  if (!c->server_known) {
    check_fail(&c->report, "server settings", &err);
    return;
  }
  check_tls(c);
  check_version(c);
  if (c->settings != NULL)
    check_streaming(c, name);
  check_clock(c, before_us, after_us);
}

void check_postgres(struct check *c) {
  c->report.group = "postgres";
  char *name = instance_command_name(c->name, "check");
  struct error err;
  c->conn = connection_open(c->conninfo, name, &err);
  if (c->conn == NULL) {
    if (err.remedy[0] == '\0')
      error_remedy(&err, "does the server run, and are host and port in postgres.conninfo right?");
    check_fail(&c->report, "connection", &err);
    check_skip(&c->report, "server", "skipped: no connection to Postgres");
  } else {
    check_ok(&c->report, "connection", "Postgres lets us in");
    check_server(c, name);
  }
  free(name);
}
