/* See status_print.h. The keys of the JSON form are stable: others read them. */
#include "bridge/ops/status_print.h"

#include <inttypes.h>
#include <string.h>

#include "bridge/base/buffer.h"
#include "bridge/base/clock.h"
#include "bridge/base/jsonobject.h"
#include "bridge/ops/report_row.h"

void status_count_code(struct status *status, struct slice code, int64_t timestamp_ms) {
  char name[sizeof status->codes[0].code];
  snprintf(name, sizeof name, "%.*s", slice_present(code) ? (int)(code.len < 63 ? code.len : 63) : 7,
           slice_present(code) ? code.data : "unknown");
  status->quarantined++;
  struct status_code *entry = status->codes, *end = status->codes + status->code_count;
  while (entry != end && strcmp(entry->code, name) != 0)
    entry++;
  if (entry == end) {
    if (status->code_count == STATUS_CODES_MAX)
      return;
    status->code_count++;
    *entry = (struct status_code){.first_ms = timestamp_ms, .last_ms = timestamp_ms};
    memcpy(entry->code, name, sizeof name);
  }
  entry->records++;
  if (timestamp_ms < entry->first_ms)
    entry->first_ms = timestamp_ms;
  if (timestamp_ms > entry->last_ms)
    entry->last_ms = timestamp_ms;
}

static bool is_active(const struct status *s, const struct health_reader *reader) {
  return s->slot.active && s->slot.active_pid == reader->pid;
}

static int active_count(const struct status *s) {
  int count = 0;
  for (int i = 0; i < s->reader_count; i++)
    count += is_active(s, &s->readers[i]) ? 1 : 0;
  return count;
}

/* Bytes between the server's end and the position; -1 where one of them is not known. */
static int64_t lag_bytes(const struct status *s) {
  if (!s->postgres_read || !s->position_read || s->position.state != POSITION_SET)
    return -1;
  lsn_t at = position_ack_lsn(&s->position);
  return s->health.flush_lsn > at ? (int64_t)(s->health.flush_lsn - at) : 0;
}

/* As the walsender measures it, from flush to acknowledgement; it forgets when there is nothing to do. -1: unknown. */
static int64_t lag_us(const struct status *s) {
  if (lag_bytes(s) < 0)
    return -1;
  return lag_bytes(s) == 0 ? 0 : s->slot_use.lag_us;
}

static struct clock_text time_text(int64_t ms) {
  return clock_rfc3339(ms * 1000);
}

/* The text form: keys in a column of their own. */

static void print_missing(const char *what, const struct error *err, FILE *out) {
  report_row(out, what, "MISSING: %s", err->message);
  if (err->remedy[0] != '\0')
    report_row(out, "", "%s", err->remedy);
}

static const char *place(const char *address) {
  return address[0] != '\0' ? address : "this machine";
}

static void print_slot(const struct status *s, FILE *out) {
  const struct catalog_slot *slot = &s->slot;
  if (!slot->exists) {
    report_row(out, "slot", "%s does not exist", s->slot_name);
    return;
  }
  report_row(out, "slot", "%s, %s", s->slot_name, slot->active ? "active" : "read by nobody");
  if (slot->active)
    report_row(out, "  read by", "%s at %s, backend %d",
               s->slot_use.holder[0] != '\0' ? s->slot_use.holder : "(not known)", place(s->slot_use.holder_address),
               slot->active_pid);
  else if (slot->inactive_since_us != 0)
    report_row(out, "  since", "%s", clock_rfc3339(slot->inactive_since_us).text);
  report_row(out, "  confirmed", "%s", lsn_format(slot->confirmed_flush_lsn).text);
  report_row(out, "  WAL", "%s, from %s on: %.1f MB", slot->wal_status[0] != '\0' ? slot->wal_status : "unknown",
             lsn_format(slot->restart_lsn).text, (double)catalog_wal_retained(slot) / (1024 * 1024));
  if (slot->safe_wal_known)
    report_row(out, "  safe", "for %.1f MB more, of max_slot_wal_keep_size %.1f MB",
               (double)slot->safe_wal_bytes / (1024 * 1024), (double)slot->wal_keep_bytes_max / (1024 * 1024));
  if (slot->failover || slot->synced)
    report_row(out, "  failover", "%s",
               slot->synced && s->server.in_recovery ? "synchronised from the primary" : "yes");
  if (slot->invalidation_reason[0] != '\0')
    report_row(out, "  invalid", "%s", slot->invalidation_reason);
}

