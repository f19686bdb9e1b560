/* The pages of what can be wrong with a message that the inbox reads, see explain.h. */
#include "bridge/ops/explain.h"

const struct explain_page explain_messages[] = {
    {"envelope_invalid", EXPLAIN_MESSAGE, "a member of the envelope stands there twice or is not of its kind",
     "The value looks like an event, but it is not certain what it says: a member\n"
     "such as id or type is there twice, id, type, source and the other texts are an\n"
     "object or an array or hold a NUL character, actor or metadata is no object, or a\n"
     "CloudEvent has both data and data_base64.\n",
     "  kcat -b $KAFKA_BROKERS -C -e -q -t TOPIC -p PARTITION -o OFFSET -c 1 -J\n",
     "Correct the program that writes to the topic. To have this event handled after\n"
     "all, let it write a corrected one.\n"},
};
const size_t explain_message_count = sizeof explain_messages / sizeof explain_messages[0];
