/* See inbox_view.h. */
#include "bridge/ops/inbox_view.h"

#include <stdlib.h>
#include <string.h>

#include "bridge/base/memory.h"
#include "bridge/base/number.h"

#define RFC3339(column) "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"

static const char offsets_sql[] =
    "SELECT topic, partition, next_offset, dirty, cluster_id, record_offset, record_timestamp, record_id, " RFC3339(
        "updated_at") " FROM walferry.inbox_offsets WHERE consumer = $1 ORDER BY topic, partition";
static const char letters_sql[] =
    "SELECT code, count(*), " RFC3339("min(last_failure)") " FROM walferry.inbox_dead_letters "
                                                           "WHERE consumer = $1 AND state = 'open' GROUP BY code "
                                                           "ORDER BY count(*) DESC, code";
static const char counts_sql[] = "SELECT (SELECT count(*) FROM walferry.inbox_holds WHERE consumer = $1), "
                                 "(SELECT count(*) FROM walferry.inbox_parked WHERE consumer = $1), "
                                 "(SELECT count(*) FROM walferry.inbox_attempts WHERE consumer = $1)";

static int64_t number_at(const struct rows *rows, int row, int column, int64_t fallback) {
  int64_t value;
  return number_parse(slice_of(rows_text(rows, row, column)), INT64_MIN, INT64_MAX, &value) ? value : fallback;
}

static struct inbox_view_partition *add(struct inbox_view *view, const char *topic, int32_t partition) {
  size_t size = (size_t)(view->partition_count + 1) * sizeof *view->partitions;
  view->partitions = memory_resize(view->partitions, size);
  struct inbox_view_partition *added = &view->partitions[view->partition_count++];
  *added = (struct inbox_view_partition){.topic = memory_string(topic), .partition = partition};
  return added;
}

static void take_offset(struct inbox_view *view, const struct rows *rows, int row) {
  struct inbox_view_partition *p = add(view, rows_text(rows, row, 0), (int32_t)number_at(rows, row, 1, -1));
  p->cluster_id = memory_string(rows_text(rows, row, 4));
  p->record_id = memory_string(rows_text(rows, row, 7));
  p->stored = (struct admission_stored){.exists = true,
                                        .next_offset = number_at(rows, row, 2, 0),
                                        .cluster_id = p->cluster_id,
                                        .record_offset = number_at(rows, row, 5, -1),
                                        .record_timestamp = number_at(rows, row, 6, -1),
                                        .record_id = slice_of(p->record_id)};
  p->dirty = rows_bool(rows, row, 3);
  p->updated_at = memory_string(rows_text(rows, row, 8));
}

static bool read_offsets(struct inbox_view *view, struct connection *conn, const char *consumer, struct error *err) {
  struct rows *rows = connection_query(conn, offsets_sql, 1, &consumer, err);
  for (int i = 0; rows != NULL && i < rows_count(rows); i++)
    take_offset(view, rows, i);
  rows_free(rows);
  return rows != NULL || error_wrap(err, "reading walferry.inbox_offsets");
}

static bool read_letters(struct inbox_view *view, struct connection *conn, const char *consumer, struct error *err) {
  struct rows *rows = connection_query(conn, letters_sql, 1, &consumer, err);
  if (rows == NULL)
    return error_wrap(err, "reading walferry.inbox_dead_letters");
  view->letter_count = rows_count(rows);
  view->letters = memory_alloc((size_t)view->letter_count * sizeof *view->letters);
  for (int i = 0; i < view->letter_count; i++)
    view->letters[i] = (struct inbox_view_letters){.code = memory_string(rows_text(rows, i, 0)),
                                                   .count = number_at(rows, i, 1, 0),
                                                   .oldest = memory_string(rows_text(rows, i, 2))};
  rows_free(rows);
  return true;
}

bool inbox_view_read(struct inbox_view *view, struct connection *conn, const char *consumer, struct error *err) {
  if (!read_offsets(view, conn, consumer, err) || !read_letters(view, conn, consumer, err))
    return false;
  struct rows *rows = connection_query(conn, counts_sql, 1, &consumer, err);
  if (rows == NULL)
    return error_wrap(err, "reading the inbox's tables");
  view->held_keys = number_at(rows, 0, 0, 0);
  view->parked = number_at(rows, 0, 1, 0);
  view->attempts = number_at(rows, 0, 2, 0);
  rows_free(rows);
  return true;
}

void inbox_view_free(struct inbox_view *view) {
  for (int i = 0; i < view->partition_count; i++) {
    struct inbox_view_partition *p = &view->partitions[i];
    free(p->topic);
    free(p->cluster_id);
    free(p->record_id);
    free(p->updated_at);
  }
  for (int i = 0; i < view->letter_count; i++) {
    free(view->letters[i].code);
    free(view->letters[i].oldest);
  }
  free(view->partitions);
  free(view->letters);
}

struct inbox_view_partition *inbox_view_partition(struct inbox_view *view, const char *topic, int32_t partition) {
  for (int i = 0; i < view->partition_count; i++)
    if (view->partitions[i].partition == partition && strcmp(view->partitions[i].topic, topic) == 0)
      return &view->partitions[i];
  return add(view, topic, partition);
}

static int compare(const void *a, const void *b) {
  const struct inbox_view_partition *x = a, *y = b;
  int by_topic = strcmp(x->topic, y->topic);
  return by_topic != 0 ? by_topic : (x->partition > y->partition) - (x->partition < y->partition);
}

void inbox_view_sort(struct inbox_view *view) {
  if (view->partition_count > 0)
    qsort(view->partitions, (size_t)view->partition_count, sizeof *view->partitions, compare);
}

bool inbox_view_judge(const struct inbox_view_partition *partition, const char *consumer, const char *cluster_id,
                      const struct record_facts *record, struct error *err) {
  static const struct record_facts not_looked_at = {.presence = RECORD_COMPACTED, .timestamp_ms = -1};
  struct admission_place place = {.consumer = consumer, .topic = partition->topic, .partition = partition->partition};
  struct admission_log log = {.cluster_id = cluster_id,
                              .low = partition->low,
                              .end = partition->end,
                              .record = record != NULL ? record : &not_looked_at};
  int64_t start;
  return admission_judge(&place, &partition->stored, &log, &start, err);
}
