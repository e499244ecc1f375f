/* Spans: which process opens and closes them. A span is closed when its last block is free, and not before; short-lived processes
 * use the spans of their forerunners; what was seen of a span before it was closed is of no use afterwards (S1). */
#include "harness.h"

static struct shms_store *s, *other;

static struct shms_span span_of(const char *key) {
    struct shms_entry e;
    struct shms_span span;
    EXPECT(find(s, key, &e) == SHMS_OK && shms_span_of(s, SHMS_SLOT_BLOCK(e.word), &span));
    return span;
}

/* The word of each page says what the layout says. */
static void expect_whole(const struct shms_span *span) {
    EXPECT(shms_load_relaxed(&s->pages[span->first].word) == SHMS_PAGE_OPEN(span->number));
    for (uint64_t i = 1; i < span->pages; i++) {
        EXPECT(shms_load_relaxed(&s->pages[span->first + i].word) == SHMS_PAGE_TAKEN(span->number));
        EXPECT(shms_load_relaxed(&s->pages[span->first + i].info) == i);
    }
}

static void expect_gone(const struct shms_span *span) {
    struct shms_span found;
    EXPECT(!shms_span_at(s, span->first, &found) || found.number != span->number);
    for (uint64_t i = 0; i < span->pages; i++)
        EXPECT(shms_load_relaxed(&s->pages[span->first + i].word) == 0);
}

/* Of a class whose spans have several pages, of one that has more blocks than a word has bits, and of large blocks. */
static void opened_and_closed(void) {
    static const uint64_t lengths[] = {0, 1500, 5000, 7000, 9000, 100000};
    for (int i = 0; i < 6; i++) {
        struct shms_span span, inside;
        EXPECT(put(s, "a", 1, lengths[i]) == SHMS_OK && put(s, "b", 2, lengths[i]) == SHMS_OK);
        span = span_of("a");
        expect_whole(&span);
        for (uint64_t at = span.start; at < span.start + span.pages * SHMS_PAGE; at += SHMS_GRANULE) {
            bool begins = (at - span.start) % span.bytes == 0 && (at - span.start) / span.bytes < span.blocks;
            EXPECT(shms_span_of(s, at, &inside) == begins);
            EXPECT(!begins || inside.number == span.number);
        }
        EXPECT(!shms_span_close(s, &span) && !shms_span_close(other, &span)); /* "a" is there, and stays */
        expect_whole(&span);
        struct shms_entry e;
        EXPECT(find(s, "a", &e) == SHMS_OK && all_are(e.value, 1, lengths[i]));
        expect_sound(s);
        EXPECT(drop(s, "a") == SHMS_OK && drop(other, "b") == SHMS_OK);
        shms_heap_leave(s);
        shms_heap_leave(other);
        expect_gone(&span);
        expect_empty(s);
    }
}

/* A process has seen a free block, and the span is closed and opened again before it exchanges the word. */
static void seen_too_early(void) {
    struct shms_span before, after;
    EXPECT(put(s, "a", 1, 100) == SHMS_OK);
    before = span_of("a");
    EXPECT(drop(s, "a") == SHMS_OK);
    shms_heap_leave(s);
    expect_gone(&before);
    EXPECT(put(s, "a", 1, 100) == SHMS_OK);
    after = span_of("a");
    EXPECT(after.first == before.first && after.number != before.number && after.free != before.free);
    for (uint32_t i = 0; i < after.blocks; i++) {
        uint64_t was = before.free;
        EXPECT(!shms_cas_acq_rel(shms_word_at(s, after.start + i * after.bytes), &was, shms_life_of(s, 1)));
    }
    EXPECT(!shms_span_close(s, &before)); /* nor is the new one closed in the place of the old one */
    expect_whole(&after);
    expect_sound(s);
    EXPECT(drop(s, "a") == SHMS_OK);
    expect_empty(s);
}

/* Two clients keep free blocks of one span to themselves. Neither closes it for that, tidying does; and what they keep
 * then leads to no block. */
