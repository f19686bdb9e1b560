/* See statements.h. */
#include "bridge/inbox/statements.h"

#include <string.h>

#include "bridge/base/message_prefix.h"

#define PARTITION "consumer = $1::text AND topic = $2::text AND partition = $3::integer"
#define MESSAGE PARTITION " AND record_offset = $4::bigint"
#define HELD_KEY "consumer = $1::text AND topic = $2::text AND sha256(key) = sha256($3::bytea)"
/* Since the statement began. */
#define MICROSECONDS "(extract(epoch FROM clock_timestamp() - statement_timestamp()) * 1000000)::bigint"
#define RFC3339(column) "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"

const struct inbox_statement_text inbox_statements[INBOX_STATEMENT_COUNT] = {
    [INBOX_LAYOUT_READ] = {"wf_layout_read", "SELECT version FROM walferry.inbox_layout"},
    [INBOX_HANDLER_LOOK] = {"wf_handler_look",
                            "SELECT p.proretset AS returns_set, p.provolatile = 'v' AS volatile,\n"
                            "  has_function_privilege(p.oid, 'EXECUTE') AND has_schema_privilege(n.oid, 'USAGE') AS "
                            "executable\n"
                            "FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace\n"
                            "WHERE n.nspname || '.' || p.proname = $1::text AND p.prokind = 'f'\n"
                            "  AND p.pronargs - p.pronargdefaults <= 1 AND p.proargtypes[0] = 'jsonb'::regtype\n"
                            "ORDER BY p.pronargs LIMIT 1"},

    [INBOX_OFFSET_READ] =
        {"wf_offset_read",
         "SELECT next_offset, claim, CASE WHEN dirty THEN next_offset - claimed_offset END AS died_after, "
         "cluster_id, record_offset, record_timestamp, record_id\n"
         "FROM walferry.inbox_offsets WHERE " PARTITION},
    [INBOX_OFFSET_ENTER] = {"wf_offset_enter",
                            "INSERT INTO walferry.inbox_offsets (consumer, topic, partition, next_offset, cluster_id)\n"
                            "VALUES ($1::text, $2::text, $3::integer, $4::bigint, $5::text) ON CONFLICT DO NOTHING"},
    [INBOX_OFFSET_CLAIM] = {"wf_offset_claim",
                            "UPDATE walferry.inbox_offsets SET claim = claim + 1, dirty = true, "
                            "claimed_offset = next_offset,\n"
                            "  cluster_id = $5::text, updated_at = now()\n"
                            "FROM (SELECT set_config('lock_timeout', '2s', true) OFFSET 0) patience\n"
                            "WHERE " PARTITION " AND claim = $4::bigint RETURNING claim"},
    [INBOX_OFFSET_EVICT] = {"wf_offset_evict",
                            "SELECT pg_terminate_backend(a.pid) FROM walferry.inbox_offsets\n"
                            "JOIN pg_locks l ON l.locktype = 'transactionid' AND l.granted AND l.transactionid = "
                            "inbox_offsets.xmax\n"
                            "JOIN pg_stat_activity a ON a.pid = l.pid AND a.usename = current_user AND "
                            "a.application_name = current_setting('application_name')\n"
                            "  AND a.wait_event = 'ClientRead' AND a.state_change < clock_timestamp() - interval '2 "
                            "seconds'\n"
                            "WHERE " PARTITION},
    [INBOX_OFFSET_RELEASE] = {"wf_offset_release",
                              "UPDATE walferry.inbox_offsets SET dirty = false, updated_at = now()\n"
                              "WHERE " PARTITION " AND claim = $4::bigint"},

    /* An advisory lock would do as well, but a number of ours could be somebody else's. */
    [INBOX_MARKS_LOCK] = {"wf_marks_lock", "LOCK TABLE ONLY walferry.inbox_processed_messages IN ROW EXCLUSIVE MODE"},
    [INBOX_OFFSET_SWAP] = {"wf_offset_swap",
                           "WITH swapped AS (\n"
                           "  UPDATE walferry.inbox_offsets SET next_offset = $6::bigint, record_offset = $7::bigint,\n"
                           "    record_timestamp = $8::bigint, record_id = $9::text, updated_at = now()\n"
                           "  WHERE " PARTITION " AND claim = $4::bigint AND next_offset = $5::bigint RETURNING 1)\n"
                           "SELECT 1 / count(*) FROM swapped"},

    [INBOX_ATTEMPT_BEGIN] = {"wf_attempt_begin",
                             "INSERT INTO walferry.inbox_attempts AS a (consumer, topic, partition, record_offset, "
                             "attempts)\n"
                             "SELECT $1::text, $2::text, $3::integer, $4::bigint, 1 FROM walferry.inbox_offsets\n"
                             "WHERE " PARTITION " AND claim = $5::bigint FOR SHARE\n"
                             "ON CONFLICT (consumer, topic, partition, record_offset)\n"
                             "DO UPDATE SET attempts = a.attempts + 1, last_attempt = now() RETURNING attempts"},
    [INBOX_ATTEMPT_FAILED] = {"wf_attempt_failed",
                              "UPDATE walferry.inbox_attempts SET error = $5::text::jsonb WHERE " MESSAGE},
    [INBOX_ATTEMPT_UNCOUNT] = {"wf_attempt_uncount",
                               "UPDATE walferry.inbox_attempts SET attempts = attempts - 1 WHERE " MESSAGE},
    [INBOX_ATTEMPT_FORGET] = {"wf_attempt_forget", "DELETE FROM walferry.inbox_attempts WHERE " MESSAGE},

    [INBOX_DEAD_LETTER] =
        {"wf_dead_letter",
         "WITH attempt AS (\n"
         "  DELETE FROM walferry.inbox_attempts WHERE " MESSAGE " RETURNING attempts, first_attempt, last_attempt\n"
         "), letter AS (\n"
         "  INSERT INTO walferry.inbox_dead_letters (consumer, topic, partition, record_offset, "
         "record_timestamp,\n"
         "    key, headers, value, source, message_id, type, code, message, details,\n"
         "    attempts, first_failure, last_failure)\n"
         "  SELECT $1::text, $2::text, $3::integer, $4::bigint, $5::bigint,\n"
         "    $6::bytea, $7::text::jsonb, $8::bytea, $9::text, $10::text, $11::text, $12::text, $13::text, "
         "$14::text::jsonb,\n"
         "    coalesce(attempts, 0), coalesce(first_attempt, now()), coalesce(last_attempt, now())\n"
         "  FROM (SELECT) one LEFT JOIN attempt ON true\n"
         "  RETURNING id, attempts, first_failure, last_failure\n"
         "), hold AS (\n"
         "  INSERT INTO walferry.inbox_holds (consumer, topic, key, dead_letter)\n"
         "  SELECT $1::text, $2::text, $6::bytea, id FROM letter WHERE $15::boolean AND $6::bytea IS "
         "NOT NULL\n"
         "  ON CONFLICT (sha256(key), topic, consumer) DO UPDATE SET dead_letter = "
         "excluded.dead_letter, held_at = now()\n"
         ")\n"
         "SELECT id, attempts, " RFC3339("first_failure") " AS first_failure, " RFC3339(
             "last_failure") " AS last_failure FROM letter"},
    [INBOX_PARK] = {"wf_park",
                    "WITH hold AS MATERIALIZED (\n"
                    "  SELECT FROM walferry.inbox_holds\n"
                    "  WHERE consumer = $1::text AND topic = $2::text AND sha256(key) = sha256($6::bytea) FOR SHARE\n"
                    ")\n"
                    "INSERT INTO walferry.inbox_parked (consumer, topic, partition, record_offset, record_timestamp, "
                    "key, headers, value)\n"
                    "SELECT $1::text, $2::text, $3::integer, $4::bigint, $5::bigint, $6::bytea, $7::text::jsonb, "
                    "$8::bytea FROM hold\n"
                    "RETURNING 'parked'"},
    [INBOX_DEAD_LETTER_EMIT] = {"wf_dead_letter_emit",
                                "SELECT pg_logical_emit_message(true, '" MESSAGE_PREFIX_DEAD_LETTER "', $1::text)"},
    [INBOX_DEAD_LETTER_RESOLVE] = {"wf_dead_letter_resolve",
                                   "UPDATE walferry.inbox_dead_letters SET state = $2::text, resolved_at = now()\n"
                                   "WHERE id = $1::bigint AND state = 'open'"},

    [INBOX_HOLD_LOCK] = {"wf_hold_lock", "SELECT dead_letter FROM walferry.inbox_holds WHERE " HELD_KEY " FOR UPDATE"},
    [INBOX_PARKED_NEXT] = {"wf_parked_next",
                           "SELECT id, partition, record_offset, record_timestamp, key, headers, value\n"
                           "FROM walferry.inbox_parked WHERE " HELD_KEY " ORDER BY id LIMIT $4::integer"},
    [INBOX_PARKED_REMOVE] = {"wf_parked_remove", "DELETE FROM walferry.inbox_parked WHERE id = $1::bigint"},
    [INBOX_HOLD_RELEASE] = {"wf_hold_release", "DELETE FROM walferry.inbox_holds WHERE " HELD_KEY "\n"
                                               "AND NOT EXISTS (SELECT FROM walferry.inbox_parked WHERE " HELD_KEY ")"},

    [INBOX_MAINTAIN] = {"wf_maintain", "SELECT walferry.inbox_maintain($1::interval)"},
};