static void print_held(const struct status *s, FILE *out) {
  if (s->held_name == NULL)
    return;
  report_row(out, "held back", "%s%s", s->held_name, s->held_trouble.kind == ERROR_NONE ? "" : ": WARNING");
  if (s->held_trouble.kind != ERROR_NONE) {
    report_row(out, "  trouble", "%s", s->held_trouble.message);
    report_row(out, "", "%s", s->held_trouble.remedy);
    return;
  }
  report_row(out, "  from", "%s", lsn_format(s->held.confirmed_flush_lsn).text);
  report_row(out, "  WAL", "%s, %.1f MB", s->held.wal_status, (double)catalog_wal_retained(&s->held) / (1024 * 1024));
}

static void print_postgres(const struct status *s, FILE *out) {
  if (!s->postgres_read) {
    print_missing("postgres", &s->postgres_error, out);
    return;
  }
  report_row(out, "postgres", "%d.%d, database %s%s, WAL up to %s", s->server.version / 10000,
             s->server.version % 10000, s->server.database, s->server.in_recovery ? " (standby)" : "",
             lsn_format(s->health.flush_lsn).text);
  if (s->slot_name == NULL)
    return;
  print_slot(s, out);
  print_held(s, out);
  int active = active_count(s);
  report_row(out, "instances", "%d active, %d standby", active, s->reader_count - active);
  for (int i = 0; i < s->reader_count; i++)
    report_row(out, is_active(s, &s->readers[i]) ? "  active" : "  standby", "at %s since %s, backend %d",
               place(s->readers[i].address), s->readers[i].since, s->readers[i].pid);
}

static void print_position(const struct status *s, FILE *out) {
  const struct position *p = &s->position;
  switch (p->state) {
  case POSITION_NONE:
    report_row(out, "position", "none");
    return;
  case POSITION_INTENT:
    report_row(out, "position", "none yet: a slot was being created%s",
               p->snapshot.state == POSITION_SNAPSHOT_ASKED ? ", with a snapshot" : "");
    return;
  case POSITION_SET:
    break;
  }
  report_row(out, "position", "%s, timeline %" PRIu32, lsn_format(position_ack_lsn(p)).text, p->timeline);
  if (p->commit_lsn == 0)
    report_row(out, "  last event", "none yet");
  else
    report_row(out, "  last event", "committed %s at %s, xid %" PRIu32, clock_rfc3339(p->commit_time_us).text,
               lsn_format(p->commit_lsn).text, p->xid);
  if (p->snapshot.state != POSITION_SNAPSHOT_NONE)
    report_row(out, "  snapshot", "%s, %" PRIu64 " of %" PRIu64 " rows published",
               position_snapshot_name(p->snapshot.state), p->snapshot.next, p->snapshot.rows);
  if (!p->complete)
    report_row(out, "  half done", "change %" PRIu64 " of that transaction is next", p->next_index);
  if (p->idle_end_lsn > p->end_lsn)
    report_row(out, "  idle up to", "%s", lsn_format(p->idle_end_lsn).text);
}

static void print_lag(const struct status *s, FILE *out) {
  if (lag_bytes(s) < 0)
    return;
  if (lag_us(s) < 0)
    report_row(out, "lag", "%" PRId64 " bytes of WAL", lag_bytes(s));
  else
    report_row(out, "lag", "%" PRId64 " bytes of WAL, %.3f s", lag_bytes(s), (double)lag_us(s) / 1e6);
}

static void print_quarantine(const struct status *s, FILE *out) {
  report_row(out, "quarantine", "%s: %s%" PRId64 " record%s%s", s->quarantine_topic,
             s->quarantine_whole ? "" : "at least ", s->quarantined, s->quarantined == 1 ? "" : "s",
             s->quarantine_exists ? "" : ", not created yet");
  for (int i = 0; i < s->code_count; i++) {
    const struct status_code *code = &s->codes[i];
    fprintf(out, "  %-20s %6" PRId64 "  %.19sZ to %.19sZ\n", code->code, code->records, time_text(code->first_ms).text,
            time_text(code->last_ms).text);
  }
}

static void print_relay(const struct status *s, FILE *out) {
  if (s->position_read)
    print_position(s, out);
  print_lag(s, out);
  if (s->quarantine_read)
    print_quarantine(s, out);
  if (!s->position_read)
    print_missing("kafka", &s->kafka_error, out);
  else if (!s->quarantine_read)
    print_missing("quarantine", &s->kafka_error, out);
}

