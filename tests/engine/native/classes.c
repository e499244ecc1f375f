/* The size classes, for each size there is: a block holds what was asked for, is of the smallest class that does, and
 * wastes no more than classes.h says. */
#include "harness.h"

static void every_class(void) {
    for (uint32_t kind = 0; kind < SHMS_CLASSES; kind++) {
        uint64_t bytes = shms_class_bytes(kind), pages = shms_class_pages(kind), blocks = pages * SHMS_PAGE / bytes;
        EXPECT(bytes % SHMS_GRANULE == 0);
        EXPECT(kind == 0 ? bytes == SHMS_BLOCK_MIN : bytes > shms_class_bytes(kind - 1));
        EXPECT(blocks >= 1 && blocks <= SHMS_SPAN_BLOCKS_MAX);
        uint64_t unused = pages * SHMS_PAGE - blocks * bytes;
        EXPECT(unused <= pages * SHMS_PAGE / 8 && unused < bytes);
        /* The next smaller span leaves more than an eighth, or holds no block. */
        uint64_t fewer = (pages - 1) * SHMS_PAGE;
        EXPECT(fewer < bytes || fewer % bytes > fewer / 8);
    }
    EXPECT(shms_class_bytes(SHMS_CLASSES - 1) == SHMS_SMALL_MAX);
    EXPECT(shms_class_bytes(13) == 256 && shms_class_bytes(14) == 288 && shms_class_bytes(22) == 576);
    EXPECT(SHMS_CLASS_LARGE >= SHMS_CLASSES);
}

/* For all that a span of the class may hold. */
static void every_quotient(void) {
    for (uint32_t kind = 0; kind < SHMS_CLASSES; kind++)
        for (uint64_t bytes = 0; bytes <= SHMS_CLASS_PAGES_MAX * SHMS_PAGE; bytes++)
            EXPECT(shms_class_times(kind, bytes) == bytes / shms_class_bytes(kind));
}

static void every_size(void) {
    for (uint64_t bytes = 0; bytes <= SHMS_SMALL_MAX; bytes++) {
        uint32_t kind = shms_class_of(bytes);
        EXPECT(kind < SHMS_CLASSES && shms_class_bytes(kind) >= bytes);
        EXPECT(kind == 0 || shms_class_bytes(kind - 1) < bytes);
        uint64_t wasted = shms_class_bytes(kind) - bytes;
        EXPECT(bytes < SHMS_BLOCK_MIN || wasted < SHMS_GRANULE || wasted <= bytes / 8);
    }
    for (uint64_t bytes = SHMS_SMALL_MAX + 1; bytes < 1ull << 44; bytes += bytes / 3)
        EXPECT(shms_class_of(bytes) == SHMS_CLASS_LARGE);
}

/* A value of each length up to a page beyond the small ones gets a block of that class, or of pages of its own. */
static void every_length(struct shms_store *s) {
    for (uint64_t length = 0; length < SHMS_SMALL_MAX + SHMS_PAGE; length += length < 600 ? 1 : 7) {
        struct shms_entry e;
        struct shms_span span;
        EXPECT(put(s, "a", (int)(length % 251), length) == SHMS_OK && find(s, "a", &e) == SHMS_OK);
        uint64_t asked = SHMS_BLOCK_HEADER + 1 + length + (length >= SHMS_ALIGNED_FROM ? SHMS_LINE - 1 : 0);
        uint32_t kind = shms_class_of(asked);
        EXPECT(shms_span_of(s, SHMS_SLOT_BLOCK(e.word), &span) && span.kind == kind);
        EXPECT(span.bytes == (kind == SHMS_CLASS_LARGE ? SHMS_ALIGN_UP(asked, SHMS_PAGE) : shms_class_bytes(kind)));
        EXPECT(shms_heap_capacity(s, SHMS_SLOT_BLOCK(e.word)) == span.bytes);
        EXPECT(e.value_length == length && all_are(e.value, (int)(length % 251), length));
        EXPECT(length < SHMS_ALIGNED_FROM || (uint64_t)(e.value - s->base) % SHMS_LINE == 0);
        EXPECT(counted(s, SHMS_USED_BLOCKS) == 1 && counted(s, SHMS_USED_BYTES) == span.bytes);
    }
    EXPECT(drop(s, "a") == SHMS_OK);
    expect_empty(s);
}

int main(int argc, char **argv) {
    begin_scenario(argc, argv);
    every_class();
    every_quotient();
    every_size();
    every_length(open_store(1 << 20));
    return 0;
}
