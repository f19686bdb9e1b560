/* See init_partitions.h. */
#include "bridge/ops/init_partitions.h"

#include "bridge/postgres/quote.h"

/* A partition is dropped in two calls at least. The first notes which transactions are over, and then how far WAL is:
 * so rows of those are before that point. A later one, once the slot is past it, locks writers out and looks whether
 * rows of other transactions have come meanwhile; if so, it notes anew. All of them are looked at before the first is
 * dropped: from then on the whole outbox is locked, until the call ends. lock_timeout is below deadlock_timeout: where
 * a writer waits for us and we for it, we give way. */
static const char head[] =
    "CREATE SCHEMA IF NOT EXISTS walferry;\n"
    "CREATE TABLE IF NOT EXISTS walferry.outbox_ended (\n"
    "  partition oid PRIMARY KEY,\n"
    "  finished_before xid8 NOT NULL,\n"
    "  lsn pg_lsn NOT NULL,\n"
    "  noted_at timestamptz NOT NULL DEFAULT now()\n"
    ");\n"
    "CREATE OR REPLACE FUNCTION walferry.outbox_partitions(outbox regclass, ahead integer DEFAULT 7)\n"
    "RETURNS SETOF text LANGUAGE plpgsql SET timezone = 'UTC' SET datestyle = 'ISO' SET lock_timeout = '500ms'\n"
    "AS $walferry$\n"
    "DECLARE\n"
    "  outbox_schema name;\n"
    "  outbox_name name;\n"
    "  day date;\n"
    "  made text;\n"
    "BEGIN\n"
    "  SELECT n.nspname, c.relname INTO outbox_schema, outbox_name\n"
    "  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_partitioned_table p ON p.partrelid = "
    "c.oid\n"
    "  WHERE c.oid = outbox AND p.partstrat = 'r';\n"
    "  IF NOT FOUND THEN\n"
    "    RAISE EXCEPTION '% is not partitioned by range', outbox;\n"
    "  END IF;\n"
    "  LOCK TABLE walferry.outbox_ended IN SHARE ROW EXCLUSIVE MODE;\n"
    "  IF (SELECT partdefid = 0 FROM pg_partitioned_table WHERE partrelid = outbox) THEN\n"
    "    made := format('%I.%I', outbox_schema, left(outbox_name, 54) || '_default');\n"
    "    EXECUTE format('CREATE TABLE %s PARTITION OF %s DEFAULT', made, outbox);\n"
    "    RETURN NEXT made;\n"
    "  END IF;\n"
    "  FOR i IN 0..ahead LOOP\n"
    "    day := current_date + i;\n"
    "    made := format('%I.%I', outbox_schema, left(outbox_name, 54) || '_' || to_char(day, 'YYYYMMDD'));\n"
    "    CONTINUE WHEN to_regclass(made) IS NOT NULL;\n"
    "    BEGIN\n"
    "      EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED '\n"
    "                     'INCLUDING STORAGE)', made, outbox);\n"
    "      EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%L) TO (%L)', outbox, made,\n"
    "                     day::timestamptz, (day + 1)::timestamptz);\n"
    "      RETURN NEXT made;\n"
    "    EXCEPTION WHEN check_violation THEN\n"
    "      RAISE WARNING 'rows of % are in the default partition of % already and stay there', day, outbox;\n"
    "    END;\n"
    "  END LOOP;\n"
    "END $walferry$;\n"
    "CREATE OR REPLACE FUNCTION walferry.outbox_retain(outbox regclass, keep interval, slot name DEFAULT ";

