/* The inbox: tables and rights, handlers, the group, the topics that it reads, and whether its stored offsets fit them.
 * See check_parts.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/memory.h"
#include "bridge/inbox/handlers.h"
#include "bridge/inbox/layout.h"
#include "bridge/kafka/admin.h"
#include "bridge/ops/check_parts.h"
#include "bridge/ops/inbox_view.h"
#include "bridge/ops/init_inbox.h"

#define HOUR_MS (INT64_C(60) * 60 * 1000)
#define SHORT_RETENTION_MS (24 * HOUR_MS)

static void check_writable(struct check *c) {
  struct error err;
  if (!c->facts.server.in_recovery) {
    check_ok(&c->report, "writable", "the server is a primary: handlers may write");
    return;
  }
  error_set(&err, ERROR_RETRY, "the server is a standby: nothing can be handled there");
  error_remedy(&err, "point postgres.conninfo at the primary: several hosts with target_session_attrs=read-write");
  check_fail(&c->report, "writable", &err);
}

/* Also what a table lacks that was dropped. */
static void check_rights(struct check *c) {
  static const char name[] = "rights on the tables";
  struct buffer sql;
  buffer_init(&sql, BUFFER_MAX_ROW);
  init_inbox_missing_sql(&sql);
  buffer_append_char(&sql, '\0');
  struct error err;
  struct rows *rows = connection_query(c->conn, sql.data, 0, NULL, &err);
  if (rows == NULL) {
    check_fail(&c->report, name, &err);
  } else if (rows_count(rows) == 0) {
    check_ok(&c->report, name, "%s has what the inbox's statements need", c->health.role);
  } else {
    error_set(&err, ERROR_CONFIG, "%s lacks %d of the rights that the inbox's statements need", c->health.role,
              rows_count(rows));
    error_remedy(&err, "%s%s", rows_text(rows, 0, 0),
                 rows_count(rows) > 1 ? " and the others; `walferry init CONFIG --admin CONNINFO` grants them all"
                                      : "");
    check_fail(&c->report, name, &err);
  }
  rows_free(rows);
  buffer_free(&sql);
}

static void check_handlers(struct check *c) {
  for (size_t i = 0; i < c->inbox->handler_count; i++) {
    const struct handler_spec *spec = &c->inbox->handlers[i];
    char *name = memory_format("handler of %s", spec->type);
    struct error err;
    if (!handler_check(c->conn, spec, &err))
      check_fail(&c->report, name, &err);
    else if (spec->call == NULL)
      check_ok(&c->report, name, "none: such events are passed over");
    else
      check_ok(&c->report, name, "%s, which %s may call", spec->call, c->health.role);
    free(name);
  }
}

static void check_emit(struct check *c) {
  struct error ignored;
  struct rows *rows = connection_query(c->conn,
                                       "SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace "
                                       "WHERE n.nspname = 'walferry' AND p.proname = 'emit'",
                                       0, NULL, &ignored);
  if (rows != NULL)
    check_ok(&c->report, "walferry.emit", "%s",
             rows_count(rows) > 0 ? "is there: what handlers emit with it carries the event's correlation and trace on"
                                  : "is not there: handlers that emit events need an outbox (a relay section)");
  rows_free(rows);
}

/* Whether the stored offsets could be read. */
static bool check_database(struct check *c, struct inbox_view *view) {
  struct error err;
  if (!c->server_known || !facts_check_version(&c->facts, &err)) {
    check_skip(&c->report, "inbox tables", "skipped: %s",
               c->server_known ? "the server is too old" : "the server could not be asked");
    return false;
  }
  check_writable(c);
  check_handlers(c);
  check_emit(c);
  if (!layout_check(c->conn, &err)) {
    check_fail(&c->report, "inbox tables", &err);
    return false;
  }
  check_ok(&c->report, "inbox tables", "there, in the layout of this version");
  check_rights(c);
  if (inbox_view_read(view, c->conn, c->inbox->group, &err))
    return true;
  check_fail(&c->report, "stored offsets", &err);
  return false;
}

static void check_group(struct check *c) {
  struct kafka_group_facts group;
  struct error err;
  char *name = memory_format("group %s", c->inbox->group);
  if (!kafka_admin_group(c->kafka, c->inbox->group, CHECK_KAFKA_TIMEOUT_MS, &group, &err))
    check_fail(&c->report, name, &err);
  else
    check_ok(&c->report, name, "its coordinator answers: %s, %d member%s", group.state, group.members,
             group.members == 1 ? "" : "s");
  free(name);
}

static void check_shape(struct check *c, const char *name, const struct kafka_topic_facts *facts, bool known) {
  if (!known)
    check_warn(&c->report, name, "grant DescribeConfigs on it",
               "%" PRId32 " partitions; its settings may not be read, so it is not known how long it keeps records",
               facts->partitions);
  else if (facts->compacted)
    check_ok(&c->report, name,
             "%" PRId32 " partitions, compacted: of records with one key that were not read yet, the older may be gone",
             facts->partitions);
  else if (facts->retention_ms >= 0 && facts->retention_ms < SHORT_RETENTION_MS)
    check_warn(&c->report, name, "raise retention.ms of the topic to more than the inbox may ever be away",
               "%" PRId32 " partitions, which keep records for %.1f hours: what the inbox has not read by then is lost "
               "(offset_deleted)",
               facts->partitions, (double)facts->retention_ms / (double)HOUR_MS);
  else if (facts->retention_ms < 0)
    check_ok(&c->report, name, "%" PRId32 " partitions, which keep records without a limit of time", facts->partitions);
  else
    check_ok(&c->report, name, "%" PRId32 " partitions, which keep records for %.1f days", facts->partitions,
             (double)facts->retention_ms / (double)(24 * HOUR_MS));
}

