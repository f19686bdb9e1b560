/* The tables that the stream has described, by OID. Knows nothing of wire formats. */
#ifndef WALFERRY_DECODERS_RELATION_H
#define WALFERRY_DECODERS_RELATION_H

#include "decoders/change.h"

/* Owned by the caller. The columns are unnamed until relation_set_column has been called for each. Texts are copied. */
struct relation *relation_new(uint32_t oid, struct slice schema, struct slice table, int column_count);
void relation_set_column(struct relation *relation, int index, struct slice name, uint32_t type_oid);
void relation_free(struct relation *relation); /* accepts NULL */

struct relation_cache;

struct relation_cache *relation_cache_new(void);
void relation_cache_free(struct relation_cache *cache); /* accepts NULL */

/* Takes over the relation, gives it the next serial and frees the one it replaces, if any. */
void relation_cache_replace(struct relation_cache *cache, struct relation *relation);
/* Borrowed until that OID is replaced; NULL if the stream has not described it. */
const struct relation *relation_cache_find(struct relation_cache *cache, uint32_t oid);

#endif
