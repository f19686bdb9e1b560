/* See http.h. */
#include "bridge/ops/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bridge/base/log.h"
#include "bridge/base/memory.h"
#include "bridge/ops/pages.h"

#define PAGE_BYTES_MAX (8 << 20)
#define CONNECTIONS_MAX 64
#define CONNECTIONS_PER_ADDRESS_MAX 32
#define REQUEST_BYTES_MAX (16 << 10) /* request line and headers; libmicrohttpd answers 414 or 431 to more */
#define SILENCE_MAX_S 10             /* a connection on which nothing happens for so long is closed */
#define BACKLOG 64

struct http {
  struct MHD_Daemon *daemon;
  struct watched watched;
};

/* Takes the text's memory. */
static enum MHD_Result answer(struct MHD_Connection *connection, int status, const char *content_type, char *text,
                              size_t len, bool last) {
  struct MHD_Response *response = MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);
  if (response == NULL) {
    free(text);
    return MHD_NO;
  }
  MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
  MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
  MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
  if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
    MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
  if (last)
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
  enum MHD_Result result = MHD_queue_response(connection, (unsigned)status, response);
  MHD_destroy_response(response);
  return result;
}

/* Also ends the connection: what follows on it is not looked at. */
static enum MHD_Result refuse(struct MHD_Connection *connection, int status, const char *text) {
  return answer(connection, status, "text/plain; charset=utf-8", memory_string(text), strlen(text), true);
}

static bool has_body(struct MHD_Connection *connection) {
  const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
  return (length != NULL && strcmp(length, "0") != 0) ||
         MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL;
}

static enum MHD_Result handle(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *upload, size_t *upload_len, void **request) {
  (void)version, (void)upload, (void)upload_len, (void)request;
  struct http *http = arg;
  if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
    return refuse(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
  if (has_body(connection))
    return refuse(connection, MHD_HTTP_CONTENT_TOO_LARGE, "no bodies\n");
  const struct page *page = page_find(url);
  if (page == NULL)
    return refuse(connection, MHD_HTTP_NOT_FOUND, "no such page; / lists those that there are\n");
  struct buffer text;
  buffer_init(&text, PAGE_BYTES_MAX);
  void *moment = http->watched.class->look(http->watched.source);
  int status = page->write(&http->watched, moment, &text);
  http->watched.class->forget(moment);
  if (text.overflow) {
    buffer_free(&text);
    return refuse(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "the page is too large\n");
  }
  return answer(connection, status, page->content_type, text.data, text.len, false);
}

/* "host:port" or "[host]:port", as the config has checked it, into texts of their own. */
static void split(const char *listen, char **host, char **port) {
  const char *colon = strrchr(listen, ':');
  size_t len = (size_t)(colon - listen);
  bool brackets = listen[0] == '[';
  *host = brackets ? memory_copy(listen + 1, len - 2) : memory_copy(listen, len);
  *port = memory_string(colon + 1);
}

/* A listening socket at one of the host's addresses; -1 with the last address's errno. */
static int listen_at(const struct addrinfo *addresses) {
  int reason = EADDRNOTAVAIL;
  for (const struct addrinfo *a = addresses; a != NULL; a = a->ai_next) {
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) == 0 &&
        bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
      return fd;
    reason = errno;
    if (fd >= 0)
      close(fd);
  }
  errno = reason;
  return -1;
}

static bool fail_listen(const char *listen, const char *why, struct error *err) {
  error_set(err, ERROR_CONFIG, "cannot listen at %s for HTTP: %s", listen, why);
  return error_remedy(err, "choose a free port (0 takes any) of an address of this machine; another walferry with the "
                           "same config may have it (the inbox has http.inbox_listen for its own)");
}

static int open_socket(const char *listen, struct error *err) {
  char *host, *port;
  split(listen, &host, &port);
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
  struct addrinfo *addresses = NULL;
  int code = getaddrinfo(host, port, &hints, &addresses);
  int fd = -1;
  if (code != 0) {
    fail_listen(listen, gai_strerror(code), err);
  } else {
    fd = listen_at(addresses);
    char why[128];
    if (fd < 0)
      fail_listen(listen, strerror_r(errno, why, sizeof why), err);
    freeaddrinfo(addresses);
  }
  free(host);
  free(port);
  return fd;
}

static void log_listening(int fd) {
  struct sockaddr_storage address;
  socklen_t len = sizeof address;
  char host[NI_MAXHOST] = "", port[NI_MAXSERV] = "0";
  if (getsockname(fd, (struct sockaddr *)&address, &len) == 0)
    getnameinfo((struct sockaddr *)&address, len, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
  log_info("http.listening", log_string("address", host), log_int("port", strtol(port, NULL, 10)));
}

struct http *http_start(const char *listen, const struct watched *watched, struct error *err) {
  int fd = open_socket(listen, err);
  if (fd < 0)
    return NULL;
  struct http *http = memory_alloc(sizeof *http);
  http->watched = *watched;
  http->daemon = MHD_start_daemon(
      MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_ITC, 0, NULL, NULL, handle, http, MHD_OPTION_LISTEN_SOCKET, fd,
      MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
      (unsigned)CONNECTIONS_PER_ADDRESS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)SILENCE_MAX_S,
      MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)REQUEST_BYTES_MAX, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
  if (http->daemon == NULL) {
    close(fd);
    free(http);
    fail_listen(listen, "the HTTP server does not start", err);
    return NULL;
  }
  log_listening(fd);
  return http;
}

void http_stop(struct http *http) {
  if (http == NULL)
    return;
  MHD_stop_daemon(http->daemon); /* joins its thread, closes the socket */
  free(http);
}
