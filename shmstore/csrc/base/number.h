/* number.h: integers in msgpack's format, for counters
 *
 * incr stores its result in the shortest form and reads every form, so a counter may also be stored by put. */
#ifndef SHMS_NUMBER_H
#define SHMS_NUMBER_H

#include "base/atomic.h"
#include "base/base.h"

#define SHMS_NUMBER_MAX 9u

/* The unsigned integer in `bytes` bytes at p, most significant byte first. */
static inline uint64_t shms_big_endian(const uint8_t *p, int bytes) {
    uint64_t n = 0;
    for (int i = 0; i < bytes; i++)
        n = n << 8 | p[i];
    return n;
}

/* SHMS_OK; SHMS_NOT_INT; SHMS_OVERFLOW for an unsigned integer above INT64_MAX. */
static inline int shms_number_decode(const uint8_t *p, uint64_t length, int64_t *n) {
    if (length == 1 && (p[0] <= 0x7f || p[0] >= 0xe0)) {
        *n = (int8_t)p[0];
        return SHMS_OK;
    }
    if (length < 2 || p[0] < 0xcc || p[0] > 0xd3)
        return SHMS_NOT_INT;
    int bytes = 1 << ((p[0] - 0xcc) & 3);
    if (length != 1u + (unsigned)bytes)
        return SHMS_NOT_INT;
    uint64_t raw = shms_big_endian(p + 1, bytes);
    if (p[0] <= 0xcf) {
        if (raw > INT64_MAX)
            return SHMS_OVERFLOW;
        *n = (int64_t)raw;
        return SHMS_OK;
    }
    int unused = 64 - 8 * bytes;
    *n = (int64_t)(raw << unused) >> unused;
    return SHMS_OK;
}

/* Writes the shortest form of n to p[SHMS_NUMBER_MAX] and returns its length. REQUIRES: the block is not published.
 * All of p may be written. Both stores come from registers: a word that is stored byte by byte cannot be loaded as a
 * word until the bytes have reached the cache. */
static inline uint64_t shms_number_encode(int64_t n, uint8_t *p) {
    if (n >= -32 && n <= 127) {
        uint8_t only = (uint8_t)n;
        shms_write_short(p, &only, 1);
        return 1;
    }
    int size; /* the length is 1 << size bytes */
    uint8_t tag;
    if (n >= 0) {
        size = n <= UINT8_MAX ? 0 : n <= UINT16_MAX ? 1 : n <= UINT32_MAX ? 2 : 3;
        tag = (uint8_t)(0xcc + size);
    } else {
        size = n >= INT8_MIN ? 0 : n >= INT16_MIN ? 1 : n >= INT32_MIN ? 2 : 3;
        tag = (uint8_t)(0xd0 + size);
    }
    uint64_t bytes = 1ull << size, text = __builtin_bswap64((uint64_t)n << (64 - 8 * bytes)); /* little-endian */
    shms_write_short(p, &tag, 1);
    shms_write_short(p + 1, &text, 8);
    return 1 + bytes;
}

#endif
