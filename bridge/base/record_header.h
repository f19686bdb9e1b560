/* A header of a Kafka record, as both who builds it and who sends it know it. */
#ifndef WALFERRY_BASE_RECORD_HEADER_H
#define WALFERRY_BASE_RECORD_HEADER_H

#include "bridge/base/slice.h"

struct record_header {
  const char *name; /* NUL-terminated */
  struct slice value;
};

#endif
