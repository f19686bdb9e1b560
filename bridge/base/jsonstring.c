/* See jsonstring.h. */
#include "bridge/base/jsonstring.h"

#include <endian.h>
#include <stdint.h>
#include <string.h>

/* Eight bytes at a time: the highest bit is set of each byte in word that is a quote, a backslash or a
 * control character. Right for the lowest such byte, which is the one asked for; a borrow may mark bytes above it.
 * Source: "Bit Twiddling Hacks", determining whether a word has a byte less than n. */
static uint64_t marked_bytes(uint64_t word) {
  const uint64_t ones = UINT64_MAX / 0xFF;
  uint64_t quote = word ^ ones * '"', backslash = word ^ ones * '\\';
  return ((word - ones * 0x20) | (quote - ones) | (backslash - ones)) & ~word & ones * 0x80;
}

const char *jsonstring_plain_end(const char *at, const char *end, bool any_bytes) {
  const uint64_t beyond_ascii = any_bytes ? 0 : UINT64_MAX / 0xFF * 0x80;
  for (; end - at >= 8; at += 8) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    word = le64toh(word);
    uint64_t marks = marked_bytes(word) | (word & beyond_ascii);
    if (marks != 0)
      return at + __builtin_ctzll(marks) / 8;
  }
  while (at < end && *at != '"' && *at != '\\' && (unsigned char)*at >= 0x20 &&
         (any_bytes || (unsigned char)*at < 0x80))
    at++;
  return at;
}
