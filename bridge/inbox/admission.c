/* See admission.h. */
#include "bridge/inbox/admission.h"

#include <inttypes.h>
#include <string.h>

#include "bridge/base/buffer.h"
#include "bridge/base/jsontext.h"
#include "bridge/postgres/quote.h"

#define ID_BYTES_MAX 512
#define WHERE_BYTES_MAX 4096

struct slice admission_id(struct slice header) {
  bool fit = slice_present(header) && header.len <= ID_BYTES_MAX && memchr(header.data, '\0', header.len) == NULL &&
             utf8_valid(header);
  return fit ? header : SLICE_ABSENT;
}

/* " WHERE ..." of the row of the place. */
static void row_where(struct buffer *sql, const struct admission_place *place) {
  buffer_append_text(sql, " WHERE consumer = ");
  quote_literal(sql, place->consumer);
  buffer_append_text(sql, " AND topic = ");
  quote_literal(sql, place->topic);
  buffer_printf(sql, " AND partition = %" PRId32, place->partition);
}

/* Ends a refusal whose code and message are set. action: what is told before the statement, and the statement itself up
 * to its WHERE. */
static bool remedy_with_row(const struct admission_place *place, const char *action, struct error *err) {
  struct buffer where;
  buffer_init(&where, WHERE_BYTES_MAX);
  row_where(&where, place);
  struct slice text = buffer_slice(&where);
  error_remedy(err, "%s%.*s; then restart the inbox (walferry explain %s)", action, SLICE_ARG(text), err->code);
  buffer_free(&where);
  return false;
}

#define BEGIN_AT_START "to begin at the start of the log: DELETE FROM walferry.inbox_offsets"

static bool refuse_cluster(const struct admission_place *place, const struct admission_stored *stored,
                           const struct admission_log *log, struct error *err) {
  error_refuse(err, "kafka_cluster_changed",
               "partition %" PRId32 " of topic %s was read up to offset %" PRId64
               " in Kafka cluster %s, but the brokers are cluster %s",
               place->partition, place->topic, stored->next_offset, stored->cluster_id, log->cluster_id);
  return remedy_with_row(
      place, "correct kafka.brokers; or where this cluster is to be read from now on, " BEGIN_AT_START, err);
}

static bool refuse_deleted(const struct admission_place *place, const struct admission_stored *stored,
                           const struct admission_log *log, struct error *err) {
  error_refuse(err, "offset_deleted",
               "partition %" PRId32 " of topic %s was read up to offset %" PRId64 ", but its log begins at %" PRId64
               ": up to %" PRId64 " records were deleted before they were read",
               place->partition, place->topic, stored->next_offset, log->low, log->low - stored->next_offset);
  return remedy_with_row(place, "get them from elsewhere if they matter; " BEGIN_AT_START, err);
}

static bool refuse_shorter(const struct admission_place *place, const struct admission_stored *stored,
                           const struct admission_log *log, struct error *err) {
  error_refuse(err, "topic_recreated",
               "partition %" PRId32 " of topic %s was read up to offset %" PRId64 ", but its log ends at %" PRId64
               ": the topic was deleted and made again, or has lost its last records",
               place->partition, place->topic, stored->next_offset, log->end);
  return remedy_with_row(place, BEGIN_AT_START, err);
}

static bool refuse_other_record(const struct admission_place *place, const struct admission_stored *stored,
                                struct error *err) {
  error_refuse(err, "topic_recreated",
               "partition %" PRId32 " of topic %s has another record at offset %" PRId64
               " than the one that was handled: the topic was deleted and made again",
               place->partition, place->topic, stored->record_offset);
  return remedy_with_row(place, BEGIN_AT_START, err);
}

static bool is_same_record(const struct admission_stored *stored, const struct record_facts *record) {
  return record->timestamp_ms == stored->record_timestamp &&
         slice_equal(admission_id(record->header), stored->record_id);
}

bool admission_judge(const struct admission_place *place, const struct admission_stored *stored,
                     const struct admission_log *log, int64_t *start, struct error *err) {
  if (!stored->exists) {
    *start = log->low;
    return true;
  }
  if (stored->cluster_id != NULL && log->cluster_id != NULL && strcmp(stored->cluster_id, log->cluster_id) != 0)
    return refuse_cluster(place, stored, log, err);
  if (stored->next_offset < log->low)
    return refuse_deleted(place, stored, log, err);
  if (stored->next_offset > log->end)
    return refuse_shorter(place, stored, log, err);
  if (stored->record_offset >= 0 && log->record->presence == RECORD_FOUND && !is_same_record(stored, log->record))
    return refuse_other_record(place, stored, err);
  *start = stored->next_offset;
  return true;
}
