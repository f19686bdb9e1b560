/* Memory for many small things that are made by one thread, one by one, and given up together, perhaps by another. */
#ifndef WALFERRY_BASE_BLOCKS_H
#define WALFERRY_BASE_BLOCKS_H

#include <stddef.h>

struct block;

struct blocks { /* starts as zeros */
  struct block *last;
  size_t left;  /* bytes in the last block */
  size_t bytes; /* of all blocks: what is used, and at most once as much again or 32 kB */
};

/* size bytes for anything, not zeroed; they stay where they are until blocks_free. */
void *blocks_take(struct blocks *blocks, size_t size);
void blocks_free(struct blocks *blocks);

#endif
