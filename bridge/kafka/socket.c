/* Tells a connection that carried requests from one that never came about. See conf.h. */
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>

#include "bridge/kafka/conf.h"

bool kafka_socket_was_used(int fd) {
  struct tcp_info info = {.tcpi_data_segs_out = 0};
  socklen_t len = sizeof info;
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
    return true;
  if (len < offsetof(struct tcp_info, tcpi_data_segs_out) + sizeof info.tcpi_data_segs_out)
    return true; /* a kernel before 4.6 */
  return info.tcpi_data_segs_out > 0;
}