static const char rest[] =
    ")\n"
    "RETURNS TABLE (partition text, outcome text) LANGUAGE plpgsql\n"
    "SET timezone = 'UTC' SET datestyle = 'ISO' SET lock_timeout = '500ms'\n"
    "AS $walferry$\n"
    "#variable_conflict use_column\n"
    "DECLARE\n"
    "  confirmed pg_lsn;\n"
    "  finished xid8;\n"
    "  written pg_lsn;\n"
    "  day record;\n"
    "  late boolean;\n"
    "  over text[] := '{}';\n"
    "  title text;\n"
    "BEGIN\n"
    "  IF current_setting('transaction_isolation') <> 'read committed' THEN\n"
    "    RAISE EXCEPTION 'walferry.outbox_retain has to run in READ COMMITTED: it looks for rows that came "
    "meanwhile';\n"
    "  END IF;\n"
    "  SELECT s.confirmed_flush_lsn INTO confirmed FROM pg_replication_slots s\n"
    "  WHERE s.slot_name = slot AND s.database = current_database() AND s.wal_status IS DISTINCT FROM 'lost';\n"
    "  IF confirmed IS NULL THEN\n"
    "    RAISE EXCEPTION 'slot % is not there, or lost: nobody knows which rows are published, and nothing is "
    "dropped',\n"
    "      slot;\n"
    "  END IF;\n"
    "  LOCK TABLE walferry.outbox_ended IN SHARE ROW EXCLUSIVE MODE;\n"
    "  finished := pg_snapshot_xmin(pg_current_snapshot());\n"
    "  written := pg_current_wal_insert_lsn();\n"
    "  DELETE FROM walferry.outbox_ended e WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = e.partition);\n"
    "  FOR day IN\n"
    "    SELECT p.oid, p.title, e.lsn, e.finished_before FROM (\n"
    "      SELECT c.oid, c.oid::regclass::text AS title,\n"
    "             substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \\(''([^'']+)''\\)')::timestamptz AS ends\n"
    "      FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid\n"
    "      WHERE i.inhparent = outbox AND NOT i.inhdetachpending) p\n"
    "    LEFT JOIN walferry.outbox_ended e ON e.partition = p.oid\n"
    "    WHERE p.ends + keep <= now() AND p.ends <= now() ORDER BY p.ends\n"
    "  LOOP\n"
    "    partition := day.title;\n"
    "    late := day.lsn IS NULL;\n"
    "    IF day.lsn > confirmed THEN\n"
    "      outcome := format('kept: slot %s is at %s, and has to pass %s', slot, confirmed, day.lsn);\n"
    "    ELSIF NOT late THEN\n"
    "      BEGIN\n"
    "        EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', day.title);\n"
    "        EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE age(xmin) <= age($1::xid))', day.title)\n"
    "          INTO late USING day.finished_before;\n"
    "        outcome := CASE WHEN NOT late THEN 'dropped' END;\n"
    "      EXCEPTION WHEN lock_not_available THEN\n"
    "        outcome := 'kept: in use';\n"
    "      END;\n"
    "    END IF;\n"
    "    IF late THEN\n"
    "      INSERT INTO walferry.outbox_ended (partition, finished_before, lsn) VALUES (day.oid, finished, written)\n"
    "      ON CONFLICT (partition) DO UPDATE SET finished_before = finished, lsn = written, noted_at = now();\n"
    "      outcome := format('noted: dropped by a later call, once slot %s is past %s', slot, written);\n"
    "    END IF;\n"
    "    IF outcome = 'dropped' THEN\n"
    "      over := over || day.title;\n"
    "    ELSE\n"
    "      RETURN NEXT;\n"
    "    END IF;\n"
    "  END LOOP;\n"
    "  FOREACH title IN ARRAY over LOOP\n"
    "    partition := title;\n"
    "    BEGIN\n"
    "      EXECUTE format('DROP TABLE %s', title);\n"
    "      outcome := 'dropped';\n"
    "    EXCEPTION WHEN lock_not_available THEN\n"
    "      outcome := 'kept: in use';\n"
    "    END;\n"
    "    RETURN NEXT;\n"
    "    EXIT WHEN outcome <> 'dropped';\n"
    "  END LOOP;\n"
    "END $walferry$;\n";

void init_partitions_functions(struct buffer *sql, const char *slot) {
  buffer_append_text(sql, head);
  quote_literal(sql, slot);
  buffer_append_text(sql, rest);
}

void init_partitions_make(struct buffer *sql, const struct table_spec *table) {
  struct buffer name;
  buffer_init(&name, sql->max);
  quote_table(&name, table->schema, table->table);
  buffer_append_char(&name, '\0');
  buffer_append_text(sql, "SELECT walferry.outbox_partitions(");
  quote_literal(sql, name.data);
  buffer_append_text(sql, ");\n");
  buffer_free(&name);
}
