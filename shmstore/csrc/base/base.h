/* base.h: includes and small helpers that every file of the engine uses. */
#ifndef SHMS_BASE_H
#define SHMS_BASE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/status.h"

#define SHMS_LIKELY(x) __builtin_expect(!!(x), 1)
#define SHMS_UNLIKELY(x) __builtin_expect(!!(x), 0)
/* For code that runs only when a store is full or a client died: optimised for size, and never inlined. */
#define SHMS_COLD __attribute__((cold, noinline))

/* For code beside a hot path, which would take registers from it if it were inlined. */
#define SHMS_APART __attribute__((noinline))
/* For the code of a hot path that others use, too. */
#define SHMS_WITHIN __attribute__((always_inline)) inline

/* REQUIRES: align is a power of two. */
#define SHMS_ALIGN_UP(n, align) (((n) + ((align) - 1)) & ~(uint64_t)((align) - 1))

static inline uint64_t shms_min(uint64_t a, uint64_t b) { return a < b ? a : b; }
static inline uint64_t shms_max(uint64_t a, uint64_t b) { return a > b ? a : b; }

#endif
