/* See init_inbox.h. */
#include "bridge/ops/init_inbox.h"

#include <stddef.h>
#include <string.h>

#include "bridge/inbox/statements.h"
#include "bridge/postgres/quote.h"

/* First, so that nothing is made beside tables that the statements do not fit. */
static const char layout_check[] =
    "CREATE SCHEMA IF NOT EXISTS walferry;\n"
    "DO $walferry$ DECLARE found integer; BEGIN\n"
    "  IF to_regclass('walferry.inbox_layout') IS NOT NULL THEN\n"
    "    SELECT version INTO found FROM walferry.inbox_layout;\n"
    "  ELSIF to_regclass('walferry.inbox_offsets') IS NOT NULL THEN\n"
    "    found := 0;\n"
    "  END IF;\n"
    "  IF found <> %d THEN\n"
    "    RAISE EXCEPTION 'the inbox tables in schema walferry have layout %%, this walferry needs layout %d', found\n"
    "      USING ERRCODE = '" INIT_INBOX_LAYOUT_SQLSTATE "';\n"
    "  END IF;\n"
    "END $walferry$;\n"
    "CREATE TABLE IF NOT EXISTS walferry.inbox_layout (version integer PRIMARY KEY);\n"
    "INSERT INTO walferry.inbox_layout VALUES (%d) ON CONFLICT DO NOTHING;\n";

/* Texts of identity are compared byte by byte (COLLATE "C"): an index on them must not depend on the version of a
 * collation, and is faster so. Keys are found by their digest, since an index takes no more than 2.7 kB. */
static const char tables[] =
    "CREATE TABLE IF NOT EXISTS walferry.inbox_offsets (\n"
    "  consumer text COLLATE \"C\" NOT NULL,\n"
    "  topic text COLLATE \"C\" NOT NULL,\n"
    "  partition integer NOT NULL,\n"
    "  next_offset bigint NOT NULL,\n"
    "  claim bigint NOT NULL DEFAULT 0,\n"
    "  claimed_offset bigint,\n"
    "  dirty boolean NOT NULL DEFAULT false,\n"
    "  cluster_id text,\n"
    "  record_offset bigint,\n"
    "  record_timestamp bigint,\n"
    "  record_id text,\n"
    "  updated_at timestamptz NOT NULL DEFAULT now(),\n"
    "  PRIMARY KEY (consumer, topic, partition)\n"
    ") WITH (fillfactor = 50);\n"

    "CREATE TABLE IF NOT EXISTS walferry.inbox_generations (\n"
    "  generation integer PRIMARY KEY,\n"
    "  opened_at timestamptz NOT NULL\n"
    ");\n"
    "CREATE TABLE IF NOT EXISTS walferry.inbox_processed_messages (\n"
    "  generation integer NOT NULL,\n"
    "  consumer text COLLATE \"C\" NOT NULL,\n"
    "  source text COLLATE \"C\" NOT NULL,\n"
    "  message_id text COLLATE \"C\" NOT NULL,\n"
    "  processed_at timestamptz NOT NULL DEFAULT now(),\n"
    "  PRIMARY KEY (message_id, source, consumer, generation)\n"
    ") PARTITION BY LIST (generation);\n"

    "CREATE TABLE IF NOT EXISTS walferry.inbox_attempts (\n"
    "  consumer text COLLATE \"C\" NOT NULL,\n"
    "  topic text COLLATE \"C\" NOT NULL,\n"
    "  partition integer NOT NULL,\n"
    "  record_offset bigint NOT NULL,\n"
    "  attempts integer NOT NULL,\n"
    "  first_attempt timestamptz NOT NULL DEFAULT now(),\n"
    "  last_attempt timestamptz NOT NULL DEFAULT now(),\n"
    "  error jsonb,\n"
    "  PRIMARY KEY (consumer, topic, partition, record_offset)\n"
    ");\n"

    "CREATE TABLE IF NOT EXISTS walferry.inbox_dead_letters (\n"
    "  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,\n"
    "  consumer text COLLATE \"C\" NOT NULL,\n"
    "  topic text COLLATE \"C\" NOT NULL,\n"
    "  partition integer NOT NULL,\n"
    "  record_offset bigint NOT NULL,\n"
    "  record_timestamp bigint NOT NULL,\n"
    "  key bytea,\n"
    "  headers jsonb,\n"
    "  value bytea,\n"
    "  source text,\n"
    "  message_id text,\n"
    "  type text,\n"
    "  code text NOT NULL,\n"
    "  message text NOT NULL,\n"
    "  details jsonb,\n"
    "  attempts integer NOT NULL,\n"
    "  first_failure timestamptz NOT NULL,\n"
    "  last_failure timestamptz NOT NULL,\n"
    "  state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replayed', 'discarded')),\n"
    "  resolved_at timestamptz,\n"
    "  CHECK ((state = 'open') = (resolved_at IS NULL))\n"
    ");\n"
    "CREATE INDEX IF NOT EXISTS inbox_dead_letters_open ON walferry.inbox_dead_letters (consumer, id)\n"
    "  WHERE state = 'open';\n"
    "CREATE INDEX IF NOT EXISTS inbox_dead_letters_key ON walferry.inbox_dead_letters\n"
    "  (sha256(key), topic, consumer, id) WHERE state = 'open';\n"

    "CREATE TABLE IF NOT EXISTS walferry.inbox_holds (\n"
    "  consumer text COLLATE \"C\" NOT NULL,\n"
    "  topic text COLLATE \"C\" NOT NULL,\n"
    "  key bytea NOT NULL,\n"
    "  dead_letter bigint NOT NULL REFERENCES walferry.inbox_dead_letters,\n"
    "  held_at timestamptz NOT NULL DEFAULT now()\n"
    ");\n"
    "CREATE UNIQUE INDEX IF NOT EXISTS inbox_holds_key ON walferry.inbox_holds (sha256(key), topic, consumer);\n"
    "CREATE TABLE IF NOT EXISTS walferry.inbox_parked (\n"
    "  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,\n"
    "  consumer text COLLATE \"C\" NOT NULL,\n"
    "  topic text COLLATE \"C\" NOT NULL,\n"
    "  partition integer NOT NULL,\n"
    "  record_offset bigint NOT NULL,\n"
    "  record_timestamp bigint NOT NULL,\n"
    "  key bytea NOT NULL,\n"
    "  headers jsonb,\n"
    "  value bytea,\n"
    "  parked_at timestamptz NOT NULL DEFAULT now()\n"
    ");\n"
    "CREATE INDEX IF NOT EXISTS inbox_parked_key ON walferry.inbox_parked (sha256(key), topic, consumer, id);\n"

    "CREATE TABLE IF NOT EXISTS walferry.idempotency_keys (\n"
    "  key text COLLATE \"C\" PRIMARY KEY,\n"
    "  expires_at timestamptz NOT NULL\n"
    ");\n"
    "CREATE INDEX IF NOT EXISTS idempotency_keys_expiry ON walferry.idempotency_keys (expires_at);\n";

