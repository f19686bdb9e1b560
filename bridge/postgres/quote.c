/* See quote.h. */
#include "bridge/postgres/quote.h"

static void append_quoted(struct buffer *sql, char quote, const char *text) {
  buffer_append_char(sql, quote);
  for (; *text != '\0'; text++) {
    if (*text == quote)
      buffer_append_char(sql, quote);
    buffer_append_char(sql, *text);
  }
  buffer_append_char(sql, quote);
}

void quote_identifier(struct buffer *sql, const char *name) {
  append_quoted(sql, '"', name);
}

void quote_table(struct buffer *sql, const char *schema, const char *table) {
  quote_identifier(sql, schema);
  buffer_append_char(sql, '.');
  quote_identifier(sql, table);
}

void quote_literal(struct buffer *sql, const char *text) {
  append_quoted(sql, '\'', text);
}
