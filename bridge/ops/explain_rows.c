/* The pages of what can be wrong with a row, see explain.h. */
#include "bridge/ops/explain.h"

const struct explain_page explain_rows[] = {
    {"missing_id", EXPLAIN_ROW, "the id is NULL or empty", "Consumers know an event by its id.\n",
     "  kcat -b $KAFKA_BROKERS -C -e -q -t shop.quarantine -X isolation.level=read_committed -J | jq '.payload | "
     "fromjson'\n",
     "Correct the program that writes the row. To send this one after all, insert a\n"
     "corrected row into the outbox, with the same id if consumers are to know it\n"
     "again.\n"
     "  ALTER TABLE outbox ALTER COLUMN id SET NOT NULL;\n",
     OPERATIONS("the-quarantine")},
    {"missing_type", EXPLAIN_ROW, "the type is NULL or empty", "Routes and consumers go by the type.\n",
     "  kcat -b $KAFKA_BROKERS -C -e -q -t shop.quarantine -X isolation.level=read_committed -J | jq '.payload | "
     "fromjson'\n",
     "Correct the program that writes the row. To send this one after all, insert a\n"
     "corrected row into the outbox, with the same id if consumers are to know it\n"
     "again.\n"
     "  ALTER TABLE outbox ALTER COLUMN type SET NOT NULL;\n",
     OPERATIONS("the-quarantine")},
    {"missing_key", EXPLAIN_ROW, "the key is NULL",
     "Without a key there is no order: records of one key stand in commit order,\n"
     "others do not.\n",
     "  kcat -b $KAFKA_BROKERS -C -e -q -t shop.quarantine -X isolation.level=read_committed -J | jq '.payload | "
     "fromjson'\n",
     "Correct the program that writes the row. To send this one after all, insert a\n"
     "corrected row into the outbox, with the same id if consumers are to know it\n"
     "again.\n"
     "  ALTER TABLE outbox ALTER COLUMN aggregateid SET NOT NULL;\n",
     OPERATIONS("the-quarantine")},
    {"payload_not_json", EXPLAIN_ROW, "the payload is no JSON",
     "The envelope embeds the payload as JSON. Columns of type json and jsonb always\n"
     "are; text and bytea are checked.\n",
     "  kcat -b $KAFKA_BROKERS -C -e -q -t shop.quarantine -X isolation.level=read_committed -J | jq '.payload | "
     "fromjson'\n",
     "Correct the program that writes the row. To send this one after all, insert a\n"
     "corrected row into the outbox, with the same id if consumers are to know it\n"
     "again. A column of type jsonb keeps such rows out.\n",
     OPERATIONS("the-quarantine")},
    {"message_not_json", EXPLAIN_ROW, "a logical message is no envelope",
     "With one of the prefixes in relay.messages, the content of\n"
     "pg_logical_emit_message must be the JSON that walferry.emit_message writes. The\n"
     "prefix walferry.dead_letter (the header wf_origin says so) is the inbox's own:\n"
     "what it did not write is no dead letter.\n",
     "  kcat -b $KAFKA_BROKERS -C -e -q -t shop.quarantine -X isolation.level=read_committed -J | jq '.payload | "
     "fromjson'\n",
     "Use walferry.emit_message, or take the prefix out of relay.messages. Emit\n"
     "nothing with the prefix walferry.dead_letter.\n",
     OPERATIONS("the-quarantine")},
    {"occurred_at_invalid", EXPLAIN_ROW, "occurred_at cannot be read as a time",
     "The column is a text in another form than Postgres and RFC 3339 write times, or\n"
     "holds no finite time.\n",
     "  kcat -b $KAFKA_BROKERS -C -e -q -t shop.quarantine -X isolation.level=read_committed -J | jq '.payload | "
     "fromjson'\n",
     "Correct the program that writes the row. To send this one after all, insert a\n"
     "corrected row into the outbox, with the same id if consumers are to know it\n"
     "again. A column of type timestamptz keeps such rows out.\n",
     OPERATIONS("the-quarantine")},
    {"partition_invalid", EXPLAIN_ROW, "the partition is no number, or the topic does not have it",
     "The column `partition` overrides the placement by key, so it must name a\n"
     "partition that exists.\n",
     "  kcat -b $KAFKA_BROKERS -C -e -q -t shop.quarantine -X isolation.level=read_committed -J | jq '.payload | "
     "fromjson'\n"
     "  kcat -b $KAFKA_BROKERS -L -t TOPIC\n",
     "Correct the program that writes the row. To send this one after all, insert a\n"
     "corrected row into the outbox, with the same id if consumers are to know it\n"
     "again.\n",
     OPERATIONS("the-quarantine")},
    {"headers_invalid", EXPLAIN_ROW, "the headers are no JSON object of texts, numbers and booleans",
     "Or there are more than 100; or one has no name, stands there twice, begins with\n"
     "wf_, or contradicts a field of the event itself.\n",
     "  kcat -b $KAFKA_BROKERS -C -e -q -t shop.quarantine -X isolation.level=read_committed -J | jq '.payload | "
     "fromjson'\n",
     "Correct the program that writes the row. To send this one after all, insert a\n"
     "corrected row into the outbox, with the same id if consumers are to know it\n"
     "again.\n",
     OPERATIONS("the-quarantine")},
    {"unroutable", EXPLAIN_ROW, "no route matches, or its template needs a field that is absent",
     "Routes are tried from the first on, by type; ${tenant_id} and the like need the\n"
     "column to be there and not NULL.\n",
     "  kcat -b $KAFKA_BROKERS -C -e -q -t shop.quarantine -X isolation.level=read_committed -J | jq '.payload | "
     "fromjson'\n",
     "Add a route that ends with \"*\", or correct the template; then insert the row\n"
     "again.\n",
     OPERATIONS("the-quarantine")},
    {"topic_illegal", EXPLAIN_ROW, "the topic's name is none that Kafka takes",
     "Names have 1 to 249 letters, digits, dots, dashes and underscores. Topics of\n"
     "positions (walferry.position.) and of Kafka itself (__) are not for events.\n",
     "  kcat -b $KAFKA_BROKERS -C -e -q -t shop.quarantine -X isolation.level=read_committed -J | jq '.payload | "
     "fromjson'\n",
     "Correct the program that writes the row. To send this one after all, insert a\n"
     "corrected row into the outbox, with the same id if consumers are to know it\n"
     "again.\n",
     OPERATIONS("the-quarantine")},
    {"record_too_large", EXPLAIN_ROW, "the record is larger than the topic or the brokers take",
     "The limits are max.message.bytes of the topic and the brokers'\n"
     "message.max.bytes. What exceeds the topic's before compression is not sent,\n"
     "unless kafka.properties names a compression.codec: then what has up to 100 MB is\n"
     "tried, since compressed it may fit. The content of the row is not in the\n"
     "quarantine record, only its size and hash.\n",
     "  kcat -b $KAFKA_BROKERS -C -e -q -t shop.quarantine -X isolation.level=read_committed -J | jq '.payload | "
     "fromjson'\n"
     "  kafka-configs.sh --bootstrap-server $KAFKA_BROKERS --describe --all --entity-type topics --entity-name TOPIC\n",
     "Take the row from the outbox. Raise max.message.bytes of the topic (and the\n"
     "consumers' limits), or name a codec, and insert the row again; or keep large\n"
     "content elsewhere and send a reference.\n",
     OPERATIONS("the-quarantine")},
    {"record_refused", EXPLAIN_ROW, "the brokers refuse the record, even alone",
     "The reason stands in the message: a NULL key for a compacted topic, a timestamp\n"
     "outside the topic's bounds, a policy of the brokers.\n",
     "  kcat -b $KAFKA_BROKERS -C -e -q -t shop.quarantine -X isolation.level=read_committed -J | jq '.payload | "
     "fromjson'\n",
     "Remove the cause at the topic or in the row, then insert the row again.\n", OPERATIONS("the-quarantine")},
};
const size_t explain_row_count = sizeof explain_rows / sizeof explain_rows[0];