bool status_whole(const struct status *s) {
  bool relay = s->slot_name == NULL || (s->position_read && s->quarantine_read);
  bool inbox = s->inbox == NULL || (s->inbox->tables_read && s->inbox->logs_read && s->inbox->group_read);
  return s->postgres_read && relay && inbox;
}

void status_print_text(const struct status *s, FILE *out) {
  report_row(out, "instance", "%s", s->instance);
  print_postgres(s, out);
  if (s->slot_name != NULL)
    print_relay(s, out);
  if (s->inbox != NULL)
    status_inbox_text(s->inbox, out);
}

/* The JSON form. What is not known is null. */

/* What is empty is not known. */
static void put_text(struct buffer *json, const char *name, const char *value) {
  jsonobject_text(json, name, value == NULL || value[0] == '\0' ? NULL : value);
}

/* -1 is unknown. */
static void put_known(struct buffer *json, const char *name, int64_t value) {
  if (value < 0)
    jsonobject_text(json, name, NULL);
  else
    jsonobject_integer(json, name, value);
}

static void json_postgres(const struct status *s, struct buffer *json) {
  jsonobject_open(json, "postgres");
  jsonobject_bool(json, "read", s->postgres_read);
  put_text(json, "error", s->postgres_read ? NULL : s->postgres_error.message);
  if (s->postgres_read) {
    jsonobject_integer(json, "version", s->server.version);
    put_text(json, "database", s->server.database);
    jsonobject_bool(json, "in_recovery", s->server.in_recovery);
    jsonobject_lsn(json, "flush_lsn", s->health.flush_lsn);
  }
  jsonobject_close(json);
}

static void json_slot(const struct status *s, struct buffer *json) {
  if (!s->postgres_read) {
    jsonobject_text(json, "slot", NULL);
    return;
  }
  jsonobject_open(json, "slot");
  put_text(json, "name", s->slot_name);
  jsonobject_bool(json, "exists", s->slot.exists);
  jsonobject_bool(json, "active", s->slot.active);
  put_known(json, "active_pid", s->slot.active ? s->slot.active_pid : -1);
  put_text(json, "holder", s->slot_use.holder);
  put_text(json, "holder_address", s->slot_use.holder_address);
  jsonobject_moment(json, "inactive_since", s->slot.inactive_since_us);
  put_text(json, "wal_status", s->slot.wal_status);
  put_text(json, "invalidation_reason", s->slot.invalidation_reason);
  jsonobject_bool(json, "failover", s->slot.failover);
  jsonobject_bool(json, "synced", s->slot.synced);
  jsonobject_lsn(json, "restart_lsn", s->slot.restart_lsn);
  jsonobject_lsn(json, "confirmed_flush_lsn", s->slot.confirmed_flush_lsn);
  put_known(json, "retained_bytes", s->slot.exists && s->slot.restart_lsn != 0 ? catalog_wal_retained(&s->slot) : -1);
  put_known(json, "safe_wal_bytes", s->slot.safe_wal_known ? s->slot.safe_wal_bytes : -1);
  jsonobject_close(json);
}

static void json_held(const struct status *s, struct buffer *json) {
  if (!s->postgres_read || s->held_name == NULL) {
    jsonobject_text(json, "held_back", NULL);
    return;
  }
  jsonobject_open(json, "held_back");
  put_text(json, "name", s->held_name);
  jsonobject_bool(json, "exists", s->held.exists);
  put_text(json, "trouble", s->held_trouble.kind == ERROR_NONE ? NULL : s->held_trouble.message);
  put_text(json, "wal_status", s->held.wal_status);
  jsonobject_lsn(json, "lsn", s->held.confirmed_flush_lsn);
  put_known(json, "retained_bytes", s->held.restart_lsn != 0 ? catalog_wal_retained(&s->held) : -1);
  jsonobject_close(json);
}

static void json_instances(const struct status *s, struct buffer *json) {
  if (!s->postgres_read) {
    jsonobject_text(json, "instances", NULL);
    return;
  }
  jsonobject_open(json, "instances");
  jsonobject_integer(json, "active", active_count(s));
  jsonobject_integer(json, "standby", s->reader_count - active_count(s));
  jsonobject_key(json, "list");
  buffer_append_char(json, '[');
  for (int i = 0; i < s->reader_count; i++) {
    jsonobject_open(json, NULL);
    put_text(json, "state", is_active(s, &s->readers[i]) ? "active" : "standby");
    put_text(json, "address", s->readers[i].address);
    put_text(json, "since", s->readers[i].since);
    jsonobject_integer(json, "pid", s->readers[i].pid);
    jsonobject_close(json);
  }
  buffer_append_text(json, "]}");
}