static void kept_by_two(void) {
    struct shms_span span;
    EXPECT(put(s, "a", 1, 0) == SHMS_OK && put(s, "b", 1, 0) == SHMS_OK);
    span = span_of("a");
    EXPECT(span.blocks > 64);
    EXPECT(put(other, "c", 1, 0) == SHMS_OK && span_of("c").number == span.number); /* the half that s did not take */
    EXPECT(drop(s, "a") == SHMS_OK && drop(other, "b") == SHMS_OK && drop(other, "c") == SHMS_OK);
    expect_whole(&span);
    struct census c = census_of(s);
    EXPECT(c.spans == 1 && c.free == span.blocks);
    tidy(other);
    expect_gone(&span);
    EXPECT(put(s, "a", 1, 0) == SHMS_OK && put(other, "b", 1, 0) == SHMS_OK);
    EXPECT(span_of("a").number != span.number && span_of("b").number != span.number);
    expect_sound(s);
    EXPECT(drop(s, "a") == SHMS_OK && drop(s, "b") == SHMS_OK);
    expect_empty(s);
}

/* Processes that put a few entries and leave: they fill up the spans that there are. */
static void short_lived(void) {
    char key[24];
    for (uint32_t kind = 0; kind < SHMS_CLASSES; kind += kind < 4 ? 1 : 7) {
        uint64_t length = shms_class_bytes(kind) - SHMS_BLOCK_HEADER - 4;
        length -= length >= SHMS_ALIGNED_FROM ? SHMS_LINE - 1 : 0;
        enum { PROCESSES = 60 };
        for (uint32_t i = 0; i < PROCESSES; i++) {
            struct shms_store *brief = open_store(0);
            for (uint32_t k = 0; k < 4; k++) {
                snprintf(key, sizeof key, "%03u%u", i % 1000, k % 10);
                EXPECT(put(brief, key, 1, length) == SHMS_OK);
            }
            EXPECT(drop(brief, key) == SHMS_OK);
            close_store(brief);
        }
        struct census c = census_of(s);
        uint64_t blocks = span_of("0000").blocks;
        EXPECT(c.alive == 3 * PROCESSES && c.spans == (c.alive + blocks - 1) / blocks);
        for (uint32_t i = 0; i < PROCESSES; i++)
            for (uint32_t k = 0; k < 3; k++) {
                snprintf(key, sizeof key, "%03u%u", i % 1000, k % 10);
                EXPECT(drop(s, key) == SHMS_OK);
            }
        shms_heap_leave(s);
        EXPECT(census_of(s).spans == 0); /* without tidying */
    }
    expect_empty(s);
}

/* Runs are found between others, and large ones from above: no page is in two, and none is left over. */
static void runs(void) {
    char key[16];
    uint64_t length = 3 * SHMS_PAGE - SHMS_BLOCK_HEADER - SHMS_LINE - 3;
    int n = 0;
    for (;; n++) {
        snprintf(key, sizeof key, "%03d", n);
        if (put(s, key, n % 251, length) != SHMS_OK)
            break;
    }
    EXPECT((uint64_t)n == s->heap_pages / 3);
    for (int i = 0; i < n; i += 2) {
        snprintf(key, sizeof key, "%03d", i);
        EXPECT(drop(s, key) == SHMS_OK);
    }
    EXPECT(put(s, "large", 1, 4 * SHMS_PAGE) == SHMS_FULL || s->heap_pages % 3); /* no run of four pages */
    for (int i = 0; i < n; i += 2) {
        snprintf(key, sizeof key, "%03d", i);
        EXPECT(put(s, key, i % 251, length) == SHMS_OK);
    }
    for (int i = 0; i < n; i++) {
        struct shms_entry e;
        snprintf(key, sizeof key, "%03d", i);
        EXPECT(find(s, key, &e) == SHMS_OK && all_are(e.value, i % 251, length));
    }
    expect_sound(s);
    for (int i = 0; i < n; i++) {
        snprintf(key, sizeof key, "%03d", i);
        EXPECT(drop(s, key) == SHMS_OK);
    }
    expect_empty(s);
}

int main(int argc, char **argv) {
    begin_scenario(argc, argv);
    s = open_store(4 << 20);
    other = open_store(0);
    opened_and_closed();
    seen_too_early();
    kept_by_two();
    short_lived();
    runs();
    return 0;
}
