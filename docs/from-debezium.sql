-- What a replication slot would still send of an outbox table, compared with what is in Kafka already. Changes nothing:
-- the slot is peeked at. It must be a pgoutput slot that nobody reads at the moment.
--
--   kcat -b BROKERS -C -e -q -t TOPIC -f '%h\n' | sed 's/^id=//; s/,.*//' |
--     psql -XAt -v slot=SLOT -v publication=PUBLICATION -v outbox=public.outbox -v id=id -f docs/from-debezium.sql DATABASE
--
-- The ids of the records come on standard input, one a line. Prints one row: a verdict, and an LSN.
--
--   adopt           nothing that the slot would send is in Kafka: go on from the slot as it is
--   advance | LSN   the first transactions are in Kafka, whole, the others not at all: move the slot to LSN, then go on
--   unfinished      a transaction is in Kafka in part, or one that follows a missing one: let Debezium finish first

\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE TEMP TABLE published (id text);
\copy published FROM pstdin

CREATE FUNCTION pg_temp.uint32(data bytea, at integer) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$$ SELECT ('x' || encode(substr(data, at + 1, 4), 'hex'))::bit(32)::bigint $$;

-- The text of the column at index (from 0) of an Insert message: 'I', relation u32, 'N', column count u16, then for each
-- column 't', length u32 and text, or one byte for a NULL. Source: PostgreSQL docs, "Logical Replication Message Formats".
CREATE FUNCTION pg_temp.column_text(data bytea, index integer) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  at integer := 8;
BEGIN
  FOR i IN 1..index LOOP
    at := at + CASE WHEN get_byte(data, at) = ascii('t') THEN 5 + pg_temp.uint32(data, at + 1) ELSE 1 END;
  END LOOP;
  IF get_byte(data, at) <> ascii('t') THEN
    RETURN NULL;
  END IF;
  RETURN convert_from(substr(data, at + 6, pg_temp.uint32(data, at + 1)::integer), getdatabaseencoding());
END
$$;

WITH id_column AS (
  SELECT count(*)::integer - 1 AS index FROM pg_attribute
  WHERE attrelid = :'outbox'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
    AND attnum <= (SELECT attnum FROM pg_attribute WHERE attrelid = :'outbox'::regclass AND attname = :'id')
), message AS MATERIALIZED (
  SELECT lsn, xid, data, chr(get_byte(data, 0)) AS kind
  FROM pg_logical_slot_peek_binary_changes(:'slot', NULL, NULL, 'proto_version', '1', 'publication_names', :'publication')
), event AS (
  SELECT xid, pg_temp.column_text(data, (SELECT index FROM id_column)) AS id FROM message
  WHERE kind = 'I' AND pg_temp.uint32(data, 1) = :'outbox'::regclass::oid::bigint
), transaction AS (
  SELECT c.lsn AS end_lsn, count(*) AS events,
         count(*) FILTER (WHERE EXISTS (SELECT FROM published p WHERE p.id = event.id)) AS in_kafka
  FROM message c JOIN event ON event.xid::text = c.xid::text WHERE c.kind = 'C' GROUP BY c.lsn
), boundary AS (
  SELECT max(end_lsn) AS lsn FROM transaction WHERE in_kafka > 0
)
SELECT CASE
         WHEN boundary.lsn IS NULL THEN 'adopt'
         WHEN EXISTS (SELECT FROM transaction t WHERE t.end_lsn <= boundary.lsn AND t.in_kafka < t.events) THEN 'unfinished'
         ELSE 'advance'
       END AS verdict, boundary.lsn
FROM boundary;
