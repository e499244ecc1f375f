/* bits.h: bits in shared memory, one for each of many things, which many processes set and clear at once */
#ifndef SHMS_BITS_H
#define SHMS_BITS_H

#include "base/atomic.h"
#include "base/base.h"

static inline bool shms_bit(const _Atomic uint64_t *bits, uint64_t at) {
    return shms_load_relaxed(&bits[at / 64]) >> (at % 64) & 1;
}
static inline void shms_bits_set(_Atomic uint64_t *bits, uint64_t from, uint64_t to, bool value) {
    for (uint64_t next; from < to; from = next) {
        next = shms_min((from / 64 + 1) * 64, to);
        uint64_t mask = (next - from == 64 ? ~0ull : (1ull << (next - from)) - 1) << (from % 64);
        if (value)
            shms_fetch_or_acq_rel(&bits[from / 64], mask);
        else
            shms_fetch_and_acq_rel(&bits[from / 64], ~mask);
    }
}
/* The first bit in [from, to) that is `value`; `to` if there is none. */
static inline uint64_t shms_bits_next(const _Atomic uint64_t *bits, uint64_t from, uint64_t to, bool value) {
    while (from < to) {
        uint64_t w =
            (value ? shms_load_relaxed(&bits[from / 64]) : ~shms_load_relaxed(&bits[from / 64])) >> (from % 64);
        if (w)
            return shms_min(from + (uint64_t)__builtin_ctzll(w), to);
        from = (from / 64 + 1) * 64;
    }
    return to;
}
/* One behind the last bit in [from, to) that is `value`; `from` if there is none. */
static inline uint64_t shms_bits_last(const _Atomic uint64_t *bits, uint64_t from, uint64_t to, bool value) {
    while (from < to) {
        uint64_t at = to - 1, w = value ? shms_load_relaxed(&bits[at / 64]) : ~shms_load_relaxed(&bits[at / 64]);
        w <<= 63 - at % 64;
        if (w)
            return shms_max(to - (uint64_t)__builtin_clzll(w), from);
        to = at / 64 * 64;
    }
    return from;
}

#endif
