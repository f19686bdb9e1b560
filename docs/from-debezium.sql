-- What a replication slot would still send of an outbox table, compared with what is in Kafka already. Changes nothing:
-- the slot is peeked at. It must be a pgoutput slot that nobody reads at the moment.
--
--   kcat -b BROKERS -C -e -q -t TOPIC -f '%h\n' | sed 's/^id=//; s/,.*//' |
--     psql -XAt -v slot=SLOT -v publication=PUBLICATION -v outbox=public.outbox -v id=id -f docs/from-debezium.sql DATABASE
--
-- The ids of the records come on standard input, one a line. Several outbox tables: -v outbox=public.a,public.b, and the
-- records of all of them. Prints one row: a verdict, and an LSN.
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

WITH outbox AS ( -- and the index of its id
  SELECT t.relation::oid::bigint AS relation, count(before.attnum)::integer AS index
  FROM (SELECT name::regclass AS relation FROM string_to_table(:'outbox', ',') AS name) t
    JOIN pg_attribute id ON id.attrelid = t.relation AND id.attname = :'id'
    LEFT JOIN pg_attribute before ON before.attrelid = t.relation AND before.attnum > 0 AND before.attnum < id.attnum
      AND NOT before.attisdropped AND before.attgenerated = ''
  GROUP BY t.relation
), message AS (
  SELECT lsn, data, number, chr(get_byte(data, 0)) AS kind
  FROM pg_logical_slot_peek_binary_changes(:'slot', NULL, NULL, 'proto_version', '1', 'publication_names', :'publication')
    WITH ORDINALITY AS peeked (lsn, xid, data, number)
), change AS (
  SELECT lsn, kind, count(*) FILTER (WHERE kind = 'B') OVER (ORDER BY number) AS transaction,
         CASE WHEN outbox.relation IS NOT NULL THEN pg_temp.column_text(data, outbox.index) END AS id
  FROM message LEFT JOIN outbox ON kind = 'I' AND outbox.relation = pg_temp.uint32(data, 1)
), transaction AS (
  SELECT max(lsn) FILTER (WHERE kind = 'C') AS end_lsn, count(id) AS events, count(in_kafka.known) AS in_kafka
  FROM change LEFT JOIN (SELECT DISTINCT id, true AS known FROM published) in_kafka USING (id)
  GROUP BY transaction HAVING count(id) > 0
), boundary AS (
  SELECT max(end_lsn) AS lsn FROM transaction WHERE in_kafka > 0
)
SELECT CASE
         WHEN boundary.lsn IS NULL THEN 'adopt'
         WHEN EXISTS (SELECT FROM transaction t WHERE t.end_lsn <= boundary.lsn AND t.in_kafka < t.events) THEN 'unfinished'
         ELSE 'advance'
       END AS verdict, boundary.lsn
FROM boundary;