/* The order is that of the data: the mark needs the row of `settings`, and the call the row of `mark`. The handler's
 * result is not sent, whatever its type. */
void inbox_statement_call(struct buffer *sql, const char *handler, enum inbox_calling calling) {
  buffer_append_text(sql, "WITH settings AS MATERIALIZED (\n"
                          "  SELECT set_config('walferry.correlation_id', coalesce($4::text, ''), true),\n"
                          "    set_config('walferry.causation_id', coalesce($5::text, ''), true),\n"
                          "    set_config('walferry.trace_id', coalesce($6::text, ''), true),\n"
                          "    set_config('walferry.traceparent', coalesce($7::text, ''), true),\n"
                          "    set_config('walferry.tenant_id', coalesce($8::text, ''), true)\n");
  if (calling == INBOX_HANDLE)
    buffer_append_text(sql, "), hold AS MATERIALIZED (\n"
                            "  SELECT FROM walferry.inbox_holds\n"
                            "  WHERE consumer = $1::text AND topic = $10::text AND sha256(key) = sha256($14::bytea) "
                            "FOR SHARE\n"
                            "), parked AS (\n"
                            "  INSERT INTO walferry.inbox_parked (consumer, topic, partition, record_offset, "
                            "record_timestamp, key, headers, value)\n"
                            "  SELECT $1::text, $10::text, $11::integer, $12::bigint, $13::bigint, $14::bytea, "
                            "$15::text::jsonb, $16::bytea FROM hold\n"
                            "  RETURNING true\n");
  /* The open generation is looked through by the conflict alone, whose index is certain: a plan that was made while its
   * partition was empty may read it from end to end. */
  buffer_append_text(sql, "), open AS MATERIALIZED (\n"
                          "  SELECT max(generation) AS generation FROM walferry.inbox_generations\n"
                          "), mark AS (\n"
                          "  INSERT INTO walferry.inbox_processed_messages (generation, consumer, source, message_id)\n"
                          "  SELECT (SELECT generation FROM open), $1::text, $2::text, $3::text FROM settings\n"
                          "  WHERE NOT EXISTS (SELECT FROM walferry.inbox_processed_messages\n"
                          "    WHERE message_id = $3::text AND source = $2::text AND consumer = $1::text\n"
                          "    AND generation < (SELECT generation FROM open))\n");
  if (calling == INBOX_HANDLE)
    buffer_append_text(sql, "    AND NOT EXISTS (SELECT FROM hold)\n");
  buffer_append_text(sql, "  ON CONFLICT DO NOTHING RETURNING true\n"
                          ")\n"
                          "SELECT 'called' AS outcome, ");
  const char *dot = strchr(handler, '.');
  buffer_printf(sql, "\"%.*s\".\"%s\"($9::text::jsonb) IS NULL, " MICROSECONDS " FROM mark", (int)(dot - handler),
                handler, dot + 1);
  if (calling == INBOX_HANDLE)
    buffer_append_text(sql, "\nUNION ALL SELECT 'parked', NULL, NULL FROM parked");
}