static bool ask_log(struct record_probe *probe, struct inbox_view_partition *p, struct record_facts *record,
                    struct error *err) {
  if (p->stored.record_offset < 0 || !p->stored.exists)
    return record_probe_range(probe, p->topic, p->partition, CHECK_KAFKA_TIMEOUT_MS, &p->low, &p->end, err);
  if (!record_probe_look(probe, p->topic, p->partition, p->stored.record_offset, ADMISSION_ID_HEADER,
                         CHECK_KAFKA_TIMEOUT_MS, record, err))
    return false;
  p->low = record->low;
  p->end = record->end;
  return true;
}

/* What was read of partitions that the topic does not have any more. */
static void check_surplus(struct check *c, const struct inbox_view *view, const char *topic, int32_t partitions) {
  int surplus = 0;
  for (int i = 0; i < view->partition_count; i++)
    surplus += strcmp(view->partitions[i].topic, topic) == 0 && view->partitions[i].partition >= partitions ? 1 : 0;
  if (surplus == 0)
    return;
  char *name = memory_format("partitions of %s", topic);
  check_warn(&c->report, name, "see `walferry explain topic_recreated`",
             "offsets are stored for %d more than its %" PRId32 ": it was made again with fewer", surplus, partitions);
  free(name);
}

/* Each partition as a start would judge it; a line for each that it would not read, and one for the others. */
static void check_offsets(struct check *c, struct inbox_view *view, const char *topic, int32_t partitions,
                          const char *cluster_id, struct record_probe *probe) {
  int fit = 0, stored = 0;
  for (int32_t i = 0; i < partitions; i++) {
    struct inbox_view_partition *p = inbox_view_partition(view, topic, i);
    struct record_facts record = {.presence = RECORD_COMPACTED, .timestamp_ms = -1};
    struct error err;
    if (ask_log(probe, p, &record, &err) && inbox_view_judge(p, c->inbox->group, cluster_id, &record, &err)) {
      fit++;
      stored += p->stored.exists ? 1 : 0;
      continue;
    }
    char *name = memory_format("offset of %s/%" PRId32, topic, i);
    bool away = err.kind == ERROR_RETRY;
    check_fail(&c->report, name, &err);
    free(name);
    if (away) /* the next ones would wait as long */
      return;
  }
  char *name = memory_format("offsets of %s", topic);
  if (fit == partitions && stored == 0)
    check_ok(&c->report, name, "none stored yet: it is read from its start");
  else if (fit > 0)
    check_ok(&c->report, name, "%d of %" PRId32 " partitions fit what is stored, %d of them were read before", fit,
             partitions, stored);
  free(name);
}

/* A topic that is missing is waited for: a consumer may be there before those who write. */
static void check_source(struct check *c, struct inbox_view *view, bool stored_known, const char *topic,
                         const char *cluster_id, struct record_probe *probe) {
  char *name = memory_format("source %s", topic);
  struct kafka_topic_facts facts = {.exists = false};
  bool known = false;
  struct error err;
  if (!kafka_admin_topic(c->kafka, topic, CHECK_KAFKA_TIMEOUT_MS, &facts, &known, &err)) {
    error_remedy(&err, "do the brokers answer, and may the user of walferry Read and Describe %s?", topic);
    check_fail(&c->report, name, &err);
  } else if (!facts.exists) {
    check_warn(&c->report, name, "correct inbox.topics, unless who writes to it is yet to make it",
               "does not exist: the inbox waits for it");
  } else {
    check_shape(c, name, &facts, known);
    check_surplus(c, view, topic, facts.partitions);
    if (stored_known)
      check_offsets(c, view, topic, facts.partitions, cluster_id, probe);
  }
  free(name);
}

static void check_sources(struct check *c, struct inbox_view *view, bool stored_known) {
  struct error err;
  char *cluster_id = NULL;
  struct record_probe *probe = record_probe_new(&c->inbox->kafka, &err);
  if (probe == NULL || !kafka_admin_cluster_id(c->kafka, CHECK_KAFKA_TIMEOUT_MS, &cluster_id, &err))
    check_fail(&c->report, "sources", &err);
  else
    for (int i = 0; i < c->inbox->topic_count; i++)
      check_source(c, view, stored_known, c->inbox->topics[i], cluster_id, probe);
  record_probe_free(probe);
  free(cluster_id);
}

void check_inbox(struct check *c) {
  c->report.group = "inbox";
  struct inbox_view view = {.partition_count = 0};
  bool stored_known = check_database(c, &view); /* before the logs: both may move on meanwhile */
  if (c->kafka == NULL) {
    check_skip(&c->report, "sources", "skipped: no connection to Kafka");
  } else {
    check_group(c);
    check_sources(c, &view, stored_known);
  }
  inbox_view_free(&view);
}