/* put: whether the key is new, or has expired; then it is there for ttl from now. Of two transactions that put the same
 * key, the second waits for the first. The time is the clock's, not the beginning of the transaction. */
static const char idempotency[] =
    "CREATE OR REPLACE FUNCTION walferry.idempotency_put(key text, ttl interval)\n"
    "RETURNS boolean LANGUAGE plpgsql AS $walferry$\n#variable_conflict use_column\nBEGIN\n"
    "  IF idempotency_put.key IS NULL OR ttl IS NULL OR ttl <= interval '0' THEN\n"
    "    RAISE EXCEPTION 'idempotency_put needs a key and a time to live above 0' USING ERRCODE = '22023';\n"
    "  END IF;\n"
    "  INSERT INTO walferry.idempotency_keys AS k (key, expires_at)\n"
    "  VALUES (idempotency_put.key, clock_timestamp() + ttl)\n"
    "  ON CONFLICT (key) DO UPDATE SET expires_at = excluded.expires_at WHERE k.expires_at <= clock_timestamp();\n"
    "  RETURN FOUND;\n"
    "END $walferry$;\n"
    "CREATE OR REPLACE FUNCTION walferry.idempotency_has(key text)\n"
    "RETURNS boolean LANGUAGE sql AS $walferry$\n"
    "  SELECT EXISTS (SELECT FROM walferry.idempotency_keys k\n"
    "                 WHERE k.key = idempotency_has.key AND k.expires_at > clock_timestamp())\n"
    "$walferry$;\n";

/* What must be done now and then, by any member, in a transaction of its own; returns whether all that was due is done.
 * The next generation has its partition before it is opened. To open one takes a moment without a batch under way, to
 * drop those that were closed longer ago than the retention also one without a reader (pg_dump); where it does not come
 * within two seconds, for which batches then wait too, the next call tries again. It runs with its owner's rights, who
 * owns the partitions. */
