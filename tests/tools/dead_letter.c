/* For tests of dead letters by psql:
 *   dead_letter TOPIC PARTITION OFFSET TIMESTAMP KEY VALUE [NAME VALUE]...
 * prints what the inbox emits for the record. Key, value and headers are in hex; - is NULL. */
#include <stdio.h>
#include <stdlib.h>

#include "bridge/base/blocks.h"
#include "bridge/event/dead_letter.h"

static struct slice unhex(struct blocks *memory, const char *text) {
  if (strcmp(text, "-") == 0)
    return SLICE_ABSENT;
  size_t len = strlen(text) / 2;
  char *bytes = blocks_take(memory, len + 1);
  bytes[len] = '\0';
  for (size_t i = 0; i < len; i++) {
    char pair[3] = {text[2 * i], text[2 * i + 1], '\0'};
    bytes[i] = (char)strtoul(pair, NULL, 16);
  }
  return slice_from(bytes, len);
}

int main(int argc, char **argv) {
  if (argc < 7 || argc % 2 == 0) {
    fprintf(stderr, "usage: dead_letter TOPIC PARTITION OFFSET TIMESTAMP KEY VALUE [NAME VALUE]...\n");
    return 2;
  }
  int header_count = (argc - 7) / 2;
  struct blocks memory = {.last = NULL};
  struct record_header *headers = blocks_take(&memory, (size_t)header_count * sizeof *headers);
  for (int i = 0; i < header_count; i++)
    headers[i] =
        (struct record_header){.name = unhex(&memory, argv[7 + 2 * i]).data, .value = unhex(&memory, argv[8 + 2 * i])};
  struct received_record record = {.topic = argv[1],
                                   .partition = (int32_t)strtol(argv[2], NULL, 10),
                                   .offset = strtoll(argv[3], NULL, 10),
                                   .timestamp_ms = strtoll(argv[4], NULL, 10),
                                   .key = unhex(&memory, argv[5]),
                                   .value = unhex(&memory, argv[6]),
                                   .headers = headers,
                                   .header_count = header_count};
  struct received received;
  struct problem problem = {.code = NULL};
  struct received_reader *reader = received_reader_new();
  received_read(reader, &record, &received, &problem);
  struct dead_letter letter = {.record = &record,
                               .received = &received,
                               .code = problem.code == NULL ? "handler_failed" : problem.code,
                               .message = slice_of(problem.code == NULL ? "poison \xC3\xBC" : problem.message),
                               .details = slice_of("{\"sqlstate\":\"P0001\"}"),
                               .attempts = 5,
                               .first_failure = slice_of("2026-11-21T08:01:58.123456Z"),
                               .last_failure = slice_of("2026-11-21T08:02:58.123456Z"),
                               .topic_suffix = ".dlq",
                               .consumer = "accounting"};
  struct buffer out;
  buffer_init(&out, BUFFER_MAX_ROW);
  dead_letter_write(&out, &letter);
  fwrite(out.data, 1, out.len, stdout);
  buffer_free(&out);
  received_reader_free(reader);
  blocks_free(&memory);
  return 0;
}