static void json_kafka(const struct status *s, struct buffer *json) {
  bool read = s->position_read && s->quarantine_read;
  jsonobject_open(json, "kafka");
  jsonobject_bool(json, "read", read);
  put_text(json, "error", read ? NULL : s->kafka_error.message);
  jsonobject_close(json);
}

static void json_snapshot(const struct position_snapshot *s, struct buffer *json) {
  if (s->state == POSITION_SNAPSHOT_NONE) {
    jsonobject_text(json, "snapshot", NULL);
    return;
  }
  jsonobject_open(json, "snapshot");
  put_text(json, "state", position_snapshot_name(s->state));
  jsonobject_integer(json, "published", (int64_t)s->next);
  jsonobject_integer(json, "rows", (int64_t)s->rows);
  jsonobject_close(json);
}

static void json_position(const struct status *s, struct buffer *json) {
  const struct position *p = &s->position;
  if (!s->position_read) {
    jsonobject_text(json, "position", NULL);
    return;
  }
  jsonobject_open(json, "position");
  put_text(json, "state", position_state_name(p->state));
  if (p->state == POSITION_SET) {
    jsonobject_lsn(json, "lsn", position_ack_lsn(p));
    jsonobject_lsn(json, "commit_lsn", p->commit_lsn);
    jsonobject_lsn(json, "end_lsn", p->end_lsn);
    jsonobject_lsn(json, "idle_end_lsn", p->idle_end_lsn);
    put_text(json, "commit_time", p->commit_lsn == 0 ? NULL : clock_rfc3339(p->commit_time_us).text);
    put_known(json, "xid", p->commit_lsn == 0 ? -1 : (int64_t)p->xid);
    jsonobject_bool(json, "complete", p->complete);
    jsonobject_integer(json, "next_index", (int64_t)p->next_index);
    jsonobject_integer(json, "timeline", p->timeline);
    put_text(json, "system_id", p->system_id);
  }
  json_snapshot(&p->snapshot, json);
  jsonobject_close(json);
}

static void json_lag(const struct status *s, struct buffer *json) {
  jsonobject_open(json, "lag");
  put_known(json, "bytes", lag_bytes(s));
  jsonobject_key(json, "seconds");
  if (lag_us(s) < 0)
    buffer_append_text(json, "null");
  else
    buffer_printf(json, "%.6f", (double)lag_us(s) / 1e6);
  jsonobject_close(json);
}

static void json_quarantine(const struct status *s, struct buffer *json) {
  if (!s->quarantine_read) {
    jsonobject_text(json, "quarantine", NULL);
    return;
  }
  jsonobject_open(json, "quarantine");
  put_text(json, "topic", s->quarantine_topic);
  jsonobject_bool(json, "exists", s->quarantine_exists);
  jsonobject_integer(json, "records", s->quarantined);
  jsonobject_bool(json, "at_least", !s->quarantine_whole);
  jsonobject_key(json, "codes");
  buffer_append_char(json, '[');
  for (int i = 0; i < s->code_count; i++) {
    jsonobject_open(json, NULL);
    put_text(json, "code", s->codes[i].code);
    jsonobject_integer(json, "records", s->codes[i].records);
    put_text(json, "first", time_text(s->codes[i].first_ms).text);
    put_text(json, "last", time_text(s->codes[i].last_ms).text);
    jsonobject_close(json);
  }
  buffer_append_text(json, "]}");
}

static void json_relay(const struct status *s, struct buffer *json) {
  json_slot(s, json);
  json_held(s, json);
  json_instances(s, json);
  json_kafka(s, json);
  json_position(s, json);
  json_lag(s, json);
  json_quarantine(s, json);
}

void status_print_json(const struct status *s, FILE *out) {
  struct buffer json;
  buffer_init(&json, BUFFER_MAX_ROW);
  jsonobject_open(&json, NULL);
  put_text(&json, "instance", s->instance);
  jsonobject_bool(&json, "ok", status_whole(s));
  json_postgres(s, &json);
  if (s->slot_name != NULL)
    json_relay(s, &json);
  if (s->inbox != NULL)
    status_inbox_json(s->inbox, &json);
  buffer_append_text(&json, "}\n");
  fwrite(json.data, 1, json.len, out);
  buffer_free(&json);
}
