/* For tests of the inbox's SQL by psql:
 *   inbox_statements HANDLER      each statement as a line of JSON: {"name": ..., "sql": ...}; those that call the
 *                                 handler are named handle and replay */
#include <stdio.h>

#include "bridge/inbox/statements.h"

static void print(const char *name, struct slice sql) {
  struct buffer line;
  buffer_init(&line, 1 << 16);
  buffer_append_text(&line, "{\"name\":");
  buffer_append_json(&line, slice_of(name));
  buffer_append_text(&line, ",\"sql\":");
  buffer_append_json(&line, sql);
  buffer_append_text(&line, "}\n");
  fwrite(line.data, 1, line.len, stdout);
  buffer_free(&line);
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: inbox_statements SCHEMA.FUNCTION\n");
    return 2;
  }
  for (int i = 0; i < INBOX_STATEMENT_COUNT; i++)
    print(inbox_statements[i].name, slice_of(inbox_statements[i].sql));
  struct buffer sql;
  buffer_init(&sql, 1 << 16);
  inbox_statement_call(&sql, argv[1], INBOX_HANDLE);
  print("handle", buffer_slice(&sql));
  buffer_clear(&sql);
  inbox_statement_call(&sql, argv[1], INBOX_REPLAY);
  print("replay", buffer_slice(&sql));
  buffer_free(&sql);
  return 0;
}
