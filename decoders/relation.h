/* The tables that the stream has described, by a key of the plugin's choice: the OID, or the name. Knows nothing of
 * wire formats. */
#ifndef WALFERRY_DECODERS_RELATION_H
#define WALFERRY_DECODERS_RELATION_H

#include "decoders/change.h"

/* Owned by the caller. The columns are unnamed until relation_set_column has been called for each. Texts are copied. */
struct relation *relation_new(uint32_t oid, struct slice schema, struct slice table, int column_count);
void relation_set_column(struct relation *relation, int index, struct slice name, uint32_t type_oid);
void relation_set_written(struct relation *relation, int index, struct slice text);
void relation_free(struct relation *relation); /* accepts NULL */

struct relation_cache;

struct relation_cache *relation_cache_new(void);
void relation_cache_free(struct relation_cache *cache); /* accepts NULL */

/* Takes over the relation, gives it the next serial and frees the one it replaces, if any. The key is copied. */
void relation_cache_replace(struct relation_cache *cache, struct slice key, struct relation *relation);
/* Borrowed until that key is replaced; NULL if the stream has not described it. */
const struct relation *relation_cache_find(struct relation_cache *cache, struct slice key);
/* Forgets all but the serials: for a plugin that is told of more tables than are worth keeping. */
void relation_cache_clear(struct relation_cache *cache);
int relation_cache_count(const struct relation_cache *cache);

#endif
