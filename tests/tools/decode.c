/* For tests that compare decoders:
 *   decode PLUGIN --options PUBLICATION   the options that the decoder wants its stream with, name and value on a line
 * each decode PLUGIN < FRAMES                one frame a line, in hex; the changes, one a line, every value as JSON
 * text */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "bridge/base/buffer.h"
#include "bridge/base/memory.h"
#include "decoders/decoder.h"

static void append_hex(struct buffer *line, struct slice s) {
  for (size_t i = 0; i < s.len; i++)
    buffer_printf(line, "%02x", (unsigned char)s.data[i]);
}

static void append_insert(struct buffer *line, const struct relation *relation, const struct value *values) {
  buffer_append_text(line, ",\"columns\":[");
  for (int i = 0; i < relation->column_count; i++) {
    buffer_append_text(line, i == 0 ? "[" : ",[");
    buffer_append_json(line, slice_of(relation->columns[i].name));
    buffer_printf(line, ",%" PRIu32 ",", relation->columns[i].type_oid);
    if (values[i].kind == VALUE_TEXT)
      buffer_append_json(line, values[i].text);
    else
      buffer_append_text(line, values[i].kind == VALUE_NULL ? "null" : "false");
    buffer_append_text(line, "]");
  }
  buffer_append_text(line, "]");
}

static void append_change(struct buffer *line, const struct change *c) {
  switch (c->kind) {
  case CHANGE_NONE:
    return;
  case CHANGE_BEGIN:
    buffer_printf(line, "{\"kind\":\"begin\",\"lsn\":\"%s\",\"time\":%" PRId64 ",\"xid\":%" PRIu32,
                  lsn_format(c->begin.commit_lsn).text, c->begin.commit_time_us, c->begin.xid);
    break;
  case CHANGE_COMMIT:
    buffer_printf(line, "{\"kind\":\"commit\",\"lsn\":\"%s\",\"end\":\"%s\",\"time\":%" PRId64,
                  lsn_format(c->commit.commit_lsn).text, lsn_format(c->commit.end_lsn).text, c->commit.commit_time_us);
    break;
  case CHANGE_INSERT:
    buffer_append_text(line, "{\"kind\":\"insert\",\"schema\":");
    buffer_append_json(line, slice_of(c->insert.relation->schema));
    buffer_append_text(line, ",\"table\":");
    buffer_append_json(line, slice_of(c->insert.relation->table));
    append_insert(line, c->insert.relation, c->insert.values);
    break;
  case CHANGE_MESSAGE:
    buffer_printf(line, "{\"kind\":\"message\",\"transactional\":%s,\"lsn\":\"%s\",\"prefix\":",
                  c->message.transactional ? "true" : "false", lsn_format(c->message.lsn).text);
    buffer_append_json(line, c->message.prefix);
    buffer_append_text(line, ",\"content_hex\":\"");
    append_hex(line, c->message.content); /* need not be UTF-8 */
    buffer_append_text(line, "\"");
    break;
  }
  buffer_append_text(line, "}\n");
}

static int hex_digit(char c) {
  return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place; the length, or -1. */
static ssize_t unhex(char *text, ssize_t len) {
  while (len > 0 && text[len - 1] == '\n')
    len--;
  for (ssize_t i = 0; i + 1 < len; i += 2) {
    int high = hex_digit(text[i]), low = hex_digit(text[i + 1]);
    if (high < 0 || low < 0)
      return -1;
    text[i / 2] = (char)(high << 4 | low);
  }
  return len % 2 == 0 ? len / 2 : -1;
}

static int print_options(const struct decoder_class *class, const char *publication) {
  struct decoder_options options;
  decoder_options_init(&options, class, publication);
  for (int i = 0; i < 2 * options.count; i++)
    puts(options.texts[i]);
  decoder_options_free(&options);
  return 0;
}

int main(int argc, char **argv) {
  const struct decoder_class *class = argc > 1 ? decoder_class_find(argv[1]) : NULL;
  if (class == NULL)
    return 2;
  if (argc == 4 && strcmp(argv[2], "--options") == 0)
    return print_options(class, argv[3]);
  struct decoder *dec = decoder_new(class);
  struct buffer line;
  buffer_init(&line, BUFFER_MAX_ROW);
  char *text = NULL;
  size_t size = 0;
  int status = 0;
  for (ssize_t len; status == 0 && (len = getline(&text, &size, stdin)) >= 0;) {
    struct change change;
    struct error err = {.kind = ERROR_NONE};
    ssize_t bytes = unhex(text, len);
    buffer_clear(&line);
    if (bytes < 0 || !decoder_decode(dec, (struct span){.data = text, .len = (size_t)bytes}, &change, &err)) {
      fprintf(stderr, "%s\n", bytes < 0 ? "not hex" : err.message);
      status = 1;
    } else {
      append_change(&line, &change);
      fwrite(line.data, 1, line.len, stdout);
    }
  }
  free(text);
  buffer_free(&line);
  decoder_free(dec);
  return status;
}
