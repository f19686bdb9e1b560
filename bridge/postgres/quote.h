/* Names and texts as parts of SQL, for servers and for people. */
#ifndef WALFERRY_POSTGRES_QUOTE_H
#define WALFERRY_POSTGRES_QUOTE_H

#include "bridge/base/buffer.h"

/* "name". */
void quote_identifier(struct buffer *sql, const char *name);
/* "schema"."table". */
void quote_table(struct buffer *sql, const char *schema, const char *table);
/* 'text'. Backslashes stay as they are, which is right under standard_conforming_strings (the default since Postgres
 * 9.1) and in the walsender's grammar, which knows no E'...' as PQescapeLiteral may write. */
void quote_literal(struct buffer *sql, const char *text);

#endif
