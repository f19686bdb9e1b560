/* A message of librdkafka's as one of ours: see consumer_message in consumer.h. */
#include "bridge/kafka/message_copy.h"

#include <string.h>

#include "bridge/base/memory.h"

/* Behind *text, which moves on; a NULL stays absent. */
static struct slice put(char **text, const void *data, size_t len) {
  if (data == NULL)
    return SLICE_ABSENT;
  struct slice copy = slice_from(*text, len);
  *text = mempcpy(*text, data, len);
  return copy;
}

/* One block: the struct, the headers, then all texts. */
struct consumer_message *consumer_message_copy(const rd_kafka_message_t *m, const char *topic) {
  rd_kafka_headers_t *headers = NULL;
  size_t header_count = 0, size = sizeof(struct consumer_message) + m->key_len + m->len;
  const char *name;
  const void *value;
  size_t len;
  if (rd_kafka_message_headers(m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR)
    while (rd_kafka_header_get_all(headers, header_count, &name, &value, &len) == RD_KAFKA_RESP_ERR_NO_ERROR) {
      size += sizeof(struct record_header) + strlen(name) + 1 + len;
      header_count++;
    }
  struct consumer_message *copy = memory_alloc(size);
  char *text = (char *)(copy + 1);
  *copy = (struct consumer_message){.topic = topic,
                                    .partition = m->partition,
                                    .offset = m->offset,
                                    .timestamp_ms = rd_kafka_message_timestamp(m, NULL),
                                    .headers = (struct record_header *)text,
                                    .header_count = (int)header_count,
                                    .held_bytes = (int64_t)size};
  text += header_count * sizeof(struct record_header);
  for (size_t i = 0; i < header_count; i++) {
    rd_kafka_header_get_all(headers, i, &name, &value, &len);
    copy->headers[i].name = text;
    text = mempcpy(text, name, strlen(name) + 1);
    copy->headers[i].value = put(&text, value, len);
  }
  copy->key = put(&text, m->key, m->key_len);
  copy->value = put(&text, m->payload, m->len);
  return copy;
}
