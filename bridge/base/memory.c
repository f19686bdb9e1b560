/* See memory.h. */
#include "bridge/base/memory.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void out_of_memory(size_t size) {
  fprintf(stderr, "walferry: out of memory (%zu bytes asked for)\n", size);
  abort();
}

void memory_setup(void) {
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
  mallopt(M_TRIM_THRESHOLD, 32 << 20); /* a batch's memory is for the next one */
  mallopt(M_MXFAST, 0);                /* fast bins are gone through whenever something large is freed */
}

void *memory_alloc(size_t size) {
  void *block = calloc(1, size == 0 ? 1 : size);
  if (block == NULL)
    out_of_memory(size);
  return block;
}

void *memory_resize(void *block, size_t size) {
  void *moved = realloc(block, size == 0 ? 1 : size);
  if (moved == NULL)
    out_of_memory(size);
  return moved;
}

void *memory_copy(const void *from, size_t len) {
  char *copy = memory_resize(NULL, len + 1);
  if (len > 0)
    memcpy(copy, from, len);
  copy[len] = '\0';
  return copy;
}

char *memory_string(const char *text) {
  return text == NULL ? NULL : memory_copy(text, strlen(text));
}

char *memory_format(const char *format, ...) {
  va_list args;
  va_start(args, format);
  char *text = NULL;
  int length = vasprintf(&text, format, args);
  va_end(args);
  if (length < 0)
    out_of_memory(0);
  return text;
}
