/* atomic.h: C11 atomics with the memory order in the name
 *
 * Words that several processes access are _Atomic, and only these macros access them. The order is part of the
 * name, never a parameter, so grep lists the orders that exist. The bytes of a block are plain memory: they do not
 * change while the block is published. A reader that may race with the block's reuse copies them with
 * shms_copy_racy, and discards the copy if the block has another life by then [racy-copy].
 *
 * ORDERING [racy-copy]  By the letter of C11 such a copy is a data race. It is sound here for three reasons:
 *   1 The copy is used only after an acquire fence and a second load of the block's word that gives the same life.
 *   2 The compiler must treat the source as memory that escaped. The fences before and after the copy keep it from
 *     moving the copy across them or repeating it.
 *   3 The writer exchanges the word for the new life, passes a release fence, and then writes the bytes of that life. So
 *     a reader that copied one of these bytes finds another life in step 1.
 *   Builds for ThreadSanitizer copy by relaxed atomic bytes, which is what the standard asks for.
 * SOURCE  Boehm, "Can seqlocks get along with programming language memory models?", MSPC 2012. */
#ifndef SHMS_ATOMIC_H
#define SHMS_ATOMIC_H

#include <stdatomic.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif
#include "base/base.h"

#define shms_load_relaxed(p) atomic_load_explicit((p), memory_order_relaxed)
#define shms_load_acquire(p) atomic_load_explicit((p), memory_order_acquire)
#define shms_store_relaxed(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#define shms_load_seq_cst(p) atomic_load_explicit((p), memory_order_seq_cst)
#define shms_store_release(p, v) atomic_store_explicit((p), (v), memory_order_release)
#define shms_fetch_add_acq_rel(p, v) atomic_fetch_add_explicit((p), (v), memory_order_acq_rel)
#define shms_exchange_acq_rel(p, v) atomic_exchange_explicit((p), (v), memory_order_acq_rel)
#define shms_fetch_or_acq_rel(p, v) atomic_fetch_or_explicit((p), (v), memory_order_acq_rel)
#define shms_fetch_or_seq_cst(p, v) atomic_fetch_or_explicit((p), (v), memory_order_seq_cst)
#define shms_fetch_and_acq_rel(p, v) atomic_fetch_and_explicit((p), (v), memory_order_acq_rel)
/* When the exchange fails, *expected is set to the value found. */
#define shms_cas_acq_rel(p, expected, v) \
    atomic_compare_exchange_strong_explicit((p), (expected), (v), memory_order_acq_rel, memory_order_acquire)
#define shms_cas_seq_cst(p, expected, v) \
    atomic_compare_exchange_strong_explicit((p), (expected), (v), memory_order_seq_cst, memory_order_acquire)
#define shms_fence_acquire() atomic_thread_fence(memory_order_acquire)
#define shms_fence_release() atomic_thread_fence(memory_order_release)
/* Needed only where a store must become visible before a later load: pins (pin.c) and leaving a store (lifecycle.c). For
 * locks, exchange and load are seq_cst themselves (lock.h). */
#define shms_fence_seq_cst() atomic_thread_fence(memory_order_seq_cst)

/* Adds to a counter that only one process writes, so no locked instruction is needed. */
#define shms_count(p, n) shms_store_relaxed((p), shms_load_relaxed(p) + (uint64_t)(n))

static inline void shms_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __asm__ __volatile__("yield");
#endif
}

#if defined(__SANITIZE_THREAD__)
static inline void shms_copy_racy(void *to, const void *from, size_t n) {
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)to)[i] = __atomic_load_n((const uint8_t *)from + i, __ATOMIC_RELAXED);
}
static inline void shms_write_racy(void *to, const void *from, size_t n) {
    for (size_t i = 0; i < n; i++)
        __atomic_store_n((uint8_t *)to + i, ((const uint8_t *)from)[i], __ATOMIC_RELAXED);
}
/* From one block to another: both may be read meanwhile. */
static inline void shms_move_racy(void *to, const void *from, size_t n) {
    for (size_t i = 0; i < n; i++)
        __atomic_store_n((uint8_t *)to + i, __atomic_load_n((const uint8_t *)from + i, __ATOMIC_RELAXED),
                         __ATOMIC_RELAXED);
}
static inline void shms_copy_short(void *to, const void *from, size_t n) { shms_copy_racy(to, from, n); }
static inline void shms_write_short(void *to, const void *from, size_t n) { shms_write_racy(to, from, n); }
static inline bool shms_equal_racy(const void *a, const void *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (__atomic_load_n((const uint8_t *)a + i, __ATOMIC_RELAXED) != ((const uint8_t *)b)[i])
            return false;
    return true;
}
#else
/* From this size on, source and copy together exceed the private caches of most machines. Streaming stores go past
 * the cache and save the read of each line that is about to be overwritten (docs/performance.md). */
#define SHMS_STREAM_FROM (4u << 20)
#ifdef __SSE2__
static inline void shms_copy_stream(void *to, const void *from, size_t n) {
    uint8_t *t = to;
    const uint8_t *f = from;
    size_t ahead = -(uintptr_t)t & 63u;
    memcpy(t, f, ahead);
    for (t += ahead, f += ahead, n -= ahead; n >= 64; t += 64, f += 64, n -= 64) {
        _mm_prefetch((const char *)f + 1024, _MM_HINT_T0);
        __m128i a = _mm_loadu_si128((const __m128i *)f), b = _mm_loadu_si128((const __m128i *)(f + 16));
        __m128i c = _mm_loadu_si128((const __m128i *)(f + 32)), d = _mm_loadu_si128((const __m128i *)(f + 48));
        _mm_stream_si128((__m128i *)t, a);
        _mm_stream_si128((__m128i *)(t + 16), b);
        _mm_stream_si128((__m128i *)(t + 32), c);
        _mm_stream_si128((__m128i *)(t + 48), d);
    }
    _mm_sfence(); /* no other instruction orders streaming stores: they must be visible before the block is published */
    memcpy(t, f, n);
}
#else
static inline void shms_copy_stream(void *to, const void *from, size_t n) { memcpy(to, from, n); }
#endif
static inline void shms_copy_racy(void *to, const void *from, size_t n) {
    if (n < SHMS_STREAM_FROM)
        memcpy(to, from, n);
    else
        shms_copy_stream(to, from, n);
}
static inline void shms_write_racy(void *to, const void *from, size_t n) { shms_copy_racy(to, from, n); }
static inline void shms_move_racy(void *to, const void *from, size_t n) { shms_copy_racy(to, from, n); }
/* For keys, extensions and numbers: always shorter than SHMS_STREAM_FROM, so the size is not tested. */
static inline void shms_copy_short(void *to, const void *from, size_t n) { memcpy(to, from, n); }
static inline void shms_write_short(void *to, const void *from, size_t n) { memcpy(to, from, n); }
static inline bool shms_equal_racy(const void *a, const void *b, size_t n) { return memcmp(a, b, n) == 0; }
#endif

#endif