static const char maintain[] =
    "CREATE OR REPLACE FUNCTION walferry.inbox_maintain(retention interval)\n"
    "RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'\n"
    "AS $walferry$\n"
    "DECLARE\n"
    "  newest integer;\n"
    "  opened timestamptz;\n"
    "  old integer[];\n"
    "  done boolean := true;\n"
    "BEGIN\n"
    "  IF retention IS NULL OR retention < interval '1 hour' THEN\n"
    "    RAISE EXCEPTION 'the retention of processed messages is at least an hour' USING ERRCODE = '22023';\n"
    "  END IF;\n"
    "  IF NOT pg_try_advisory_xact_lock(hashtextextended('walferry.inbox_maintain', 0)) THEN\n"
    "    RETURN true;\n"
    "  END IF;\n"
    "  DELETE FROM walferry.idempotency_keys WHERE key IN (\n"
    "    SELECT key FROM walferry.idempotency_keys WHERE expires_at <= clock_timestamp()\n"
    "    ORDER BY expires_at LIMIT 10000 FOR UPDATE SKIP LOCKED);\n"
    "  SELECT generation, opened_at INTO newest, opened FROM walferry.inbox_generations\n"
    "    ORDER BY generation DESC LIMIT 1;\n"
    "  newest := coalesce(newest, 0);\n"
    "  old := ARRAY(SELECT generation FROM (SELECT generation, lead(opened_at) OVER (ORDER BY generation) AS "
    "closed_at\n"
    "                                       FROM walferry.inbox_generations) g\n"
    "               WHERE closed_at <= clock_timestamp() - retention);\n"
    "  IF to_regclass('walferry.inbox_processed_messages_' || newest + 1) IS NULL THEN\n"
    "    EXECUTE format('CREATE TABLE walferry.inbox_processed_messages_%1$s\n"
    "                      (LIKE walferry.inbox_processed_messages INCLUDING ALL);\n"
    "                    ALTER TABLE walferry.inbox_processed_messages ATTACH PARTITION\n"
    "                      walferry.inbox_processed_messages_%1$s FOR VALUES IN (%1$s)', newest + 1);\n"
    "  END IF;\n"
    "  IF opened IS NULL OR opened <= clock_timestamp() - retention / 2 THEN\n"
    "    BEGIN\n"
    "      LOCK TABLE ONLY walferry.inbox_processed_messages IN SHARE ROW EXCLUSIVE MODE;\n"
    "      INSERT INTO walferry.inbox_generations VALUES (newest + 1, clock_timestamp());\n"
    "    EXCEPTION WHEN lock_not_available THEN\n"
    "      done := false;\n"
    "    END;\n"
    "  END IF;\n"
    "  BEGIN\n"
    "    FOR i IN 1 .. cardinality(old) LOOP\n"
    "      EXECUTE format('DROP TABLE walferry.inbox_processed_messages_%s', old[i]);\n"
    "      DELETE FROM walferry.inbox_generations WHERE generation = old[i];\n"
    "    END LOOP;\n"
    "  EXCEPTION WHEN lock_not_available THEN\n"
    "    done := false;\n"
    "  END;\n"
    "  RETURN done;\n"
    "END $walferry$;\n"
    "REVOKE ALL ON FUNCTION walferry.inbox_maintain(interval) FROM PUBLIC;\n";

/* Once, for the first generation, and the partition of the next; later calls are the inbox's. With two partitions every
 * plan leaves out the open one when it runs. */
static const char first_generation[] = "DO $walferry$ BEGIN\n"
                                       "  IF NOT EXISTS (SELECT FROM walferry.inbox_generations) THEN\n"
                                       "    PERFORM walferry.inbox_maintain('7 days') FROM generate_series(1, 2);\n"
                                       "  END IF;\n"
                                       "END $walferry$;\n";

void init_inbox_sql(struct buffer *sql) {
  buffer_printf(sql, layout_check, INBOX_LAYOUT, INBOX_LAYOUT, INBOX_LAYOUT);
  buffer_append_text(sql, tables);
  buffer_append_text(sql, idempotency);
  buffer_append_text(sql, maintain);
  buffer_append_text(sql, first_generation);
}

static const struct {
  const char *rights;
  const char *object;
} grants[] = {
    {"SELECT", "inbox_layout"},
    {"SELECT, INSERT, UPDATE", "inbox_offsets"},
    {"SELECT", "inbox_generations"},
    {"SELECT, INSERT", "inbox_processed_messages"},
    {"SELECT, INSERT, UPDATE, DELETE", "inbox_attempts"},
    {"SELECT, INSERT, UPDATE", "inbox_dead_letters"},
    {"SELECT, INSERT, UPDATE, DELETE", "inbox_holds"},
    {"SELECT, INSERT, DELETE", "inbox_parked"},
    {"SELECT, INSERT, UPDATE, DELETE", "idempotency_keys"},
    {"EXECUTE", "inbox_maintain(interval)"},
};

void init_inbox_grants(struct buffer *sql, const char *role) {
  for (size_t i = 0; i < sizeof grants / sizeof grants[0]; i++) {
    const char *kind = strcmp(grants[i].rights, "EXECUTE") == 0 ? "FUNCTION " : "";
    buffer_printf(sql, "GRANT %s ON %swalferry.%s TO ", grants[i].rights, kind, grants[i].object);
    quote_identifier(sql, role);
    buffer_append_text(sql, ";\n");
  }
}

void init_inbox_missing_sql(struct buffer *sql) {
  buffer_append_text(sql, "WITH needed (rights, object) AS (VALUES ");
  for (size_t i = 0; i < sizeof grants / sizeof grants[0]; i++)
    buffer_printf(sql, "%s('%s', '%s')", i == 0 ? "" : ", ", grants[i].rights, grants[i].object);
  buffer_append_text(
      sql, ")\nSELECT format('GRANT %s ON %swalferry.%s TO %I;', wanted, CASE WHEN wanted = 'EXECUTE' THEN 'FUNCTION ' "
           "ELSE '' END, object, current_user)\n"
           "FROM needed, unnest(string_to_array(rights, ', ')) wanted\n"
           "WHERE NOT coalesce(CASE WHEN wanted = 'EXECUTE'\n"
           "  THEN has_function_privilege(to_regprocedure('walferry.' || object)::oid, wanted)\n"
           "  ELSE has_table_privilege(to_regclass('walferry.' || object)::oid, wanted) END, false)");
}
