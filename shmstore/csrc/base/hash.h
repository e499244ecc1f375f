/* hash.h: SipHash-1-3 with 64 bits of output
 *
 * The key of the hash is random, one for each store. So a party that chooses the keys of entries, a web client for
 * example, cannot choose keys that collide. docs/format.md has test vectors.
 * SOURCE  Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012. */
#ifndef SHMS_HASH_H
#define SHMS_HASH_H

#include "base/base.h"

#define SHMS_ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
#define SHMS_SIPROUND           \
    do {                        \
        v0 += v1;               \
        v1 = SHMS_ROTL(v1, 13); \
        v1 ^= v0;               \
        v0 = SHMS_ROTL(v0, 32); \
        v2 += v3;               \
        v3 = SHMS_ROTL(v3, 16); \
        v3 ^= v2;               \
        v0 += v3;               \
        v3 = SHMS_ROTL(v3, 21); \
        v3 ^= v0;               \
        v2 += v1;               \
        v1 = SHMS_ROTL(v1, 17); \
        v1 ^= v2;               \
        v2 = SHMS_ROTL(v2, 32); \
    } while (0)

static inline uint64_t shms_siphash13(const void *data, size_t length, uint64_t k0, uint64_t k1) {
    const uint8_t *p = data;
    uint64_t v0 = k0 ^ 0x736f6d6570736575ull, v1 = k1 ^ 0x646f72616e646f6dull;
    uint64_t v2 = k0 ^ 0x6c7967656e657261ull, v3 = k1 ^ 0x7465646279746573ull;
    uint64_t last = (uint64_t)length << 56, word;
    size_t left = length;
    for (; left >= 8; left -= 8, p += 8) {
        memcpy(&word, p, 8);
        v3 ^= word;
        SHMS_SIPROUND;
        v0 ^= word;
    }
    for (size_t i = 0; i < left; i++)
        last |= (uint64_t)p[i] << (8 * i);
    v3 ^= last;
    SHMS_SIPROUND;
    v0 ^= last;
    v2 ^= 0xff;
    SHMS_SIPROUND;
    SHMS_SIPROUND;
    SHMS_SIPROUND;
    return v0 ^ v1 ^ v2 ^ v3;
}

#endif
