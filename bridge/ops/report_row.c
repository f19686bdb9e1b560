/* See report_row.h. */
#include "bridge/ops/report_row.h"

#include <stdarg.h>

void report_row(FILE *out, const char *key, const char *format, ...) {
  va_list args;
  va_start(args, format);
  fprintf(out, "%-14s", key);
  vfprintf(out, format, args);
  fputc('\n', out);
  va_end(args);
}
