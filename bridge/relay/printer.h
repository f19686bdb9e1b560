/* Records as lines of JSON to a file descriptor, for those who look instead of publishing. */
#ifndef WALFERRY_RELAY_PRINTER_H
#define WALFERRY_RELAY_PRINTER_H

#include "bridge/base/buffer.h"
#include "bridge/base/stop.h"
#include "bridge/event/record.h"

struct printer {
  int out_fd; /* borrowed; SIGPIPE is ignored */
  const struct stop *stop;
  struct buffer line;
};

void printer_init(struct printer *printer, int out_fd, const struct stop *stop);
void printer_free(struct printer *printer);

/* Nobody reads any more: no error, a reader such as head has what it wanted. */
bool printer_hung_up(const struct printer *printer);
/* Never blocks for longer than until stop->now. *over: there is nobody to write to, or no time left. */
bool printer_record(struct printer *printer, const struct record *record, bool *over, struct error *err);

#endif
