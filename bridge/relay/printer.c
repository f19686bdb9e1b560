/* See printer.h. */
#include "bridge/relay/printer.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "bridge/event/print.h"

#define WAIT_SLICE_MS 100
#define WRITE_SLICE 4096 /* PIPE_BUF: what poll promises room for */

void printer_init(struct printer *printer, int out_fd, const struct stop *stop) {
  *printer = (struct printer){.out_fd = out_fd, .stop = stop};
  buffer_init(&printer->line, PRINT_LINE_MAX);
}

void printer_free(struct printer *printer) {
  buffer_free(&printer->line);
}

bool printer_hung_up(const struct printer *printer) {
  struct pollfd out = {.fd = printer->out_fd};
  return poll(&out, 1, 0) > 0 && (out.revents & (POLLERR | POLLHUP)) != 0;
}

bool printer_record(struct printer *printer, const struct record *record, bool *over, struct error *err) {
  buffer_clear(&printer->line);
  record_print(record, &printer->line);
  struct slice bytes = buffer_slice(&printer->line);
  struct pollfd out = {.fd = printer->out_fd, .events = POLLOUT};
  while (bytes.len > 0) {
    if (atomic_load(&printer->stop->now)) {
      *over = true;
      return true;
    }
    if (poll(&out, 1, WAIT_SLICE_MS) <= 0)
      continue;
    ssize_t written = write(out.fd, bytes.data, bytes.len < WRITE_SLICE ? bytes.len : WRITE_SLICE);
    if (written < 0 && errno == EPIPE) {
      *over = true;
      return true;
    }
    if (written < 0 && errno != EINTR && errno != EAGAIN)
      return error_set(err, ERROR_FATAL, "stdout cannot be written: %s", strerrordesc_np(errno));
    if (written > 0)
      bytes = slice_from(bytes.data + written, bytes.len - (size_t)written);
  }
  return true;
}
