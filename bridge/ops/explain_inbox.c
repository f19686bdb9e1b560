/* The pages of what the inbox refuses, see explain.h. */
#include "bridge/ops/explain.h"

/* As a refusal names it. */
#define ROW "WHERE consumer = 'accounting' AND topic = 'fleet.rentals' AND partition = 0;\n"
#define STORED "  SELECT * FROM walferry.inbox_offsets " ROW
#define LOG_RANGE                                                                                                      \
  "  kafka-get-offsets.sh --bootstrap-server $KAFKA_BROKERS --topic fleet.rentals --time earliest\n"                   \
  "  kafka-get-offsets.sh --bootstrap-server $KAFKA_BROKERS --topic fleet.rentals --time latest\n"
/* The ways out: begin at the start, or at an offset of one's own choice. Each ends with a whole sentence. */
#define BEGIN_AT_START                                                                                                 \
  "  DELETE FROM walferry.inbox_offsets " ROW                                                                          \
  "What it handled before stays marked: an event with the same source and id is not\n"                                 \
  "handled twice, as long as marks are kept (inbox.retention_days).\n"
#define BEGIN_AT_OFFSET                                                                                                \
  "  UPDATE walferry.inbox_offsets SET next_offset = 1200, cluster_id = NULL,\n"                                       \
  "    record_offset = NULL, record_timestamp = NULL, record_id = NULL\n"                                              \
  "  " ROW

