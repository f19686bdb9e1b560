/* The rows of the reports that people read: keys in a column of their own. */
#ifndef WALFERRY_OPS_REPORT_ROW_H
#define WALFERRY_OPS_REPORT_ROW_H

#include <stdio.h>

/* Two blanks before the key make it a part of the row above. */
void __attribute__((format(printf, 3, 4))) report_row(FILE *out, const char *key, const char *format, ...);

#endif
