/* Makes a topic long: bench_fill BROKERS TOPIC KEY COUNT PER_COMMIT < VALUE
 *
 * Writes COUNT records of the key and value to partition 0, PER_COMMIT in a transaction, as its owner would have over
 * time. */
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <string.h>

#include "bridge/base/number.h"
#include "tests/bench/common.h"

enum { VALUE_MAX = 1 << 20, CALL_MS = 30000 };

static void require(const char *what, rd_kafka_error_t *error) {
  if (error != NULL)
    bench_fail("%s: %s", what, rd_kafka_error_string(error));
}

static rd_kafka_t *producer_new(const char *brokers) {
  const char *const properties[][2] = {
      {"bootstrap.servers", brokers}, {"transactional.id", "bench_fill"}, {"linger.ms", "0"}};
  char why[512];
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  for (size_t i = 0; i < sizeof properties / sizeof properties[0]; i++)
    if (rd_kafka_conf_set(conf, properties[i][0], properties[i][1], why, sizeof why) != RD_KAFKA_CONF_OK)
      bench_fail("%s: %s", properties[i][0], why);
  rd_kafka_t *producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
  if (producer == NULL)
    bench_fail("producer: %s", why);
  require("init_transactions", rd_kafka_init_transactions(producer, CALL_MS));
  return producer;
}

int main(int argc, char **argv) {
  static char value[VALUE_MAX];
  int64_t count;
  int64_t per_commit;
  if (argc != 6 || !number_parse(slice_of(argv[4]), 1, INT64_MAX, &count) ||
      !number_parse(slice_of(argv[5]), 1, INT64_MAX, &per_commit)) {
    fprintf(stderr, "usage: bench_fill BROKERS TOPIC KEY COUNT PER_COMMIT < VALUE\n");
    return 2;
  }
  size_t len = fread(value, 1, sizeof value, stdin);
  rd_kafka_t *producer = producer_new(argv[1]);
  for (int64_t written = 0; written < count;) {
    require("begin_transaction", rd_kafka_begin_transaction(producer));
    for (int64_t i = 0; i < per_commit && written < count; i++, written++) {
      rd_kafka_resp_err_t failed =
          rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(argv[2]), RD_KAFKA_V_PARTITION(0),
                            RD_KAFKA_V_KEY(argv[3], strlen(argv[3])), RD_KAFKA_V_VALUE(value, len),
                            RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY | RD_KAFKA_MSG_F_BLOCK), RD_KAFKA_V_END);
      if (failed != RD_KAFKA_RESP_ERR_NO_ERROR)
        bench_fail("produce: %s", rd_kafka_err2str(failed));
    }
    require("commit_transaction", rd_kafka_commit_transaction(producer, CALL_MS));
  }
  rd_kafka_destroy(producer);
  return 0;
}
