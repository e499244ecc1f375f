/* classes.h: the size classes of small blocks
 *
 * EXAMPLE  class  0    1    2   ..  13    14    15   ..  21    22   ..  53
 *          bytes  48   64   80  .. 256   288   320   .. 512   576   .. 8192
 * A block of a class of 16 bytes' distance wastes 15 bytes at most, one of the others an eighth. */
#ifndef SHMS_CLASSES_H
#define SHMS_CLASSES_H

#include "base/layout.h"

#define SHMS_CLASSES_EVEN 14u /* 48, 64, .. 256 */

/* The capacity of a class. REQUIRES: kind < SHMS_CLASSES. */
static inline uint64_t shms_class_bytes(uint32_t kind) {
    return kind < SHMS_CLASSES_EVEN ? (kind + 3) * 16ull
                                    : (9ull + (kind - SHMS_CLASSES_EVEN) % 8) << ((kind - SHMS_CLASSES_EVEN) / 8 + 5);
}

/* The smallest class that holds so many bytes; SHMS_CLASS_LARGE if there is none. */
static inline uint32_t shms_class_of(uint64_t bytes) {
    if (SHMS_LIKELY(bytes <= 256))
        return bytes <= SHMS_BLOCK_MIN ? 0 : (uint32_t)((bytes + 15) / 16 - 3);
    if (bytes > SHMS_SMALL_MAX)
        return SHMS_CLASS_LARGE;
    uint32_t shift = 63 - (uint32_t)__builtin_clzll(bytes - 1) - 3; /* eighths of the power of two below */
    return SHMS_CLASSES_EVEN + (shift - 5) * 8 + (uint32_t)((bytes - 1) >> shift) - 8;
}

/* ---- how often a class goes into so many bytes, without a division, which takes longer than all else in a look at a span */
#define SHMS_RECIPROCAL(bytes) ((1ull << 40) / (bytes) + 1)
#define SHMS_RECIPROCALS(shift)                                                                                  \
    SHMS_RECIPROCAL(9ull << (shift)), SHMS_RECIPROCAL(10ull << (shift)), SHMS_RECIPROCAL(11ull << (shift)),      \
        SHMS_RECIPROCAL(12ull << (shift)), SHMS_RECIPROCAL(13ull << (shift)), SHMS_RECIPROCAL(14ull << (shift)), \
        SHMS_RECIPROCAL(15ull << (shift)), SHMS_RECIPROCAL(16ull << (shift))
static const uint64_t shms_class_reciprocals[SHMS_CLASSES] = {
    SHMS_RECIPROCAL(48ull),  SHMS_RECIPROCAL(64ull),  SHMS_RECIPROCAL(80ull),  SHMS_RECIPROCAL(96ull),
    SHMS_RECIPROCAL(112ull), SHMS_RECIPROCAL(128ull), SHMS_RECIPROCAL(144ull), SHMS_RECIPROCAL(160ull),
    SHMS_RECIPROCAL(176ull), SHMS_RECIPROCAL(192ull), SHMS_RECIPROCAL(208ull), SHMS_RECIPROCAL(224ull),
    SHMS_RECIPROCAL(240ull), SHMS_RECIPROCAL(256ull), SHMS_RECIPROCALS(5),     SHMS_RECIPROCALS(6),
    SHMS_RECIPROCALS(7),     SHMS_RECIPROCALS(8),     SHMS_RECIPROCALS(9),
};
#define SHMS_CLASS_PAGES_MAX (SHMS_SPAN_BLOCKS_MAX * SHMS_SMALL_MAX / SHMS_PAGE)
/* REQUIRES: kind < SHMS_CLASSES; bytes <= SHMS_CLASS_PAGES_MAX pages: then no rounding reaches the quotient. */
static inline uint32_t shms_class_times(uint32_t kind, uint64_t bytes) {
    return (uint32_t)(bytes * shms_class_reciprocals[kind] >> 40);
}

/* Pages of a span of this class: as few as leave at most an eighth unused. */
static inline uint64_t shms_class_pages(uint32_t kind) {
    uint64_t bytes = shms_class_bytes(kind), pages = (bytes + SHMS_PAGE - 1) / SHMS_PAGE;
    while (pages * SHMS_PAGE % bytes > pages * SHMS_PAGE / 8)
        pages++;
    return pages;
}

#endif
