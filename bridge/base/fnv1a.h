/* FNV-1a, 64 bits: tells things apart, proves nothing. Source: draft-eastlake-fnv, section 5. */
#ifndef WALFERRY_BASE_FNV1A_H
#define WALFERRY_BASE_FNV1A_H

#include <stddef.h>
#include <stdint.h>

#define FNV1A_START UINT64_C(0xcbf29ce484222325)

/* Continues a hash; the first one is FNV1A_START. */
static inline uint64_t fnv1a(uint64_t hash, const void *data, size_t len) {
  const unsigned char *bytes = data;
  for (size_t i = 0; i < len; i++)
    hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
  return hash;
}

#endif
