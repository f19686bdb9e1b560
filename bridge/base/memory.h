/* Allocation that cannot fail from the caller's view: when memory is gone the process says so and aborts.
 * walferry is safe to kill at any instruction, so an abort costs a restart and never an event. */
#ifndef WALFERRY_BASE_MEMORY_H
#define WALFERRY_BASE_MEMORY_H

#include <stddef.h>

void *memory_alloc(size_t size);                 /* zeroed */
void *memory_resize(void *block, size_t size);   /* not zeroed; block may be NULL */
void *memory_copy(const void *from, size_t len); /* adds a NUL byte behind the copy */
char *memory_string(const char *text);           /* NULL stays NULL */
char *memory_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
