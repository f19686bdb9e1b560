/* See uri.h. */
#include "bridge/event/uri.h"

static bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

static bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Unreserved characters, sub-delimiters, and those that part a path, a query and their segments. */
static bool may_stand(char c) {
  return is_letter(c) || is_digit(c) || (c != '\0' && strchr("-._~!$&'()*+,;=:@/?", c) != NULL);
}

/* A colon before the first slash ends a scheme, or may not be there: then false. Source: RFC 3986, section 4.2. */
static bool first_colon_ends_scheme(struct slice text) {
  size_t i = 0;
  while (i < text.len && (is_letter(text.data[i]) || (i > 0 && (is_digit(text.data[i]) || text.data[i] == '+' ||
                                                                text.data[i] == '-' || text.data[i] == '.'))))
    i++;
  return i > 0 && i < text.len && text.data[i] == ':';
}

void uri_append_reference(struct buffer *out, struct slice text) {
  bool colons_pass = first_colon_ends_scheme(text), fragment = false;
  for (size_t i = 0; i < text.len; i++) {
    char c = text.data[i];
    bool stays = may_stand(c);
    if (c == '/' || c == '?' || c == '#')
      colons_pass = true;
    if (c == ':')
      stays = colons_pass;
    else if (c == '%')
      stays = i + 2 < text.len && is_hex(text.data[i + 1]) && is_hex(text.data[i + 2]);
    else if (c == '#')
      stays = !fragment;
    fragment = fragment || c == '#';
    if (stays)
      buffer_append_char(out, c);
    else
      buffer_printf(out, "%%%02X", (unsigned)(unsigned char)c);
  }
}
