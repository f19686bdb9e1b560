/* See blocks.h. The first block is as large as what is asked for, since there may be nothing else; each further one
 * doubles what there is, up to BLOCK_MAX. */
#include "bridge/base/blocks.h"

#include <stdalign.h>
#include <stdlib.h>

#include "bridge/base/memory.h"

#define BLOCK_MAX ((size_t)32 << 10)

struct block {
  struct block *before;
  alignas(max_align_t) char data[];
};

static void add_block(struct blocks *blocks, size_t size) {
  size_t capacity = blocks->bytes < BLOCK_MAX ? blocks->bytes : BLOCK_MAX;
  if (capacity < size)
    capacity = size;
  struct block *block = memory_resize(NULL, sizeof *block + capacity);
  block->before = blocks->last;
  blocks->last = block;
  blocks->left = capacity;
  blocks->bytes += sizeof *block + capacity;
}

void *blocks_take(struct blocks *blocks, size_t size) {
  size = (size + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
  if (blocks->last == NULL || size > blocks->left)
    add_block(blocks, size);
  blocks->left -= size;
  /* from the end, so that what is left says where */
  return blocks->last->data + blocks->left;
}

void blocks_free(struct blocks *blocks) {
  while (blocks->last != NULL) {
    struct block *before = blocks->last->before;
    free(blocks->last);
    blocks->last = before;
  }
  *blocks = (struct blocks){.last = NULL};
}
