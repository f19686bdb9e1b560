/* Allocation that cannot fail from the caller's view: when memory is gone the process says so and aborts.
 * walferry is safe to kill at any instruction, so an abort costs a restart and never an event. */
#ifndef WALFERRY_BASE_MEMORY_H
#define WALFERRY_BASE_MEMORY_H

#include <stddef.h>

/* Before anything is allocated: what is larger than a megabyte is returned to the system when it is freed, whatever
 * came before, so that a large row leaves nothing behind; and what rows of usual size take is kept. */
void memory_setup(void);

void *memory_alloc(size_t size);                 /* zeroed */
void *memory_resize(void *block, size_t size);   /* not zeroed; block may be NULL */
void *memory_copy(const void *from, size_t len); /* adds a NUL byte behind the copy */
char *memory_string(const char *text);           /* NULL stays NULL */
char *memory_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
