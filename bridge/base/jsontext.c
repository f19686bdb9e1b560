/* See jsontext.h. The grammar is that of RFC 8259; tests compare jsontext_check with jansson. */
#include "bridge/base/jsontext.h"

#include <stdlib.h>

#include "bridge/base/jsonstring.h"
#include "bridge/base/memory.h"

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

static bool is_blank(char c) {
  return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static void skip_blanks(struct jsontext_reader *r) {
  while (r->at < r->end && is_blank(*r->at))
    r->at++;
}

static bool take(struct jsontext_reader *r, char wanted) {
  if (r->at == r->end || *r->at != wanted)
    return false;
  r->at++;
  return true;
}

/* The length of the UTF-8 sequence at `at`, or 0: no overlong forms, no surrogates, nothing above U+10FFFF.
 * Source: Unicode 15, table 3-7. */
static size_t utf8_length(const char *at, const char *end) {
  unsigned char lead = (unsigned char)at[0];
  if (lead < 0x80)
    return 1;
  size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                  : lead >= 0xE0 && lead <= 0xEF ? 3
                  : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                 : 0;
  if (length == 0 || (size_t)(end - at) < length)
    return 0;
  unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  unsigned char second = (unsigned char)at[1];
  if (second < low || second > high)
    return 0;
  for (size_t i = 2; i < length; i++)
    if (((unsigned char)at[i] & 0xC0) != 0x80)
      return 0;
  return length;
}

/* Four hexadecimal digits, or -1. */
static int32_t hex4(const char *at, const char *end) {
  if (end - at < 4)
    return -1;
  int32_t sum = 0;
  for (int i = 0; i < 4; i++) {
    char c = at[i];
    int32_t digit = is_digit(c)            ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
    if (digit < 0)
      return -1;
    sum = sum << 4 | digit;
  }
  return sum;
}

/* The code point of the \u escape whose digits stand at `at`, with the second half of a surrogate pair; *used counts
 * the bytes from there on. -1 for anything else, a lone surrogate included. */
static int32_t unicode_escape(const char *at, const char *end, size_t *used) {
  int32_t first = hex4(at, end);
  *used = 4;
  if (first < 0xD800 || first > 0xDFFF)
    return first;
  if (first > 0xDBFF || end - at < 10 || at[4] != '\\' || at[5] != 'u')
    return -1;
  int32_t second = hex4(at + 6, end);
  if (second < 0xDC00 || second > 0xDFFF)
    return -1;
  *used = 10;
  return 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
}

static bool scan_escape(struct jsontext_reader *r) {
  const char *letter = r->at + 1;
  if (letter == r->end)
    return false;
  size_t used = 0;
  if (*letter == 'u' ? unicode_escape(letter + 1, r->end, &used) < 0 : memchr("\"\\/bfnrt", *letter, 8) == NULL)
    return false;
  r->at = letter + 1 + used;
  return true;
}

static bool scan_string(struct jsontext_reader *r) {
  if (!take(r, '"'))
    return false;
  for (;;) {
    r->at = jsonstring_plain_end(r->at, r->end, r->any_bytes);
    if (take(r, '"'))
      return true;
    if (r->at == r->end || (unsigned char)*r->at < 0x20)
      return false;
    if (*r->at == '\\') {
      if (!scan_escape(r))
        return false;
      continue;
    }
    size_t length = utf8_length(r->at, r->end);
    if (length == 0)
      return false;
    r->at += length;
  }
}

static bool scan_digits(struct jsontext_reader *r) {
  const char *from = r->at;
  while (r->at < r->end && is_digit(*r->at))
    r->at++;
  return r->at > from;
}

static bool scan_number(struct jsontext_reader *r) {
  take(r, '-');
  if (!take(r, '0') && !scan_digits(r))
    return false;
  if (take(r, '.') && !scan_digits(r))
    return false;
  if (take(r, 'e') || take(r, 'E')) {
    if (!take(r, '+'))
      take(r, '-');
    return scan_digits(r);
  }
  return true;
}

static bool scan_word(struct jsontext_reader *r, const char *word) {
  size_t len = strlen(word);
  if ((size_t)(r->end - r->at) < len || memcmp(r->at, word, len) != 0)
    return false;
  r->at += len;
  return true;
}

static bool scan_scalar(struct jsontext_reader *r) {
  if (r->at == r->end)
    return false;
  switch (*r->at) {
  case '"':
    return scan_string(r);
  case 't':
    return scan_word(r, "true");
  case 'f':
    return scan_word(r, "false");
  case 'n':
    return scan_word(r, "null");
  default:
    return scan_number(r);
  }
}

/* Which of the open containers are objects: one bit a level, so that a hostile text cannot make the stack overflow. */
struct nesting {
  int depth;
  uint8_t objects[JSONTEXT_DEPTH_MAX / 8];
};

static bool nesting_open(struct nesting *n, bool object) {
  if (n->depth == JSONTEXT_DEPTH_MAX)
    return false;
  uint8_t bit = (uint8_t)(1 << n->depth % 8);
  uint8_t *byte = &n->objects[n->depth / 8];
  *byte = (uint8_t)(object ? *byte | bit : *byte & ~bit);
  n->depth++;
  return true;
}

static bool nesting_in_object(const struct nesting *n) {
  return n->objects[(n->depth - 1) / 8] >> (n->depth - 1) % 8 & 1;
}

enum expectation { EXPECT_VALUE = 1, EXPECT_NAME, EXPECT_MORE, EXPECT_FAILED };

/* An opening bracket was taken: what comes next inside. */
static enum expectation opened(struct jsontext_reader *r, struct nesting *n, bool object) {
  if (!nesting_open(n, object))
    return EXPECT_FAILED;
  skip_blanks(r);
  if (take(r, object ? '}' : ']')) {
    n->depth--;
    return EXPECT_MORE;
  }
  return object ? EXPECT_NAME : EXPECT_VALUE;
}

static enum expectation next_step(struct jsontext_reader *r, struct nesting *n, enum expectation expected) {
  skip_blanks(r);
  switch (expected) {
  case EXPECT_VALUE:
    if (take(r, '{'))
      return opened(r, n, true);
    if (take(r, '['))
      return opened(r, n, false);
    return scan_scalar(r) ? EXPECT_MORE : EXPECT_FAILED;
  case EXPECT_NAME:
    if (!scan_string(r))
      return EXPECT_FAILED;
    skip_blanks(r);
    return take(r, ':') ? EXPECT_VALUE : EXPECT_FAILED;
  case EXPECT_MORE: {
    bool object = nesting_in_object(n);
    if (take(r, ','))
      return object ? EXPECT_NAME : EXPECT_VALUE;
    if (!take(r, object ? '}' : ']'))
      return EXPECT_FAILED;
    n->depth--;
    return EXPECT_MORE;
  }
  case EXPECT_FAILED:
    break;
  }
  return EXPECT_FAILED;
}

static bool scan_container(struct jsontext_reader *r) {
  struct nesting n = {.depth = r->depth};
  enum expectation expected = EXPECT_VALUE;
  do
    expected = next_step(r, &n, expected);
  while (expected != EXPECT_FAILED && n.depth > r->depth);
  return expected != EXPECT_FAILED;
}

static bool scan_value(struct jsontext_reader *r) {
  return r->at < r->end && (*r->at == '{' || *r->at == '[') ? scan_container(r) : scan_scalar(r);
}

static bool fail(struct jsontext_reader *r) {
  r->failed = true;
  return false;
}

static struct jsontext_reader reader_over(struct slice text, bool any_bytes) {
  const char *start = text.data == NULL ? "" : text.data;
  struct jsontext_reader r = {.at = start, .end = start + text.len, .any_bytes = any_bytes};
  skip_blanks(&r);
  return r;
}

struct jsontext_reader jsontext_reader_over(struct slice text) {
  return reader_over(text, true);
}

struct jsontext_reader jsontext_checking_reader_over(struct slice text) {
  return reader_over(text, false);
}

bool jsontext_read_open(struct jsontext_reader *r, enum jsontext_kind kind) {
  r->first = take(r, kind == JSONTEXT_OBJECT ? '{' : '[');
  r->depth += r->first;
  return r->first;
}

/* False behind the bracket that closes. */
static bool read_next(struct jsontext_reader *r, char bracket) {
  if (r->failed)
    return false;
  bool first = r->first;
  r->first = false;
  skip_blanks(r);
  if (take(r, bracket)) {
    r->depth--;
    return false;
  }
  if (!first && !take(r, ','))
    return fail(r);
  skip_blanks(r);
  return true;
}

bool jsontext_read_element(struct jsontext_reader *r) {
  return read_next(r, ']');
}

bool jsontext_read_member(struct jsontext_reader *r, struct slice *name) {
  if (!read_next(r, '}'))
    return false;
  const char *from = r->at;
  if (!scan_string(r))
    return fail(r);
  *name = slice_from(from + 1, (size_t)(r->at - from) - 2);
  skip_blanks(r);
  if (!take(r, ':'))
    return fail(r);
  skip_blanks(r);
  return true;
}

bool jsontext_read_text(struct jsontext_reader *r, struct slice text) {
  if ((size_t)(r->end - r->at) < text.len || memcmp(r->at, text.data, text.len) != 0)
    return false;
  r->at += text.len;
  r->depth++; /* into the object that the member stands in */
  skip_blanks(r);
  return true;
}

bool jsontext_read_value(struct jsontext_reader *r, struct slice *value) {
  const char *from = r->at;
  if (r->failed || !scan_value(r))
    return fail(r);
  *value = slice_from(from, (size_t)(r->at - from));
  return true;
}

bool jsontext_read_end(struct jsontext_reader *r) {
  if (r->failed)
    return false;
  skip_blanks(r);
  return r->at == r->end || fail(r);
}

bool jsontext_check(struct slice text, size_t *error_at) {
  struct jsontext_reader r = reader_over(text, false);
  struct slice value;
  if (jsontext_read_value(&r, &value) && jsontext_read_end(&r))
    return true;
  if (error_at != NULL)
    *error_at = text.len - (size_t)(r.end - r.at);
  return false;
}

enum jsontext_kind jsontext_kind_of(struct slice value) {
  const char *at = value.data;
  while (is_blank(*at))
    at++;
  switch (*at) {
  case '{':
    return JSONTEXT_OBJECT;
  case '[':
    return JSONTEXT_ARRAY;
  case '"':
    return JSONTEXT_STRING;
  case 't':
  case 'f':
    return JSONTEXT_BOOL;
  case 'n':
    return JSONTEXT_NULL;
  default:
    return JSONTEXT_NUMBER;
  }
}

/* Behind the string that opens at `at`. */
static const char *string_end(const char *at) {
  for (at++; *at != '"'; at++)
    if (*at == '\\')
      at++;
  return at + 1;
}

/* Behind the value that starts at `at`, which stands in an object or array and so is followed by a comma or a bracket.
 */
static const char *value_end(const char *at) {
  if (*at == '"')
    return string_end(at);
  if (*at != '{' && *at != '[') {
    while (*at != ',' && *at != '}' && *at != ']' && !is_blank(*at))
      at++;
    return at;
  }
  size_t depth = 0;
  do {
    if (*at == '"') {
      at = string_end(at);
      continue;
    }
    if (*at == '{' || *at == '[')
      depth++;
    else if (*at == '}' || *at == ']')
      depth--;
    at++;
  } while (depth > 0);
  return at;
}

struct jsontext_members jsontext_members_of(struct slice object) {
  const char *at = object.data;
  while (*at != '{')
    at++;
  return (struct jsontext_members){.at = at + 1};
}

bool jsontext_members_next(struct jsontext_members *members, struct jsontext_member *member) {
  const char *at = members->at;
  while (is_blank(*at) || *at == ',')
    at++;
  if (*at == '}')
    return false;
  const char *name = at + 1;
  at = string_end(at);
  member->name = slice_from(name, (size_t)(at - 1 - name));
  while (is_blank(*at) || *at == ':')
    at++;
  const char *value = at;
  at = value_end(at);
  member->value = slice_from(value, (size_t)(at - value));
  members->at = at;
  return true;
}

struct slice jsontext_string_body(struct slice string) {
  return slice_from(string.data + 1, string.len - 2);
}

static size_t utf8_put(int32_t code, char *to) {
  if (code < 0x80) {
    to[0] = (char)code;
    return 1;
  }
  int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  static const int32_t leads[] = {0, 0xC0, 0xE0, 0xF0};
  to[0] = (char)(leads[more] | code >> 6 * more);
  for (int i = 1; i <= more; i++)
    to[i] = (char)(0x80 | (code >> 6 * (more - i) & 0x3F));
  return (size_t)more + 1;
}

size_t jsontext_unescape(struct slice body, char *to) {
  const char *at = body.data, *end = body.data + body.len;
  char *out = to;
  while (at < end) {
    const char *run = at;
    at = jsonstring_plain_end(at, end, true);
    memmove(out, run, (size_t)(at - run));
    out += at - run;
    if (at == end)
      break;
    char letter = at[1];
    at += 2;
    size_t used = 0;
    switch (letter) {
    case 'u':
      out += utf8_put(unicode_escape(at, end, &used), out);
      at += used;
      break;
    case 'b':
      *out++ = '\b';
      break;
    case 'f':
      *out++ = '\f';
      break;
    case 'n':
      *out++ = '\n';
      break;
    case 'r':
      *out++ = '\r';
      break;
    case 't':
      *out++ = '\t';
      break;
    default:
      *out++ = letter;
    }
  }
  return (size_t)(out - to);
}

void jsontext_scratch_free(struct jsontext_scratch *scratch) {
  free(scratch->data);
  *scratch = (struct jsontext_scratch){.data = NULL};
}

void jsontext_scratch_reset(struct jsontext_scratch *scratch, size_t text_len) {
  scratch->used = 0;
  if (text_len > scratch->capacity || scratch->capacity > BUFFER_KEEP) {
    free(scratch->data);
    scratch->data = memory_resize(NULL, text_len);
    scratch->capacity = text_len;
  }
}

struct slice jsontext_scratch_text(struct jsontext_scratch *scratch, struct slice body) {
  if (memchr(body.data, '\\', body.len) == NULL)
    return body;
  char *to = scratch->data + scratch->used;
  size_t len = jsontext_unescape(body, to);
  scratch->used += len;
  return slice_from(to, len);
}

struct slice jsontext_scratch_string(struct jsontext_scratch *scratch, struct slice body) {
  char *to = scratch->data + scratch->used;
  size_t len = jsontext_unescape(body, to);
  to[len] = '\0';
  scratch->used += len + 1;
  return slice_from(to, len);
}

bool utf8_valid(struct slice text) {
  if (text.len == 0)
    return true;
  const char *end = text.data + text.len;
  for (const char *at = text.data; at < end;) {
    size_t length = utf8_length(at, end);
    if (length == 0)
      return false;
    at += length;
  }
  return true;
}

void jsontext_append_lossy(struct buffer *buf, struct slice text) {
  if (utf8_valid(text)) {
    buffer_append_json(buf, text);
    return;
  }
  struct buffer repaired;
  buffer_init(&repaired, BUFFER_MAX_ROW);
  const char *end = text.data + text.len;
  for (const char *at = text.data; at < end;) {
    size_t length = utf8_length(at, end);
    if (length == 0)
      buffer_append_text(&repaired, "\xEF\xBF\xBD");
    else
      buffer_append(&repaired, at, length);
    at += length == 0 ? 1 : length;
  }
  buf->overflow |= repaired.overflow;
  buffer_append_json(buf, buffer_slice(&repaired));
  buffer_free(&repaired);
}
