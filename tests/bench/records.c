/* What a read_committed consumer finds in a topic, counted: bench_records BROKERS TOPIC [COUNT]
 *
 * Without COUNT up to the end of each partition; with it, until that many records were there, waiting for those to
 * come. When none came for a minute it ends, too. Prints a line of JSON when it has the first record, with its own
 * clock, and one in the end:
 *   {"first_seen_ms": 1.5}
 *   {"records": 1, "distinct": 1, "first_ms": 1, "last_ms": 1, "last_seen_ms": 1.5}
 * distinct counts the values of the header "id" by a hash of 64 bits; first_ms and last_ms are the records' timestamps.
 */
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/clock.h"
#include "bridge/base/fnv1a.h"
#include "bridge/base/memory.h"
#include "bridge/base/number.h"
#include "tests/bench/common.h"

enum { BATCH = 10000, WAIT_MS = 100, IDLE_MS = 60000, METADATA_MS = 10000 };

/* Of 64-bit hashes; open addressing, at most half full. 0 stands for a free place. */
struct set {
  uint64_t *places;
  size_t size; /* a power of two */
  size_t count;
};

static bool set_add(struct set *set, uint64_t hash);

static void set_grow(struct set *set) {
  struct set larger = {.size = set->size == 0 ? 1024 : set->size * 2};
  larger.places = memory_alloc(larger.size * sizeof *larger.places);
  for (size_t i = 0; i < set->size; i++)
    if (set->places[i] != 0)
      set_add(&larger, set->places[i]);
  free(set->places);
  *set = larger;
}

static bool set_add(struct set *set, uint64_t hash) {
  if (set->count * 2 >= set->size)
    set_grow(set);
  hash += hash == 0;
  size_t at = hash & (set->size - 1);
  while (set->places[at] != 0) {
    if (set->places[at] == hash)
      return false;
    at = (at + 1) & (set->size - 1);
  }
  set->places[at] = hash;
  set->count++;
  return true;
}

static rd_kafka_t *consumer_new(const char *brokers) {
  static const char *const properties[][2] = {
      {"group.id", "bench"},
      {"isolation.level", "read_committed"},
      {"enable.partition.eof", "true"},
      {"enable.auto.commit", "false"},
      {"check.crcs", "true"},
      {"fetch.wait.max.ms", "10"},
  };
  char why[512];
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  if (rd_kafka_conf_set(conf, "bootstrap.servers", brokers, why, sizeof why) != RD_KAFKA_CONF_OK)
    bench_fail("bootstrap.servers: %s", why);
  for (size_t i = 0; i < sizeof properties / sizeof properties[0]; i++)
    if (rd_kafka_conf_set(conf, properties[i][0], properties[i][1], why, sizeof why) != RD_KAFKA_CONF_OK)
      bench_fail("%s: %s", properties[i][0], why);
  rd_kafka_t *consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
  if (consumer == NULL)
    bench_fail("consumer: %s", why);
  rd_kafka_poll_set_consumer(consumer);
  return consumer;
}

/* All partitions, from their beginnings; how many. */
static int consumer_assign(rd_kafka_t *consumer, const char *name) {
  const struct rd_kafka_metadata *metadata;
  rd_kafka_topic_t *topic = rd_kafka_topic_new(consumer, name, NULL);
  rd_kafka_resp_err_t failed = rd_kafka_metadata(consumer, 0, topic, &metadata, METADATA_MS);
  if (failed != RD_KAFKA_RESP_ERR_NO_ERROR)
    bench_fail("metadata: %s", rd_kafka_err2str(failed));
  int partitions = metadata->topic_cnt == 1 ? metadata->topics[0].partition_cnt : 0;
  rd_kafka_metadata_destroy(metadata);
  rd_kafka_topic_destroy(topic);
  if (partitions == 0)
    bench_fail("%s: no such topic", name);
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
  for (int i = 0; i < partitions; i++)
    rd_kafka_topic_partition_list_add(list, name, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
  failed = rd_kafka_assign(consumer, list);
  rd_kafka_topic_partition_list_destroy(list);
  if (failed != RD_KAFKA_RESP_ERR_NO_ERROR)
    bench_fail("assign: %s", rd_kafka_err2str(failed));
  return partitions;
}

struct found {
  struct set ids;
  int64_t records;
  int64_t first_ms;
  int64_t last_ms;
};

static void found_add(struct found *found, const rd_kafka_message_t *message) {
  rd_kafka_headers_t *headers;
  const void *id;
  size_t len;
  if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR ||
      rd_kafka_header_get_last(headers, "id", &id, &len) != RD_KAFKA_RESP_ERR_NO_ERROR)
    bench_fail("a record without the header id");
  int64_t timestamp = rd_kafka_message_timestamp(message, NULL);
  if (found->records == 0) {
    printf("{\"first_seen_ms\": %.3f}\n", (double)clock_wall_us() / 1e3);
    fflush(stdout);
    found->first_ms = timestamp;
  }
  if (timestamp < found->first_ms)
    found->first_ms = timestamp;
  if (timestamp > found->last_ms)
    found->last_ms = timestamp;
  found->records++;
  set_add(&found->ids, fnv1a(FNV1A_START, id, len));
}

int main(int argc, char **argv) {
  int64_t wanted = 0;
  if (argc < 3 || argc > 4 || (argc == 4 && !number_parse(slice_of(argv[3]), 1, INT64_MAX, &wanted))) {
    fprintf(stderr, "usage: bench_records BROKERS TOPIC [COUNT]\n");
    return 2;
  }
  rd_kafka_t *consumer = consumer_new(argv[1]);
  int open = consumer_assign(consumer, argv[2]);
  rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(consumer);
  rd_kafka_message_t **messages = memory_alloc(BATCH * sizeof(rd_kafka_message_t *));
  struct found found = {.first_ms = 0};
  int64_t last_ms = clock_monotonic_ms();
  while ((wanted > 0 ? found.records < wanted : open > 0) && clock_monotonic_ms() - last_ms < IDLE_MS) {
    int64_t before = found.records;
    ssize_t count = rd_kafka_consume_batch_queue(queue, WAIT_MS, messages, BATCH);
    for (ssize_t i = 0; i < count; i++) {
      if (messages[i]->err == RD_KAFKA_RESP_ERR_NO_ERROR)
        found_add(&found, messages[i]);
      else if (messages[i]->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
        open--;
      else
        fprintf(stderr, "bench_records: %s\n", rd_kafka_message_errstr(messages[i]));
      rd_kafka_message_destroy(messages[i]);
    }
    if (found.records > before)
      last_ms = clock_monotonic_ms();
  }
  printf("{\"records\": %" PRId64 ", \"distinct\": %zu, \"first_ms\": %" PRId64 ", \"last_ms\": %" PRId64
         ", \"last_seen_ms\": %.3f}\n",
         found.records, found.ids.count, found.first_ms, found.last_ms, (double)clock_wall_us() / 1e3);
  free(messages);
  free(found.ids.places);
  rd_kafka_queue_destroy(queue);
  rd_kafka_consumer_close(consumer);
  rd_kafka_destroy(consumer);
  return 0;
}