const struct explain_page explain_inbox[] = {
    {"inbox_layout", EXPLAIN_REFUSAL, "the inbox tables in the database belong to another version",
     "The tables inbox_... in the schema walferry were made by a walferry whose\n"
     "statements expect other columns, or by something else (layout 0). Nothing was\n"
     "changed.\n",
     "  SELECT version FROM walferry.inbox_layout;\n"
     "  walferry --version\n",
     "Use the walferry that they belong to. If they are not walferry's, move them to\n"
     "another schema and run `walferry init` again. Never drop inbox_offsets or\n"
     "inbox_processed_messages of an inbox that is in use: what they say was handled\n"
     "would be handled again.\n",
     OPERATIONS("setting-up")},
    {"inbox_not_set_up", EXPLAIN_REFUSAL, "the inbox's tables are not in the database",
     "The inbox keeps its offsets, marks and dead letters in tables of the schema\n"
     "walferry. `walferry init` makes them; it was not run since the config has an\n"
     "inbox, or on another database.\n",
     "  SELECT version FROM walferry.inbox_layout;\n",
     "Correct the dbname in postgres.conninfo, or have them made:\n"
     "  walferry init shop.yaml --admin 'host=db1 dbname=shop user=postgres'\n",
     OPERATIONS("setting-up")},
    {"dlq_progress_invalid", EXPLAIN_REFUSAL, "what is stored of a topic's replay does not fit the topic",
     "`walferry dlq CONFIG replay --from-topic` keeps what it has sent of a topic as\n"
     "offsets of the consumer group walferry.NAME.dlq. They lie behind the end of the\n"
     "topic, which then has lost records (unclean leader election, or disks); or the\n"
     "text beside them is not walferry's. Nothing was sent.\n",
     "  kafka-consumer-groups.sh --bootstrap-server $KAFKA_BROKERS --describe --group walferry.shop.dlq\n",
     "Where every letter that is in the topic is to be sent, from its start:\n"
     "  kafka-consumer-groups.sh --bootstrap-server $KAFKA_BROKERS --group walferry.shop.dlq \\\n"
     "    --topic fleet.rentals.dlq --reset-offsets --to-earliest --execute\n"
     "Then run it again; with --since for the later ones alone.\n",
     OPERATIONS("replaying-a-dead-letter-topic")},
    {"handler_missing", EXPLAIN_REFUSAL, "a handler of the config is no function in the database",
     "inbox.handlers names a function that does not exist, or none of its name takes\n"
     "one jsonb. Names are looked for as they are written, with capitals. A start is\n"
     "refused; an inbox that runs holds back the partition until the function is there\n"
     "again, and counts no attempt.\n",
     "  \\df accounting.*      in psql, with the conninfo of the config\n",
     "Correct the `call`, or create it:\n"
     "  CREATE FUNCTION accounting.on_rental_reserved(event jsonb) RETURNS void\n"
     "  LANGUAGE plpgsql AS $$ BEGIN ... END $$;\n"
     "Events of a type that is none of yours: `ignore: true` in place of `call`.\n",
     OPERATIONS("postgres")},
    {"handler_returns_set", EXPLAIN_REFUSAL, "a handler returns a set of rows",
     "A handler is called once for each event, for what it does. A function that\n"
     "returns a set runs as often as its rows are asked for, which is never certain.\n",
     "  \\df accounting.on_rental_reserved\n",
     "Let it return void. The type of a result cannot be changed, so:\n"
     "  DROP FUNCTION accounting.on_rental_reserved(jsonb);\n"
     "and create it again.\n",
     OPERATIONS("postgres")},
    {"handler_not_volatile", EXPLAIN_REFUSAL, "a handler is declared STABLE or IMMUTABLE",
     "Such a function may not write, and the server may call it while it plans the\n"
     "statement, before the event is marked as handled.\n",
     "  SELECT provolatile FROM pg_proc WHERE oid = 'accounting.on_rental_reserved(jsonb)'::regprocedure;\n",
     "  ALTER FUNCTION accounting.on_rental_reserved(jsonb) VOLATILE;\n", OPERATIONS("postgres")},
    {"handler_not_executable", EXPLAIN_ERROR, "the inbox's role may not call a handler (exit code 2)",
     "It lacks EXECUTE on the function or USAGE on its schema. `walferry init` grants\n"
     "neither: handlers are their author's, and so is what they may do.\n",
     "  \\df+ accounting.on_rental_reserved\n",
     "As the owner:\n"
     "  GRANT USAGE ON SCHEMA accounting TO walferry;\n"
     "  GRANT EXECUTE ON FUNCTION accounting.on_rental_reserved(jsonb) TO walferry;\n"
     "The role also needs rights on what the handler touches, unless that is SECURITY\n"
     "DEFINER.\n",
     OPERATIONS("postgres")},
    {"kafka_cluster_changed", EXPLAIN_PARTITION, "the stored offset belongs to another Kafka cluster",
     "Every Kafka cluster has an id. In another one the same offsets mean other\n"
     "records, so reading on from the stored offset would leave some out or handle\n"
     "others again.\n",
     STORED "  kafka-cluster.sh cluster-id --bootstrap-server $KAFKA_BROKERS\n",
     "Wrong brokers: correct kafka.brokers. If this cluster is to be read from now on,\n"
     "begin at the start of its log:\n" BEGIN_AT_START
     "If it took over the records with their offsets, keep the offset:\n"
     "  UPDATE walferry.inbox_offsets SET cluster_id = NULL\n"
     "  " ROW "or begin where you want to:\n" BEGIN_AT_OFFSET "Then restart the inbox.\n",
     OPERATIONS("partitions-that-the-inbox-does-not-read")},
    {"offset_deleted", EXPLAIN_PARTITION, "records were deleted from Kafka before they were read",
     "The log begins behind the stored offset: the topic keeps records for less time\n"
     "than the inbox was away or behind (retention.ms, retention.bytes), or somebody\n"
     "deleted them. What was in them is not known.\n",
     STORED LOG_RANGE
     "  kafka-configs.sh --bootstrap-server $KAFKA_BROKERS --describe --all --entity-type topics --entity-name "
     "fleet.rentals\n",
     "Find out at their source which events are missing, and whether they matter; they\n"
     "may be sent again, with the ids that they had. Let the topic keep records for\n"
     "longer than the inbox may ever be away. Then go on with what is left:\n" BEGIN_AT_START
     "and restart the inbox.\n",
     OPERATIONS("partitions-that-the-inbox-does-not-read")},
    {"topic_recreated", EXPLAIN_PARTITION, "the topic was deleted and made again, or lost its last records",
     "The log ends before the stored offset, or has another record (by its timestamp\n"
     "and its header id) where the last one stood that was handled. Brokers that lost\n"
     "their disks, or an unclean leader election, look the same.\n",
     STORED LOG_RANGE
     "  kcat -b $KAFKA_BROKERS -C -e -q -t fleet.rentals -p 0 -o OFFSET -c 1 -J      with record_offset\n",
     "If it is a new topic, begin at its start:\n" BEGIN_AT_START
     "If it is the old one and has lost records, or its first ones are of no interest,\n"
     "begin where you want to:\n" BEGIN_AT_OFFSET "Then restart the inbox.\n",
     OPERATIONS("partitions-that-the-inbox-does-not-read")},
};
const size_t explain_inbox_count = sizeof explain_inbox / sizeof explain_inbox[0];
